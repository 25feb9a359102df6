//! The forms in which a credential may come back: as it is, in base64, escaped for URLs or for JSON.

use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::{Zeroize, Zeroizing};

/// What is shorter comes about by chance.
pub const FIELD_BYTES_MIN: usize = 8;
/// Of base64, characters that a field decides alone: 10 of them come about by chance once in 2^60.
const BASE64_MIN: usize = 10;
/// RFC 3986 §2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What writers of URLs that keep paths readable leave as it is.
const UNRESERVED_AND_SLASH: &AsciiSet = &UNRESERVED.remove(b'/');
/// Fields that are never sent as text: only the handshake uses them.
const FOR_TLS: [&str; 2] = ["tls_certificate", "tls_key"];

/// Finds a credential's fields in bytes. No `Debug`, and wiped: the forms are the secret.
pub struct Needles {
    searcher: AhoCorasick,
    forms: Vec<Form>,
    starts: [bool; 256],
    shortest: usize,
    longest: usize,
}

struct Form {
    bytes: Zeroizing<Vec<u8>>,
    field: Box<str>,
}

/// A place in the bytes that were searched, and the credential's field that stands there.
#[derive(Clone, Copy)]
pub struct Found<'n> {
    pub start: usize,
    pub end: usize,
    pub field: &'n str,
}

impl Needles {
    /// None where no field is long enough to be looked for.
    pub fn new<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> Option<Self> {
        let mut forms: Vec<Form> = Vec::new();
        for (field, value) in fields {
            if value.len() < FIELD_BYTES_MIN || FOR_TLS.contains(&field) {
                continue;
            }
            for bytes in forms_of(value) {
                if forms.iter().all(|known| *known.bytes != *bytes) {
                    forms.push(Form { bytes, field: field.into() });
                }
            }
        }
        let lengths = || forms.iter().map(|form| form.bytes.len());
        let (shortest, longest) = lengths().min().zip(lengths().max())?;
        let mut starts = [false; 256];
        for form in &forms {
            starts[usize::from(form.bytes[0])] = true;
        }
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.iter().map(|form| form.bytes.as_slice()))
            .ok()?;
        Some(Self { searcher, forms, starts, shortest, longest })
    }

    /// How many bytes there must be for anything to be found in them.
    pub fn shortest(&self) -> usize {
        self.shortest
    }

    /// The first place at or after `from` where one of the `wanted` fields stands.
    pub fn find(&self, bytes: &[u8], from: usize, wanted: &[Box<str>]) -> Option<Found<'_>> {
        let mut from = from;
        loop {
            let found = self.searcher.find(Input::new(bytes).range(from..))?;
            let field = &self.forms[found.pattern().as_usize()].field;
            if wanted.contains(field) {
                return Some(Found { start: found.start(), end: found.end(), field });
            }
            from = found.start() + 1;
        }
    }

    /// How many of the last bytes, from `from` on, may be the beginning of what is looked for.
    pub fn begun(&self, bytes: &[u8], from: usize) -> usize {
        let first = from.max(bytes.len().saturating_sub(self.longest - 1));
        (first..bytes.len())
            .find(|start| {
                let tail = &bytes[*start..];
                self.starts[usize::from(tail[0])]
                    && self
                        .forms
                        .iter()
                        .any(|form| form.bytes.len() > tail.len() && form.bytes.starts_with(tail))
            })
            .map_or(0, |start| bytes.len() - start)
    }
}

fn forms_of(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(value.to_vec())];
    for kept in [UNRESERVED, UNRESERVED_AND_SLASH] {
        let upper: Vec<u8> = percent_encode(value, kept).flat_map(str::bytes).collect();
        // Of an escape, only its two digits are letters that may be small.
        let mut lower = upper.clone();
        let mut at = 0;
        while at < lower.len() {
            if lower[at] == b'%' {
                lower[at + 1..at + 3].make_ascii_lowercase();
                at += 2;
            }
            at += 1;
        }
        let plus = String::from_utf8_lossy(&upper).replace("%20", "+").into_bytes();
        forms.extend([upper, lower, plus].map(Zeroizing::new));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        forms.extend(json_forms(text));
    }
    for alphabet in [&STANDARD, &URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        forms.extend((0..3).filter_map(|before| base64_form(&engine, value, before, BASE64_MIN)));
    }
    forms
}

/// Strings of JSON (RFC 8259 §7): with what must be escaped, with `/` too, and as writers have it that
/// keep JSON fit for HTML.
fn json_forms(text: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    quoted.zeroize();
    let slashed = inner.replace('/', "\\/");
    let escaped = |upper: bool| {
        let mut out = String::with_capacity(inner.len());
        for letter in inner.chars() {
            match letter {
                '<' | '>' | '&' | '\'' | '=' | '+' | '\u{7f}'.. if upper => escape(&mut out, letter, true),
                '<' | '>' | '&' | '\'' | '=' | '+' | '\u{7f}'.. => escape(&mut out, letter, false),
                _ => out.push(letter),
            }
        }
        out
    };
    let (small, large) = (escaped(false), escaped(true));
    [inner, slashed, small, large].map(|form| Zeroizing::new(form.into_bytes())).into()
}

fn escape(out: &mut String, letter: char, upper: bool) {
    let mut units = [0; 2];
    for unit in letter.encode_utf16(&mut units) {
        // Writing to a String cannot fail.
        let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
    }
}

/// The characters that the value alone decides when `before` bytes, of three, stand before it: so it is found
/// inside whatever was encoded together with it, such as the pair of Basic authentication.
pub fn base64_form(
    engine: &GeneralPurpose,
    value: &[u8],
    before: usize,
    min: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut whole = Zeroizing::new(vec![0; before]);
    whole.extend_from_slice(value);
    let text = Zeroizing::new(engine.encode(&*whole));
    let first = (before * 8).div_ceil(6);
    let last = whole.len() * 8 / 6;
    (last.checked_sub(first)? >= min).then(|| Zeroizing::new(text.as_bytes()[first..last].to_vec()))
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const VALUE: &str = "sk_live_a/b+c=\"d\\e<f>&'é 42";

    fn needles(value: &str) -> Needles {
        Needles::new([("token", value.as_bytes())].into_iter()).expect("needles")
    }

    fn found(needles: &Needles, text: &str) -> bool {
        needles.find(text.as_bytes(), 0, &["token".into()]).is_some()
    }

    #[test]
    fn every_form_is_found_wherever_it_stands() {
        let needles = needles(VALUE);
        let quoted = serde_json::to_string(VALUE).expect("json");
        let percent = percent_encode(VALUE.as_bytes(), UNRESERVED).to_string();
        for text in [
            VALUE.to_owned(),
            format!("key={percent}&x=1"),
            percent.replace("%2F", "/"),
            percent.replace("%20", "+"),
            quoted.clone(),
            quoted.replace('/', "\\/"),
            BASE64_STANDARD.encode(VALUE),
            BASE64_STANDARD.encode(format!("user:{VALUE}")),
            BASE64_STANDARD.encode(format!("u:{VALUE}!")),
            BASE64_URL_SAFE_NO_PAD.encode(format!("ab:{VALUE}")),
            r#"sk_live_a/b\u002bc\u003d\"d\\e\u003cf\u003e\u0026\u0027\u00e9 42"#.to_owned(),
            r#"sk_live_a/b\u002Bc\u003D\"d\\e\u003Cf\u003E\u0026\u0027\u00E9 42"#.to_owned(),
        ] {
            assert!(found(&needles, &format!("before {text} after")), "{text}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_passed_over() {
        let needles = Needles::new(
            [("id", b"client-12345".as_slice()), ("secret", b"12345-secret".as_slice())].into_iter(),
        )
        .expect("needles");
        let found = needles.find(b"client-12345-secret", 0, &["secret".into()]).expect("the secret");
        assert_eq!((found.start, found.field), (7, "secret"));
        assert!(needles.find(b"client-12345", 0, &["secret".into()]).is_none());
    }

    #[test]
    fn short_fields_and_keys_of_tls_are_not_looked_for() {
        assert!(Needles::new([("password", b"1234567".as_slice())].into_iter()).is_none());
        assert!(Needles::new([("tls_key", b"-----BEGIN".as_slice())].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn a_value_is_found_in_the_base64_of_anything_around_it(
            value in "[ -~]{9,40}", before in "[ -~]{0,9}", after in "[ -~]{0,9}",
        ) {
            let text = BASE64_STANDARD.encode(format!("{before}{value}{after}"));
            prop_assert!(found(&needles(&value), &text));
        }

        #[test]
        fn what_may_go_on_is_told(value in "[a-c]{8,12}", text in "[a-c]{0,30}", cut in 0_usize..12) {
            let needles = needles(&value);
            let whole = format!("{text}{}", &value[..cut.min(value.len() - 1)]);
            let begun = needles.begun(whole.as_bytes(), 0);
            prop_assert!(begun >= cut.min(value.len() - 1));
        }
    }
}
