//! The keys by which clients' values are protected: made here of each client's roots, which the vault lends.
//!
//! A root is 32 random bytes of one client, with a number; the newest protects, older ones only open what they
//! protected. From it HKDF (RFC 5869, SHA-256) makes a key for each provider, field, use and root: a key taken at
//! one place opens nothing at another. No `Debug`; what is derived is wiped after use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

/// Another form of what is derived never yields this one's keys.
const FORM: &[u8] = b"tidegate protection 1";
/// Of a root, in bytes.
pub const ROOT_BYTES: usize = 32;

/// What a key is for; no two uses have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Tokens of which no two are equal.
    Aead,
    /// Tokens that are equal for equal values.
    Siv,
    /// Tokens of the value's shape.
    Ff1,
    /// Hashes that only this client can make.
    Hash,
}

impl Use {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Aead => b"aead",
            Self::Siv => b"siv",
            Self::Ff1 => b"ff1",
            Self::Hash => b"hash",
        }
    }
}

/// For which field of which provider a value is protected: what is made for one place is nothing at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub provider: &'a str,
    pub field: &'a str,
}

/// One client's roots.
pub struct Roots {
    client: Arc<str>,
    by_number: BTreeMap<u32, Prk>,
}

impl Roots {
    /// None where one of them is no root, or there is none.
    pub fn new(client: Arc<str>, roots: impl IntoIterator<Item = (u32, Zeroizing<Vec<u8>>)>) -> Option<Self> {
        let salt = Salt::new(HKDF_SHA256, FORM);
        let made = roots.into_iter().map(|(number, root)| {
            (root.len() == ROOT_BYTES && number > 0).then(|| (number, salt.extract(&root)))
        });
        let by_number: BTreeMap<u32, Prk> = made.collect::<Option<_>>()?;
        (!by_number.is_empty()).then_some(Self { client, by_number })
    }

    pub fn client(&self) -> &str {
        &self.client
    }

    /// The number of the root that protects.
    pub fn newest(&self) -> u32 {
        self.by_number.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The key of `N` bytes for one use at one place; None where there is no root of this number.
    pub fn key<const N: usize>(
        &self,
        number: u32,
        purpose: Use,
        place: Place<'_>,
    ) -> Option<Zeroizing<[u8; N]>> {
        let root = self.by_number.get(&number)?;
        let info = frame(&[
            purpose.name(),
            self.client.as_bytes(),
            place.provider.as_bytes(),
            place.field.as_bytes(),
            &number.to_be_bytes(),
        ]);
        let mut key = Zeroizing::new([0; N]);
        root.expand(&[&info], Length(N)).ok()?.fill(&mut *key).ok()?;
        Some(key)
    }
}

/// All clients' roots. Those that are put replace those before; what is gone is wiped.
#[derive(Default)]
pub struct Keyring(ArcSwap<HashMap<Arc<str>, Arc<Roots>>>);

impl Keyring {
    pub fn put(&self, roots: impl IntoIterator<Item = Roots>) {
        let made = roots.into_iter().map(|roots| (Arc::clone(&roots.client), Arc::new(roots)));
        self.0.store(Arc::new(made.collect()));
    }

    pub fn of(&self, client: &str) -> Option<Arc<Roots>> {
        self.0.load().get(client).cloned()
    }
}

/// Parts with their lengths, so that no two lists read the same.
pub fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        framed.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(part);
    }
    framed
}

pub(super) struct Length(pub usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub(in crate::protect) fn roots(client: &str, numbers: &[u32]) -> Roots {
        let seed = client.bytes().fold(7_u8, u8::wrapping_add);
        let root = |number: &u32| (*number, Zeroizing::new(vec![seed ^ number.to_be_bytes()[3]; ROOT_BYTES]));
        Roots::new(client.into(), numbers.iter().map(root)).expect("roots")
    }

    const HERE: Place<'_> = Place { provider: "crm", field: "email" };

    #[test]
    fn each_client_provider_field_use_and_number_has_a_key_of_its_own() {
        let (acme, other) = (roots("acme", &[1, 2]), roots("other", &[1]));
        let key =
            |roots: &Roots, number, purpose, place| *roots.key::<32>(number, purpose, place).expect("key");
        let same = key(&acme, 1, Use::Aead, HERE);
        assert_eq!(same, key(&acme, 1, Use::Aead, HERE));
        for another in [
            key(&other, 1, Use::Aead, HERE),
            key(&acme, 2, Use::Aead, HERE),
            key(&acme, 1, Use::Ff1, HERE),
            key(&acme, 1, Use::Aead, Place { provider: "mail", ..HERE }),
            key(&acme, 1, Use::Aead, Place { field: "name", ..HERE }),
            key(&acme, 1, Use::Aead, Place { provider: "crme", field: "mail" }),
        ] {
            assert_ne!(same, another);
        }
        assert!(acme.key::<32>(3, Use::Aead, HERE).is_none());
        assert_eq!((acme.newest(), other.newest()), (2, 1));
    }

    #[test]
    fn what_is_no_root_is_refused() {
        let short = [(1, Zeroizing::new(vec![1; 31]))];
        assert!(Roots::new("acme".into(), short).is_none());
        assert!(Roots::new("acme".into(), [(0, Zeroizing::new(vec![1; 32]))]).is_none());
        assert!(Roots::new("acme".into(), []).is_none());
    }

    #[test]
    fn a_client_whose_roots_are_not_put_again_has_none() {
        let ring = Keyring::default();
        ring.put([roots("acme", &[1]), roots("other", &[1])]);
        assert_eq!(ring.of("acme").expect("roots").client(), "acme");
        ring.put([roots("other", &[1])]);
        assert!(ring.of("acme").is_none());
    }
}
