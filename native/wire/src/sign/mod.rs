//! Sign a call: the last change to it, over the bytes that go out.
//!
//! Part of `attach`. A closed set of schemes, one file each; what differs between providers is data in the
//! declaration. Where a scheme covers the body, the body is gathered first, within a bound.

mod challenge;
pub mod digest;
mod digest_auth;
pub mod dpop;
mod hmac_template;
mod http_signature;
mod oauth1;
mod sigv4;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use zeroize::Zeroizing;

pub use challenge::challenges;
pub use digest_auth::{AskedBefore, DigestAuth};
pub use dpop::Dpop;
pub use hmac_template::HmacTemplate;
pub use http_signature::{HttpSignature, SigningKey};
pub use oauth1::OAuth1;
pub use sigv4::SigV4;

use crate::error::{Code, Refusal};
use crate::lease::Lease;

/// The largest body that is gathered to be signed.
pub const BODY_MAX: usize = 8 << 20;

/// A provider's `sign`, as it is written in the snapshot.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signer {
    Sigv4(SigV4),
    Hmac(HmacTemplate),
    HttpSignature(HttpSignature),
    Oauth1(OAuth1),
    Digest(DigestAuth),
    Dpop(Dpop),
}

/// What is signed: the request as it will be sent.
pub struct Unsigned<'r> {
    pub method: &'r Method,
    pub scheme: &'r str,
    /// Host, with the port where it is not the scheme's own.
    pub authority: &'r str,
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// None where the signer does not ask for it.
    pub body: Option<&'r [u8]>,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

impl Unsigned<'_> {
    fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }
}

impl Signer {
    /// Whether the body is gathered before the request is sent.
    pub fn covers_body(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Sigv4(signer) => signer.covers_body(),
            Self::Hmac(signer) => signer.covers_body(),
            Self::HttpSignature(signer) => signer.covers_body(),
            Self::Oauth1(_) => oauth1::is_form(headers),
            // It may have to go out again, once the provider has asked.
            Self::Digest(_) => true,
            Self::Dpop(_) => false,
        }
    }

    /// Set the signature's header fields; gives what is to be added to the query, if something is.
    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<Option<String>, Refusal> {
        match self {
            Self::Sigv4(signer) => signer.sign(lease, request, headers).map(|()| None),
            Self::Hmac(signer) => signer.sign(lease, request, headers),
            Self::HttpSignature(signer) => signer.sign(lease, request, headers).map(|()| None),
            Self::Oauth1(signer) => signer.sign(lease, request, headers).map(|()| None),
            Self::Digest(signer) => signer.sign(lease, request, headers).map(|()| None),
            Self::Dpop(signer) => signer.sign(lease, request, headers).map(|()| None),
        }
    }

    /// Header fields that are the signer's: a consumer's own are dropped.
    pub fn owns(&self, name: &HeaderName) -> bool {
        match self {
            Self::Sigv4(_) => name.as_str().starts_with("x-amz-") && sigv4::OWN.contains(&name.as_str()),
            Self::Hmac(signer) => signer.headers.iter().any(|(own, _)| own == name),
            Self::HttpSignature(_) => {
                matches!(name.as_str(), "signature" | "signature-input" | "content-digest")
            }
            Self::Oauth1(_) | Self::Digest(_) => *name == header::AUTHORIZATION,
            Self::Dpop(_) => *name == dpop::PROOF,
        }
    }

    /// Query parameters that are the signer's.
    pub fn owns_parameter(&self, name: &str) -> bool {
        match self {
            Self::Hmac(signer) => signer.query.iter().any(|(own, _)| own == name),
            _ => false,
        }
    }
}

fn field<'l>(lease: &'l Lease, name: &str) -> Result<&'l [u8], Refusal> {
    lease.field(name).ok_or_else(|| {
        unusable(format!("The connection's credential has no field `{name}`: connect it again."))
    })
}

fn text_field<'l>(lease: &'l Lease, name: &str) -> Result<&'l str, Refusal> {
    std::str::from_utf8(field(lease, name)?)
        .map_err(|_| unusable(format!("The credential's field `{name}` is no text: connect it again.")))
}

fn unusable(detail: String) -> Refusal {
    Refusal::new(Code::CredentialUnavailable, detail)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Refusal> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| unusable("The connection's credential cannot stand in a header field.".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// RFC 3986 §2.3: all but the unreserved characters are escaped, in capitals.
fn escaped(bytes: &[u8]) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::percent_encode(bytes, KEPT).to_string()
}

/// A name or value of a query as it is meant: `+` is a space there.
fn meant(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).collect()
}

/// The parameters of a query or a form, as they are meant.
fn parameters(text: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (meant(name), meant(value))
    })
}

fn nonce() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Refusal::new(Code::Internal, "There is no randomness to sign with."))?;
    Ok(digest::hex(&bytes))
}

fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(parts.concat())
}

#[cfg(test)]
mod tests;
