//! Look at a text also as what it is when it is decoded: what hides a value from us may not hide it from a provider.
//!
//! Views of views up to a depth, and so many bytes in all: more is not looked at. A view is made only where the
//! text has what it undoes.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use icu_normalizer::ComposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;

const DEPTH_MAX: usize = 3;
/// Of all views of one text together, as a multiple of it and beyond it.
const BYTES_MAX_TIMES: usize = 8;
const BYTES_MAX_MORE: usize = 4 << 10;
/// Of base64, characters: a card's number has 18 of them.
const BASE64_MIN: usize = 16;

/// The first thing found in a text or its views.
pub fn any<T>(text: &str, look: &mut impl FnMut(&str) -> Option<T>) -> Option<T> {
    let mut left = text.len() * BYTES_MAX_TIMES + BYTES_MAX_MORE;
    at_depth(text, DEPTH_MAX, &mut left, look)
}

fn at_depth<T>(
    text: &str,
    depth: usize,
    left: &mut usize,
    look: &mut impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    if let Some(found) = look(text) {
        return Some(found);
    }
    let depth = depth.checked_sub(1)?;
    for view in [plain(text), percent_decoded(text)].into_iter().flatten().chain(base64_decoded(text)) {
        *left = left.checked_sub(view.len())?;
        if let Some(found) = at_depth(&view, depth, left, look) {
            return Some(found);
        }
    }
    nested(text, depth, left, look)
}

/// One spelling of letters that look alike (NFKC), without what is not seen, and with one kind of dash and space.
fn plain(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let plain: String = ComposingNormalizerBorrowed::new_nfkc()
        .normalize(text)
        .chars()
        .filter(|letter| !is_unseen(*letter))
        .map(|letter| match letter {
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
            // Digits of other scripts that phones and forms write.
            '\u{660}'..='\u{669}' => ascii_digit(letter, '\u{660}'),
            '\u{6f0}'..='\u{6f9}' => ascii_digit(letter, '\u{6f0}'),
            '\u{966}'..='\u{96f}' => ascii_digit(letter, '\u{966}'),
            letter if letter.is_whitespace() => ' ',
            letter => letter,
        })
        .collect();
    (plain != text).then_some(plain)
}

fn ascii_digit(letter: char, zero: char) -> char {
    char::from_digit(letter as u32 - zero as u32, 10).unwrap_or(letter)
}

fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e01ef}')
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| decoded.into_owned())
}

/// Each word that is base64 of a text, in either alphabet.
fn base64_decoded(text: &str) -> impl Iterator<Item = String> + '_ {
    let is_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/-_=".contains(letter);
    text.split(move |letter: char| !is_base64(letter))
        .filter(|word| word.len() >= BASE64_MIN)
        .flat_map(|word| [Some(word), word.split_once('=').map(|(_, value)| value)])
        .flatten()
        .filter(|word| word.len() >= BASE64_MIN)
        .filter_map(|word| {
            let alphabet = if word.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
            let lenient = GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true);
            let bytes = GeneralPurpose::new(alphabet, lenient).decode(word).ok()?;
            let decoded = String::from_utf8(bytes).ok()?;
            decoded.chars().all(|letter| !letter.is_control() || letter.is_whitespace()).then_some(decoded)
        })
}

/// The texts and numbers of a JSON document within the text.
fn nested<T>(
    text: &str,
    depth: usize,
    left: &mut usize,
    look: &mut impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let begins = text.trim_start().starts_with(['{', '[', '"']);
    let document: serde_json::Value = begins.then(|| serde_json::from_str(text).ok())??;
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        let leaf = match value {
            serde_json::Value::String(leaf) => leaf,
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Array(items) => {
                waiting.extend(items);
                continue;
            }
            serde_json::Value::Object(members) => {
                for (name, member) in members {
                    waiting.extend([serde_json::Value::String(name), member]);
                }
                continue;
            }
            _ => continue,
        };
        *left = left.checked_sub(leaf.len())?;
        if let Some(found) = at_depth(&leaf, depth, left, look) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    const PAN: &str = "4111-1111-1111-1111";

    fn is_found(text: &str) -> bool {
        any(text, &mut |view| crate::detect::card::is_in(view).then_some(())).is_some()
    }

    fn percent(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    #[test]
    fn what_is_hidden_is_found() {
        for text in [
            PAN.to_owned(),
            percent(PAN),
            percent(&percent(PAN)),
            BASE64_STANDARD.encode(PAN),
            BASE64_URL_SAFE_NO_PAD.encode(format!("card: {PAN}")),
            format!("data={}", BASE64_STANDARD.encode(PAN)),
            BASE64_STANDARD.encode(BASE64_STANDARD.encode(PAN)),
            format!("{{\"card\":\"{PAN}\"}}"),
            r#"{"a":[{"b":4111111111111111}]}"#.to_owned(),
            r#"{"a":"\u0034111-1111-1111-1111"}"#.to_owned(),
            BASE64_STANDARD.encode(format!("{{\"card\":\"{PAN}\"}}")),
            serde_json::json!({"a": format!("{{\"b\":\"{PAN}\"}}")}).to_string(),
            PAN.replace('-', "\u{200b}"),
            PAN.replace('-', "\u{2011}"),
            PAN.replace('-', "\u{a0}"),
            PAN.replace('1', "１"),
            PAN.replace('1', "\u{661}"),
        ] {
            assert!(is_found(&text), "{text}");
        }
    }

    #[test]
    fn beyond_the_depth_nothing_is_looked_at() {
        let deep = (0..4).fold(PAN.to_owned(), |text, _| BASE64_STANDARD.encode(text));
        assert!(!is_found(&deep));
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let mut bytes = 0;
        let text = format!("[{}]", vec![format!("\"{}\"", "%2541".repeat(200)); 200].join(","));
        any(&text, &mut |view| {
            bytes += view.len();
            None::<()>
        });
        assert!(bytes <= text.len() * (BYTES_MAX_TIMES + 2) + BYTES_MAX_MORE, "{bytes}");
    }
}
