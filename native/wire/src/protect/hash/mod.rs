//! Hash a value so that a provider can match it: made alike as its product wants it, then SHA-256, in hex.
//!
//! How a value is made alike is data (`steps`), one list for each product and kind; NFC comes first, since the same
//! name can be spelt in two ways. There is never a hash of nothing, and never a hash of a hash. A hash that can be tried out,
//! such as a card number's, is keyed (PCI DSS v4 3.5.1.1): HMAC-SHA-256 by a key of the client.

pub mod phone;
pub mod steps;

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::Deserialize;

use super::keys::{Place, Roots, Use};
use crate::shared::hex;
use steps::Step;

/// Of a value, in bytes: what is longer is no name, address or number.
const VALUE_BYTES_MAX: usize = 1024;
/// Of SHA-256, in hex.
const HEX_LENGTH: usize = 64;

/// How the values of one field are hashed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashing {
    pub steps: Vec<Step>,
    /// A value that is a hash already is passed on.
    #[serde(default)]
    pub already_hashed: bool,
    /// Of the root that keys it; None: anybody can make the same hash, as whoever matches it must.
    #[serde(default)]
    pub keyed: Option<u32>,
    /// What a keyed one is bound to besides client and provider.
    #[serde(default)]
    pub field: Box<str>,
}

/// Why a value is not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unhashed {
    /// Nothing is left of it, or nothing was there.
    Nothing,
    AlreadyHashed,
    TooLong,
    NoEmail,
    NoPhone,
    /// It does not say its country's calling code, and the rule does not either.
    NoCallingCode,
    NoDate,
    NoKey,
}

impl Hashing {
    /// The hash of a value, in 64 letters of hex. `roots`: the client's, for a keyed one.
    pub fn hash(&self, value: &str, roots: Option<&Roots>, place: Place<'_>) -> Result<String, Unhashed> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Unhashed::TooLong);
        }
        if is_hash(value.trim()) {
            let passed = self.already_hashed && self.keyed.is_none();
            return if passed { Ok(value.trim().to_ascii_lowercase()) } else { Err(Unhashed::AlreadyHashed) };
        }
        let alike = self.made_alike(value)?;
        match self.keyed {
            None => Ok(hex(digest::digest(&digest::SHA256, alike.as_bytes()).as_ref())),
            Some(root) => {
                let key = roots.and_then(|roots| roots.key::<32>(root, Use::Hash, place));
                let key = hmac::Key::new(hmac::HMAC_SHA256, &*key.ok_or(Unhashed::NoKey)?);
                Ok(hex(hmac::sign(&key, alike.as_bytes()).as_ref()))
            }
        }
    }

    fn made_alike(&self, value: &str) -> Result<String, Unhashed> {
        let mut alike = ComposingNormalizerBorrowed::new_nfc().normalize(value).into_owned();
        for step in &self.steps {
            if let Cow::Owned(next) = step.apply(&alike)? {
                alike = next;
            }
        }
        if alike.trim().is_empty() { Err(Unhashed::Nothing) } else { Ok(alike) }
    }
}

fn is_hash(value: &str) -> bool {
    value.len() == HEX_LENGTH && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
pub mod tests {
    use super::super::keys::tests::roots;
    use super::steps::Step::{Email, Lowercase, NoPunctuation, Trim};
    use super::*;

    const HERE: Place<'_> = Place { provider: "ads", field: "body $.em" };

    pub(in crate::protect) fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect()
    }

    fn hashing(steps: &[Step]) -> Hashing {
        Hashing { steps: steps.to_vec(), already_hashed: false, keyed: None, field: Box::default() }
    }

    fn hash(steps: &[Step], value: &str) -> Result<String, Unhashed> {
        hashing(steps).hash(value, None, HERE)
    }

    #[test]
    fn one_name_has_one_hash_however_it_is_spelt() {
        let names = &[Lowercase, NoPunctuation, Trim];
        let composed = hash(names, "Val\u{e9}ry").expect("hash");
        assert_eq!(composed, hash(names, "Vale\u{301}ry").expect("hash"));
        assert_eq!(composed, "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c");
    }

    #[test]
    fn there_is_no_hash_of_nothing() {
        for nothing in ["", "  ", "\u{a0}", "...", "-"] {
            assert_eq!(
                hash(&[Lowercase, NoPunctuation, Trim], nothing),
                Err(Unhashed::Nothing),
                "{nothing:?}"
            );
        }
        assert_eq!(hash(&[Trim], &"x".repeat(1_025)), Err(Unhashed::TooLong));
    }

    #[test]
    fn there_is_no_hash_of_a_hash() {
        let email = &[Trim, Lowercase, Email];
        let once = hash(email, "a@example.com").expect("hash");
        assert_eq!(hash(email, &once), Err(Unhashed::AlreadyHashed));
        assert_eq!(hash(email, &format!(" {} ", once.to_uppercase())), Err(Unhashed::AlreadyHashed));
        let passing = Hashing { already_hashed: true, ..hashing(email) };
        assert_eq!(passing.hash(&once.to_uppercase(), None, HERE), Ok(once.clone()));
        // What anybody could have hashed is no keyed hash.
        let keyed = Hashing { keyed: Some(1), ..passing };
        assert_eq!(keyed.hash(&once, Some(&roots("acme", &[1])), HERE), Err(Unhashed::AlreadyHashed));
    }

    #[test]
    fn a_keyed_hash_is_its_clients_and_its_fields_own() {
        let keyed = Hashing { keyed: Some(1), ..hashing(&[Step::Digits]) };
        let pan = "4111 1111 1111 1111";
        let (acme, other) = (roots("acme", &[1, 2]), roots("other", &[1]));
        let one = keyed.hash(pan, Some(&acme), HERE).expect("hash");
        assert_eq!(one, keyed.hash("4111111111111111", Some(&acme), HERE).expect("hash"));
        assert_ne!(one, keyed.hash(pan, Some(&other), HERE).expect("hash"));
        assert_ne!(one, keyed.hash(pan, Some(&acme), Place { field: "body $.card", ..HERE }).expect("hash"));
        assert_ne!(one, hash(&[Step::Digits], pan).expect("hash"));
        assert_eq!(keyed.hash(pan, None, HERE), Err(Unhashed::NoKey));
        assert_eq!(Hashing { keyed: Some(3), ..keyed }.hash(pan, Some(&acme), HERE), Err(Unhashed::NoKey));
    }
}
