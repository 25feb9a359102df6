//! The IAB's Global Privacy Platform string: which sections it has, and whether one of them objects.
//!
//! Read are the European section, which is a TCF string, the United States' national one, and the older US privacy
//! string. Those of single states are passed over.

use super::bits::Bits;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Said<'t> {
    /// Sale, sharing or targeted advertising was opted out of, or the browser objects.
    pub objects: bool,
    /// The section of TCF.
    pub tcf: Option<&'t str>,
}

const TCF_EU: u32 = 2;
const US_PRIVACY: u32 = 6;
const US_NATIONAL: u32 = 7;
/// There are not so many.
const SECTIONS_MAX: usize = 64;
const OPTED_OUT: u64 = 1;

/// None where the string is none.
pub fn read(text: &str) -> Option<Said<'_>> {
    let mut parts = text.split('~');
    let sections = header(parts.next()?)?;
    let mut said = Said::default();
    for section in sections {
        let part = parts.next()?;
        match section {
            TCF_EU => said.tcf = Some(part),
            US_PRIVACY => said.objects |= us_privacy(part)?,
            US_NATIONAL => said.objects |= us_national(part)?,
            _ if part.is_empty() => return None,
            _ => {
                for segment in part.split('.') {
                    Bits::of(segment)?;
                }
            }
        }
    }
    parts.next().is_none().then_some(said)
}

/// The numbers of the sections, each once and in their order.
fn header(text: &str) -> Option<Vec<u32>> {
    let mut bits = Bits::of(text)?;
    if bits.take(6)? != 3 || bits.take(6)? != 1 {
        return None;
    }
    let mut sections = Vec::new();
    let mut last = 0u32;
    for _ in 0..bits.take(12)? {
        let is_range = bits.flag()?;
        let first = last.checked_add(bits.fibonacci()?)?;
        last = if is_range { first.checked_add(bits.fibonacci()?)? } else { first };
        if usize::try_from(last - first).ok()? + sections.len() >= SECTIONS_MAX {
            return None;
        }
        sections.extend(first..=last);
    }
    bits.is_done().then_some(sections)
}

/// `1YNN`: version, notice, opt-out of sale, agreement of service providers.
fn us_privacy(text: &str) -> Option<bool> {
    let &[b'1', notice, opt_out, agreement] = text.as_bytes() else { return None };
    let is_word = |letter: u8| matches!(letter, b'Y' | b'N' | b'-' | b'y' | b'n');
    [notice, opt_out, agreement].into_iter().all(is_word).then_some(matches!(opt_out, b'Y' | b'y'))
}

fn us_national(text: &str) -> Option<bool> {
    let mut segments = text.split('.');
    let mut core = Bits::of(segments.next()?)?;
    if !matches!(core.take(6)?, 1 | 2) {
        return None;
    }
    let _notices = core.take(12)?;
    let mut objects = false;
    // Of sale, of sharing, of targeted advertising.
    for _ in 0..3 {
        let said = core.take(2).filter(|said| *said < 3)?;
        objects |= said == OPTED_OUT;
    }
    // What follows is of sensitive data, children and agreements: 12 fields at least.
    core.take(24)?;
    if let Some(segment) = segments.next() {
        let mut bits = Bits::of(segment)?;
        if bits.take(2)? != 1 {
            return None;
        }
        objects |= bits.flag()?;
    }
    segments.next().is_none().then_some(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn objects(text: &str) -> Option<bool> {
        read(text).map(|said| said.objects)
    }

    #[test]
    fn the_national_section_says_who_opted_out() {
        // Version, notices, then sale, sharing, targeted advertising: 2 is no, 1 is opted out.
        assert_eq!(objects("DBABLA~BVQqAAAAAAJY.QA"), Some(false));
        assert_eq!(objects("DBABLA~BVQqAAAAAAJY"), Some(false));
        for one in ["BVQa", "BVQm", "BVQp", "BVQV"] {
            assert_eq!(objects(&format!("DBABLA~{one}AAAAAAJY.QA")), Some(true), "{one}");
        }
        assert_eq!(objects("DBABLA~BAAAAAAAAAA.QA"), Some(false));
        assert_eq!(objects("DBABLA~BVQqAAAAAAJY.YA"), Some(true));
        assert_eq!(objects("DBABLA~BVVVkkkkkpFY.Y"), Some(true));
    }

    #[test]
    fn sections_are_told_apart_by_the_header() {
        let tcf = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA";
        assert_eq!(read(&format!("DBABMA~{tcf}")), Some(Said { objects: false, tcf: Some(tcf) }));
        let both = format!("DBACNYA~{tcf}");
        assert_eq!(read(&format!("{both}~1YNN")), Some(Said { objects: false, tcf: Some(tcf) }));
        assert_eq!(objects(&format!("{both}~1YYN")), Some(true));
        assert_eq!(objects(&format!("{both}~1---")), Some(false));
        assert_eq!(read("DBAA"), Some(Said::default()));
    }

    #[test]
    fn what_is_no_such_string_is_refused() {
        for text in [
            "",
            "~",
            "DBABLA",
            "DBABLA~",
            "DBABLA~BVQq",
            "DBABLA~BVQqAAAAAAJY.QA~1YNN",
            "DBABLA~BVQqAAAAAAJY.QA.QA",
            "DBABLA~BVQqAAAAAAJY.",
            "DBABLA~BVQqAAAAAAJY.gA",
            "DBABLA~DVQqAAAAAAJY",
            "DBABLA~BVQ_AAAAAAJY",
            "DBABLA~BVQqAAAAAA=Y",
            "DBABLB~BVQqAAAAAAJY",
            "CBABLA~BVQqAAAAAAJY",
            "DCABLA~BVQqAAAAAAJY",
            "DBACNYA~COvF~2YNN",
            "DBACNYA~COvF~1YN",
            "DBACNYA~COvF~1YXN",
            "DBACNYA~COvF",
            "DB__LA~BVQqAAAAAAJY",
            "dbabla~BVQqAAAAAAJY",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_read_or_refused(text in "[A-Za-z0-9_.~-]{0,80}") {
            let _ = read(&text);
            let _ = read(&format!("DBABLA~{text}"));
            let _ = read(&format!("DB{text}"));
        }
    }
}
