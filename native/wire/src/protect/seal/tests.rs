//! Places that are encrypted as one: what goes out instead, and what makes the call one that is refused.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value as Json, json};

use crate::error::Code;
use crate::protect::document;
use crate::protect::policy::{Policy, RawPolicy};
use crate::protect::survive;
use crate::protect::told::{Breach, Told};

/// The provider's private key, and how a snapshot writes its public half.
fn key() -> (PrivateDecryptingKey, String) {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key");
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("spki");
    let spki = STANDARD.encode(spki.as_ref());
    (key, spki)
}

fn jwe(spki: &str, more: &Json) -> Json {
    let mut seal = json!({"by": {"jwe": {"alg": "RSA-OAEP-256", "kid": "k1", "spki": spki}},
                          "members": [["encryptedData", "jwe"]]});
    seal.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    json!({"seal": seal})
}

fn compiled(fields: &Json) -> Result<Policy, String> {
    let raw = json!({"name": "p", "operations": [], "purpose": "payment", "unknown_fields": "reject",
                     "body_bytes": 1_048_576, "fields": fields});
    serde_json::from_value::<RawPolicy>(raw).map_err(|why| why.to_string())?.compile(|_| None)
}

fn sent(fields: &Json, body: &Json) -> Result<Json, Breach> {
    let policy = compiled(fields).expect("a policy");
    let mut told = Told::new(&policy);
    let written = document::rewrite(body.to_string().as_bytes(), &mut told)?;
    survive::check(&told, &[&written])?;
    Ok(serde_json::from_slice(&written).expect("JSON"))
}

fn unwrapped(private: PrivateDecryptingKey, wrapped: &[u8]) -> Vec<u8> {
    let private = OaepPrivateDecryptingKey::new(private).expect("private");
    let mut room = vec![0; private.min_output_size()];
    private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut room, None).expect("a key").to_vec()
}

/// What the provider reads in a JWE, with its header.
fn opened(private: PrivateDecryptingKey, jwe: &Json) -> (Json, String) {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
    let parts: Vec<&str> = jwe.as_str().expect("a text").split('.').collect();
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let key = RandomizedNonceKey::new(&AES_256_GCM, &unwrapped(private, &bytes(parts[1]))).expect("key");
    let mut sealed = [bytes(parts[3]), bytes(parts[4])].concat();
    let nonce = Nonce::try_assume_unique_for_key(&bytes(parts[2])).expect("a nonce");
    let clear = key.open_in_place(nonce, Aad::from(parts[0].as_bytes()), &mut sealed).expect("opened");
    (
        serde_json::from_slice(&bytes(parts[0])).expect("a header"),
        String::from_utf8(clear.to_vec()).expect("text"),
    )
}

#[test]
fn what_other_rules_leave_of_a_place_is_encrypted_as_one() {
    let (private, spki) = key();
    let more = json!({"into": "encryptedCard"});
    let fields = json!([
        {"at": "body $.amount", "do": "allow"},
        {"at": "body $.card", "do": jwe(&spki, &more)},
        {"at": "body $.card.note", "do": "drop"},
        {"at": "body $.card.name", "do": {"mask": {}}},
    ]);
    let body = json!({"amount": 5, "card": {"pan": "4111111111111111", "note": "n", "name": "Jane", "x": [1, null]}});
    let sent = sent(&fields, &body).expect("ok");
    assert_eq!((sent["amount"].as_i64(), sent.as_object().expect("a map").len()), (Some(5), 2));
    let (header, clear) = opened(private, &sent["encryptedCard"]["encryptedData"]);
    assert_eq!(header, json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "k1"}));
    assert_eq!(clear, r#"{"name":"****","pan":"4111111111111111","x":[1,null]}"#);
}

#[test]
fn the_whole_body_becomes_one_object_and_the_header_says_when() {
    let (private, spki) = key();
    let fields = json!([{"at": "body $", "do": {"seal": {
        "by": {"jwe": {"alg": "RSA-OAEP-256", "spki": spki, "header": {"typ": "JOSE"}, "iat": "milliseconds"}},
        "members": [["encData", "jwe"], ["v", {"text": "1"}]],
    }}}]);
    let sent = sent(&fields, &json!([{"a": 1}])).expect("ok");
    assert_eq!(sent["v"], "1");
    let (header, clear) = opened(private, &sent["encData"]);
    assert_eq!((&header["typ"], &header["iat"]), (&json!("JOSE"), &json!(0)));
    assert_eq!(clear, r#"[{"a":1}]"#);
}

#[test]
fn every_element_is_encrypted_by_a_key_of_its_own() {
    let (_, spki) = key();
    let fields = json!([{"at": "body $.cards[*]", "do": jwe(&spki, &json!({}))}]);
    let sent = sent(&fields, &json!({"cards": ["4111111111111111", "4111111111111111"]})).expect("ok");
    let cards: Vec<&str> =
        [0, 1].map(|n| sent["cards"][n]["encryptedData"].as_str().expect("a JWE")).to_vec();
    assert_ne!(cards[0].split('.').nth(1), cards[1].split('.').nth(1));
}

#[test]
fn the_older_form_is_opened_by_what_stands_beside_it() {
    let (private, spki) = key();
    let fields = json!([{"at": "body $.card", "do": {"seal": {
        "by": {"cbc": {"spki": spki, "oaep": "SHA-256", "encoding": "base64"}},
        "members": [["encryptedData", "data"], ["encryptedKey", "key"], ["iv", "iv"],
                    ["oaepHashingAlgorithm", {"text": "SHA256"}]],
    }}}]);
    let sent = sent(&fields, &json!({"card": "4111 1111 1111 1111"})).expect("ok");
    let bytes = |name: &str| STANDARD.decode(sent["card"][name].as_str().expect("a text")).expect("base64");
    let key = UnboundCipherKey::new(&AES_128, &unwrapped(private, &bytes("encryptedKey"))).expect("a key");
    let iv: [u8; 16] = bytes("iv").try_into().expect("16 bytes");
    let mut data = bytes("encryptedData");
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(key).expect("a cipher");
    let clear = cipher.decrypt(&mut data, DecryptionContext::Iv128(FixedLength::from(iv))).expect("clear");
    assert_eq!(clear, b"4111 1111 1111 1111");
    assert_eq!(sent["card"]["oaepHashingAlgorithm"], "SHA256");
}

#[test]
fn a_place_that_is_not_there_refuses_the_call() {
    let (_, spki) = key();
    let bodies = [
        json!({"Card": {"pan": "4111111111111111"}}),
        json!({}),
        json!([]),
        json!("4111111111111111"),
        json!({"orders": [{"card": 1}, {"kard": 1}]}),
    ];
    for (at, all) in
        [("body $.card", &bodies[..]), ("body $.orders[*].card", &bodies), ("body $..card", &bodies[..4])]
    {
        let fields =
            |more: &Json| json!([{"at": "body $", "do": "allow"}, {"at": at, "do": jwe(&spki, more)}]);
        for body in all {
            let breach = sent(&fields(&json!({})), body).expect_err("nothing to encrypt");
            assert_eq!(breach.code, Code::Unprotectable, "{at} {body}");
            assert!(breach.detail.contains(at) && !breach.detail.contains("4111"), "{}", breach.detail);
            assert!(sent(&fields(&json!({"may_be_absent": true})), body).is_ok(), "{at} {body}");
        }
    }
    // No order is no order without a card.
    let fields = json!([{"at": "body $.orders[*].card", "do": jwe(&spki, &json!({}))}, {"at": "body $.orders", "do": "allow"}]);
    assert_eq!(sent(&fields, &json!({"orders": []})).expect("ok"), json!({"orders": []}));
}

#[test]
fn what_is_encrypted_stands_nowhere_else() {
    let (_, spki) = key();
    let fields =
        json!([{"at": "body $.note", "do": "allow"}, {"at": "body $.card", "do": jwe(&spki, &json!({}))}]);
    let body = json!({"card": {"pan": "4012888888881881"}, "note": "4012888888881881"});
    assert_eq!(sent(&fields, &body).expect_err("in clear").code, Code::UndeclaredField);
    let fields = json!([
        {"at": "body $.note", "do": "allow"},
        {"at": "body $.card", "category": "none", "do": jwe(&spki, &json!({}))},
    ]);
    assert!(sent(&fields, &json!({"card": {"order": "2026-0001"}, "note": "2026-0001"})).is_ok());
}

#[test]
fn a_name_that_is_taken_refuses_the_call_and_a_key_that_has_ended_too() {
    let (_, spki) = key();
    let fields = json!([
        {"at": "body $.card", "do": jwe(&spki, &json!({"into": "sealed"}))},
        {"at": "body $.sealed", "do": "allow"},
    ]);
    let breach = sent(&fields, &json!({"card": 1, "sealed": 2})).expect_err("taken");
    assert_eq!(breach.code, Code::Unprotectable);
    let mut ended = jwe(&spki, &json!({}));
    ended["seal"]["by"]["jwe"]["until"] = 0.into();
    let breach = sent(&json!([{"at": "body $", "do": ended}]), &json!({"a": 1})).expect_err("ended");
    assert_eq!(breach.code, Code::ProtectionUnavailable);
}

#[test]
fn a_seal_that_could_not_be_is_refused_with_the_policy() {
    let (_, spki) = key();
    let renamed = json!({"into": "x"});
    for (at, seal) in [
        ("form card", jwe(&spki, &json!({}))),
        ("body $", jwe(&spki, &renamed)),
        ("body $.a[*]", jwe(&spki, &renamed)),
        ("body $..card", jwe(&spki, &renamed)),
        ("body $", jwe("AAAA", &json!({}))),
        ("body $", jwe(&spki, &json!({"headers": [["a b", "c"]]}))),
        ("body $", jwe(&spki, &json!({"members": [["encryptedData", "cbc"]]}))),
        ("body $", jwe(&spki, &json!({"members": [["encryptedData", "iv"]]}))),
    ] {
        assert!(compiled(&json!([{"at": at, "do": seal}])).is_err(), "{at} {seal}");
    }
}
