//! Bring a request's body into the one form that is keyed. What cannot be read has none: it is not cached.
//!
//! Only the key is made of it; what is sent stays as it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::cache::graphql::reads_only;
use crate::cache::rules::BodyForm;

/// Deeper documents are no API's.
const DEPTH_MAX: usize = 64;
/// RFC 8785 §3.2.2.3 is exact up to here; beyond, two numbers could become one.
const INTEGER_MAX: u64 = 1 << 53;

/// The bytes that stand for a body in a key.
pub fn canonical(form: BodyForm, body: &[u8]) -> Option<Vec<u8>> {
    match form {
        BodyForm::Exact => Some(tagged(b"exact", body)),
        // Names that stand twice, and numbers that are not exact, are left as they are written.
        BodyForm::Json => Some(match read(body) {
            Some(value) => tagged(b"json", &written(&value)?),
            None => tagged(b"exact", body),
        }),
        BodyForm::Form => Some(tagged(b"form", &form_pairs(body)?)),
        BodyForm::Graphql => {
            let value = read(body)?;
            let query = value.get("query")?.as_str()?;
            reads_only(query).then(|| written(&value)).flatten().map(|text| tagged(b"graphql", &text))
        }
        BodyForm::Llm => {
            let value = read(body)?;
            // Any other answer would be one of many, not the answer.
            let certain = value.get("temperature")?.as_f64()? == 0.0;
            certain.then(|| written(&value)).flatten().map(|text| tagged(b"llm", &text))
        }
    }
}

/// A form's name stands before the bytes, so that no body of one form is one of another.
fn tagged(form: &[u8], bytes: &[u8]) -> Vec<u8> {
    [form, b"\n", bytes].concat()
}

/// Strictly: None for names that stand twice, numbers that are not exact, and what is no JSON.
fn read(body: &[u8]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Strict(value) = Strict::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    (depth(&value) <= DEPTH_MAX).then_some(value)
}

fn written(value: &Value) -> Option<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value).ok()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The pairs in order of their names; pairs of one name stay in their order.
fn form_pairs(body: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(body).ok()?;
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        by_name.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for (name, values) in &by_name {
        for value in values {
            written.append_pair(name, value);
        }
    }
    Some(written.finish().into_bytes())
}

/// A JSON value in which every name stands once and every number is exact.
struct Strict(Value);

struct StrictVisitor;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX {
            return Err(E::custom("the number is not exact"));
        }
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > INTEGER_MAX {
            return Err(E::custom("the number is not exact"));
        }
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // An integer too large for 64 bits comes as one of these.
        #[allow(clippy::cast_precision_loss)] // 2^53 is exact
        if value.abs() > INTEGER_MAX as f64 {
            return Err(E::custom("the number is not exact"));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if all.insert(name, value).is_some() {
                return Err(de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(form: BodyForm, one: &str, other: &str) -> bool {
        let (one, other) = (canonical(form, one.as_bytes()), canonical(form, other.as_bytes()));
        one.is_some() && one == other
    }

    #[test]
    fn json_is_keyed_by_what_it_says() {
        assert!(same(BodyForm::Json, "{\"b\": 1.0, \"a\": [\"\\u00e9\"]}", "{\"a\":[\"é\"],\"b\":1}"));
        for (one, other) in [
            ("{\"a\":1}", "{\"a\":\"1\"}"),
            ("[1,2]", "[2,1]"),
            ("{\"a\":1,\"a\":2}", "{\"a\":2}"),
            ("{\"a\":1,\"a\":2}", "{\"a\":2,\"a\":1}"),
            ("9007199254740993", "9007199254740992"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            ("{\"a\":null}", "{}"),
            ("{\"a\":1}", "{\"a\":1} x"),
        ] {
            assert!(!same(BodyForm::Json, one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_form_is_keyed_by_its_pairs() {
        assert!(same(BodyForm::Form, "b=2&a=1+x", "a=1%20x&b=2"));
        assert!(!same(BodyForm::Form, "a=1&a=2", "a=2&a=1"));
        assert!(!same(BodyForm::Form, "a=1&b=2", "a=1%26b=2"));
    }

    #[test]
    fn a_model_is_keyed_only_where_it_has_one_answer() {
        let asked = |rest: &str| format!("{{\"model\":\"m\",\"messages\":[],{rest}}}");
        let key = |rest: &str| canonical(BodyForm::Llm, asked(rest).as_bytes());
        assert!(key("\"temperature\":0").is_some());
        assert_eq!(key("\"temperature\":0"), key("\"temperature\":0.0"));
        assert_ne!(key("\"temperature\":0"), key("\"temperature\":0,\"seed\":1"));
        for rest in [
            "\"temperature\":0.2",
            "\"temperature\":\"0\"",
            "\"top_p\":1",
            "\"temperature\":0,\"temperature\":1",
        ] {
            assert_eq!(key(rest), None, "{rest}");
        }
    }

    #[test]
    fn no_form_is_another() {
        assert!(!same(BodyForm::Exact, "a", "b"));
        assert_ne!(canonical(BodyForm::Exact, b"1"), canonical(BodyForm::Json, b"1"));
    }
}
