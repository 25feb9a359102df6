//! Compare numbers as they are written: whole ones exactly, others as IEEE 754 has them.

use std::cmp::Ordering;

/// A JSON number (RFC 8259 §6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// None for what is not written as a number.
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse::<i128>() {
            return Some(Self::Whole(whole));
        }
        text.parse::<f64>().ok().filter(|real| !real.is_nan()).map(Self::Real)
    }

    /// `1.0` is whole, as JSON Schema sees it (2020-12 Validation §6.1.1).
    pub fn is_whole(self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Real(real) => real.is_infinite() || real.fract() == 0.0,
        }
    }

    #[allow(clippy::cast_precision_loss)] // what is no longer exact was not asked to be
    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(&other),
            _ => self.real().partial_cmp(&other.real()).unwrap_or(Ordering::Equal),
        }
    }

    /// Whether it is so many times the other, a whole number of times. `0.01` is not exact in binary: what a
    /// person would call a multiple is one.
    pub fn is_multiple_of(self, other: Self) -> bool {
        if let (Self::Whole(one), Self::Whole(other)) = (self, other) {
            return other != 0 && one % other == 0;
        }
        let times = self.real() / other.real();
        let off = (times - times.round()).abs();
        times.is_finite() && off <= times.abs().max(1.0) * 1e-12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::read(text).expect("a number")
    }

    #[test]
    fn whole_numbers_are_exact() {
        let (large, larger) = (number("9007199254740992"), number("9007199254740993"));
        assert_eq!(large.compare(larger), Ordering::Less);
        assert!(number("-1.0").is_whole() && number("1e3").is_whole() && !number("1.5").is_whole());
        assert_eq!(number("1.0").compare(number("1")), Ordering::Equal);
    }

    #[test]
    fn a_multiple_is_what_a_person_would_call_one() {
        assert!(number("4.35").is_multiple_of(number("0.01")));
        assert!(number("19.99").is_multiple_of(number("0.01")));
        assert!(!number("4.355").is_multiple_of(number("0.01")));
        assert!(number("12").is_multiple_of(number("3")) && !number("12").is_multiple_of(number("5")));
        assert!(!number("1e400").is_multiple_of(number("0.5")));
    }
}
