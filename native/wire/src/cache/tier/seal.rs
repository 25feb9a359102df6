//! Seal what leaves this gateway for the store, under a key that the client's gateways alone have.
//!
//! AES-256-GCM, bound to the place it stands at: what was altered, cut, or moved from another place does not
//! open. The names of places are keyed digests, so that nobody at the store can try out what was asked.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

use crate::cache::key::Key;
use crate::shared::hex;

/// Another form of what is sealed never opens as this one.
const FORM: &[u8] = b"tidegate tier 1";

/// One client's keys, made of the one that the vault has for it.
pub struct Keys {
    seal: RandomizedNonceKey,
    names: hmac::Key,
    /// The names of its keys at the store.
    pub answers: String,
    pub ends: String,
    flight: String,
}

impl Keys {
    /// None where the secret is no key.
    pub fn new(prefix: &str, secret: &[u8]) -> Option<Self> {
        if secret.len() < 32 {
            return None;
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |purpose: &[u8]| hmac::sign(&root, &[FORM, purpose].concat());
        let names = hmac::Key::new(hmac::HMAC_SHA256, derived(b"names").as_ref());
        let seal = RandomizedNonceKey::new(&AES_256_GCM, derived(b"seal").as_ref()).ok()?;
        // One client's keys stand in one slot of a cluster.
        let tag = hex(&hmac::sign(&names, b"client").as_ref()[..16]);
        Some(Self {
            seal,
            names,
            answers: format!("{prefix}:v1:answers:{{{tag}}}"),
            ends: format!("{prefix}:v1:ends:{{{tag}}}"),
            flight: format!("{prefix}:v1:flight:{{{tag}}}"),
        })
    }

    /// Under which name an answer stands in the hash.
    pub fn name(&self, place: &Key) -> String {
        hex(&hmac::sign(&self.names, place.bytes()).as_ref()[..16])
    }

    /// What a thing of this kind and name is called where it must not be read.
    pub fn mark(&self, kind: &[u8], name: &[u8]) -> u64 {
        let mut context = hmac::Context::with_key(&self.names);
        for part in [b"mark", kind, name] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// Where stands who fetches it.
    pub fn flight(&self, name: &str) -> String {
        format!("{}:{name}", self.flight)
    }

    pub fn seal(&self, place: &[u8], mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let bound = [FORM, place].concat();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(&bound), &mut plain).ok()?;
        Some([nonce.as_ref().as_slice(), &plain].concat())
    }

    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length =
            self.seal.open_in_place(nonce, Aad::from([FORM, place].concat()), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Parts;

    fn keys(secret: u8) -> Keys {
        Keys::new("tidegate", &[secret; 32]).expect("keys")
    }

    fn place(name: &[u8]) -> Key {
        let mut parts = Parts::new();
        parts.add(name);
        parts.key()
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_and_for_its_client_alone() {
        let (ours, here) = (keys(1), place(b"here"));
        let sealed = ours.seal(here.bytes(), b"an answer".to_vec()).expect("sealed");
        assert_eq!(ours.open(here.bytes(), &sealed).as_deref(), Some(&b"an answer"[..]));
        assert_eq!(ours.open(place(b"there").bytes(), &sealed), None);
        assert_eq!(keys(2).open(here.bytes(), &sealed), None);
        for length in 0..sealed.len() {
            assert_eq!(ours.open(here.bytes(), &sealed[..length]), None, "{length}");
        }
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(ours.open(here.bytes(), &altered), None, "{at}");
        }
    }

    #[test]
    fn one_answer_has_another_name_and_another_seal_for_each_client() {
        let here = place(b"here");
        assert_ne!(keys(1).name(&here), keys(2).name(&here));
        assert_ne!(keys(1).answers, keys(2).answers);
        let sealed = || keys(1).seal(here.bytes(), b"an answer".to_vec()).expect("sealed");
        assert_ne!(sealed(), sealed());
        assert!(Keys::new("tidegate", b"short").is_none());
    }
}
