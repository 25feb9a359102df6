//! Read a telephone number as one that is good everywhere: its country's calling code, then the rest (ITU-T E.164).
//!
//! A number says by `+` or `00` that its calling code is there. Of one that does not, the rule must say it: a hash of
//! a guessed number matches nobody, or somebody else.

use serde::Deserialize;

use super::Unhashed;

/// E.164 §6.1: at most so many digits. The shortest in use have seven.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Where a leading zero is part of the number.
const ZERO_STAYS: [&str; 1] = ["39"];

/// What numbers are that begin with neither `+` nor `00`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phone {
    #[default]
    Refused,
    /// They begin with their calling code.
    International,
    /// They are of the country with this calling code.
    Of(Box<str>),
}

impl Phone {
    /// Calling code and number, digits alone.
    pub fn digits(&self, value: &str) -> Result<String, Unhashed> {
        let value = value.trim();
        let (plus, rest) = value.strip_prefix('+').map_or((false, value), |rest| (true, rest));
        // `+44 (0)20 …`: the zero is for callers within the country.
        let rest = if plus { rest.replacen("(0)", "", 1) } else { rest.to_owned() };
        let separator = |letter: char| letter.is_whitespace() || "()-./".contains(letter);
        if !rest.chars().all(|letter| letter.is_ascii_digit() || separator(letter)) {
            return Err(Unhashed::NoPhone);
        }
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Err(if value.is_empty() { Unhashed::Nothing } else { Unhashed::NoPhone });
        }
        let whole = match (plus, digits.strip_prefix("00"), self) {
            (true, _, _) | (false, None, Self::International) => digits,
            (false, Some(rest), _) => rest.to_owned(),
            (false, None, Self::Of(code)) => format!("{code}{}", without_trunk_zero(&digits, code)),
            (false, None, Self::Refused) => return Err(Unhashed::NoCallingCode),
        };
        if DIGITS.contains(&whole.len()) && !whole.starts_with('0') {
            Ok(whole)
        } else {
            Err(Unhashed::NoPhone)
        }
    }
}

fn without_trunk_zero<'d>(digits: &'d str, code: &str) -> &'d str {
    if ZERO_STAYS.contains(&code) { digits } else { digits.strip_prefix('0').unwrap_or(digits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_their_calling_code_and_digits() {
        let of = |code: &str| Phone::Of(code.into());
        for (phone, written, digits) in [
            (Phone::Refused, "+44 844 412 4653", "448444124653"),
            (Phone::Refused, "0044 844 412 4653", "448444124653"),
            (Phone::Refused, "+44 (0)844 412-4653", "448444124653"),
            (Phone::Refused, "+1 (650) 555.1212", "16505551212"),
            (of("1"), "(650)555-1212", "16505551212"),
            (of("49"), "030/123456", "4930123456"),
            (of("49"), "+33 1 23 45 67 89", "33123456789"),
            (of("39"), "06 1234567", "39061234567"),
            (Phone::International, "16505551212", "16505551212"),
        ] {
            assert_eq!(phone.digits(written).as_deref(), Ok(digits), "{written}");
        }
    }

    #[test]
    fn what_is_no_number_for_sure_is_refused() {
        for (written, why) in [
            ("650-555-1212", Unhashed::NoCallingCode),
            ("", Unhashed::Nothing),
            ("+", Unhashed::NoPhone),
            ("n/a", Unhashed::NoPhone),
            ("+1 650 555 1212 ext 5", Unhashed::NoPhone),
            ("+０１２３４５６７", Unhashed::NoPhone),
            ("+123456", Unhashed::NoPhone),
            ("+1234567890123456", Unhashed::NoPhone),
            ("+0123456789", Unhashed::NoPhone),
            ("++1234567", Unhashed::NoPhone),
        ] {
            assert_eq!(Phone::Refused.digits(written), Err(why), "{written}");
        }
    }
}
