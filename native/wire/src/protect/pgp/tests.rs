//! Messages as their recipients take them apart: by the same library's other half, and by hand.
//! That `GnuPG` reads them is shown in `tests/conformance/test_openpgp.py`.

use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::*;

const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

fn key() -> (PrivateDecryptingKey, Json) {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key");
    let spki: PublicKeyX509Der<'_> = private.public_key().as_der().expect("spki");
    let subkey = json!({"fingerprint": FINGERPRINT, "spki": STANDARD.encode(spki.as_ref())});
    let form = json!({"subkey": subkey, "cipher": "AES-256"});
    (private, form)
}

fn pgp(form: &Json) -> Result<Pgp, serde_json::Error> {
    serde_json::from_value(form.clone())
}

/// The content of the packet at the front, and what follows it.
fn packet(bytes: &[u8], kind: u8) -> (&[u8], &[u8]) {
    assert_eq!(bytes[..2], [0xc0 | kind, 0xff]);
    let length = u32::from_be_bytes(bytes[2..6].try_into().expect("four")) as usize;
    bytes[6..].split_at(length)
}

#[test]
fn a_message_is_a_session_key_and_a_file_with_its_hash() {
    let (private, form) = key();
    let file = vec![0xfe; 100_000];
    let message = pgp(&form).expect("a key").message(&file, &With::default()).expect("a message");
    let (session, rest) = packet(&message, SESSION_KEY);
    assert_eq!(session[..10], [3, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 1]);
    let private = Pkcs1PrivateDecryptingKey::new(private).expect("private");
    let mut room = vec![0; private.min_output_size()];
    let mut wrapped = session[12..].to_vec();
    while wrapped.len() < private.key_size_bytes() {
        wrapped.insert(0, 0);
    }
    let given = private.decrypt(&wrapped, &mut room).expect("a session key");
    assert_eq!((given[0], given.len()), (9, 35));
    let sum = given[1..33].iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    assert_eq!(given[33..], sum.to_be_bytes());

    let (sealed, rest) = packet(rest, ENCRYPTED);
    assert!(rest.is_empty() && sealed[0] == 1);
    let cipher = DecryptingKey::cfb128(UnboundCipherKey::new(&cipher::AES_256, &given[1..33]).expect("key"));
    let mut clear = sealed[1..].to_vec();
    let begin = DecryptionContext::Iv128(FixedLength::from([0; BLOCK_BYTES]));
    let clear = cipher.expect("a cipher").decrypt(&mut clear, begin).expect("clear").to_vec();
    assert_eq!(clear[14..16], clear[16..18]);
    let (before, hash) = clear.split_at(clear.len() - 20);
    assert_eq!(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, before).as_ref(), hash);
    let (literal, hash_head) = packet(&before[PREFIX_BYTES..], LITERAL);
    assert_eq!((&literal[..6], &literal[6..], hash_head), (&b"b\0\0\0\0\0"[..], &file[..], &HASH_HEAD[..]));
}

#[test]
fn a_key_that_nothing_can_be_encrypted_to_is_none() {
    let (_, form) = key();
    for (name, value) in [
        ("fingerprint", json!("0123")),
        ("fingerprint", json!("zz".repeat(20))),
        ("spki", json!("AAAA")),
        ("kdf", json!({"curve": "2a8648ce3d030107", "hash": 8, "cipher": 9})),
        ("kdf", json!({"curve": "2a8648ce3d030107", "hash": 2, "cipher": 9})),
    ] {
        let mut other = form.clone();
        other["subkey"][name] = value;
        assert!(pgp(&other).is_err(), "{name}");
    }
    let mut other = form;
    other["cipher"] = "AES-192".into();
    assert!(pgp(&other).is_err());
}

#[test]
fn nothing_is_encrypted_to_a_key_that_has_ended() {
    let (_, mut form) = key();
    form["until"] = 10.into();
    let at = |now| pgp(&form).expect("a key").message(b"x", &With { now, ..With::default() });
    assert!(at(9).is_ok());
    assert_eq!(at(10), Err(KEY_ENDED));
}
