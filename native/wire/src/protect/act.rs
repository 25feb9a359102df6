//! What becomes of one field: it goes as it is, changed, or not at all.
//!
//! Runs once for each field that a rule claims, before anything is written. Whatever an action cannot act on
//! makes the call one that is refused: a field never goes out in clear because it looked unusual.

use std::borrow::Cow;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::ff1::{self, Shapeless};
use super::generalise::{Generality, generalise};
use super::hash::{Hashing, Unhashed};
use super::jwe::Encryption;
use super::person::{Person, PersonKey};
use super::pgp::Pgp;
use super::seal::Sealing;
use super::token::Kind;
use super::tokenise::{self, Clear};
use super::with::With;

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
    Hash(Hashing),
    Tokenise(Tokenising),
    Encrypt(Encryption),
    /// Encrypt all that stands there as one.
    Seal(Box<Sealing>),
    /// Encrypt a file, as a file.
    Pgp(Box<Pgp>),
}

/// Which token stands for a value, and to what it is bound besides client and provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenising {
    pub how: How,
    pub field: Box<str>,
    /// Of digits, which do not say it: the number of the root that keys them.
    #[serde(default = "first_root")]
    pub root: u32,
    /// Sealed by the key of the person whom the call is about, too.
    #[serde(default)]
    pub subject_key: bool,
}

fn first_root() -> u32 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Aead,
    Siv,
    Ff1,
}

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    Text(&'v str),
    /// As JSON writes it.
    Number(&'v str),
    Bool(bool),
    /// A file's content that is no text.
    Bytes(&'v [u8]),
    /// `null`, an empty list or an empty object: nothing that could be said of anybody.
    Nothing,
}

impl<'v> Value<'v> {
    /// As what can be looked at, if there is anything.
    pub fn text(self) -> Option<Cow<'v, str>> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            Self::Bool(_) | Self::Nothing => None,
        }
    }
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
    /// A file that takes its place where files stand; elsewhere there is none.
    File(Vec<u8>),
}

/// Why a field is not fit for the action, as the end of a sentence that begins with the rule. Never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The call is refused because the field is there.
    Rejected,
    /// The action cannot be done on such a value.
    Cannot(&'static str),
    /// The value is not one that the rule could protect.
    Unprotectable(&'static str),
    /// What protects it is not there, as a sentence.
    Unavailable(&'static str),
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
            Self::Hash(_) => "hash",
            Self::Tokenise(_) => "tokenise",
            Self::Encrypt(_) | Self::Seal(_) | Self::Pgp(_) => "encrypt",
        }
    }

    /// Whether it seals by the key of whom the call is about.
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::Tokenise(to) if to.subject_key)
    }

    /// Whether what the provider gets is another value than the consumer's.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Allow | Self::Drop | Self::Reject)
    }

    /// Whether somebody could read the value, or some of it, where it goes.
    pub fn shows(&self) -> bool {
        matches!(self, Self::Allow | Self::Mask { .. } | Self::Generalise(_))
    }

    pub fn seals(&self) -> Option<&Sealing> {
        if let Self::Seal(sealing) = self { Some(sealing) } else { None }
    }

    pub fn makes_files(&self) -> bool {
        matches!(self, Self::Pgp(_))
    }

    pub fn apply(&self, value: Value<'_>, with: &With<'_>) -> Result<Outcome, Unfit> {
        match (self, value) {
            (Self::Drop, _) => Ok(Outcome::Gone),
            (Self::Reject, _) => Err(Unfit::Rejected),
            (Self::Pgp(to), Value::Bytes(file)) => to.message(file, with).map(Outcome::File),
            (Self::Pgp(to), Value::Text(file)) => to.message(file.as_bytes(), with).map(Outcome::File),
            (Self::Pgp(_), _) => Err(Unfit::Cannot("acts on files")),
            // What stands in a sealed place goes as it is, within what is made of the whole.
            (Self::Allow | Self::Seal(_), _) | (_, Value::Nothing) => Ok(Outcome::Same),
            (_, Value::Bytes(_)) => Err(Unfit::Cannot("acts on texts")),
            (Self::Tokenise(to), _) => to.token(value, with).map(|token| Outcome::New(Fresh::Text(token))),
            (Self::Encrypt(to), _) => encrypted(to, value, with).map(|jwe| Outcome::New(Fresh::Text(jwe))),
            (Self::Hash(hashing), Value::Text(text) | Value::Number(text)) => hashing
                .hash(text, with.roots.as_deref(), with.place(&hashing.field))
                .map(|hash| changed(value, Fresh::Text(hash)))
                .map_err(Unfit::from),
            (_, Value::Bool(_)) => Err(Unfit::Cannot("acts on texts and numbers")),
            (Self::Mask { keep }, Value::Text(text) | Value::Number(text)) => {
                Ok(changed(value, Fresh::Text(masked(text, *keep))))
            }
            (Self::Generalise(to), _) => generalise(*to, value).map(|fresh| changed(value, fresh)),
        }
    }
}

const NO_ROOT: Unfit =
    Unfit::Unavailable("The vault has given no key to protect this client's values with. Try again shortly.");

impl Tokenising {
    fn token(&self, value: Value<'_>, with: &With<'_>) -> Result<String, Unfit> {
        let (roots, place) = (with.roots.as_deref().ok_or(NO_ROOT)?, with.place(&self.field));
        let kind = match self.how {
            How::Aead => Kind::Aead,
            How::Siv => Kind::Siv,
            How::Ff1 => {
                let Value::Text(digits) = value else { return Err(Unfit::Cannot("acts on texts of digits")) };
                return ff1::shaped(roots, self.root, place, digits).map_err(Unfit::from);
            }
        };
        let clear = match value {
            Value::Text(text) => Clear::Text(Zeroizing::new(text.to_owned())),
            Value::Number(digits) => Clear::Scalar(Zeroizing::new(digits.to_owned())),
            Value::Bool(is_so) => Clear::Scalar(Zeroizing::new(is_so.to_string())),
            Value::Bytes(_) | Value::Nothing => return Err(Unfit::Cannot("acts on values")),
        };
        let too_long = Unfit::Unprotectable("makes tokens of values of 64 KiB at most");
        let sealed = if self.subject_key {
            tokenise::seal_for(with.person.key()?, roots, place, &clear)
        } else {
            tokenise::seal(kind, roots, place, &clear)
        };
        sealed.ok_or(too_long)
    }
}

impl Person {
    fn key(&self) -> Result<&PersonKey, Unfit> {
        match self {
            Self::Known(key) => Ok(key),
            Self::Unavailable => Err(Unfit::Unavailable(
                "The key of whom this call is about cannot be had, so nothing is sealed by it. Try again shortly.",
            )),
            Self::Unnamed => Err(Unfit::Unprotectable(
                "seals by a key of whom the call is about. Name them: `Tidegate-Subject: kind:identifier`",
            )),
            Self::Several => Err(Unfit::Unprotectable(
                "seals by one person's key, and the call is about several. Make a call for each",
            )),
        }
    }
}

fn encrypted(to: &Encryption, value: Value<'_>, with: &With<'_>) -> Result<String, Unfit> {
    let written = match value {
        Value::Text(text) | Value::Number(text) => text.to_owned(),
        Value::Bool(is_so) => is_so.to_string(),
        Value::Bytes(_) | Value::Nothing => return Err(Unfit::Cannot("acts on values")),
    };
    to.jwe(written.as_bytes(), with)
}

impl From<Unhashed> for Unfit {
    fn from(why: Unhashed) -> Self {
        Self::Unprotectable(match why {
            Unhashed::Nothing => "hashes no value of which nothing is left. Leave the field out",
            Unhashed::AlreadyHashed => {
                "does not hash what is a hash already. Send the value itself, or declare `already_hashed: allow`"
            }
            Unhashed::TooLong => "hashes values of 1 KiB at most",
            Unhashed::NoEmail => "hashes addresses of electronic mail, and this is none",
            Unhashed::NoPhone => "hashes telephone numbers, and this is none",
            Unhashed::NoCallingCode => {
                "hashes telephone numbers that say their country, by `+` or `00`. Send it so, or declare `calling_code`"
            }
            Unhashed::NoDate => "hashes dates that are written `YYYY-MM-DD`",
            Unhashed::NoKey => return NO_ROOT,
        })
    }
}

impl From<Shapeless> for Unfit {
    fn from(why: Shapeless) -> Self {
        Self::Unprotectable(match why {
            Shapeless::NotDigits => "acts on digits alone",
            Shapeless::TooShort => "acts on six digits or more: fewer could be tried out",
            Shapeless::TooLong => "acts on 56 digits at most",
            Shapeless::NoKey => return NO_ROOT,
        })
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
        let mask = |keep, value| text(Act::Mask { keep }.apply(Value::Text(value), &With::default()));
        assert_eq!(mask(4, "4111111111111111"), "************1111");
        assert_eq!(mask(4, "12345"), "***45");
        assert_eq!(mask(4, "1"), "*");
        assert_eq!(mask(0, "ÄÖÜ"), "***");
        assert_eq!(mask(2, "straße"), "****ße");
        assert_eq!(mask(0, &"a".repeat(1_000)), "*".repeat(32));
        assert_eq!(text(Act::Mask { keep: 2 }.apply(Value::Number("12345"), &With::default())), "***45");
    }

    #[test]
    fn nothing_is_left_as_it_is_and_what_cannot_be_changed_is_refused() {
        let mask = Act::Mask { keep: 0 };
        assert_eq!(mask.apply(Value::Nothing, &With::default()), Ok(Outcome::Same));
        assert_eq!(mask.apply(Value::Text(""), &With::default()), Ok(Outcome::Same));
        assert!(matches!(mask.apply(Value::Bool(true), &With::default()), Err(Unfit::Cannot(_))));
        assert_eq!(Act::Drop.apply(Value::Nothing, &With::default()), Ok(Outcome::Gone));
        assert_eq!(Act::Reject.apply(Value::Nothing, &With::default()), Err(Unfit::Rejected));
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
