//! The IAB's Transparency and Consent string, version 2: whether it holds what a policy asks for.
//!
//! Of a string the core is read whole, and of its other parts whether the vendor was disclosed; legitimate interests
//! are passed over, since nobody consents to them.

use serde::Deserialize;

use super::bits::Bits;

/// Consent to these purposes, of this vendor where one is named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Wanted {
    purposes: Box<[u8]>,
    #[serde(default)]
    pub vendor: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// In Unix seconds.
    pub updated: i64,
    /// Whether all that is wanted is held.
    pub covers: bool,
}

const PURPOSES: u64 = 24;
/// What a publisher restricts a purpose to: not at all, or to legitimate interest.
const NOT_ALLOWED: u64 = 0;
const BY_INTEREST: u64 = 2;

/// None where the string is none.
pub fn read(text: &str, wanted: Option<&Wanted>) -> Option<Held> {
    let mut segments = text.split('.');
    let vendor = wanted.and_then(|wanted| wanted.vendor).map(u64::from);
    let purposes = wanted.map_or(&[][..], |wanted| &wanted.purposes);
    let mut held = core(Bits::of(segments.next()?)?, purposes, vendor)?;
    let mut seen = 0u8;
    for segment in segments {
        let mut bits = Bits::of(segment)?;
        // 1: vendors that were disclosed, 2: vendors that are allowed elsewhere, 3: the publisher's own.
        let kind = bits.take(3).filter(|kind| (1..=3).contains(kind))?;
        if seen >> kind & 1 == 1 {
            return None;
        }
        seen |= 1 << kind;
        if kind == 1 {
            held.covers &= vendors(&mut bits, vendor)?;
            if !bits.is_done() {
                return None;
            }
        }
    }
    Some(held)
}

fn core(mut bits: Bits<'_>, purposes: &[u8], vendor: Option<u64>) -> Option<Held> {
    if bits.take(6)? != 2 {
        return None;
    }
    let (_created, updated) = (bits.take(36)?, bits.take(36)?);
    let (_cmp, _cmp_version, _screen) = (bits.take(12)?, bits.take(12)?, bits.take(6)?);
    country(&mut bits)?;
    let (_list, _policy, _specific, _stacks) = (bits.take(12)?, bits.take(6)?, bits.flag()?, bits.flag()?);
    let (_features, consents, _interests) = (bits.take(12)?, bits.take(24)?, bits.take(24)?);
    let _purpose_one = bits.flag()?;
    country(&mut bits)?;
    let consents_to = |purpose: &u8| {
        let place = PURPOSES.checked_sub((*purpose).into()).filter(|_| *purpose > 0);
        place.is_some_and(|place| consents >> place & 1 == 1)
    };
    let mut covers = purposes.iter().all(consents_to);
    covers &= vendors(&mut bits, vendor)?;
    let _interests = vendors(&mut bits, None)?;
    for _ in 0..bits.take(12)? {
        let (purpose, kind) = (bits.take(6)?, bits.take(2)?);
        let is_ours = ranges(&mut bits, u16::MAX.into(), vendor)? && vendor.is_some();
        let is_wanted = purposes.iter().any(|wanted| u64::from(*wanted) == purpose);
        covers &= !(is_ours && is_wanted && matches!(kind, NOT_ALLOWED | BY_INTEREST));
    }
    let updated = i64::try_from(updated / 10).ok()?;
    bits.is_done().then_some(Held { updated, covers })
}

/// Two letters, of a language or a country.
fn country(bits: &mut Bits<'_>) -> Option<()> {
    (bits.take(6)? < 26 && bits.take(6)? < 26).then_some(())
}

/// Whether a set of vendors holds the one that is wanted; where none is, it does.
fn vendors(bits: &mut Bits<'_>, wanted: Option<u64>) -> Option<bool> {
    let most = bits.take(16)?;
    if bits.flag()? {
        return ranges(bits, most, wanted);
    }
    let mut holds = wanted.is_none();
    for vendor in 1..=most {
        holds |= bits.flag()? && wanted == Some(vendor);
    }
    Some(holds)
}

fn ranges(bits: &mut Bits<'_>, most: u64, wanted: Option<u64>) -> Option<bool> {
    let mut holds = wanted.is_none();
    for _ in 0..bits.take(12)? {
        let is_range = bits.flag()?;
        let first = bits.take(16)?;
        let last = if is_range { bits.take(16)? } else { first };
        if first == 0 || last < first || last > most {
            return None;
        }
        holds |= wanted.is_some_and(|vendor| (first..=last).contains(&vendor));
    }
    Some(holds)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The string that the IAB's own texts show: of February 2020, purposes 1 to 3, vendors 2, 6 and 8.
    const SHOWN: &str = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA";

    /// Writes strings, so that each of their parts can be varied.
    #[derive(Default)]
    pub(crate) struct Written(Vec<bool>);

    impl Written {
        pub(crate) fn put(mut self, count: usize, value: u64) -> Self {
            self.0.extend((0..count).rev().map(|place| value >> place & 1 == 1));
            self
        }

        pub(crate) fn text(&self) -> String {
            const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let letter = |bits: &[bool]| {
                let value = (0..6).fold(0, |value, at| value << 1 | usize::from(bits.get(at) == Some(&true)));
                char::from(LETTERS[value])
            };
            self.0.chunks(6).map(letter).collect()
        }
    }

    /// Up to the vendors. `purposes` are bits, that of purpose 1 the highest of 24.
    pub(crate) fn head(updated: i64, purposes: u64) -> Written {
        let tenths = u64::try_from(updated).expect("since 1970") * 10;
        let dated = Written::default().put(6, 2).put(36, tenths).put(36, tenths).put(30, 0).put(12, 0);
        dated.put(12, 15).put(6, 5).put(2, 0).put(12, 0).put(24, purposes).put(24, 0).put(1, 0).put(12, 0)
    }

    /// Of vendor 755 alone, without restrictions.
    pub(crate) fn granted(updated: i64, purposes: u64) -> String {
        let range = |written: Written| written.put(16, 755).put(1, 1).put(12, 1).put(1, 0).put(16, 755);
        range(head(updated, purposes)).put(16, 0).put(1, 0).put(12, 0).text()
    }

    pub(crate) const ALL: u64 = 0xff_ffff;

    fn wanted(purposes: &[u8], vendor: Option<u16>) -> Wanted {
        Wanted { purposes: purposes.into(), vendor }
    }

    fn covers(text: &str, purposes: &[u8], vendor: Option<u16>) -> Option<bool> {
        read(text, Some(&wanted(purposes, vendor))).map(|held| held.covers)
    }

    #[test]
    fn a_string_of_the_iab_is_read_as_its_texts_say() {
        assert_eq!(read(SHOWN, None), Some(Held { updated: 1_582_243_059, covers: true }));
        assert_eq!(covers(SHOWN, &[1, 2, 3], Some(2)), Some(true));
        assert_eq!(covers(SHOWN, &[1], Some(6)), Some(true));
        assert_eq!(covers(SHOWN, &[3], Some(8)), Some(true));
        for vendor in [1, 3, 7, 9, 755, u16::MAX] {
            assert_eq!(covers(SHOWN, &[1], Some(vendor)), Some(false), "{vendor}");
        }
        for purpose in [0, 4, 7, 24, 25, 255] {
            assert_eq!(covers(SHOWN, &[1, purpose], None), Some(false), "{purpose}");
        }
        let disclosed = format!(
            "{SHOWN}.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
        );
        assert_eq!(covers(&disclosed, &[1], Some(2)), Some(true));
    }

    #[test]
    fn ranges_of_vendors_hold_what_stands_in_them() {
        let ranges = head(0, ALL).put(16, 900).put(1, 1).put(12, 2).put(1, 1).put(16, 10).put(16, 20);
        let text = ranges.put(1, 0).put(16, 755).put(16, 0).put(1, 0).put(12, 0).text();
        for (vendor, holds) in [(9, false), (10, true), (15, true), (20, true), (21, false), (755, true)] {
            assert_eq!(covers(&text, &[1, 3, 4, 7], Some(vendor)), Some(holds), "{vendor}");
        }
        assert_eq!(covers(&granted(0, ALL), &[7], Some(755)), Some(true));
        assert_eq!(covers(&granted(0, ALL), &[7], Some(754)), Some(false));
    }

    #[test]
    fn what_a_publisher_restricts_is_not_consented_to() {
        let restricted = |purpose, kind, vendor| {
            let vendors =
                head(0, ALL).put(16, 755).put(1, 1).put(12, 1).put(1, 0).put(16, 755).put(16, 0).put(1, 0);
            vendors.put(12, 1).put(6, purpose).put(2, kind).put(12, 1).put(1, 0).put(16, vendor).text()
        };
        for (purpose, kind, vendor, holds) in
            [(3, 0, 755, false), (3, 2, 755, false), (3, 1, 755, true), (2, 0, 755, true), (3, 0, 754, true)]
        {
            let text = restricted(purpose, kind, vendor);
            assert_eq!(covers(&text, &[1, 3], Some(755)), Some(holds), "{purpose} {kind} {vendor}");
        }
    }

    #[test]
    fn a_vendor_that_was_not_disclosed_has_no_consent() {
        let disclosed =
            |vendor| Written::default().put(3, 1).put(16, 800).put(1, 1).put(12, 1).put(1, 0).put(16, vendor);
        let text = |vendor| format!("{}.{}", granted(0, ALL), disclosed(vendor).text());
        assert_eq!(covers(&text(755), &[1], Some(755)), Some(true));
        assert_eq!(covers(&text(754), &[1], Some(755)), Some(false));
    }

    #[test]
    fn what_is_no_such_string_is_refused() {
        let core = granted(0, ALL);
        let vendors = || head(0, ALL).put(16, 755);
        let tail = |written: Written| written.put(16, 0).put(1, 0).put(12, 0).text();
        for text in [
            String::new(),
            ".".to_owned(),
            core[..core.len() - 6].to_owned(),
            format!("{core}B"),
            format!("{core}="),
            format!("{core}."),
            format!("{core}.A"),
            format!("{core}.YAAA.YAAA"),
            format!("{core}.gAAA"),
            format!("B{}", &core[1..]),
            "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA".to_owned(),
            tail(vendors().put(1, 1).put(12, 1).put(1, 0).put(16, 0)),
            tail(vendors().put(1, 1).put(12, 1).put(1, 0).put(16, 756)),
            tail(vendors().put(1, 1).put(12, 1).put(1, 1).put(16, 9).put(16, 8)),
            tail(head(0, ALL).put(16, 0).put(1, 0)) + "_",
        ] {
            assert_eq!(read(&text, None), None, "{text}");
        }
        // No vendors at all is a string, and holds none.
        assert_eq!(covers(&tail(head(0, ALL).put(16, 0).put(1, 0)), &[1], Some(755)), Some(false));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_read_or_refused(text in "[A-Za-z0-9_.-]{0,200}") {
            let _ = read(&text, Some(&wanted(&[1], Some(755))));
            let _ = read(&format!("C{text}"), Some(&wanted(&[1], Some(755))));
        }

        #[test]
        fn vendors_are_found_where_they_were_written(
            members in prop::collection::btree_set(1u64..300, 0..40), vendor in 1u16..300,
        ) {
            let mut written = head(0, ALL).put(16, 300).put(1, 0);
            for member in 1..=300 {
                written = written.put(1, u64::from(members.contains(&member)));
            }
            let text = written.put(16, 0).put(1, 0).put(12, 0).text();
            prop_assert_eq!(covers(&text, &[1], Some(vendor)), Some(members.contains(&vendor.into())));
        }
    }
}
