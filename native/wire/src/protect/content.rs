//! A request's body under a policy: which of the forms it knows it has, and its bytes written anew.
//!
//! What says of itself two things, or a thing that the policy has no rules for, is refused: a provider may believe
//! the other one.

use std::fmt::{self, Display, Formatter};
use std::io::Read;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::act::{Outcome, Value};
use super::named::{self, Kind};
use super::policy::Policy;
use super::selector::{BodyKind, Target};
use super::signals::NOWHERE;
use super::told::{Breach, Place, Told};
use super::{csv, document, graphql, multipart, xml};
use crate::error::Code;
use crate::sign::digest::Hash;

/// How much larger a body may become than its compressed form (RFC 1952): more is a bomb.
const RATIO_MAX: usize = 20;
/// A body of this size may be inflated whatever the ratio: repetitive ones are that short.
const INFLATED_FREE: usize = 4 << 10;

/// Of a body that is JSON in lines.
const LINES_MAX: usize = 10_000;
const LINE_BYTES_MAX: usize = 256 << 10;
/// Of a file that says no more of itself.
pub const OF_FILES: &str = "application/octet-stream";

/// A body that goes out.
#[derive(Debug)]
pub struct Content {
    pub body: Bytes,
    /// What it says of itself; None where that is what it said.
    pub media_type: Option<HeaderValue>,
}

/// The body that goes out in the place of `body`; empty ones are as they are.
pub fn rewrite(headers: &HeaderMap, body: &[u8], told: &mut Told<'_>) -> Result<Option<Content>, Breach> {
    let signals = told.policy.signals();
    let nowhere = || Breach::new(Code::Unparseable, NOWHERE);
    if body.is_empty() {
        return if signals.is_some() { Err(nowhere()) } else { Ok(None) };
    }
    let (kind, media_type) = kind_of(headers, told.policy)?;
    let inflated = inflate(headers, body, told.policy)?;
    let body = inflated.as_deref().unwrap_or(body);
    let body = match kind {
        BodyKind::Json => document::rewrite(body, told)?,
        _ if signals.is_some() => return Err(nowhere()),
        BodyKind::Lines => lines(body, told)?,
        BodyKind::Graphql => graphql::rewrite(body, told)?,
        BodyKind::Form => {
            let text = std::str::from_utf8(body)
                .map_err(|_| Breach::new(Code::Unparseable, "The form is not UTF-8."))?;
            named::rewrite(Kind::Form, text, told)?.into_bytes()
        }
        BodyKind::Table => csv::rewrite(&media_type, body, told)?,
        BodyKind::Xml => xml::rewrite(body, told)?,
        BodyKind::File => return file(body, told).map(Some),
        BodyKind::Parts => return multipart::rewrite(&media_type, body, told).map(Some),
    };
    Ok(Some(Content { body: body.into(), media_type: None }))
}

/// JSON in lines, each a document of its own.
pub fn lines(body: &[u8], told: &mut Told<'_>) -> Result<Vec<u8>, Breach> {
    let unparseable = |why: &str| Breach::new(Code::Unparseable, why.to_owned());
    let mut written = Vec::with_capacity(body.len());
    for (number, line) in body.strip_suffix(b"\n").unwrap_or(body).split(|b| *b == b'\n').enumerate() {
        if number == LINES_MAX {
            return Err(unparseable("The body has more than 10,000 lines."));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(unparseable("The body has a line of more than 256 KiB."));
        }
        // A carriage return is a space to some and ends a line to others.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') {
            return Err(unparseable("The body has a carriage return within a line."));
        }
        written.extend(document::rewrite(line, told)?);
        written.push(b'\n');
    }
    Ok(written)
}

/// A body as one file: nothing of it is read.
fn file(body: &[u8], told: &mut Told<'_>) -> Result<Content, Breach> {
    let rule = told.policy.rules.iter().position(|rule| matches!(rule.target, Target::File));
    let body = match told.act(rule, Value::Bytes(body), &Place::named("file", "*"))? {
        Outcome::File(file) => file.into(),
        Outcome::Same => Bytes::copy_from_slice(body),
        Outcome::Gone | Outcome::New(_) => Bytes::new(),
    };
    Ok(Content { body, media_type: Some(HeaderValue::from_static(OF_FILES)) })
}

fn kind_of(headers: &HeaderMap, policy: &Policy) -> Result<(BodyKind, MediaType), Breach> {
    let unparseable = |why: String| Breach::new(Code::Unparseable, why);
    let value = one(headers, &CONTENT_TYPE)?
        .ok_or_else(|| unparseable("The body has no `Content-Type`, so that nobody can read it.".into()))?;
    let media_type = MediaType::read(value).ok_or_else(|| {
        unparseable("The `Content-Type` is not `type/subtype` with plain parameters, in UTF-8.".into())
    })?;
    let kind = media_type.body_kind().map(|kind| match kind {
        BodyKind::Json if policy.reads(BodyKind::Graphql) => BodyKind::Graphql,
        kind => kind,
    });
    let is_read =
        |kind: &BodyKind| policy.reads(if *kind == BodyKind::Lines { BodyKind::Json } else { *kind });
    if let Some(kind) = kind.into_iter().chain([BodyKind::File]).find(is_read) {
        return Ok((kind, media_type));
    }
    let known = BodyKind::ALL.into_iter().filter(|(kind, _)| policy.reads(*kind));
    let known: Vec<&str> = known.map(|(_, name)| name).collect();
    let known = if known.is_empty() { "no body".to_owned() } else { known.join(" and ") };
    Err(unparseable(format!(
        "Policy `{}` has rules for {known}, and none for this `Content-Type`.",
        policy.name
    )))
}

/// A field that may stand once; None where it does not stand.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Breach> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Breach::new(Code::Unparseable, format!("`{name}` stands twice, or is no text."))),
    }
}

/// A media type (RFC 9110 §8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Type and subtype in lower case.
    pub kind: String,
    /// Their names are in lower case.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Of which kind of body, where policies read it.
    pub fn body_kind(&self) -> Option<BodyKind> {
        match self.kind.as_str() {
            "application/x-www-form-urlencoded" => Some(BodyKind::Form),
            "multipart/form-data" => Some(BodyKind::Parts),
            "text/csv" => Some(BodyKind::Table),
            "application/xml" | "text/xml" => Some(BodyKind::Xml),
            kind if kind.ends_with("+xml") => Some(BodyKind::Xml),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Some(BodyKind::Lines),
            _ => self.is_json().then_some(BodyKind::Json),
        }
    }

    /// None where it could be read in two ways, or names a charset other than UTF-8.
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(';');
        let kind = parts.next()?.trim().to_ascii_lowercase();
        let (major, minor) = kind.split_once('/')?;
        if !is_token(major) || !is_token(minor) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for parameter in parts {
            let (name, value) = parameter.trim().split_once('=')?;
            let name = name.to_ascii_lowercase();
            let is_plain = |b: u8| matches!(b, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~') && b != b',';
            let value = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(quoted) => Some(quoted).filter(|text| !text.is_empty() && text.bytes().all(is_plain)),
                None => Some(value).filter(|text| is_token(text)),
            }?;
            if !is_token(&name) || parameters.iter().any(|(known, _)| *known == name) {
                return None;
            }
            if name == "charset" && !value.eq_ignore_ascii_case("utf-8") {
                return None;
            }
            parameters.push((name, value.to_owned()));
        }
        Some(Self { kind, parameters })
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// With its charset alone: what else it says of itself no rule is for.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.parameters.retain_mut(|(name, value)| {
            value.make_ascii_lowercase();
            name == "charset"
        });
        self
    }

    pub fn is_json(&self) -> bool {
        self.kind == "application/json"
            || self.kind.starts_with("application/") && self.kind.ends_with("+json")
    }
}

impl Display for MediaType {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.kind)?;
        self.parameters.iter().try_for_each(|(name, value)| write!(formatter, "; {name}=\"{value}\""))
    }
}

pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-%'*`|~".contains(&b))
}

fn inflate(headers: &HeaderMap, body: &[u8], policy: &Policy) -> Result<Option<Vec<u8>>, Breach> {
    let unparseable = |why: &str| Breach::new(Code::Unparseable, why.to_owned());
    match one(headers, &CONTENT_ENCODING)?.map(|coding| coding.trim().to_ascii_lowercase()).as_deref() {
        None | Some("identity") => return Ok(None),
        Some("gzip" | "x-gzip") => {}
        Some(_) => return Err(unparseable("The body has a `Content-Encoding` other than gzip.")),
    }
    let most = (body.len().saturating_mul(RATIO_MAX)).max(INFLATED_FREE).min(policy.body_bytes);
    let mut decoder = GzDecoder::new(body);
    let mut inflated = Vec::new();
    let read = decoder.by_ref().take(most as u64 + 1).read_to_end(&mut inflated);
    if inflated.len() > most {
        return Err(unparseable(
            "The compressed body is larger than the policy's bound, or more than 20 times its compressed size.",
        ));
    }
    read.map_err(|_| unparseable("The body is not what gzip has written."))?;
    // A second member, which one reader reads on and another leaves out.
    if !decoder.into_inner().is_empty() {
        return Err(unparseable("The compressed body goes on after its end."));
    }
    Ok(Some(inflated))
}

/// Let the header tell of the body that goes out: its length, no coding, its digests (RFC 9530).
pub fn describe(headers: &mut HeaderMap, body: &[u8]) {
    for name in [CONTENT_ENCODING, TRAILER] {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, body.len().into());
    let sha256 = || BASE64_STANDARD.encode(Hash::Sha256.plain(body));
    for name in ["content-digest", "repr-digest"] {
        replace(headers, name, || format!("sha-256=:{}:", sha256()));
    }
    replace(headers, "digest", || format!("SHA-256={}", sha256()));
    replace(headers, "content-md5", || BASE64_STANDARD.encode(md5::compute(body).0));
}

/// Let the header tell nothing of a body that is not yet known: neither its length nor its digests.
pub fn undescribe(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(name);
    }
}

fn replace(headers: &mut HeaderMap, name: &'static str, value: impl Fn() -> String) {
    if headers.contains_key(name) {
        headers.insert(name, HeaderValue::from_str(&value()).unwrap_or(HeaderValue::from_static("")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_where_all_read_it_alike() {
        for (value, kind) in [
            ("application/json", Some("application/json")),
            ("Application/JSON; charset=UTF-8", Some("application/json")),
            ("application/json;charset=\"utf-8\"", Some("application/json")),
            ("application/vnd.api+json; ext=\"https://a.example/b\"", Some("application/vnd.api+json")),
            ("application/json; charset=utf-7", None),
            ("application/json; charset=utf-16", None),
            ("application/json; charset=utf-8; charset=utf-7", None),
            ("application/json, text/plain", None),
            ("application/json; a=b, text/plain", None),
            ("application/json;", None),
            ("application/json; charset", None),
            ("application/json; x=\"a\\\"b\"", None),
            ("multipart/form-data; boundary=a b", None),
            ("multipart/form-data; boundary=a/b", None),
            ("multipart/form-data; boundary=\"a/b\"", Some("multipart/form-data")),
            ("application/", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(MediaType::read(value).map(|read| read.kind).as_deref(), kind, "{value}");
        }
    }
}
