//! Know the vault's own credentials when they stand where they should not, without keeping them in another place.
//!
//! Of every field on loan there is a digest here, keyed by chance that ends with the process; a text's words are
//! digested and compared. Only words of a length that some field has are digested at all.

use std::collections::HashSet;

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

/// Shorter ones come about by chance.
const FIELD_BYTES_MIN: usize = 12;
/// Of a digest; by chance no word has one of them.
const DIGEST_BYTES: usize = 16;
/// Fields that say who somebody is, and may stand anywhere.
const PUBLIC: [&str; 8] =
    ["username", "user", "client_id", "account", "access_key_id", "key_id", "tls_certificate", "email"];

type Digest = [u8; DIGEST_BYTES];

/// The digests of what is on loan. No `Debug`.
#[derive(Default)]
pub struct Live {
    key: Option<hmac::Key>,
    digests: HashSet<Digest>,
    lengths: HashSet<usize>,
}

impl Live {
    /// `fields`: names and values of all leases.
    pub fn of<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> Self {
        let mut chance = Zeroizing::new([0; 32]);
        if rand::fill(&mut *chance).is_err() {
            return Self::default();
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*chance);
        let values: Vec<&[u8]> = fields
            .filter(|(name, value)| value.len() >= FIELD_BYTES_MIN && !PUBLIC.contains(name))
            .map(|(_, value)| value)
            .collect();
        let digests = values.iter().map(|value| digest(&key, value)).collect();
        let lengths = values.iter().map(|value| value.len()).collect();
        Self { key: Some(key), digests, lengths }
    }

    pub fn is_in(&self, text: &str) -> bool {
        let Some(key) = self.key.as_ref().filter(|_| !self.digests.is_empty()) else { return false };
        let is_known = |word: &str| {
            self.lengths.contains(&word.len()) && self.digests.contains(&digest(key, word.as_bytes()))
        };
        let parts_words = |letter: char| letter.is_whitespace() || "\"'`<>()[]{},;&".contains(letter);
        is_known(text)
            || text.split(parts_words).any(|word| {
                is_known(word)
                    || word.split_once([':', '=']).is_some_and(|(_, value)| is_known(value))
                    || word.rsplit_once([':', '=', '/']).is_some_and(|(_, value)| is_known(value))
            })
    }
}

fn digest(key: &hmac::Key, value: &[u8]) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&hmac::sign(key, value).as_ref()[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_loan_is_known_wherever_it_stands_as_a_word() {
        let secret = "a credential of no known form".replace(' ', "-");
        let live =
            Live::of([("token", secret.as_bytes()), ("username", b"jane.doe@example.com")].into_iter());
        for text in [
            secret.clone(),
            format!("Bearer {secret}"),
            format!("{{\"key\":\"{secret}\"}}"),
            format!("api_key={secret}&x=1"),
            format!("https://user:{secret}"),
        ] {
            assert!(live.is_in(&text), "{text}");
        }
        for text in ["jane.doe@example.com", &secret[1..], &format!("{secret}x"), ""] {
            assert!(!live.is_in(text), "{text}");
        }
        assert!(!Live::default().is_in(&secret));
        assert!(!Live::of([("token", b"short".as_slice())].into_iter()).is_in("short"));
    }
}
