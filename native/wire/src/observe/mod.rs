//! Learn the shapes of what operations without a policy send, where that is asked for: never a value.
//!
//! A call that is sampled passes as it comes; its body, which is kept as a body is that may go out again, is looked
//! at when the call has ended, on the thread that writes records down. [`places`] says where in a request something
//! stands and of which kind it is, [`names`] which names may be told, [`learn`] what of it is, and when. What is told
//! rides on the call's own event. From it `tidegate protect suggest` drafts a policy.

pub mod learn;
pub mod names;
pub mod places;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use places::{Kind, MARKS, Marks};

/// Calls that are looked at in a second, of all operations: records must not wait for it.
const SAMPLES_A_SECOND_MAX: u64 = 50;

/// How many calls of this second are looked at.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

impl Budget {
    /// Whether one more may be; `now` is in Unix seconds.
    pub fn takes(&self, now: u64) -> bool {
        let second = now << 16;
        let more = |count: u64| match count.checked_sub(second) {
            Some(taken) if taken >= SAMPLES_A_SECOND_MAX => None,
            Some(_) => Some(count + 1),
            None => Some(second + 1),
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// What went out of one call. Its `Debug` shows nothing of it.
pub struct Sample {
    query: Option<String>,
    content_type: Option<String>,
    is_coded: bool,
    /// None where it was not kept: it is larger than what is looked at.
    body: Option<Bytes>,
}

impl Sample {
    /// `query` is without what is the credential's.
    pub fn of(query: Option<String>, headers: &HeaderMap) -> Self {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let content_type = types.next().and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            query,
            content_type: content_type.filter(|_| types.next().is_none()),
            is_coded: headers.contains_key(CONTENT_ENCODING),
            body: None,
        }
    }

    pub fn put(&mut self, body: Option<Bytes>) {
        self.body = body;
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sample")
    }
}

/// What stood at one place of some calls: of which kind, how often, and what it looked like how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// A selector, with `*` for indexes and for names that may be data; empty for a call as a whole.
    pub at: Box<str>,
    pub kind: Kind,
    pub count: u32,
    pub marks: Counts,
}

/// How often each mark was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u32; MARKS.len()]);

impl Counts {
    fn add(&mut self, marks: Marks) {
        for (number, count) in self.0.iter_mut().enumerate() {
            *count += u32::from(marks.has(number));
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in MARKS.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            map.serialize_entry(name, &count)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_samples() {
        let budget = Budget::default();
        for second in [1_800_000_000, 1_800_000_001, 1_800_000_007] {
            let taken = (0..200).filter(|_| budget.takes(second)).count() as u64;
            assert_eq!(taken, SAMPLES_A_SECOND_MAX);
        }
    }

    #[test]
    fn a_sample_shows_nothing_of_itself() {
        let mut sample = Sample::of(Some("q=jane".into()), &HeaderMap::new());
        sample.put(Some(Bytes::from_static(b"jane")));
        assert_eq!(format!("{sample:?}"), "Sample");
    }
}
