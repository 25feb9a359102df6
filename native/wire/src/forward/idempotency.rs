//! Have a call carry a key by which the provider knows it again.
//!
//! Runs before `attach`, so that what is signed has the key. The consumer's own key is respected; where
//! there is none and the declaration says so, one is made, once for all tries. A request that cannot be
//! given a key without doubt is left as it is, and is then not sent again.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::body::{KEPT_MAX, RequestBody};
use crate::error::Refusal;
use crate::forward::deadline::Limits;
use crate::forward::rules::{FieldName, Idempotency, KeyPlace};
use crate::route::path::decode_name;

/// Fields by which a body is proven: a body that has them is not changed.
const PROVES_BODY: [&str; 4] = ["content-digest", "digest", "content-md5", "signature"];

/// A call's query, when a key is added to it.
pub type KeyedQuery = Option<String>;

/// Whether the call now has a key. `fresh` is the key to be used where there is none.
pub async fn ensure_key(
    convention: &Idempotency,
    parts: &mut Parts,
    query: Option<&str>,
    keyed: &mut KeyedQuery,
    body: &mut RequestBody,
    fresh: [u8; 16],
    limits: &Limits,
) -> Result<bool, Refusal> {
    match &convention.place {
        KeyPlace::Header(FieldName(name)) => {
            Ok(in_header(name, &mut parts.headers, convention.generate, fresh))
        }
        KeyPlace::Query(name) => Ok(in_query(name, query, keyed, convention.generate, fresh)),
        KeyPlace::Body(name) => {
            if !is_plain_json(&parts.headers) || body.exact_bytes().is_none_or(|bytes| bytes > KEPT_MAX) {
                return Ok(false);
            }
            let max = usize::try_from(KEPT_MAX).unwrap_or(usize::MAX);
            let whole = body.gather(max, limits).await?;
            match member(&whole, name) {
                Member::Given => Ok(true),
                Member::Absent if convention.generate => {
                    let Some(changed) = with_member(&whole, name, &uuid(fresh)) else { return Ok(false) };
                    if parts.headers.contains_key(CONTENT_LENGTH) {
                        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(changed.len()));
                    }
                    body.replace(changed);
                    Ok(true)
                }
                Member::Absent | Member::Unclear => Ok(false),
            }
        }
    }
}

fn in_header(name: &HeaderName, headers: &mut HeaderMap, generate: bool, fresh: [u8; 16]) -> bool {
    let mut given = headers.get_all(name).iter();
    match (given.next(), given.next()) {
        (Some(key), None) => !key.is_empty(),
        (None, _) if generate => {
            headers.insert(name, crate::headers::value(&uuid(fresh)));
            true
        }
        (Some(_), Some(_)) | (None, _) => false,
    }
}

fn in_query(
    name: &str,
    query: Option<&str>,
    keyed: &mut KeyedQuery,
    generate: bool,
    fresh: [u8; 16],
) -> bool {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut given = pairs.filter(|(own, _)| decode_name(own) == name).map(|(_, value)| value);
    match (given.next(), given.next()) {
        (Some(key), None) => !key.is_empty(),
        (None, _) if generate => {
            let before = query.filter(|query| !query.is_empty());
            let before = before.map(|query| format!("{query}&")).unwrap_or_default();
            *keyed = Some(format!("{before}{name}={}", uuid(fresh)));
            true
        }
        (Some(_), Some(_)) | (None, _) => false,
    }
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json"))
        && !headers.contains_key(CONTENT_ENCODING)
        && !PROVES_BODY.iter().any(|name| headers.contains_key(*name))
}

/// What a JSON object has under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Member {
    Given,
    Absent,
    /// It is no object, has the name twice, or something under it that is no key.
    Unclear,
}

/// Look for a member of the outermost object; names are compared as they decode.
pub fn member(json: &[u8], name: &str) -> Member {
    let mut reader = serde_json::Deserializer::from_slice(json);
    match Lookup(name).deserialize(&mut reader).and_then(|found| reader.end().map(|()| found)) {
        Ok(found) => found,
        Err(_) => Member::Unclear,
    }
}

/// The same object with one more member, first; None where it is no object.
pub fn with_member(json: &[u8], name: &str, value: &str) -> Option<Bytes> {
    let opening = json.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| json[*at] == b'{')?;
    let rest = &json[opening + 1..];
    let empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let added = format!("{}:{}", Value::from(name), Value::from(value));
    let mut whole = Vec::with_capacity(json.len() + added.len() + 1);
    whole.extend_from_slice(&json[..=opening]);
    whole.extend_from_slice(added.as_bytes());
    if !empty {
        whole.push(b',');
    }
    whole.extend_from_slice(rest);
    Some(whole.into())
}

struct Lookup<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Lookup<'_> {
    type Value = Member;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Lookup<'_> {
    type Value = Member;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        let mut found = Member::Absent;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if *name != *self.0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Value = map.next_value()?;
            let is_key = value.as_str().is_some_and(|key| !key.is_empty());
            found = if found == Member::Absent && is_key { Member::Given } else { Member::Unclear };
        }
        Ok(found)
    }
}

/// A key of 122 bits of chance, in the form of RFC 9562 §5.4.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_stands_and_nowhere_else() {
        let found = |json: &str| member(json.as_bytes(), "idempotency_key");
        assert_eq!(found(r#"{"amount": 1, "idempotency_key": "a"}"#), Member::Given);
        assert_eq!(found(r#"{"idempotency\u005fkey": "a"}"#), Member::Given);
        assert_eq!(found(r#"{"inner": {"idempotency_key": "a"}}"#), Member::Absent);
        assert_eq!(found("{}"), Member::Absent);
        for json in [
            "",
            "[]",
            "null",
            r#"{"idempotency_key": ""}"#,
            r#"{"idempotency_key": null}"#,
            r#"{"idempotency_key": 7}"#,
            r#"{"idempotency_key": "a", "idempotency_key": "b"}"#,
            r#"{"idempotency_key": "a"} {}"#,
            r#"{"a": 1"#,
        ] {
            assert_eq!(found(json), Member::Unclear, "{json}");
        }
    }

    #[test]
    fn a_member_is_added_and_the_rest_stays_to_the_byte() {
        let added = |json: &str| with_member(json.as_bytes(), "key", "k");
        assert_eq!(added(" {\"a\": 1e400}").expect("an object"), " {\"key\":\"k\",\"a\": 1e400}");
        assert_eq!(added("{ }").expect("an object"), "{\"key\":\"k\" }");
        assert_eq!(added("[]"), None);
        assert_eq!(added(""), None);
    }

    #[test]
    fn a_query_gets_a_key_and_keeps_its_own() {
        let mut keyed = None;
        assert!(in_query("requestId", Some("a=1"), &mut keyed, true, [7; 16]));
        assert_eq!(keyed.as_deref(), Some("a=1&requestId=07070707-0707-4707-8707-070707070707"));
        let mut keyed = None;
        assert!(in_query("requestId", Some("request%49d=x"), &mut keyed, true, [7; 16]));
        assert!(!in_query("requestId", Some("requestId=x&requestId=y"), &mut keyed, true, [7; 16]));
        assert!(!in_query("requestId", None, &mut keyed, false, [7; 16]));
        assert_eq!(keyed, None);
    }
}
