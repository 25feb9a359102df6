//! What stands beside a sealed value in clear: until when it is of use, and by what it is taken out.
//!
//! ```text
//! form (1) · until (8) · number of marks (2) · marks (8 each) · sealed value
//! ```
//!
//! It is bound to the value when that is sealed: whoever changes it makes the value one that does not open.

use crate::cache::key::Key;

const FORM: u8 = 1;
const FIXED: usize = 11;
/// An answer names at most 32 groups, each in two ways; a few marks stand for other things.
const MARKS_MAX: usize = 96;
/// So many bytes hold any head.
pub const HEAD_MAX: usize = FIXED + 8 * MARKS_MAX;

/// What a value can be taken out by: a keyed digest of a client's name, a provider's, a group's …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// From when on (Unix seconds) the value is of no more use.
    pub until: u64,
    pub marks: Box<[Mark]>,
}

impl Head {
    /// None where it has more marks than a value may have.
    pub fn write(&self) -> Option<Vec<u8>> {
        let count = u16::try_from(self.marks.len()).ok().filter(|_| self.marks.len() <= MARKS_MAX)?;
        let mut head = Vec::with_capacity(FIXED + 8 * self.marks.len());
        head.push(FORM);
        head.extend_from_slice(&self.until.to_be_bytes());
        head.extend_from_slice(&count.to_be_bytes());
        for mark in &self.marks {
            head.extend_from_slice(&mark.0.to_be_bytes());
        }
        Some(head)
    }

    /// The head that bytes begin with, and how long it is.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let until = u64::from_be_bytes(fixed[1..9].try_into().ok()?);
        let count = usize::from(u16::from_be_bytes(fixed[9..].try_into().ok()?));
        if fixed[0] != FORM || count > MARKS_MAX {
            return None;
        }
        let marks = rest.get(..8 * count)?.chunks_exact(8);
        let marks = marks.map(|mark| mark.try_into().map(|word| Mark(u64::from_be_bytes(word))));
        Some((Self { until, marks: marks.collect::<Result<_, _>>().ok()? }, FIXED + 8 * count))
    }
}

/// To what a value is bound: its key, and the head beside it.
pub fn bound(key: &Key, head: &[u8]) -> Vec<u8> {
    [b"disk", key.bytes().as_slice(), head].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(
            until: u64,
            marks in prop::collection::vec(any::<u64>(), 0..=MARKS_MAX),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let head = Head { until, marks: marks.into_iter().map(Mark).collect() };
            let written = head.write().expect("few marks");
            prop_assert!(written.len() <= HEAD_MAX);
            let whole = [written.as_slice(), &rest].concat();
            prop_assert_eq!(Head::read(&whole), Some((head, written.len())));
            prop_assert_eq!(Head::read(&written[..written.len() - 1]), None);
        }

        #[test]
        fn whatever_is_read_is_a_head_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some((head, length)) = Head::read(&bytes) {
                prop_assert_eq!(head.write().expect("few marks"), &bytes[..length]);
            }
        }
    }

    #[test]
    fn a_value_with_too_many_marks_is_none() {
        assert!(Head { until: 1, marks: vec![Mark(1); MARKS_MAX + 1].into() }.write().is_none());
    }
}
