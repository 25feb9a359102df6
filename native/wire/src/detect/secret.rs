//! Find keys and passwords by the forms that their makers gave them, so that they would be found.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What follows a known beginning.
#[derive(Debug, Clone, Copy)]
enum Tail {
    /// Letters and digits, at least so many.
    Alnum(usize),
    /// Those, `-` and `_`.
    Word(usize),
    Hex(usize),
    /// Capital letters and digits.
    Upper(usize),
    /// What begins so is one.
    None,
}

/// By their makers' own documentation of their forms.
const FORMS: [(&str, Tail); 51] = [
    ("-----BEGIN PRIVATE KEY-----", Tail::None),
    ("-----BEGIN RSA PRIVATE KEY-----", Tail::None),
    ("-----BEGIN EC PRIVATE KEY-----", Tail::None),
    ("-----BEGIN DSA PRIVATE KEY-----", Tail::None),
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----", Tail::None),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", Tail::None),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----", Tail::None),
    ("AGE-SECRET-KEY-1", Tail::Upper(50)),
    ("AKIA", Tail::Upper(16)),
    ("ASIA", Tail::Upper(16)),
    ("AIza", Tail::Word(35)),
    ("ya29.", Tail::Word(30)),
    ("GOCSPX-", Tail::Word(28)),
    ("sk_live_", Tail::Alnum(16)),
    ("rk_live_", Tail::Alnum(16)),
    ("sk_test_", Tail::Alnum(16)),
    ("rk_test_", Tail::Alnum(16)),
    ("whsec_", Tail::Alnum(24)),
    ("ghp_", Tail::Alnum(36)),
    ("gho_", Tail::Alnum(36)),
    ("ghu_", Tail::Alnum(36)),
    ("ghs_", Tail::Alnum(36)),
    ("ghr_", Tail::Alnum(36)),
    ("github_pat_", Tail::Word(60)),
    ("glpat-", Tail::Word(20)),
    ("gldt-", Tail::Word(20)),
    ("xoxb-", Tail::Word(20)),
    ("xoxp-", Tail::Word(20)),
    ("xoxa-", Tail::Word(20)),
    ("xoxs-", Tail::Word(20)),
    ("xapp-", Tail::Word(20)),
    ("hooks.slack.com/services/T", Tail::Alnum(8)),
    ("SG.", Tail::Word(22)),
    ("npm_", Tail::Alnum(36)),
    ("pypi-AgE", Tail::Word(50)),
    ("sk-ant-", Tail::Word(32)),
    ("sk-proj-", Tail::Word(32)),
    ("hf_", Tail::Alnum(30)),
    ("dop_v1_", Tail::Hex(64)),
    ("shpat_", Tail::Hex(32)),
    ("shpss_", Tail::Hex(32)),
    ("shpca_", Tail::Hex(32)),
    ("sq0atp-", Tail::Word(22)),
    ("sq0csp-", Tail::Word(43)),
    ("EAAA", Tail::Word(60)),
    ("pat-na1-", Tail::Word(36)),
    ("pat-eu1-", Tail::Word(36)),
    ("lin_api_", Tail::Alnum(40)),
    ("hvs.", Tail::Word(24)),
    ("PMAK-", Tail::Word(59)),
    ("tdg_", Tail::Word(20)),
];

static SEARCHER: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::new(FORMS.iter().map(|(beginning, _)| beginning)).ok());

pub fn is_in(text: &str) -> bool {
    let Some(searcher) = &*SEARCHER else { return true };
    searcher.find_overlapping_iter(text).any(|found| {
        let (_, tail) = FORMS[found.pattern().as_usize()];
        let before = text.as_bytes()[..found.start()].last();
        let is_word = !before.is_some_and(u8::is_ascii_alphanumeric);
        is_word && tail.fits(&text.as_bytes()[found.end()..])
    })
}

impl Tail {
    fn fits(self, rest: &[u8]) -> bool {
        let count = |fits: fn(&u8) -> bool| rest.iter().take_while(|byte| fits(byte)).count();
        match self {
            Self::Alnum(least) => count(u8::is_ascii_alphanumeric) >= least,
            Self::Word(least) => count(|byte| is_word(*byte)) >= least,
            Self::Hex(least) => count(u8::is_ascii_hexdigit) >= least,
            Self::Upper(least) => count(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) >= least,
            Self::None => true,
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// What begins a JSON object in base64url.
const OBJECT: &str = "eyJ";

/// Header, payload and signature (RFC 7515 §7.1), or the five parts of one that is encrypted (RFC 7516 §7.1).
pub fn is_jwt_in(text: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), OBJECT).any(|at| {
        let rest = &text.as_bytes()[at..];
        let length = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'.').count();
        let mut parts = rest[..length].split(|byte| *byte == b'.');
        let header = parts.next().unwrap_or_default();
        let has_alg = || {
            let json = URL_SAFE_NO_PAD.decode(header).ok()?;
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json)
                .ok()?
                .get("alg")
                .cloned()
        };
        parts.count() >= 2 && has_alg().is_some()
    })
}

/// Shorter words come out even by chance.
const CHANCE_LENGTH_MIN: usize = 24;
/// Bits a character; base64 drawn by chance has more, words of languages and identifiers have less.
const CHANCE_BITS_MIN: f64 = 4.2;

/// A word of letters of both cases and digits, spread as chance would.
pub fn is_chance_in(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"+/_-=".contains(letter)).any(|word| {
        let has = |fits: fn(&u8) -> bool| word.as_bytes().iter().any(fits);
        word.len() >= CHANCE_LENGTH_MIN
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_digit)
            && bits(word.as_bytes()) >= CHANCE_BITS_MIN
    })
}

/// Shannon's entropy of a word's own characters.
#[expect(clippy::cast_precision_loss, reason = "words are short")]
fn bits(word: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in word {
        counts[usize::from(*byte)] += 1;
    }
    let length = word.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no scanner takes them for real.
    fn made(beginning: &str, tail: &str) -> String {
        format!("{beginning}{}", tail.repeat(40))
    }

    #[test]
    fn secrets_are_found_by_their_beginnings() {
        for (beginning, tail) in FORMS {
            let secret = match tail {
                Tail::Hex(_) => made(beginning, "0af3"),
                Tail::Upper(_) => made(beginning, "Q7"),
                Tail::None => beginning.to_owned(),
                _ => made(beginning, "Ab3"),
            };
            for text in [
                secret.clone(),
                format!("key={secret}&x=1"),
                format!("Bearer {secret}"),
                format!("\n{secret}\n"),
            ] {
                assert!(is_in(&text), "{text}");
            }
            assert!(!is_in(&format!("x{secret}")) || matches!(tail, Tail::None), "{beginning}");
        }
        for text in [
            "sk_live_",
            "sk_live_short",
            "AKIA",
            "AKIAabcdefghijklmnop",
            "ghp_",
            "SG.a.b",
            "the hf_ prefix",
            "",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    #[test]
    fn tokens_of_json_are_found() {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let jwt = format!("{header}.{}.c2ln", URL_SAFE_NO_PAD.encode(br#"{"sub":"x"}"#));
        assert!(is_jwt_in(&jwt) && is_jwt_in(&format!("Bearer {jwt}")) && is_jwt_in(&format!("eyJ {jwt}")));
        let other = URL_SAFE_NO_PAD.encode(br#"{"a":1}"#);
        for text in [header.clone(), format!("{other}.a.b"), "eyJhbGc.b.c".to_owned(), String::new()] {
            assert!(!is_jwt_in(&text), "{text}");
        }
    }

    #[test]
    fn words_drawn_by_chance_are_told_from_others() {
        assert!(is_chance_in("token wJalrXUtnFEMI7K9MDENGbPxRfiCYEXAMPLEKEY4"));
        for text in [
            "Donaudampfschifffahrtsgesellschaft2",
            "550e8400-e29b-41d4-a716-446655440000",
            "aaaaaaaaaaaaaaaaaaaaaaaaaA1",
        ] {
            assert!(!is_chance_in(text), "{text}");
        }
    }
}
