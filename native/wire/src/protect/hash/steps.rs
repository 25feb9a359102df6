//! The steps by which values are made alike before they are hashed.

use std::borrow::Cow;

use serde::Deserialize;

use super::Unhashed;
use super::phone::Phone;

/// One step. Which ones a product wants, in which order, is data of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// White space at both ends goes.
    Trim,
    Lowercase,
    /// All white space goes.
    NoSpaces,
    /// Everything goes but letters, marks, digits and white space.
    NoPunctuation,
    /// Everything goes but ASCII digits.
    Digits,
    /// It must read as an address of electronic mail; nothing changes.
    Email,
    /// Dots before the `@` go, where mail is Google's.
    GmailDots,
    /// What begins with `+` before the `@` goes, where mail is Google's.
    GmailSuffix,
    /// A telephone number, with its country's calling code, becomes digits alone.
    Phone(Phone),
    /// A `+` comes in front.
    Plus,
    /// A date becomes `YYYYMMDD`.
    Date,
    /// Of a postal code of the United States, the first five digits stay.
    UsPostalCode,
}

impl Step {
    pub fn apply<'v>(&self, value: &'v str) -> Result<Cow<'v, str>, Unhashed> {
        Ok(match self {
            Self::Trim => value.trim().to_owned().into(),
            Self::Lowercase => value.to_lowercase().into(),
            Self::NoSpaces => kept(value, |letter| !letter.is_whitespace()),
            Self::NoPunctuation => {
                kept(value, |letter| letter.is_alphanumeric() || letter.is_whitespace() || is_mark(letter))
            }
            Self::Digits => kept(value, |letter| letter.is_ascii_digit()),
            Self::Email => email(value).map(|_| Cow::Borrowed(value))?,
            Self::GmailDots => gmail(value, |local| local.replace('.', ""))?,
            Self::GmailSuffix => {
                gmail(value, |local| local.split('+').next().unwrap_or_default().to_owned())?
            }
            Self::Phone(phone) => phone.digits(value)?.into(),
            Self::Plus => format!("+{value}").into(),
            Self::Date => date(value)?.into(),
            Self::UsPostalCode => us_postal_code(value),
        })
    }
}

fn kept(value: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    value.chars().filter(|letter| keep(*letter)).collect::<String>().into()
}

/// Combining marks that have no composed form with their letter (Devanagari, Thai …) are part of the word.
fn is_mark(letter: char) -> bool {
    !letter.is_ascii() && !letter.is_alphanumeric() && !letter.is_whitespace() && {
        use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
        CanonicalCombiningClassMapBorrowed::new().get_u8(letter) != 0
    }
}

/// The part before the `@`, and the domain.
fn email(value: &str) -> Result<(&str, &str), Unhashed> {
    let (local, domain) = value.rsplit_once('@').ok_or(Unhashed::NoEmail)?;
    let odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '@';
    let whole =
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
    if whole && !local.contains(odd) && !domain.contains(odd) {
        Ok((local, domain))
    } else {
        Err(Unhashed::NoEmail)
    }
}

fn gmail(value: &str, change: impl Fn(&str) -> String) -> Result<Cow<'_, str>, Unhashed> {
    let (local, domain) = email(value)?;
    if !["gmail.com", "googlemail.com"].iter().any(|known| domain.eq_ignore_ascii_case(known)) {
        return Ok(value.into());
    }
    let local = change(local);
    if local.is_empty() { Err(Unhashed::NoEmail) } else { Ok(format!("{local}@{domain}").into()) }
}

/// Year, month and day, in this order, apart by one of `-/.` or not at all: any other order could be another day.
fn date(value: &str) -> Result<String, Unhashed> {
    let value = value.trim();
    let day = match value.as_bytes() {
        [_, _, _, _, first @ (b'-' | b'/' | b'.'), _, _, second, _, _] if first == second => {
            value.replace(char::from(*first), "-")
        }
        digits if digits.len() == 8 && digits.is_ascii() => {
            format!("{}-{}-{}", &value[..4], &value[4..6], &value[6..])
        }
        _ => return Err(Unhashed::NoDate),
    };
    let day: jiff::civil::Date = day.parse().map_err(|_| Unhashed::NoDate)?;
    Ok(day.strftime("%Y%m%d").to_string())
}

fn us_postal_code(value: &str) -> Cow<'_, str> {
    let mut digits = value.split('-');
    match (digits.next(), digits.next(), digits.next()) {
        (Some(five), Some(four), None) if is_digits(five, 5) && is_digits(four, 4) => five.into(),
        _ if is_digits(value, 9) => value[..5].into(),
        _ => value.into(),
    }
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_does_what_it_says() {
        for (step, before, after) in [
            (Step::Trim, " \u{a0}A b\n", "A b"),
            (Step::Lowercase, "ÄÖ İ", "äö i\u{307}"),
            (Step::NoSpaces, " a\tb\u{2003}c ", "abc"),
            (Step::NoPunctuation, "O'Neill-Smith, Jr.", "ONeillSmith Jr"),
            (Step::NoPunctuation, "हिन्दी 정", "हिन्दी 정"),
            (Step::Digits, "4111-1111 １", "41111111"),
            (Step::GmailDots, "a.b.c@gmail.com", "abc@gmail.com"),
            (Step::GmailDots, "a.b@GoogleMail.com", "ab@GoogleMail.com"),
            (Step::GmailDots, "a.b@example.com", "a.b@example.com"),
            (Step::GmailSuffix, "a+x+y@gmail.com", "a@gmail.com"),
            (Step::GmailSuffix, "a+x@example.com", "a+x@example.com"),
            (Step::Plus, "49", "+49"),
            (Step::Date, "1997-12-26", "19971226"),
            (Step::Date, "1997/12/26", "19971226"),
            (Step::Date, "19971226", "19971226"),
            (Step::UsPostalCode, "94303-5300", "94303"),
            (Step::UsPostalCode, "943035300", "94303"),
            (Step::UsPostalCode, "WC2H 8LG", "WC2H 8LG"),
            (Step::UsPostalCode, "1010-100", "1010-100"),
            (Step::Email, "a@example.com", "a@example.com"),
        ] {
            assert_eq!(step.apply(before).as_deref(), Ok(after), "{step:?} {before}");
        }
    }

    #[test]
    fn what_is_not_of_its_kind_is_refused() {
        for none in ["a", "a@", "@b.c", "a@b", "a b@c.d", "a@b@c.d", "a@b.", "n/a", ""] {
            assert_eq!(Step::Email.apply(none), Err(Unhashed::NoEmail), "{none}");
        }
        assert_eq!(Step::GmailSuffix.apply("+x@gmail.com"), Err(Unhashed::NoEmail));
        for none in
            ["26.12.1997", "12/26/1997", "1997-13-01", "19970229", "1997-2-1", "1997-12/26", "é997122", ""]
        {
            assert_eq!(Step::Date.apply(none), Err(Unhashed::NoDate), "{none}");
        }
    }
}
