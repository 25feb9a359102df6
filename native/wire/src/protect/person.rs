//! Seal values by a key of the person they are about: whoever destroys the key turns every token of them to noise.
//!
//! What is sealed here stands within a token that the client's root seals ([`super::tokenise`]), together with the
//! key's id: neither provider nor thief sees which tokens are of one person. The key is random, of one client, and
//! from it HKDF (RFC 5869, SHA-256) makes one for each provider and field.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use zeroize::Zeroizing;

use super::keys::{Length, Place, ROOT_BYTES, frame};

const FORM: &[u8] = b"tidegate person 1";
pub const ID_BYTES: usize = 16;

/// By what a key is known: random, so that it says nothing about whose it is.
pub type Id = [u8; ID_BYTES];

/// One person's key. No `Debug`; what is derived is wiped after use.
pub struct PersonKey {
    pub id: Id,
    secret: Prk,
}

impl PersonKey {
    /// None where the secret is none.
    pub fn new(id: Id, secret: &[u8]) -> Option<Self> {
        let salt = Salt::new(HKDF_SHA256, FORM);
        (secret.len() == ROOT_BYTES).then(|| Self { id, secret: salt.extract(secret) })
    }

    /// Id and what is sealed, as they stand within a token.
    pub fn seal(&self, client: &str, place: Place<'_>, packed: &[u8]) -> Option<Vec<u8>> {
        let (key, bound) = self.key(client, place)?;
        let mut sealed = packed.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(&bound), &mut sealed).ok()?;
        Some([self.id.as_slice(), nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What stands behind the id; None for what was made by another key, for another place, or was altered.
    pub fn open(&self, client: &str, place: Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (key, bound) = self.key(client, place)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut packed = Zeroizing::new(sealed.to_vec());
        let length = key.open_in_place(nonce, Aad::from(&bound), &mut packed).ok()?.len();
        packed.truncate(length);
        Some(packed)
    }

    fn key(&self, client: &str, place: Place<'_>) -> Option<(RandomizedNonceKey, Vec<u8>)> {
        let bound =
            frame(&[FORM, client.as_bytes(), place.provider.as_bytes(), place.field.as_bytes(), &self.id]);
        let mut key = Zeroizing::new([0; ROOT_BYTES]);
        self.secret.expand(&[&bound], Length(ROOT_BYTES)).ok()?.fill(&mut *key).ok()?;
        Some((RandomizedNonceKey::new(&AES_256_GCM, &*key).ok()?, bound))
    }
}

/// Whose key a call's values are sealed by, where a rule asks for one.
#[derive(Clone, Default)]
pub enum Person {
    /// The call does not say whom it is about.
    #[default]
    Unnamed,
    /// It says more than one.
    Several,
    /// The key cannot be had.
    Unavailable,
    Known(Arc<PersonKey>),
}

impl Person {
    /// A key that ends with the sample it is for.
    pub fn for_sample() -> Self {
        let mut secret = Zeroizing::new([0; ROOT_BYTES]);
        let made = aws_lc_rs::rand::fill(&mut *secret).ok();
        let key = made.and_then(|()| PersonKey::new(Id::default(), &*secret));
        key.map_or(Self::Unavailable, |key| Self::Known(Arc::new(key)))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub(in crate::protect) fn person(seed: u8) -> PersonKey {
        PersonKey::new([seed; ID_BYTES], &[seed; ROOT_BYTES]).expect("a key")
    }

    const HERE: Place<'_> = Place { provider: "crm", field: "email" };

    #[test]
    fn what_one_person_sealed_opens_for_them_at_its_place_alone() {
        let (ada, bob) = (person(1), person(2));
        let sealed = ada.seal("acme", HERE, b"value").expect("sealed");
        let (id, rest) = sealed.split_at(ID_BYTES);
        assert_eq!(id, ada.id);
        assert_eq!(ada.open("acme", HERE, rest).expect("opened").as_slice(), b"value");
        assert_ne!(sealed, ada.seal("acme", HERE, b"value").expect("sealed"));
        for opened in [
            bob.open("acme", HERE, rest),
            ada.open("globex", HERE, rest),
            ada.open("acme", Place { provider: "mail", ..HERE }, rest),
            ada.open("acme", Place { field: "name", ..HERE }, rest),
            ada.open("acme", HERE, &rest[..rest.len() - 1]),
            ada.open("acme", HERE, &rest[1..]),
            ada.open("acme", HERE, &[]),
        ] {
            assert!(opened.is_none());
        }
    }

    #[test]
    fn the_same_secret_under_another_id_is_another_key() {
        let sealed = person(1).seal("acme", HERE, b"value").expect("sealed");
        let other = PersonKey::new([9; ID_BYTES], &[1; ROOT_BYTES]).expect("a key");
        assert!(other.open("acme", HERE, &sealed[ID_BYTES..]).is_none());
        assert!(PersonKey::new([9; ID_BYTES], &[1; ROOT_BYTES - 1]).is_none());
    }
}
