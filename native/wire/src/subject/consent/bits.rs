//! The bits of a text in base64url (RFC 4648 §5), six to a letter, as the IAB's strings have them.

const LETTER: usize = 6;

#[derive(Debug, Clone, Copy)]
pub struct Bits<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Bits<'t> {
    /// None where a character is no letter of base64url.
    pub fn of(text: &'t str) -> Option<Self> {
        let text = text.as_bytes();
        text.iter().all(|letter| value(*letter).is_some()).then_some(Self { text, at: 0 })
    }

    /// None where there are not so many any more; `count` is 64 at most.
    pub fn take(&mut self, count: usize) -> Option<u64> {
        let mut taken = 0;
        for _ in 0..count {
            taken = taken << 1 | u64::from(self.flag()?);
        }
        Some(taken)
    }

    pub fn flag(&mut self) -> Option<bool> {
        let letter = value(*self.text.get(self.at / LETTER)?)?;
        let bit = letter >> (LETTER - 1 - self.at % LETTER) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A whole number above zero as a sum of Fibonacci's numbers: a bit for each, the smallest first, and one more.
    pub fn fibonacci(&mut self) -> Option<u32> {
        let (mut one, mut next) = (1u32, 2u32);
        let (mut sum, mut was_set) = (0u32, false);
        loop {
            let is_set = self.flag()?;
            if is_set && was_set {
                return Some(sum);
            }
            if is_set {
                sum = sum.checked_add(one)?;
            }
            was_set = is_set;
            (one, next) = (next, one.checked_add(next)?);
        }
    }

    /// Whether nothing is left but what fills the last letters up.
    pub fn is_done(mut self) -> bool {
        while let Some(is_set) = self.flag() {
            if is_set {
                return false;
            }
        }
        true
    }
}

fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_six_bits_each() {
        let mut bits = Bits::of("BA_").expect("letters");
        assert_eq!((bits.take(6), bits.take(6), bits.take(5)), (Some(1), Some(0), Some(31)));
        assert!(!bits.is_done());
        assert_eq!((bits.take(1), bits.take(1)), (Some(1), None));
        assert!(bits.is_done() && Bits::of("").expect("nothing").is_done());
        for text in ["A=", "A+", "A/", " A", "Ä", "A\0"] {
            assert!(Bits::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn numbers_are_sums_of_fibonaccis() {
        for (letters, number) in [("w", 1), ("Y", 2), ("M", 3), ("s", 4), ("W", 7), ("G", 5)] {
            assert_eq!(Bits::of(letters).expect("letters").fibonacci(), Some(number), "{letters}");
        }
        assert_eq!(Bits::of("AAAA").expect("letters").fibonacci(), None);
        assert_eq!(Bits::of(&"A".repeat(40)).expect("letters").fibonacci(), None);
        assert_eq!(Bits::of(&"q".repeat(40)).expect("letters").fibonacci(), None);
    }
}
