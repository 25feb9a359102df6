//! Read `kind:identifier`, and bring an identifier to one spelling.
//!
//! The field's value is a list by commas. An identifier is percent-encoded (RFC 3986 §2.1) where it holds a
//! comma, a percent sign, or anything but visible ASCII.

use std::borrow::Cow;

use http::HeaderMap;
use icu_normalizer::ComposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;

use super::{HEADER, SUBJECTS_MAX};
use crate::error::{Code, Refusal};

/// Bytes of a kind, and of an identifier in one spelling (RFC 5321 §4.5.3.1 allows an address 254).
const KIND_MAX: usize = 32;
const IDENTIFIER_MAX: usize = 320;

/// Digits of a telephone number in its international form (ITU-T E.164 §6.1).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A kind and an identifier in one spelling. Without `Debug`: it names a person.
pub struct Named {
    kind: Box<str>,
    identifier: zeroize::Zeroizing<String>,
}

impl Named {
    /// Bring what somebody wrote to one spelling; the error says what is wrong, and never what was written.
    pub fn new(kind: &str, identifier: &str) -> Result<Self, &'static str> {
        if !is_kind(kind) {
            return Err("a kind is lower-case letters, digits and `_`, at most 32, like `email`");
        }
        let identifier = spelled(kind, identifier)?;
        if identifier.is_empty() {
            return Err("the identifier is empty");
        }
        if identifier.len() > IDENTIFIER_MAX {
            return Err("the identifier is longer than 320 bytes");
        }
        Ok(Self { kind: kind.into(), identifier: zeroize::Zeroizing::new(identifier) })
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn identifier(&self) -> &str {
        &self.identifier
    }
}

fn is_kind(text: &str) -> bool {
    text.len() <= KIND_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// One spelling for all by which one person is meant, and never one for two persons: what a provider ignores
/// besides (dots, a `+tag`) is part of the address.
fn spelled(kind: &str, identifier: &str) -> Result<String, &'static str> {
    if identifier.chars().any(char::is_control) {
        return Err("the identifier holds a control character");
    }
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let composed = nfc.normalize(identifier.trim());
    match kind {
        "email" if composed.split('@').filter(|part| !part.is_empty()).count() != 2 => {
            Err("an e-mail address has one `@`, and something on either side")
        }
        // A letter may be composed in lower case alone (`J̌`, U+01F0).
        "email" => Ok(nfc.normalize(&composed.to_lowercase()).into_owned()),
        "phone" => telephone(&composed),
        _ => Ok(composed.into_owned()),
    }
}

/// The digits of an international number; what people set between them is left out.
fn telephone(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a phone number is international: `+`, then 7 to 15 digits";
    let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).ok_or(WRONG)?;
    let kept: String =
        digits.chars().filter(|sign| !matches!(sign, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}')).collect();
    let all_digits = kept.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && PHONE_DIGITS.contains(&kept.len()) { Ok(kept) } else { Err(WRONG) }
}

/// Everybody that a request's fields name, in their order.
pub fn read(headers: &HeaderMap) -> Result<Vec<Named>, Refusal> {
    let mut found = Vec::new();
    for value in headers.get_all(HEADER) {
        let text =
            value.to_str().map_err(|_| malformed("it holds more than visible ASCII; percent-encode it"))?;
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            if found.len() == SUBJECTS_MAX {
                return Err(malformed("a call is about 16 subjects at most"));
            }
            found.push(read_one(one).map_err(malformed)?);
        }
    }
    if found.is_empty() { Err(malformed("it names nobody")) } else { Ok(found) }
}

fn read_one(text: &str) -> Result<Named, &'static str> {
    let (kind, encoded) = text.split_once(':').ok_or("write `kind:identifier`, like `email:…`")?;
    let identifier: Cow<'_, str> = decoded(encoded)?;
    Named::new(kind, &identifier)
}

fn decoded(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        let digits = rest.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        if digits.is_none() {
            return Err("a `%` is not followed by two hexadecimal digits; write `%25` for the sign itself");
        }
        rest = &rest[at + 3..];
    }
    percent_decode_str(text).decode_utf8().map_err(|_| "what is percent-encoded is not UTF-8")
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::new(Code::MalformedRequest, format!("`Tidegate-Subject` cannot be read: {what}."))
}
