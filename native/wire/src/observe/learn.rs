//! What of the shapes is told: what several calls had. A name that came once may be data, and stays here.
//!
//! Only in memory, bounded, and only until it is told or the process ends.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::Names;
use super::places::{Kind, places};
use super::{Counts, Shape};
use crate::event::Event;

/// In how many sampled calls something must have stood before it is told.
pub const CALLS_MIN: u32 = 3;
/// Of one client.
const OPERATIONS_MAX: usize = 500;
/// Of one operation.
const PLACES_MAX: usize = 1_000;

/// Knows what was seen; one thread has it.
#[derive(Debug, Default)]
pub struct Learner {
    /// By client, provider and operation: what one client sends makes no name of another's known.
    operations: HashMap<[Arc<str>; 3], Operation>,
}

#[derive(Debug, Default)]
struct Operation {
    names: Names,
    seen: HashMap<(Box<str>, Kind), Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Since it was told last.
    count: u32,
    marks: Counts,
    is_told: bool,
}

impl Learner {
    /// Put into a call's event what may be told of the shapes that it and calls before it had.
    pub fn learn(&mut self, event: &mut Event) {
        let Some(sample) = event.observed.take() else { return };
        let (Some(client), Some(provider), Some(operation)) =
            (&event.client, &event.provider, &event.operation)
        else {
            return;
        };
        let key = [client, provider, operation].map(Arc::clone);
        if self.operations.len() >= OPERATIONS_MAX && !self.operations.contains_key(&key) {
            return;
        }
        let operation = self.operations.entry(key).or_default();
        event.shapes.push(Shape { at: "".into(), kind: Kind::Call, count: 1, marks: Counts::default() });
        for ((at, kind), marks) in places(&sample, &mut operation.names, CALLS_MIN) {
            let key = (at.into_boxed_str(), kind);
            let Some(seen) = operation.seen(&key) else { continue };
            seen.count += 1;
            seen.marks.add(marks);
            if seen.is_told || seen.count >= CALLS_MIN {
                seen.is_told = true;
                let (count, marks) = (std::mem::take(&mut seen.count), std::mem::take(&mut seen.marks));
                event.shapes.push(Shape { at: key.0, kind, count, marks });
            }
        }
    }
}

impl Operation {
    /// None where there is no room for one more place.
    fn seen(&mut self, key: &(Box<str>, Kind)) -> Option<&mut Seen> {
        if self.seen.len() >= PLACES_MAX && !self.seen.contains_key(key) {
            self.seen.retain(|_, seen| seen.is_told);
            if self.seen.len() >= PLACES_MAX {
                return None;
            }
        }
        Some(self.seen.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Sample;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    fn event(client: &str, body: &str) -> Event {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut sample = Sample::of(None, &headers);
        sample.put(Some(Bytes::copy_from_slice(body.as_bytes())));
        Event {
            client: Some(client.into()),
            provider: Some("crm".into()),
            operation: Some("PostPeople".into()),
            observed: Some(Box::new(sample)),
            ..Event::default()
        }
    }

    fn told(learner: &mut Learner, client: &str, body: &str) -> Vec<(String, u32)> {
        let mut event = event(client, body);
        learner.learn(&mut event);
        assert!(event.observed.is_none());
        event.shapes.iter().map(|shape| (shape.at.to_string(), shape.count)).collect()
    }

    fn shapes(of: &[(&str, u32)]) -> Vec<(String, u32)> {
        of.iter().map(|(at, count)| ((*at).to_owned(), *count)).collect()
    }

    #[test]
    fn a_place_is_told_when_several_calls_had_it_with_all_of_them_counted() {
        let mut learner = Learner::default();
        let email = r#"{"email":"a@b.example"}"#;
        for (client, expected) in [
            ("acme", shapes(&[("", 1)])),
            ("acme", shapes(&[("", 1)])),
            ("globex", shapes(&[("", 1)])),
            ("acme", shapes(&[("", 1), ("body $.email", 3)])),
            ("acme", shapes(&[("", 1), ("body $.email", 1)])),
            ("globex", shapes(&[("", 1)])),
        ] {
            assert_eq!(told(&mut learner, client, email), expected);
        }
    }

    #[test]
    fn names_that_come_once_are_never_told_and_leave_room_for_others() {
        let mut learner = Learner::default();
        let letter = |n: u32| char::from_u32(u32::from('a') + n % 26).unwrap_or('a');
        let letters = |n: u32| format!("{}{}", letter(n), letter(n / 26));
        for number in 0..600 {
            let body = format!(r#"{{"id":1,"of_{}":{{"mark_{}":1}}}}"#, letters(number), letters(number / 2));
            for (at, _) in told(&mut learner, "acme", &body) {
                assert!(
                    ["", "body $.id", "body $.*.*"].contains(&&*at) || at.starts_with("body $.*.mark_"),
                    "{at}"
                );
            }
        }
        assert!(told(&mut learner, "acme", r#"{"id":1}"#).contains(&("body $.id".to_owned(), 1)));
    }

    #[test]
    fn an_event_is_written_with_shapes_and_without_values() {
        let mut learner = Learner::default();
        let mut last = String::new();
        for _ in 0..3 {
            let mut event = event("acme", r#"{"email":"jane@example.com"}"#);
            learner.learn(&mut event);
            last = serde_json::to_string(&event).expect("an event");
            assert!(!last.contains("jane") && !last.contains("observed"));
        }
        let written = r#"{"at":"body $.email","kind":"string","count":3,"marks":{"email":3}}"#;
        assert!(last.contains(written), "{last}");
        assert!(!serde_json::to_string(&Event::default()).expect("an event").contains("shapes"));
    }
}
