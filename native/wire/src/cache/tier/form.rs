//! An answer as bytes: what it says, and when it was asked for. It is sealed as a whole.
//!
//! A head in JSON, its length before it, and the body as it is. What is read was sealed by a gateway of this
//! installation; it is read as if it was not.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::cache::entry::{Account, Entry, Exchange, Label, Terms};
use crate::cache::rules::Rules;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Head {
    /// Answers differ by these fields, each stands at a place of its own.
    Varies(Vec<String>),
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        vary: Vec<String>,
        /// By the clock of the gateway that fetched it (Unix milliseconds).
        sent_ms: u64,
        received_ms: u64,
        initial_age_ms: u64,
        places: Vec<u64>,
    },
}

/// What stood at a place.
pub enum Content {
    Varies(Vec<HeaderName>),
    Answer(Box<Plain>),
}

/// An answer that another gateway fetched.
pub struct Plain {
    status: StatusCode,
    headers: HeaderMap,
    vary: Box<[HeaderName]>,
    sent: Instant,
    received: Instant,
    received_at: SystemTime,
    initial_age: Duration,
    places: Box<[u64]>,
    body: Bytes,
}

pub fn write_varies(names: &[HeaderName]) -> Option<Vec<u8>> {
    written(&Head::Varies(names.iter().map(ToString::to_string).collect()), &[])
}

/// None where a field is no text.
pub fn write(entry: &Entry) -> Option<Vec<u8>> {
    let clocks = Clocks::now();
    let headers: Option<Vec<(String, String)>> = entry
        .headers
        .iter()
        .map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let head = Head::Answer {
        status: entry.status.as_u16(),
        headers: headers?,
        vary: entry.vary.iter().map(ToString::to_string).collect(),
        sent_ms: clocks.unix_ms(entry.terms.sent),
        received_ms: clocks.unix_ms(entry.terms.since),
        initial_age_ms: milliseconds(entry.terms.initial_age),
        places: entry.label.places.to_vec(),
    };
    written(&head, &entry.body)
}

fn written(head: &Head, body: &[u8]) -> Option<Vec<u8>> {
    let head = serde_json::to_vec(head).ok()?;
    let length = u32::try_from(head.len()).ok()?;
    Some([&length.to_be_bytes(), head.as_slice(), body].concat())
}

pub fn read(plain: Vec<u8>) -> Option<Content> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let head = serde_json::from_slice(rest.get(..length)?).ok()?;
    let names = |names: Vec<String>| -> Option<Vec<HeaderName>> {
        names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
    };
    match head {
        Head::Varies(fields) => Some(Content::Varies(names(fields)?)),
        Head::Answer { status, headers: fields, vary, sent_ms, received_ms, initial_age_ms, places } => {
            let clocks = Clocks::now();
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                headers.append(name, HeaderValue::from_str(&value).ok()?);
            }
            Some(Content::Answer(Box::new(Plain {
                status: StatusCode::from_u16(status).ok()?,
                headers,
                vary: names(vary)?.into(),
                sent: clocks.instant(sent_ms)?,
                received: clocks.instant(received_ms)?,
                received_at: UNIX_EPOCH.checked_add(Duration::from_millis(received_ms))?,
                initial_age: Duration::from_millis(initial_age_ms),
                places: places.into(),
                body: Bytes::from(plain).slice(4 + length..),
            })))
        }
    }
}

impl Plain {
    pub fn vary(&self) -> &[HeaderName] {
        &self.vary
    }

    /// The stored answer that it is here; `label` says whose, and knows no places yet.
    pub fn into_entry(self, rules: &Rules, label: Label, account: Arc<Account>) -> Entry {
        let exchange = Exchange { sent: self.sent, received: self.received, received_at: self.received_at };
        let mut terms = Terms::read(self.status, &self.headers, rules, exchange);
        terms.initial_age = terms.initial_age.max(self.initial_age);
        let label = Label { places: self.places, ..label };
        Entry::new(self.status, self.headers, self.body, self.vary, terms, label, account)
    }
}

/// One moment on both clocks.
struct Clocks {
    now: Instant,
    unix: Duration,
}

impl Clocks {
    fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), unix }
    }

    fn unix_ms(&self, at: Instant) -> u64 {
        milliseconds(self.unix.saturating_sub(self.now.saturating_duration_since(at)))
    }

    /// What another clock calls the future is now.
    fn instant(&self, unix_ms: u64) -> Option<Instant> {
        self.now.checked_sub(self.unix.saturating_sub(Duration::from_millis(unix_ms)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Parts;

    fn entry(age: Duration) -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
        headers.append("x", HeaderValue::from_static("1"));
        headers.append("x", HeaderValue::from_static("2"));
        let now = Instant::now();
        let then = now.checked_sub(age).expect("a moment");
        let exchange = Exchange { sent: then, received: then, received_at: SystemTime::now() - age };
        let terms = Terms::read(StatusCode::OK, &headers, &Rules::default(), exchange);
        let body = Bytes::from_static(b"body");
        let vary = vec![HeaderName::from_static("accept")].into();
        Entry::new(StatusCode::OK, headers, body, vary, terms, label(&[7]), Arc::default())
    }

    fn label(places: &[u64]) -> Label {
        let key = Parts::new().key();
        let names: Arc<str> = "there".into();
        Label {
            key,
            primary: key,
            client: None,
            provider: Arc::clone(&names),
            operation: names,
            places: places.into(),
        }
    }

    #[test]
    fn an_answer_is_the_same_and_as_old_at_another_gateway() {
        let sent = entry(Duration::from_secs(20));
        let Some(Content::Answer(plain)) = read(write(&sent).expect("written")) else { panic!("an answer") };
        let taken = plain.into_entry(&Rules::default(), label(&[]), Arc::default());
        assert_eq!((taken.status, &taken.headers, &taken.body), (sent.status, &sent.headers, &sent.body));
        assert_eq!((&*taken.vary, &*taken.label.places), (&*sent.vary, &[7][..]));
        let now = Instant::now();
        let difference = taken.age(now).abs_diff(sent.age(now));
        assert!(difference < Duration::from_millis(50), "{difference:?}");
        assert_eq!(taken.terms.lifetime, Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let whole = write(&entry(Duration::ZERO)).expect("written");
        for plain in [&[][..], &[0, 0, 0], &[0xff; 64], &whole[..40], b"\0\0\0\x02{}"] {
            assert!(read(plain.to_vec()).is_none());
        }
        assert!(matches!(read(write_varies(&[]).expect("written")), Some(Content::Varies(_))));
    }
}
