//! What makes two requests the same: a digest over parts that each carry their length.
//!
//! What is keyed is what is sent; nothing is joined by a delimiter that a consumer could write. The parts
//! begin with the partition, so that no spelling of a request leaves it.

use std::hash::{Hash, Hasher};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName};

use crate::origin::Origin;

/// Bound to the form of the key: another form never meets an entry of this one.
const FORM: &[u8] = b"tidegate cache 1";

/// SHA-256 of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Hash for Key {
    // It is a digest: any eight bytes of it are as good as a hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

impl Key {
    /// Eight of its bytes, by which it is put into shards.
    pub fn word(&self) -> u64 {
        self.0.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 2 * key.len() || !text.is_ascii() {
            return None;
        }
        for (number, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * number..2 * number + 2], 16).ok()?;
        }
        Some(Self(key))
    }
}

pub fn hex(bytes: &[u8; 32]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A key in the making: hashed at once when all is there, which costs less than part by part.
#[derive(Clone)]
pub struct Parts(Vec<u8>);

/// Most keys are made of no more.
const USUAL: usize = 512;

impl Parts {
    pub fn new() -> Self {
        let mut parts = Self(Vec::with_capacity(USUAL));
        parts.add(FORM);
        parts
    }

    /// Begin where another key ended: what is told apart within it.
    pub fn within(key: &Key) -> Self {
        let mut parts = Self::new();
        parts.add(&key.0);
        parts
    }

    pub fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// A part that may be absent, which is not the same as empty.
    pub fn add_maybe(&mut self, part: Option<&[u8]>) -> &mut Self {
        self.add(&[u8::from(part.is_some())]);
        self.add(part.unwrap_or_default())
    }

    /// All lines of a field, in order.
    pub fn add_field(&mut self, headers: &HeaderMap, name: &HeaderName) -> &mut Self {
        let lines = headers.get_all(name);
        self.add(name.as_str().as_bytes()).add(&(lines.iter().count() as u64).to_be_bytes());
        for line in lines {
            self.add(line.as_bytes());
        }
        self
    }

    pub fn add_origin(&mut self, origin: &Origin) -> &mut Self {
        self.add(origin.scheme().as_str().as_bytes()).add(origin.authority().as_bytes())
    }

    pub fn add_query(&mut self, query: Option<&str>) -> &mut Self {
        self.add(b"query").add_maybe(query.map(str::as_bytes))
    }

    /// How far it has come.
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forget what was added since.
    pub fn back_to(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    pub fn key(&self) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        Key(key)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(parts: &[&[u8]]) -> Key {
        let mut made = Parts::new();
        for part in parts {
            made.add(part);
        }
        made.key()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]

        /// Pairs that differ only in where one part ends, with every delimiter and encoding in use.
        #[test]
        fn moving_a_boundary_makes_another_key(
            text in "[a=&:?;,/%\\|. \u{0}-\u{3}]{1,12}",
            at in 0usize..13,
            to in 0usize..13,
        ) {
            let split = |at: usize| {
                let at = at.min(text.len());
                (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
            };
            let ((a, b), (c, d)) = (text.split_at(split(at)), text.split_at(split(to)));
            prop_assert_eq!(
                key(&[a.as_bytes(), b.as_bytes()]) == key(&[c.as_bytes(), d.as_bytes()]),
                a == c
            );
        }
    }

    #[test]
    fn an_absent_part_is_not_an_empty_one() {
        let (mut absent, mut empty) = (Parts::new(), Parts::new());
        absent.add_maybe(None);
        empty.add_maybe(Some(b""));
        assert_ne!(absent.key(), empty.key());
    }

    #[test]
    fn fields_of_one_text_in_other_lines_are_apart() {
        let mut seen = HashMap::new();
        let name = HeaderName::from_static("a");
        for lines in [&["1, 2"][..], &["1", "2"], &["1,2"], &[], &[""]] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, line.parse().expect("value"));
            }
            let mut parts = Parts::new();
            parts.add_field(&headers, &name);
            assert_eq!(seen.insert(parts.key(), lines), None, "{lines:?}");
        }
    }
}
