//! Keep the credential from coming back: no consumer sees it, whatever the provider answers.
//!
//! Part of `respond`. Header fields and body are searched as they pass, each piece together with the end of
//! the one before it; what is found is struck out, length for length, or the answer is refused, as the
//! provider is declared. A body with a content coding is looked into but cannot be struck out in: it is cut.

pub mod decoded;
pub mod needles;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Method, StatusCode};
use serde::Deserialize;

pub use needles::Needles;

use crate::error::{Code, Refusal};
use crate::lease::Lease;
use crate::snapshot::Provider;
use decoded::{Coding, Decoded};

/// What stands for a credential that was struck out.
const STRUCK: u8 = b'*';

/// What to do with an answer that has the credential in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoPolicy {
    /// Strike it out and pass the rest on.
    #[default]
    Redact,
    /// Pass nothing on, or nothing more.
    Refuse,
}

/// Why an answer is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Echoed {
    /// This field of the credential is in it.
    Field(Box<str>),
    /// It is larger than its bound when it is decoded.
    TooLarge,
    /// It does not decode.
    Unreadable,
}

impl Echoed {
    /// For the record: what, and never a value.
    pub fn as_text(&self) -> Cow<'static, str> {
        match self {
            Self::Field(field) => format!("credential_echoed: field `{field}`, refused").into(),
            Self::TooLarge => "the answer is larger than its bound when decoded".into(),
            Self::Unreadable => "the answer is not what its Content-Encoding says".into(),
        }
    }

    pub fn refusal(&self) -> Refusal {
        let detail = match self {
            Self::Field(_) => "The provider's answer held the connection's credential.",
            Self::TooLarge => "The provider's answer is larger than its bound.",
            Self::Unreadable => "The provider's answer has a content coding that cannot be looked into.",
        };
        Refusal::new(Code::ResponseRejected, detail).because(self.as_text())
    }
}

/// Ask only for codings that can be looked into; a consumer's wish for others is left out.
pub fn limit_codings(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let wishes: Vec<&str> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let known = |wish: &&str| {
        let name = wish.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("identity") || Coding::named(name).is_some()
    };
    if wishes.iter().all(known) {
        return;
    }
    let kept: Vec<&str> = wishes.into_iter().filter(known).collect();
    let kept = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    headers.insert(ACCEPT_ENCODING, crate::headers::value(&kept));
}

/// The search through one answer.
pub struct Echo {
    lease: Arc<Lease>,
    wanted: Arc<[Box<str>]>,
    policy: EchoPolicy,
    body: Body,
    struck: Option<Box<str>>,
}

enum Body {
    Plain(BytesMut),
    Encoded(Box<Decoded>),
}

impl Echo {
    /// Search the head, and make ready for the body; None where there is nothing to look for.
    pub fn begin(
        lease: Option<&Arc<Lease>>,
        provider: &Provider,
        method: &Method,
        parts: &mut Parts,
    ) -> Result<Option<Self>, Refusal> {
        let Some(lease) =
            lease.filter(|lease| !provider.secret_fields.is_empty() && lease.needles().is_some())
        else {
            return Ok(None);
        };
        let mut echo = Self {
            lease: Arc::clone(lease),
            wanted: Arc::clone(&provider.secret_fields),
            policy: provider.echo,
            body: Body::Plain(BytesMut::new()),
            struck: None,
        };
        echo.strike_headers(&mut parts.headers).map_err(|echoed| echoed.refusal())?;
        let bodyless = *method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !bodyless && let Some(coding) = coding_of(&parts.headers).map_err(|echoed| echoed.refusal())? {
            let bound = provider.bounds.response_body_bytes;
            let decoded = Decoded::new(coding, Arc::clone(lease), Arc::clone(&provider.secret_fields), bound);
            echo.body = Body::Encoded(Box::new(decoded));
        }
        Ok(Some(echo))
    }

    /// The field that was struck out, if one was.
    pub fn struck(&self) -> Option<&str> {
        self.struck.as_deref()
    }

    /// Whether something in the body may end the answer.
    pub fn may_refuse(&self) -> bool {
        self.policy == EchoPolicy::Refuse || matches!(self.body, Body::Encoded(_))
    }

    /// How many bytes wait for what follows them.
    pub fn held(&self) -> usize {
        match &self.body {
            Body::Plain(held) => held.len(),
            Body::Encoded(_) => 0,
        }
    }

    /// Header fields or trailers: each value by itself.
    pub fn strike_headers(&mut self, headers: &mut HeaderMap) -> Result<(), Echoed> {
        let Some(needles) = self.lease.needles() else { return Ok(()) };
        for value in headers.values_mut().filter(|value| value.len() >= needles.shortest()) {
            let mut found = needles.find(value.as_bytes(), 0, &self.wanted);
            if found.is_none() {
                continue;
            }
            let mut bytes = value.as_bytes().to_vec();
            while let Some(place) = found {
                self.struck = Some(place.field.into());
                bytes[place.start..place.end].fill(STRUCK);
                found = needles.find(&bytes, place.end, &self.wanted);
            }
            *value = HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| HeaderValue::from_static("*"));
        }
        self.refused()
    }

    /// The next piece of the body: what of it, and of what was held, may be passed on.
    pub fn pass(&mut self, piece: Bytes, last: bool) -> Result<Bytes, Echoed> {
        let held = match &mut self.body {
            Body::Encoded(decoded) => return decoded.pass(&piece).map(|()| piece),
            Body::Plain(held) => held,
        };
        let Some(needles) = self.lease.needles() else { return Ok(piece) };
        let mut whole = if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(&piece);
            held.split().freeze()
        };
        let mut after = 0;
        if let Some(first) = needles.find(&whole, 0, &self.wanted) {
            let mut bytes = BytesMut::from(&whole[..]);
            let mut found = Some(first);
            while let Some(place) = found {
                self.struck = Some(place.field.into());
                bytes[place.start..place.end].fill(STRUCK);
                after = place.end;
                found = needles.find(&bytes, after, &self.wanted);
            }
            whole = bytes.freeze();
        }
        let begun = if last { 0 } else { needles.begun(&whole, after) };
        if begun > 0 {
            held.extend_from_slice(&whole.split_off(whole.len() - begun));
        }
        self.refused().map(|()| whole)
    }

    /// The body has ended without saying so before: what was held is no credential.
    pub fn rest(&mut self) -> Bytes {
        match &mut self.body {
            Body::Plain(held) => held.split().freeze(),
            Body::Encoded(_) => Bytes::new(),
        }
    }

    fn refused(&self) -> Result<(), Echoed> {
        match &self.struck {
            Some(field) if self.policy == EchoPolicy::Refuse => Err(Echoed::Field(field.clone())),
            _ => Ok(()),
        }
    }
}

/// The one coding of the body; None where there is none.
fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Echoed> {
    let mut names = headers.get_all(CONTENT_ENCODING).iter();
    let Some(name) = names.next() else { return Ok(None) };
    let name = name.to_str().map_err(|_| Echoed::Unreadable)?;
    if names.next().is_some() {
        return Err(Echoed::Unreadable);
    }
    if name.trim().is_empty() || name.trim().eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    Coding::named(name).map(Some).ok_or(Echoed::Unreadable)
}

#[cfg(test)]
mod tests;
