//! OAuth 1.0 (RFC 5849) with an HMAC, as `NetSuite` (token-based authentication) and Trello ask for it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::digest::Hash;
use super::{Unsigned, escaped, field, nonce, parameters, set, text_field};
use crate::error::Refusal;
use crate::lease::Lease;

#[derive(Debug, Clone, Deserialize)]
pub struct OAuth1 {
    pub signature: Method,
    /// Said along with the signature, and no part of it (§3.4.1.3.1).
    #[serde(default)]
    pub realm: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Method {
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
    /// Not of the RFC, but of those who came after SHA-1.
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
}

impl Method {
    fn parts(self) -> (&'static str, Hash) {
        match self {
            Self::HmacSha1 => ("HMAC-SHA1", Hash::Sha1),
            Self::HmacSha256 => ("HMAC-SHA256", Hash::Sha256),
        }
    }
}

impl OAuth1 {
    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        let value = self.authorization(lease, request, headers, &nonce()?)?;
        set(headers, header::AUTHORIZATION, &value)
    }

    pub(super) fn authorization(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &HeaderMap,
        nonce: &str,
    ) -> Result<String, Refusal> {
        let (name, hash) = self.signature.parts();
        let (key, token) = (text_field(lease, "consumer_key")?, text_field(lease, "token")?);
        let timestamp = request.now_s().to_string();
        let protocol = [
            ("oauth_consumer_key", key),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", name),
            ("oauth_timestamp", &timestamp),
            ("oauth_token", token),
            ("oauth_version", "1.0"),
        ];
        let base = base_string(request, headers, &protocol);
        let pair = Zeroizing::new(format!(
            "{}&{}",
            escaped(field(lease, "consumer_secret")?),
            escaped(field(lease, "token_secret")?)
        ));
        let signature = BASE64_STANDARD.encode(hash.keyed(pair.as_bytes(), base.as_bytes()));
        let mut said = Vec::new();
        if !self.realm.is_empty() {
            said.push(format!("realm=\"{}\"", self.realm));
        }
        for (name, value) in protocol.iter().copied().chain([("oauth_signature", signature.as_str())]) {
            said.push(format!("{name}=\"{}\"", escaped(value.as_bytes())));
        }
        Ok(format!("OAuth {}", said.join(", ")))
    }
}

/// §3.4.1: method, address and all parameters, of the query, of a form and of the protocol, in their order.
pub(super) fn base_string(request: &Unsigned<'_>, headers: &HeaderMap, protocol: &[(&str, &str)]) -> String {
    let mut all: Vec<(String, String)> = parameters(request.query.unwrap_or_default())
        .map(|(name, value)| (escaped(&name), escaped(&value)))
        .collect();
    if let Some(form) =
        request.body.filter(|_| is_form(headers)).and_then(|body| std::str::from_utf8(body).ok())
    {
        all.extend(parameters(form).map(|(name, value)| (escaped(&name), escaped(&value))));
    }
    all.extend(protocol.iter().map(|(name, value)| (escaped(name.as_bytes()), escaped(value.as_bytes()))));
    all.sort_unstable();
    let all: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let address = format!("{}://{}{}", request.scheme, request.authority.to_ascii_lowercase(), request.path);
    format!("{}&{}&{}", request.method, escaped(address.as_bytes()), escaped(all.join("&").as_bytes()))
}

/// §3.4.1.3.1: only such a body has parameters.
pub fn is_form(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}
