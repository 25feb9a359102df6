//! What becomes of one field: it goes as it is, changed, or not at all.
//!
//! Runs once for each field that a rule claims, before anything is written. Whatever an action cannot act on
//! makes the call one that is refused: a field never goes out in clear because it looked unusual.

use serde::Deserialize;

use super::generalise::{Generality, generalise};

/// The action of a rule, as the snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Allow,
    Drop,
    Reject,
    Mask {
        #[serde(default)]
        keep: usize,
    },
    Generalise(Generality),
}

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    Text(&'v str),
    /// As JSON writes it.
    Number(&'v str),
    Bool(bool),
    /// `null`, an empty list or an empty object: nothing that could be said of anybody.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    Text(String),
    Number(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes as it is.
    Same,
    Gone,
    New(Fresh),
}

/// Why a field is not fit for the action, as the end of a sentence that begins with the rule. Never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The call is refused because the field is there.
    Rejected,
    /// The action cannot be done on such a value.
    Cannot(&'static str),
}

impl Act {
    /// What the record calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Mask { .. } => "mask",
            Self::Generalise(_) => "generalise",
        }
    }

    /// Whether what the provider gets is another value than the consumer's.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Allow | Self::Drop | Self::Reject)
    }

    pub fn apply(&self, value: Value<'_>) -> Result<Outcome, Unfit> {
        match (self, value) {
            (Self::Drop, _) => Ok(Outcome::Gone),
            (Self::Reject, _) => Err(Unfit::Rejected),
            (Self::Allow, _) | (_, Value::Nothing) => Ok(Outcome::Same),
            (_, Value::Bool(_)) => Err(Unfit::Cannot("acts on texts and numbers")),
            (Self::Mask { keep }, Value::Text(text) | Value::Number(text)) => {
                Ok(changed(value, Fresh::Text(masked(text, *keep))))
            }
            (Self::Generalise(to), _) => generalise(*to, value).map(|fresh| changed(value, fresh)),
        }
    }
}

/// A value that is what it was already has nothing to hide.
fn changed(value: Value<'_>, fresh: Fresh) -> Outcome {
    let same = match (value, &fresh) {
        (Value::Text(before), Fresh::Text(after)) | (Value::Number(before), Fresh::Number(after)) => {
            before == after
        }
        _ => false,
    };
    if same { Outcome::Same } else { Outcome::New(fresh) }
}

/// `*` for each character but the last few, of which never more than half stay; a long value's length is not told.
fn masked(text: &str, keep: usize) -> String {
    const STARS_MAX: usize = 32;
    let characters = text.chars().count();
    let kept = keep.min(characters / 2);
    let mut masked = "*".repeat((characters - kept).min(STARS_MAX));
    masked.extend(text.chars().skip(characters - kept));
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: Result<Outcome, Unfit>) -> String {
        match outcome {
            Ok(Outcome::New(Fresh::Text(text))) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mask_keeps_the_last_few_and_never_more_than_half() {
        let mask = |keep, value| text(Act::Mask { keep }.apply(Value::Text(value)));
        assert_eq!(mask(4, "4111111111111111"), "************1111");
        assert_eq!(mask(4, "12345"), "***45");
        assert_eq!(mask(4, "1"), "*");
        assert_eq!(mask(0, "ÄÖÜ"), "***");
        assert_eq!(mask(2, "straße"), "****ße");
        assert_eq!(mask(0, &"a".repeat(1_000)), "*".repeat(32));
        assert_eq!(text(Act::Mask { keep: 2 }.apply(Value::Number("12345"))), "***45");
    }

    #[test]
    fn nothing_is_left_as_it_is_and_what_cannot_be_changed_is_refused() {
        let mask = Act::Mask { keep: 0 };
        assert_eq!(mask.apply(Value::Nothing), Ok(Outcome::Same));
        assert_eq!(mask.apply(Value::Text("")), Ok(Outcome::Same));
        assert!(matches!(mask.apply(Value::Bool(true)), Err(Unfit::Cannot(_))));
        assert_eq!(Act::Drop.apply(Value::Nothing), Ok(Outcome::Gone));
        assert_eq!(Act::Reject.apply(Value::Nothing), Err(Unfit::Rejected));
    }

    #[test]
    fn actions_are_read_as_the_snapshot_writes_them() {
        let read = |text: &str| serde_json::from_str::<Act>(text).expect(text);
        assert_eq!(read("\"allow\""), Act::Allow);
        assert_eq!(read(r#"{"mask": {"keep": 4}}"#), Act::Mask { keep: 4 });
        assert_eq!(read(r#"{"generalise": "year"}"#), Act::Generalise(Generality::Year));
        assert_eq!(read(r#"{"generalise": {"geo": 2}}"#), Act::Generalise(Generality::Geo(2)));
        assert!(serde_json::from_str::<Act>("\"keep\"").is_err());
    }
}
