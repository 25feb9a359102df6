//! Make an answer of what is stored: its age, its conditions (RFC 9110 §13), one range of it (§14).

use std::ops::Range;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{Method, Response, StatusCode, response};

use crate::cache::date;
use crate::cache::entry::Entry;

/// A whole answer, ready but for its references to places at the provider.
pub struct Served {
    pub parts: response::Parts,
    pub body: Bytes,
}

pub fn serve(entry: &Entry, method: &Method, request: &HeaderMap, now: Instant) -> Served {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = entry.status;
    parts.headers = entry.headers.clone();
    parts.headers.insert(AGE, HeaderValue::from(entry.age(now).as_secs()));
    let selects = entry.status == StatusCode::OK && matches!(*method, Method::GET | Method::HEAD);
    if selects && is_unchanged(entry, request) {
        return unchanged(parts);
    }
    let mut body = entry.body.clone();
    if selects && *method == Method::GET {
        let whole = body.len();
        match asked_part(entry, request) {
            Part::Whole => {}
            Part::Range(range) => {
                let said = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                body = body.slice(range);
                parts.status = StatusCode::PARTIAL_CONTENT;
                insert(&mut parts, CONTENT_RANGE, &said);
            }
            Part::None => {
                body = Bytes::new();
                parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
                insert(&mut parts, CONTENT_RANGE, &format!("bytes */{whole}"));
                remove_content_fields(&mut parts);
            }
        }
    }
    if entry.status != StatusCode::NO_CONTENT {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if *method == Method::HEAD {
        body = Bytes::new();
    }
    Served { parts, body }
}

fn insert(parts: &mut response::Parts, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        parts.headers.insert(name, value);
    }
}

fn remove_content_fields(parts: &mut response::Parts) {
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
}

fn unchanged(mut parts: response::Parts) -> Served {
    parts.status = StatusCode::NOT_MODIFIED;
    remove_content_fields(&mut parts);
    Served { parts, body: Bytes::new() }
}

/// Whether the consumer has this answer already: `If-None-Match` first, dates only without it.
fn is_unchanged(entry: &Entry, request: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tags = request.get_all(IF_NONE_MATCH).iter();
        return tags
            .flat_map(|line| entity_tags(line.as_bytes()))
            .any(|tag| tag == b"*" || entry.etag().is_some_and(|known| weak(known.as_bytes()) == weak(tag)));
    }
    let now = SystemTime::now();
    let since = request.get(IF_MODIFIED_SINCE).and_then(|value| date::read(value, now));
    let changed = entry.headers.get(LAST_MODIFIED).or_else(|| entry.headers.get(DATE));
    match (since, changed.and_then(|value| date::read(value, now))) {
        (Some(since), Some(changed)) => changed <= since,
        _ => false,
    }
}

/// The tags of one line; a comma may stand inside a tag.
fn entity_tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// What of an answer is asked for.
enum Part {
    Whole,
    Range(Range<usize>),
    /// A part that it does not have.
    None,
}

/// Several ranges, and what is no range, are the whole: a `Range` may be passed over (RFC 9110 §14.2).
fn asked_part(entry: &Entry, request: &HeaderMap) -> Part {
    let holds = request.get(IF_RANGE).is_none_or(|condition| still(entry, condition));
    match range(entry.body.len(), request).filter(|_| holds) {
        None => Part::Whole,
        Some(range) if range.start < range.end => Part::Range(range),
        Some(_) => Part::None,
    }
}

fn range(length: usize, request: &HeaderMap) -> Option<Range<usize>> {
    let asked = request.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = asked.split_once('-')?;
    let number = |text: &str| -> Option<usize> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    if first.is_empty() {
        return Some(length.saturating_sub(number(last)?)..length);
    }
    let first = number(first)?;
    let last = if last.is_empty() { usize::MAX } else { number(last)? };
    (first <= last).then(|| first..last.saturating_add(1).min(length))
}

/// `If-Range` holds for a strong tag, or for the very date (RFC 9110 §13.1.5).
fn still(entry: &Entry, condition: &HeaderValue) -> bool {
    let bytes = condition.as_bytes();
    if bytes.starts_with(b"\"") {
        return entry.etag().is_some_and(|known| known.as_bytes() == bytes);
    }
    !bytes.starts_with(b"W/") && entry.last_modified().is_some_and(|known| known.as_bytes() == bytes)
}
