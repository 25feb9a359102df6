//! What a provider is told of a person's decision, in its own words.
//!
//! Runs when a document has been rewritten and before it is written out: whatever the application said in these
//! places, or did not, the provider reads there what was decided.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::Code;
use crate::json::Node;

use super::told::Breach;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<RawSignal>")]
pub struct Signals(Vec<Signal>);

/// One place, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signal {
    /// Names of members, and None for each item of a list; the last one is the member that is set.
    at: Vec<Option<Box<str>>>,
    /// None: nothing may stand there.
    granted: Option<Node<'static>>,
    denied: Option<Node<'static>>,
    /// Also where the application wrote nothing.
    always: bool,
}

#[derive(Deserialize)]
struct RawSignal {
    at: Vec<Option<Box<str>>>,
    /// JSON, as text.
    #[serde(default)]
    granted: Option<String>,
    #[serde(default)]
    denied: Option<String>,
    #[serde(default)]
    always: bool,
}

impl TryFrom<Vec<RawSignal>> for Signals {
    type Error = String;

    fn try_from(raw: Vec<RawSignal>) -> Result<Self, String> {
        let read = |text: Option<String>| {
            let node = text.map(|text| Node::read(text.as_bytes()).map(Node::into_owned));
            node.transpose().map_err(|why| format!("a signal {why}"))
        };
        let signals = raw.into_iter().map(|one| {
            if !matches!(one.at.last(), Some(Some(_))) {
                return Err("a signal is not the member of an object".to_owned());
            }
            Ok(Signal {
                at: one.at,
                granted: read(one.granted)?,
                denied: read(one.denied)?,
                always: one.always,
            })
        });
        signals.collect::<Result<_, _>>().map(Self)
    }
}

impl Signals {
    /// Say it in each place; a document without one is none in which the provider could read it.
    pub fn set(&self, root: &mut Node<'_>, is_granted: bool) -> Result<(), Breach> {
        let mut told = 0;
        for signal in &self.0 {
            let value = if is_granted { &signal.granted } else { &signal.denied };
            told += signal.set(&signal.at, root, value.as_ref())?;
        }
        if told == 0 { Err(Breach::new(Code::Unparseable, NOWHERE)) } else { Ok(()) }
    }
}

pub const NOWHERE: &str = "The request has no place in which the provider is told what was decided (`signals`). Send it as \
                           JSON of the form that the provider documents.";

impl Signal {
    /// In how many places it was said.
    fn set(
        &self,
        at: &[Option<Box<str>>],
        node: &mut Node<'_>,
        value: Option<&Node<'static>>,
    ) -> Result<usize, Breach> {
        let another_form = || {
            let detail =
                "Where the provider is told what was decided (`signals`) stands something of another form.";
            Breach::new(Code::Unparseable, detail)
        };
        match (at, node) {
            ([Some(name)], Node::Map(members)) => Ok(usize::from(self.put(name, members, value))),
            ([Some(name), rest @ ..], Node::Map(members)) => {
                match members.iter_mut().find(|(known, _)| *known == **name) {
                    Some((_, member)) => self.set(rest, member, value),
                    None => Ok(0),
                }
            }
            ([None, rest @ ..], Node::List(items)) => {
                let mut told = 0;
                for item in items {
                    told += self.set(rest, item, value)?;
                }
                Ok(told)
            }
            _ => Err(another_form()),
        }
    }

    fn put<'n>(
        &self,
        name: &str,
        members: &mut Vec<(Cow<'n, str>, Node<'n>)>,
        value: Option<&Node<'static>>,
    ) -> bool {
        let known = members.iter().position(|(known, _)| known == name);
        match (known, value) {
            (Some(known), Some(value)) => members[known].1 = value.clone(),
            (Some(known), None) => {
                members.remove(known);
            }
            (None, Some(value)) if self.always => members.push((name.to_owned().into(), value.clone())),
            (None, _) => return false,
        }
        value.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> Signals {
        serde_json::from_str(
            r#"[{"at": ["data", null, "options"], "granted": "[]", "denied": "[\"LDU\"]", "always": true},
                {"at": ["data", null, "country"], "denied": "0", "always": true},
                {"at": ["data", null, "old", "consent"], "granted": "true", "denied": "false"}]"#,
        )
        .expect("signals")
    }

    fn told(document: &str, is_granted: bool) -> Result<String, Code> {
        let mut root = Node::read(document.as_bytes()).expect("a document");
        signals().set(&mut root, is_granted).map_err(|breach| breach.code)?;
        Ok(String::from_utf8(root.written()).expect("text"))
    }

    #[test]
    fn it_is_said_in_each_place_whatever_stood_there() {
        let written = r#"{"data":[{"options":["x"],"country":1},{"a":1}],"more":true}"#;
        assert_eq!(
            told(written, false).expect("said"),
            r#"{"data":[{"options":["LDU"],"country":0},{"a":1,"options":["LDU"],"country":0}],"more":true}"#
        );
        assert_eq!(
            told(written, true).expect("said"),
            r#"{"data":[{"options":[]},{"a":1,"options":[]}],"more":true}"#
        );
    }

    #[test]
    fn where_it_is_only_corrected_it_is_said_where_something_stood() {
        assert_eq!(
            told(r#"{"data":[{"old":{"consent":{"x":1}}},{"old":{}}]}"#, false).expect("said"),
            r#"{"data":[{"old":{"consent":false},"options":["LDU"],"country":0},{"old":{},"options":["LDU"],"country":0}]}"#
        );
    }

    #[test]
    fn a_document_in_which_it_cannot_be_said_is_refused() {
        for document in [
            "{}",
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":"[{}]"}"#,
            r#"{"data":[{},"{}"]}"#,
            r#"{"data":[[{}]]}"#,
            r#"{"data":null}"#,
            r#"{"data":[{"old":"consent"}]}"#,
            "[]",
            "[{\"data\":[{}]}]",
            "null",
            r#"{"Data":[{}]}"#,
        ] {
            assert_eq!(told(document, true), Err(Code::Unparseable), "{document}");
            assert_eq!(told(document, false), Err(Code::Unparseable), "{document}");
        }
    }

    #[test]
    fn a_signal_without_a_member_or_a_value_is_none() {
        for text in [r#"[{"at": []}]"#, r#"[{"at": ["a", null]}]"#, r#"[{"at": ["a"], "granted": "{"}]"#] {
            assert!(serde_json::from_str::<Signals>(text).is_err(), "{text}");
        }
    }
}
