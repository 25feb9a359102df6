//! Signatures that a provider made up itself: an HMAC, or a hash, of a text that the declaration says.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::digest::{Hash, hex, rfc3339, sha256_hex};
use super::{Unsigned, escaped, field, nonce, set, text_field, unusable};
use crate::error::{Code, Refusal};
use crate::lease::Lease;

#[derive(Debug, Clone, Deserialize)]
pub struct HmacTemplate {
    /// The credential's field that is the key; without one, the text is hashed as it is.
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub key_encoding: KeyEncoding,
    pub hash: Hash,
    pub message: Vec<Part>,
    pub output: Output,
    #[serde(deserialize_with = "named_headers")]
    pub headers: Vec<(HeaderName, Vec<Part>)>,
    /// Added to the query: first what holds no signature, which the signature then covers.
    #[serde(default)]
    pub query: Vec<(String, Vec<Part>)>,
    #[serde(default)]
    pub timestamp: Timestamp,
}

/// A piece of a text that is put together for each call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Literal(String),
    Method,
    Host,
    Path,
    Query,
    /// Path and query, as they stand in the request line.
    Target,
    Timestamp,
    Nonce,
    Body,
    BodySha256,
    BodySha256Base64,
    Field(String),
    Header(String),
    Signature,
    /// Base64 of a field, `:` and the signature, as HTTP Basic has it.
    BasicSignature(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEncoding {
    #[default]
    Text,
    Hex,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    Hex,
    Base64,
    Base64url,
    /// Base64 of the hexadecimal digits, as some have WSSE.
    HexBase64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timestamp {
    #[default]
    Unix,
    UnixMs,
    Rfc3339,
    HttpDate,
}

fn named_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(HeaderName, Vec<Part>)>, D::Error> {
    let named = Vec::<(String, Vec<Part>)>::deserialize(deserializer)?;
    let parsed = named.into_iter().map(|(name, parts)| {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| serde::de::Error::custom("not a header name"))?;
        Ok((name, parts))
    });
    parsed.collect()
}

/// What is the same in all texts of one call.
struct Call<'c> {
    lease: &'c Lease,
    request: &'c Unsigned<'c>,
    query: Option<String>,
    timestamp: String,
    nonce: String,
    signature: Option<String>,
}

impl HmacTemplate {
    pub fn covers_body(&self) -> bool {
        let texts =
            self.headers.iter().map(|(_, parts)| parts).chain(self.query.iter().map(|(_, parts)| parts));
        texts
            .chain([&self.message])
            .flatten()
            .any(|part| matches!(part, Part::Body | Part::BodySha256 | Part::BodySha256Base64))
    }

    pub fn sign(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<Option<String>, Refusal> {
        self.sign_with(lease, request, headers, nonce()?)
    }

    pub(super) fn sign_with(
        &self,
        lease: &Lease,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
        nonce: String,
    ) -> Result<Option<String>, Refusal> {
        let mut call = Call {
            lease,
            request,
            query: request.query.map(str::to_owned),
            timestamp: self.timestamp.written(request.now_ms),
            nonce,
            signature: None,
        };
        let mut added = Vec::new();
        let (after, before): (Vec<_>, Vec<_>) = self.query.iter().partition(|(_, parts)| {
            parts.iter().any(|part| matches!(part, Part::Signature | Part::BasicSignature(_)))
        });
        for (name, parts) in before {
            call.add(name, parts, headers, &mut added)?;
        }
        let message = call.text(&self.message, headers)?;
        let made = match &self.key {
            Some(key) => self.hash.keyed(&self.key_encoding.decoded(field(lease, key)?)?, &message),
            None => self.hash.plain(&message),
        };
        call.signature = Some(match self.output {
            Output::Hex => hex(&made),
            Output::Base64 => BASE64_STANDARD.encode(made),
            Output::Base64url => BASE64_URL_SAFE_NO_PAD.encode(made),
            Output::HexBase64 => BASE64_STANDARD.encode(hex(&made)),
        });
        for (name, parts) in after {
            call.add(name, parts, headers, &mut added)?;
        }
        for (name, parts) in &self.headers {
            let value = call.text(parts, headers)?;
            let value = std::str::from_utf8(&value)
                .map_err(|_| unusable("The signature's header field is no text.".to_owned()))?;
            set(headers, name.clone(), value)?;
        }
        Ok((!added.is_empty()).then(|| added.join("&")))
    }
}

impl Call<'_> {
    fn add(
        &mut self,
        name: &str,
        parts: &[Part],
        headers: &HeaderMap,
        added: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let pair = format!("{}={}", escaped(name.as_bytes()), escaped(&self.text(parts, headers)?));
        self.query = Some(match self.query.take() {
            Some(query) if !query.is_empty() => format!("{query}&{pair}"),
            _ => pair.clone(),
        });
        added.push(pair);
        Ok(())
    }

    fn text(&self, parts: &[Part], headers: &HeaderMap) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let request = self.request;
        let query = self.query.as_deref();
        let body = || request.body.ok_or_else(|| Refusal::new(Code::Internal, "The body was not gathered."));
        let signature = || {
            self.signature
                .as_deref()
                .ok_or_else(|| Refusal::new(Code::Internal, "There is no signature yet."))
        };
        let mut text = Zeroizing::new(Vec::new());
        for part in parts {
            match part {
                Part::Literal(literal) => text.extend_from_slice(literal.as_bytes()),
                Part::Method => text.extend_from_slice(request.method.as_str().as_bytes()),
                Part::Host => text.extend_from_slice(request.authority.as_bytes()),
                Part::Path => text.extend_from_slice(request.path.as_bytes()),
                Part::Query => text.extend_from_slice(query.unwrap_or_default().as_bytes()),
                Part::Target => {
                    text.extend_from_slice(request.path.as_bytes());
                    if let Some(query) = query {
                        text.push(b'?');
                        text.extend_from_slice(query.as_bytes());
                    }
                }
                Part::Timestamp => text.extend_from_slice(self.timestamp.as_bytes()),
                Part::Nonce => text.extend_from_slice(self.nonce.as_bytes()),
                Part::Body => text.extend_from_slice(body()?),
                Part::BodySha256 => text.extend_from_slice(sha256_hex(body()?).as_bytes()),
                Part::BodySha256Base64 => {
                    text.extend_from_slice(BASE64_STANDARD.encode(Hash::Sha256.plain(body()?)).as_bytes());
                }
                Part::Field(name) => text.extend_from_slice(field(self.lease, name)?),
                Part::Header(name) => {
                    let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
                    text.extend_from_slice(value);
                }
                Part::Signature => text.extend_from_slice(signature()?.as_bytes()),
                Part::BasicSignature(name) => {
                    let pair = Zeroizing::new(format!("{}:{}", text_field(self.lease, name)?, signature()?));
                    text.extend_from_slice(BASE64_STANDARD.encode(pair.as_bytes()).as_bytes());
                }
            }
        }
        Ok(text)
    }
}

impl KeyEncoding {
    fn decoded(self, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let decoded = match self {
            Self::Text => Some(key.to_vec()),
            Self::Base64 => BASE64_STANDARD.decode(key).ok(),
            Self::Hex => unhex(key),
        };
        decoded.map(Zeroizing::new).ok_or_else(|| {
            unusable("The key is not encoded as the provider is declared: connect it again.".to_owned())
        })
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

impl Timestamp {
    fn written(self, now_ms: u64) -> String {
        match self {
            Self::Unix => (now_ms / 1000).to_string(),
            Self::UnixMs => now_ms.to_string(),
            Self::Rfc3339 => rfc3339(now_ms / 1000),
            Self::HttpDate => {
                let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(now_ms);
                httpdate::fmt_http_date(at)
            }
        }
    }
}
