//! Where an answer says something: a field of its head, a place in its JSON, or a place in JSON in a field.

use std::borrow::Cow;

use http::HeaderName;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use super::Read;
use super::value::count;

/// A step that fits every member of an object or array.
const ANY: &str = "*";
const STEPS_MAX: usize = 8;
const FOUND_MAX: usize = 64;

/// `field`, `/pointer` into the body, or `field/pointer`; a step `*` is any.
#[derive(Debug, Clone)]
pub struct Place {
    header: Option<HeaderName>,
    /// Of a JSON Pointer (RFC 6901), unescaped; None: the field's text as it is.
    steps: Option<Box<[Box<str>]>>,
}

impl Place {
    pub fn parse(text: &str) -> Option<Self> {
        let (header, pointer) = match text.find('/') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let header = match header {
            "" => None,
            name => Some(HeaderName::from_bytes(name.as_bytes()).ok()?),
        };
        let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~").into_boxed_str();
        let steps: Option<Box<[_]>> = pointer.map(|pointer| pointer.split('/').map(unescaped).collect());
        let fits = steps.as_ref().is_none_or(|steps| steps.len() <= STEPS_MAX);
        (fits && (header.is_some() || steps.is_some())).then_some(Self { header, steps })
    }

    pub fn is_body(&self) -> bool {
        self.header.is_none()
    }

    /// The first thing that it says.
    pub fn text<'r>(&self, read: &'r Read<'_>) -> Option<Cow<'r, str>> {
        self.texts(read).next()
    }

    /// Everything that it says: numbers and truth values as they are written.
    pub fn texts<'r>(&self, read: &'r Read<'_>) -> impl Iterator<Item = Cow<'r, str>> {
        let whole = match (&self.header, &self.steps) {
            (Some(name), None) => read.heard.headers.get(name).and_then(|value| value.to_str().ok()),
            _ => None,
        };
        let mut found = Vec::new();
        if let Some(steps) = &self.steps {
            match &self.header {
                None => {
                    read.json.iter().for_each(|json| collect(json, steps, &mut |v| found.extend(shown(v))));
                }
                Some(name) => {
                    let text = read.heard.headers.get(name).map(http::HeaderValue::as_bytes);
                    if let Some(json) = text.and_then(|text| serde_json::from_slice::<Value>(text).ok()) {
                        let mut own =
                            |value: &Value| found.extend(shown(value).map(|text| text.into_owned().into()));
                        collect(&json, steps, &mut own);
                    }
                }
            }
        }
        found.truncate(FOUND_MAX);
        whole.map(|text| Cow::Borrowed(text.trim())).into_iter().chain(found)
    }

    pub fn numbers(&self, read: &Read<'_>) -> impl Iterator<Item = u64> {
        self.texts(read).filter_map(|text| count(&text))
    }
}

fn collect<'v>(value: &'v Value, steps: &[Box<str>], found: &mut impl FnMut(&'v Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return found(value);
    };
    match value {
        Value::Object(members) if **step == *ANY => {
            members.values().take(FOUND_MAX).for_each(|value| collect(value, rest, found));
        }
        Value::Array(items) if **step == *ANY => {
            items.iter().take(FOUND_MAX).for_each(|value| collect(value, rest, found));
        }
        Value::Object(members) => {
            if let Some(value) = members.get(&**step) {
                collect(value, rest, found);
            }
        }
        Value::Array(items) => {
            let item = step.parse::<usize>().ok().and_then(|place| items.get(place));
            if let Some(value) = item {
                collect(value, rest, found);
            }
        }
        _ => {}
    }
}

fn shown(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(if *truth { "true" } else { "false" }.into()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a place in an answer"))
    }
}
