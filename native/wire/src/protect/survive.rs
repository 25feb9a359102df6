//! The last look at what goes out: no value that a rule keeps is still in it, raw, in base64 or in hexadecimal.
//!
//! A value that was masked in one field and stands in clear in another, which a rule lets go, is a mistake of the
//! policy or a trick of the consumer; both are refused.

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use percent_encoding::utf8_percent_encode;

use super::named::UNRESERVED;
use super::told::{Breach, Told};
use crate::echo::needles::base64_form;
use crate::error::Code;
use crate::json::write_text;
use crate::sign::digest::hex;
use crate::xml;

/// Of base64, characters that a value of the fewest bytes that are looked for decides alone.
const BASE64_MIN: usize = 7;
const ENGINES: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&STANDARD, NO_PAD), GeneralPurpose::new(&URL_SAFE, NO_PAD)];
/// Pairs of bytes, a bit for each.
const FIRSTS: usize = (1 << 16) / 64;

/// Values in all their forms, sorted, and none the beginning of another: so only one can stand at a place, and
/// a search costs the logarithm of their number.
struct Forms {
    sorted: Vec<(Vec<u8>, usize)>,
    firsts: Vec<u64>,
}

/// Refuse what still holds a value that it should not.
pub fn check(told: &Told<'_>, outgoing: &[&[u8]]) -> Result<(), Breach> {
    if told.guarded.is_empty() {
        return Ok(());
    }
    let forms = Forms::of(&told.guarded);
    let Some(rule) = outgoing.iter().find_map(|bytes| forms.found_in(bytes)) else { return Ok(()) };
    let detail = format!(
        "What the rule `{}` keeps stands elsewhere in the request, where it would go out. Send it in that field alone.",
        told.policy.rules[rule].at
    );
    Err(Breach::new(Code::UndeclaredField, detail))
}

impl Forms {
    fn of(guarded: &[(usize, String)]) -> Self {
        let mut sorted: Vec<(Vec<u8>, usize)> = guarded
            .iter()
            .flat_map(|(rule, text)| forms_of(text).into_iter().map(|form| (form, *rule)))
            .collect();
        sorted.sort_unstable();
        sorted.dedup_by(|later, kept| later.0.starts_with(&kept.0));
        let mut firsts = vec![0; FIRSTS];
        for (form, _) in &sorted {
            let (word, bit) = first(form);
            firsts[word] |= bit;
        }
        Self { sorted, firsts }
    }

    fn found_in(&self, bytes: &[u8]) -> Option<usize> {
        (0..bytes.len().saturating_sub(1)).find_map(|at| {
            let rest = &bytes[at..];
            let (word, bit) = first(rest);
            if self.firsts[word] & bit == 0 {
                return None;
            }
            let after = self.sorted.partition_point(|(form, _)| form.as_slice() <= rest);
            let (form, rule) = self.sorted.get(after.checked_sub(1)?)?;
            rest.starts_with(form).then_some(*rule)
        })
    }
}

/// Where the bit of the first two bytes is.
fn first(bytes: &[u8]) -> (usize, u64) {
    (usize::from(bytes[0]) << 2 | usize::from(bytes[1] >> 6), 1 << (bytes[1] & 63))
}

/// As it is, as JSON, forms and XML write it, in hexadecimal and in base64.
fn forms_of(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut quoted = Vec::new();
    write_text(text, &mut quoted);
    let quoted = quoted[1..quoted.len() - 1].to_vec();
    let (mut in_text, mut in_attribute) = (String::new(), String::new());
    xml::write_text(text, &mut in_text);
    xml::write_value(text, &mut in_attribute);
    let escaped: String = utf8_percent_encode(text, UNRESERVED).collect();
    let lower = hex(bytes);
    let upper = lower.to_ascii_uppercase();
    let mut forms = vec![
        bytes.to_vec(),
        quoted,
        escaped.into_bytes(),
        in_text.into_bytes(),
        in_attribute.into_bytes(),
        lower.into_bytes(),
        upper.into_bytes(),
    ];
    for engine in &ENGINES {
        let placed = (0..3).filter_map(|before| base64_form(engine, bytes, before, BASE64_MIN));
        forms.extend(placed.map(|form| form.to_vec()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn finds(value: &str, text: &str) -> bool {
        Forms::of(&[(0, value.to_owned())]).found_in(text.as_bytes()).is_some()
    }

    proptest! {
        #[test]
        fn a_value_is_found_in_each_form_with_anything_around_it(
            value in "[ -~äß\u{1F600}]{6,20}", before in "[ -~]{0,7}", after in "[ -~]{0,7}",
        ) {
            let around = format!("{before}{value}{after}");
            prop_assert!(finds(&value, &around));
            prop_assert!(finds(&value, &BASE64_STANDARD.encode(&around)));
            prop_assert!(finds(&value, &BASE64_URL_SAFE_NO_PAD.encode(&around)));
            prop_assert!(finds(&value, &hex(around.as_bytes())));
            prop_assert!(finds(&value, &hex(around.as_bytes()).to_ascii_uppercase()));
            prop_assert!(finds(&value, &serde_json::to_string(&around).expect("json")));
        }

        #[test]
        fn the_search_finds_what_a_plain_one_finds(
            values in prop::collection::vec("[ab]{6,9}", 1..12), text in "[ab]{0,60}",
        ) {
            let guarded: Vec<_> = values.iter().cloned().map(|value| (0, value)).collect();
            let plain = values.iter().any(|value| text.contains(value.as_str()));
            prop_assert_eq!(Forms::of(&guarded).found_in(text.as_bytes()).is_some(), plain);
        }
    }
}
