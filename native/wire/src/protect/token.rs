//! How a token is written: `tdgt1.` kind and root's number `.` base64url of what was sealed (RFC 4648 §5, no padding).
//!
//! Letters, digits, `-`, `_` and `.` alone, so that it stands in JSON, forms, addresses and CSV as it is. It is read in
//! one way only: what differs in a single character from what `write` writes is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every token begins with.
pub const PREFIX: &str = "tdgt1.";
/// Of what is sealed, in bytes; a longer one is none.
pub const SEALED_BYTES_MAX: usize = 64 << 10;

/// How a token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// AES-256-GCM with a random nonce: no two tokens are equal.
    Aead,
    /// AES-SIV (RFC 5297): equal values at one place have equal tokens.
    Siv,
}

impl Kind {
    pub fn letter(self) -> char {
        match self {
            Self::Aead => 'a',
            Self::Siv => 's',
        }
    }
}

/// A token that reads well. Whether it opens is for `tokenise` to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// Of the root that its key was made of.
    pub root: u32,
    pub sealed: Vec<u8>,
}

impl Token {
    pub fn write(&self) -> String {
        let mut text = format!("{PREFIX}{}{}.", self.kind.letter(), self.root);
        URL_SAFE_NO_PAD.encode_string(&self.sealed, &mut text);
        text
    }

    /// None for anything that `write` does not write.
    pub fn read(text: &str) -> Option<Self> {
        let (head, sealed) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let mut letters = head.chars();
        let kind = match letters.next()? {
            'a' => Kind::Aead,
            's' => Kind::Siv,
            _ => return None,
        };
        let number = letters.as_str();
        let canonical = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        let root = canonical.then(|| number.parse().ok())??;
        if sealed.len() > SEALED_BYTES_MAX.div_ceil(3) * 4 {
            return None;
        }
        // The engine refuses trailing bits that are not zero, and any other alphabet.
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Some(Self { kind, root, sealed })
    }
}

/// Where tokens may stand in a text, from the first to the last: byte ranges that read as one.
pub fn find(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, Token)> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find(PREFIX)?;
            let rest = &text[start + PREFIX.len()..];
            let head = rest.find('.').unwrap_or(rest.len());
            let sealed = rest.get(head + 1..).unwrap_or_default();
            let length = sealed.find(|letter: char| !is_base64url(letter)).unwrap_or(sealed.len());
            let end = (start + PREFIX.len() + head + 1 + length).min(text.len());
            if head <= NUMBER_LENGTH_MAX
                && let Some(token) = Token::read(&text[start..end])
            {
                from = end;
                return Some((start..end, token));
            }
            from = start + PREFIX.len();
        }
    })
}

/// How many bytes of a text, from its first on, could be of one token.
pub fn reach(text: &str) -> usize {
    let common = text.bytes().zip(PREFIX.bytes()).take_while(|(one, other)| one == other).count();
    if common < PREFIX.len() {
        return common;
    }
    let rest = &text[common..];
    let head = rest.bytes().take(NUMBER_LENGTH_MAX).enumerate();
    let head =
        head.take_while(|(at, b)| if *at == 0 { matches!(b, b'a' | b's') } else { b.is_ascii_digit() });
    let head = common + head.count();
    match text[head..].strip_prefix('.') {
        Some(sealed) if head > common + 1 => {
            head + 1 + sealed.find(|letter| !is_base64url(letter)).unwrap_or(sealed.len())
        }
        _ => head,
    }
}

/// Where a text's end begins that could be the beginning of a token.
pub fn tail(text: &str) -> Option<usize> {
    let whole = text.rfind(PREFIX);
    let parts = (1..PREFIX.len()).rev().filter_map(|length| text.len().checked_sub(length));
    let part = parts.filter(|at| text.is_char_boundary(*at));
    whole.into_iter().chain(part).find(|at| reach(&text[*at..]) == text.len() - at)
}

/// Kind and number.
const NUMBER_LENGTH_MAX: usize = 11;

fn is_base64url(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_reads_in_one_way_only() {
        let token = Token { kind: Kind::Siv, root: 12, sealed: vec![0xfb, 0xff, 1, 2] };
        let text = token.write();
        assert_eq!(text, "tdgt1.s12.-_8BAg");
        assert_eq!(Token::read(&text).as_ref(), Some(&token));
        for other in [
            "",
            "tdgt1.",
            "tdgt1.s12",
            "tdgt1.s12.-_8BAh",
            "tdgt1.s12.-_8BAg=",
            "tdgt1.s12.+/8BAg",
            "tdgt1.s012.-_8BAg",
            "tdgt1.s.-_8BAg",
            "tdgt1.x12.-_8BAg",
            "tdgt1.s4294967296.-_8BAg",
            "tdgt1.s12.-_8BAg ",
            "tdgt2.s12.-_8BAg",
            "TDGT1.s12.-_8BAg",
            "tdgt1.s+12.-_8BAg",
            "tdgt1.é.-_8BAg",
            "tdgt1.s0.-_8BAg",
        ] {
            assert_eq!(Token::read(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_are_found_within_a_text() {
        let text = "To tdgt1.a1.AAAA, tdgt1.tdgt1.s2.BBBB. and tdgt1.é.C tdgt1.a3.CCCC";
        let found: Vec<_> = find(text).map(|(at, token)| (&text[at], token.root)).collect();
        assert_eq!(found, [("tdgt1.a1.AAAA", 1), ("tdgt1.s2.BBBB", 2), ("tdgt1.a3.CCCC", 3)]);
    }

    #[test]
    fn the_beginning_of_a_token_is_found_at_the_end_of_a_text() {
        for (text, at) in [
            ("Dear t", Some(5)),
            ("Dear tdgt1", Some(5)),
            ("tdgt1.", Some(0)),
            ("tdgt1.a12", Some(0)),
            ("x tdgt1.s2.AA-_tdg", Some(2)),
            ("tdgt1.a1.AAA tdgt1.a1.B", Some(13)),
            ("tdgt1.a1.AAAtdgt1.s", Some(12)),
            ("étd", Some(2)),
            ("", None),
            ("Dear tom", None),
            ("tdgt1.x", None),
            ("tdgt1.a.", None),
            ("tdgt1.a12345678901", None),
            ("tdgt1.a1.AA ", None),
            ("tdgt1.a1.AA.", None),
            ("é", None),
        ] {
            assert_eq!(tail(text), at, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_token_that_is_cut_anywhere_is_the_beginning_of_one(
            sealed in prop::collection::vec(any::<u8>(), 0..40), root in 1_u32.., before in "[ -~é]{0,9} ",
            cut in any::<prop::sample::Index>(),
        ) {
            let token = Token { kind: Kind::Siv, root, sealed }.write();
            let cut = &token[..=cut.index(token.len())];
            prop_assert_eq!(reach(cut), cut.len());
            prop_assert_eq!(tail(&format!("{before}{cut}")), Some(before.len()));
        }

        #[test]
        fn whatever_stands_around_it_a_token_is_found(
            sealed in prop::collection::vec(any::<u8>(), 0..80), root in 1_u32.., before in "[ -~é]{0,20}",
        ) {
            let token = Token { kind: Kind::Aead, root, sealed };
            let text = format!("{before} {} after", token.write());
            prop_assert!(find(&text).any(|(_, found)| found == token));
        }

        #[test]
        fn what_reads_is_written_the_same(text in "tdgt1\\.[as][0-9]{1,4}\\.[A-Za-z0-9_-]{0,12}") {
            if let Some(token) = Token::read(&text) {
                prop_assert_eq!(token.write(), text);
            }
        }
    }
}
