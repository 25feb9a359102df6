//! Which names are an API's own, and which may be data: `{"jane@example.com": …}`.
//!
//! A name of an API is short and made of few kinds of letters. What is not, or looks like something that is looked
//! for in values, is never told; nor is any of what stands beside too many others.

use std::collections::HashMap;

use crate::detect;

const LENGTH_MAX: usize = 40;
/// Letters and digits without anything that parts words.
const WORD_MAX: usize = 24;
const DIGITS_MAX: usize = 5;
const DIGITS_IN_A_ROW_MAX: usize = 3;
/// How often letters and digits may take turns in a word: in what is drawn by chance they do so more often.
const TURNS_MAX: usize = 3;
/// Words of hexadecimal digits from this length on are numbers of things.
const HEX_MIN: usize = 8;
/// A thing with more names than this is a map, whose names are data.
const SIBLINGS_MAX: usize = 100;
/// Of one operation in all.
const NAMES_MAX: usize = 2_000;

/// Whether a name could be one of an API's own.
pub fn is_plain(name: &str) -> bool {
    let own = name.strip_prefix('@').unwrap_or(name);
    let is_own = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    if own.is_empty() || name.len() > LENGTH_MAX || !own.bytes().all(is_own) {
        return false;
    }
    let digits = own.bytes().filter(u8::is_ascii_digit).count();
    let in_a_row =
        |count: usize, fits: fn(char) -> bool| own.split(|c| !fits(c)).any(|run| run.len() > count);
    digits <= DIGITS_MAX
        && own.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !in_a_row(DIGITS_IN_A_ROW_MAX, |c| c.is_ascii_digit())
        && !in_a_row(WORD_MAX, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && !(digits > 0 && own.split(['-', '_']).any(|word| is_hex(word) || turns(word) > TURNS_MAX))
        && detect::all(name).is_empty()
}

fn turns(word: &str) -> usize {
    word.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count()
}

fn is_hex(word: &str) -> bool {
    word.len() >= HEX_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The names that one operation's requests have, by the places that they stand in.
#[derive(Debug, Default)]
pub struct Names {
    of: HashMap<Box<str>, Siblings>,
    count: usize,
}

#[derive(Debug, Default)]
struct Siblings {
    /// How often each was seen.
    names: HashMap<Box<str>, u32>,
    is_map: bool,
}

impl Names {
    /// Whether this name of something at `place` may be told; `often` is how often makes it an API's own.
    pub fn takes(&mut self, place: &str, name: &str, often: u32) -> bool {
        if !is_plain(name) {
            return false;
        }
        if !self.of.contains_key(place) {
            if self.count >= NAMES_MAX {
                return false;
            }
            self.of.insert(place.into(), Siblings::default());
        }
        let Some(siblings) = self.of.get_mut(place) else { return false };
        if let Some(seen) = siblings.names.get_mut(name) {
            *seen = seen.saturating_add(1);
            return true;
        }
        if siblings.is_map || self.count >= NAMES_MAX {
            return false;
        }
        if siblings.names.len() >= SIBLINGS_MAX {
            siblings.is_map = true;
            let before = siblings.names.len();
            siblings.names.retain(|_, seen| *seen >= often);
            self.count -= before - siblings.names.len();
            return false;
        }
        siblings.names.insert(name.into(), 1);
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_apis_are_told_from_data() {
        for name in [
            "email",
            "birth_date",
            "firstName",
            "X-User",
            "address_line_1",
            "line1",
            "$schema",
            "@type",
            "sha256",
            "metadata",
            "idempotencyKey",
            "default_payment_method",
            "a",
            "iban",
            "2fa_enabled",
            "deadline_at",
            "automaticPaymentMethodsConfiguration",
        ] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "",
            "jane@example.com",
            "jane.doe",
            "4111111111111111",
            "+491701234567",
            "2027-01-31",
            "12",
            "1",
            "550e8400-e29b-41d4-a716-446655440000",
            "a b",
            "é",
            "a\u{1b}[31m",
            "a\n- b",
            "a: b",
            "a'b",
            "a\"b",
            "[*]",
            "*",
            "cus_9s6XKzkNRiz8i3",
            "user_20270131",
            "5f2c9a11",
            "x'] | $..*",
            "../..",
            "#",
            "&a",
            "!!python",
            "donaudampfschifffahrtsgesellschaftskapitaen",
            "DE89370400440532013000",
            "name\u{202e}",
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn what_has_too_many_names_is_a_map() {
        let mut names = Names::default();
        for _ in 0..3 {
            assert!(names.takes("body $", "total", 3));
        }
        let of = |letter: u8, other: u8| format!("x{}{}", char::from(letter), char::from(other));
        let told = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| of(a, b)));
        let told = told.filter(|name| names.takes("body $", name, 3)).count();
        assert_eq!(told, SIBLINGS_MAX - 1);
        assert!(names.takes("body $", "total", 3) && !names.takes("body $", "xaa", 3));
        assert!(names.takes("body $.total", "xaa", 3));
    }

    #[test]
    fn an_operation_has_so_many_names() {
        let mut names = Names::default();
        let place = |number: usize| format!("body $.a[{number}]");
        let told = (0..10_000).filter(|number| names.takes(&place(*number), "name", 3)).count();
        assert_eq!(told, NAMES_MAX);
        assert!(names.of.len() <= NAMES_MAX + 1);
    }
}
