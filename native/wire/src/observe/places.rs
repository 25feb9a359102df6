//! Where in a request something stands, of which kind it is and what it looks like; by selectors of policies.
//!
//! Read as a policy would read it: what a policy refuses as `unparseable` has no places.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::Serialize;

use super::Sample;
use super::names::Names;
use crate::detect::{self, Detector};
use crate::json::Node;
use crate::protect::content::MediaType;
use crate::protect::generalise::is_day;
use crate::protect::named;
use crate::protect::selector::{BodyKind, parts};

/// Deeper ones are left out, so that every place is one that a rule can select.
const PLACE_MAX: usize = 400;
/// Of one call.
const PLACES_MAX: usize = 500;
/// Of each value.
const LOOKED_AT_BYTES: usize = 2 << 10;
/// A telephone number has so many digits (ITU-T E.164), and one is not written with fewer.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A call as a whole.
    Call,
    /// A body that a policy could not read, or that is too large to be looked at.
    Unread,
    String,
    Number,
    Boolean,
    Null,
    /// Without anything in it.
    Object,
    Array,
}

/// What a value may look like, and `repeated`: its name stands there more than once.
pub const MARKS: [&str; 10] =
    ["pan", "iban", "email", "secret", "jwt", "entropy", "phone", "date", "ip", "repeated"];
const PHONE: usize = 6;
const DATE: usize = 7;
const IP: usize = 8;
const REPEATED: usize = 9;

/// Some of the marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u16);

impl Marks {
    pub fn has(self, number: usize) -> bool {
        self.0 & (1 << number) != 0
    }

    fn put(&mut self, number: usize) {
        self.0 |= 1 << number;
    }

    /// What a value looks like.
    fn of(text: &str) -> Self {
        let end = (0..=LOOKED_AT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let text = &text[..end.unwrap_or_default()];
        let mut marks = Self::default();
        for detector in detect::all(text) {
            marks.put(match detector {
                Detector::Pan => 0,
                Detector::Iban => 1,
                Detector::Email => 2,
                Detector::Secret => 3,
                Detector::Jwt => 4,
                Detector::Entropy => 5,
            });
        }
        for (number, is_one) in [
            (PHONE, is_phone as fn(&str) -> bool),
            (DATE, is_day),
            (IP, |text| text.parse::<IpAddr>().is_ok()),
        ] {
            if is_one(text.trim()) {
                marks.put(number);
            }
        }
        marks
    }
}

/// What begins with the sign of a country code, or is written as national numbers are.
fn is_phone(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    let parted = rest.bytes().filter(|byte| b" -./()".contains(byte)).count();
    let is_national = text.starts_with(['0', '(']) && parted > 0;
    PHONE_DIGITS.contains(&digits)
        && digits + parted == rest.len()
        && (rest.len() < text.len() || is_national)
        && !is_day(text)
        && text.parse::<IpAddr>().is_err()
}

/// What stood where, each place of each kind once.
pub type Found = BTreeMap<(String, Kind), Marks>;

/// Read a sample; `often` is how often makes a name an API's own.
pub fn places(sample: &Sample, names: &mut Names, often: u32) -> Found {
    let mut walk = Walk { names, often, found: Found::new() };
    if let Some(query) = &sample.query {
        walk.pairs(named::Kind::Query, query);
    }
    match &sample.body {
        Some(body) if body.is_empty() => {}
        body => {
            let read = body.as_deref().filter(|_| !sample.is_coded);
            let kind = sample.content_type.as_deref().and_then(MediaType::read);
            let is_read = match (kind.and_then(|kind| kind.body_kind()), read) {
                (Some(BodyKind::Json), Some(body)) => {
                    Node::read(body).map(|root| walk.node(&root, "body $")).is_ok()
                }
                (Some(BodyKind::Form), Some(body)) => {
                    std::str::from_utf8(body).is_ok_and(|text| walk.pairs(named::Kind::Form, text))
                }
                _ => false,
            };
            if !is_read {
                walk.put("body", Kind::Unread, Marks::default());
            }
        }
    }
    walk.found
}

struct Walk<'n> {
    names: &'n mut Names,
    often: u32,
    found: Found,
}

impl Walk<'_> {
    fn put(&mut self, place: &str, kind: Kind, marks: Marks) {
        let is_known = self.found.len() < PLACES_MAX || self.found.contains_key(&(place.to_owned(), kind));
        if place.len() <= PLACE_MAX && is_known {
            self.found.entry((place.to_owned(), kind)).or_default().0 |= marks.0;
        }
    }

    fn node(&mut self, node: &Node<'_>, place: &str) {
        // Nothing below could be told.
        if place.len() > PLACE_MAX {
            return;
        }
        match node {
            Node::Map(members) if !members.is_empty() => {
                for (name, member) in members {
                    let below = if self.names.takes(place, name, self.often) {
                        format!("{place}{}", step(name))
                    } else {
                        format!("{place}.*")
                    };
                    self.node(member, &below);
                }
            }
            Node::List(items) if !items.is_empty() => {
                let below = format!("{place}[*]");
                for item in items {
                    self.node(item, &below);
                }
            }
            Node::Map(_) => self.put(place, Kind::Object, Marks::default()),
            Node::List(_) => self.put(place, Kind::Array, Marks::default()),
            Node::Null => self.put(place, Kind::Null, Marks::default()),
            Node::Bool(_) => self.put(place, Kind::Boolean, Marks::default()),
            Node::Number(digits) => self.put(place, Kind::Number, Marks::of(digits)),
            Node::Text(text) => self.put(place, Kind::String, Marks::of(text)),
        }
    }

    /// Whether they could be read.
    fn pairs(&mut self, kind: named::Kind, raw: &str) -> bool {
        let Ok(pairs) = named::read(kind, raw) else { return false };
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for pair in &pairs {
            *counts.entry(&pair.name).or_default() += 1;
        }
        for pair in &pairs {
            // A bare word may be a value.
            let name = pair.value.as_ref().map_or("", |_| &*pair.name);
            let place = self.named(kind.word(), name);
            let mut marks = Marks::of(pair.value.as_deref().unwrap_or_default());
            if counts.get(&*pair.name).is_some_and(|count| *count > 1) {
                marks.put(REPEATED);
            }
            self.put(&place, Kind::String, marks);
        }
        true
    }

    /// The selector of a name with keys in brackets.
    fn named(&mut self, kind: &str, name: &str) -> String {
        let mut steps = parts(name).unwrap_or_default().into_iter();
        let base = steps.next().filter(|base| self.names.takes(kind, base, self.often));
        let mut place = format!("{kind} {}", base.unwrap_or("*"));
        for key in steps {
            // `a[]` and `a[0]` are lists.
            let is_told = key.is_empty() || self.names.takes(&place, key, self.often);
            place.extend(["[", if is_told { key } else { "*" }, "]"]);
        }
        place
    }
}

/// A step of a `JSONPath` (RFC 9535 §2.5.1); the names that are told need no escapes.
fn step(name: &str) -> String {
    let is_shorthand = !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_shorthand { format!(".{name}") } else { format!("['{name}']") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protect::selector::Selector;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    fn sample(query: Option<&str>, kind: &'static str, body: &[u8]) -> Sample {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        let mut sample = Sample::of(query.map(str::to_owned), &headers);
        sample.put(Some(Bytes::copy_from_slice(body)));
        sample
    }

    fn told(query: Option<&str>, kind: &'static str, body: &str) -> Vec<String> {
        let found = places(&sample(query, kind, body.as_bytes()), &mut Names::default(), 3);
        found
            .into_iter()
            .map(|((place, kind), marks)| {
                let marks = MARKS.iter().enumerate().filter(|(number, _)| marks.has(*number));
                let marks: Vec<&str> = marks.map(|(_, name)| *name).collect();
                format!("{place} {kind:?} {}", marks.join(" ")).trim_end().to_lowercase()
            })
            .collect()
    }

    #[test]
    fn a_document_is_told_by_its_places() {
        let body = r#"{"email":"jane@example.com","born":"1987-05-23","items":[{"sku":1},{"sku":"a"}],"x-y":null,
            "empty":{},"none":[],"ok":true,"phone":"+49 170 1234567","ip":"2001:db8::1","map":{"jane@example.com":1},
            "3d":1,"card":4111111111111111}"#;
        assert_eq!(
            told(None, "application/json", body),
            [
                "body $.born string date",
                "body $.card number pan",
                "body $.email string email",
                "body $.empty object",
                "body $.ip string ip",
                "body $.items[*].sku string",
                "body $.items[*].sku number",
                "body $.map.* number",
                "body $.none array",
                "body $.ok boolean",
                "body $.phone string phone",
                "body $['3d'] number",
                "body $['x-y'] null",
            ]
        );
        assert_eq!(told(None, "application/json", "[]"), ["body $ array"]);
    }

    #[test]
    fn forms_and_queries_are_told_by_their_names() {
        let form =
            "email=a%40b.example&card[number]=1&tags[]=x&tags[]=y&items[0][sku]=1&q=1&q=2&jane@example.com=1";
        assert_eq!(
            told(Some("page=2&jane%40example.com&a]b=1"), "application/x-www-form-urlencoded", form),
            [
                "form * string",
                "form card[number] string",
                "form email string email",
                "form items[*][sku] string",
                "form q string repeated",
                "form tags[] string repeated",
                "query * string",
                "query page string",
            ]
        );
    }

    #[test]
    fn what_a_policy_cannot_read_has_no_places() {
        for (kind, body) in [
            ("application/json", "{\"a\":1,\"a\":2}"),
            ("application/json; charset=utf-16", "{}"),
            ("text/plain", "jane@example.com"),
            ("application/x-www-form-urlencoded", "a=%zz"),
        ] {
            assert_eq!(told(None, kind, body), ["body unread"]);
        }
        assert!(told(None, "text/plain", "").is_empty());
    }

    #[test]
    fn hostile_documents_are_told_within_bounds_and_by_selectors() {
        let deep = format!("{}1{}", "{\"abcdefghijklmnop\":".repeat(60), "}".repeat(60));
        let wide = (0..9_000).map(|number| format!("\"{number}\":[]")).collect::<Vec<_>>().join(",");
        let letters = |n: u32| char::from_u32(u32::from('a') + n % 26).unwrap_or('a');
        let words =
            (0..9_000).map(|n| format!("\"w{}{}{}\":1", letters(n), letters(n / 26), letters(n / 676)));
        let words = words.collect::<Vec<_>>().join(",");
        let keys =
            r#"{"__proto__":{"x":1},"a'] | $..*":1,"a\nb: c":2,"\u001b[31m":3,"\"":4,"\\":5,"*":6,"":7}"#;
        for body in [deep, format!("{{{wide}}}"), format!("{{{words}}}"), keys.to_owned()] {
            let found = places(&sample(None, "application/json", body.as_bytes()), &mut Names::default(), 3);
            assert!(found.len() <= PLACES_MAX);
            for (place, _) in found.keys() {
                assert!(place.parse::<Selector>().is_ok(), "{place}");
                assert!(
                    place.len() <= PLACE_MAX && place.bytes().all(|b| (b' '..=b'~').contains(&b)),
                    "{place}"
                );
            }
        }
        assert_eq!(told(None, "application/json", keys), ["body $.* number", "body $.__proto__.x number"]);
    }

    #[test]
    fn numbers_of_telephones_are_told_from_others() {
        for text in ["+49 170 1234567", "+14155552671", "0170 1234567", "(415) 555-2671", "+49 (0)30/123456"]
        {
            assert!(is_phone(text), "{text}");
        }
        for text in
            ["1234567890", "2027-01-31", "192.168.10.10", "+1", "0170x1234567", "4111 1111 1111 1111", ""]
        {
            assert!(!is_phone(text), "{text}");
        }
    }
}
