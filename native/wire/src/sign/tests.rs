//! The published vectors of each scheme.

use std::collections::HashMap;

use base64::Engine as _;

use super::*;

fn lease(fields: &[(&str, &str)]) -> Lease {
    let fields =
        fields.iter().map(|(name, value)| ((*name).into(), Zeroizing::new(value.as_bytes().to_vec())));
    Lease::new(1, 0, Vec::new(), fields.collect::<HashMap<_, _>>(), u64::MAX).expect("lease")
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).expect("header")
}

/// AWS's own test suite: region, time and key are the same throughout.
#[test]
fn sigv4_signs_as_its_test_suite_does() {
    let lease = lease(&[
        ("access_key_id", "AKIDEXAMPLE"),
        ("secret_access_key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    ]);
    let signer = SigV4 {
        service: "service".into(),
        region: "us-east-1".into(),
        payload: sigv4::Payload::Hashed,
        session_token: false,
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (method, query, fields, body, signature) in [
        (Method::GET, None, &[][..], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            Method::GET,
            Some("Param2=value2&Param1=value1"),
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            Method::GET,
            Some("Param1=value1"),
            &[],
            "",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (Method::POST, None, &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            Method::POST,
            None,
            &form[..],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ] {
        let mut fields = headers(fields);
        let request = Unsigned {
            method: &method,
            scheme: "https",
            authority: "example.amazonaws.com",
            path: "/",
            query,
            body: Some(body.as_bytes()),
            now_ms: 1_440_938_160_000,
        };
        signer.sign(&lease, &request, &mut fields).expect("signed");
        let names = if body.is_empty() { "host;x-amz-date" } else { "content-type;host;x-amz-date" };
        assert_eq!(
            text(&fields, "authorization"),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={signature}"
            ),
            "{method} {query:?} {body}"
        );
    }
}

#[test]
fn a_region_is_declared_or_said_by_the_host() {
    for (declared, host, region) in [
        ("", "email.eu-west-1.amazonaws.com", "/eu-west-1/"),
        ("", "bucket.s3.eu-central-1.amazonaws.com", "/eu-central-1/"),
        ("", "kms.cn-north-1.amazonaws.com.cn", "/cn-north-1/"),
        ("", "iam.amazonaws.com", "/us-east-1/"),
        ("", "minio.example.com", "/us-east-1/"),
        ("auto", "x.r2.example.com", "/auto/"),
    ] {
        let lease = lease(&[("access_key_id", "A"), ("secret_access_key", "s")]);
        let json = serde_json::json!({"kind": "sigv4", "service": "any", "region": declared});
        let signer: Signer = serde_json::from_value(json).expect("signer");
        let request = Unsigned {
            method: &Method::GET,
            scheme: "https",
            authority: host,
            path: "/",
            query: None,
            body: Some(b""),
            now_ms: 0,
        };
        let mut fields = HeaderMap::new();
        signer.sign(&lease, &request, &mut fields).expect("signed");
        assert!(text(&fields, "authorization").contains(region), "{host}");
    }
}

/// RFC 5849 §3.4.1.1.
#[test]
fn oauth1_makes_the_base_string_of_the_rfc() {
    let request = Unsigned {
        method: &Method::POST,
        scheme: "http",
        authority: "EXAMPLE.com",
        path: "/request",
        query: Some("b5=%3D%253D&a3=a&c%40=&a2=r%20b"),
        body: Some(b"c2&a3=2+q"),
        now_ms: 0,
    };
    let protocol = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ];
    let form = headers(&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]);
    assert_eq!(
        oauth1::base_string(&request, &form, &protocol),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    );
}

/// RFC 9421 B.2.5 and B.2.6: the request, the keys and the signatures are the appendix's.
#[test]
fn http_signatures_are_those_of_the_rfc() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";
    let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    for (key, key_id, algorithm, label, components, input, signature) in [
        (
            secret,
            "test-shared-secret",
            http_signature::Algorithm::HmacSha256,
            "sig-b25",
            &["date", "@authority", "content-type"][..],
            r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
            "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        ),
        (
            pem,
            "test-key-ed25519",
            http_signature::Algorithm::Ed25519,
            "sig-b26",
            &["date", "@method", "@path", "@authority", "content-type", "content-length"],
            r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
            "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        ),
    ] {
        let lease = lease(&[("key", key), ("key_id", key_id)]);
        let signer = HttpSignature {
            components: components.iter().map(|name| (*name).to_owned()).collect(),
            algorithm,
            label: label.to_owned(),
        };
        let mut fields = headers(&[
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ]);
        let request = Unsigned {
            method: &Method::POST,
            scheme: "https",
            authority: "example.com",
            path: "/foo",
            query: Some("param=Value&Pet=dog"),
            body: None,
            now_ms: 1_618_884_473_000,
        };
        signer.sign(&lease, &request, &mut fields).expect("signed");
        assert_eq!(text(&fields, "signature-input"), input);
        assert_eq!(text(&fields, "signature"), signature);
    }
}

#[test]
fn what_is_to_be_covered_and_is_not_there_is_refused() {
    let lease = lease(&[("key", "c2VjcmV0"), ("key_id", "one")]);
    let signer = HttpSignature {
        components: vec!["date".to_owned()],
        algorithm: http_signature::Algorithm::HmacSha256,
        label: "sig1".to_owned(),
    };
    let request = Unsigned {
        method: &Method::GET,
        scheme: "https",
        authority: "example.com",
        path: "/",
        query: None,
        body: None,
        now_ms: 0,
    };
    let refusal = signer.sign(&lease, &request, &mut HeaderMap::new()).expect_err("refused");
    assert_eq!(refusal.code, Code::MalformedRequest);
}

#[test]
fn a_template_signs_what_it_says() {
    let json = r#"{
        "kind": "hmac", "key": "secret", "key_encoding": "base64", "hash": "sha256",
        "message": ["timestamp", "method", "target", "body"], "output": "base64",
        "headers": [["CB-ACCESS-SIGN", ["signature"]], ["CB-ACCESS-KEY", [{"field": "key"}]],
                    ["X-Nonce", [{"literal": "n="}, "nonce"]]],
        "query": [["sig", ["signature"]], ["ts", ["timestamp"]]], "timestamp": "unix_ms"
    }"#;
    let Ok(Signer::Hmac(signer)) = serde_json::from_str(json) else { panic!("a template") };
    let lease = lease(&[("secret", "c2VjcmV0"), ("key", "k1")]);
    let request = Unsigned {
        method: &Method::POST,
        scheme: "https",
        authority: "example.com",
        path: "/orders",
        query: Some("a=1"),
        body: Some(b"{}"),
        now_ms: 1_700_000_000_123,
    };
    let mut fields = HeaderMap::new();
    let added = signer.sign_with(&lease, &request, &mut fields, "0a".to_owned()).expect("signed");
    let message = b"1700000000123POST/orders?a=1&ts=1700000000123{}";
    let expected = base64::prelude::BASE64_STANDARD.encode(digest::Hash::Sha256.keyed(b"secret", message));
    assert_eq!(text(&fields, "cb-access-sign"), expected);
    assert_eq!((text(&fields, "cb-access-key"), text(&fields, "x-nonce")), ("k1", "n=0a"));
    assert_eq!(added, Some(format!("ts=1700000000123&sig={}", escaped(expected.as_bytes()))));
}

const P256: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCBjicOgwMY6+cB3P\nio/1lp7l4aCkiZkyT4gtGYBcIw+hRANCAAQz9S21iIckqua+InJoY4sHtN+zVuD3\nXOh8RuPA8mp/iXUussaN9HEVEfszV4jsdNQnPq6Tiq6hZNTgErbrva/h\n-----END PRIVATE KEY-----\n";
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";

/// RFC 9449 §7.1: the access token, its hash, and the request for it are the RFC's.
#[test]
fn a_proof_is_that_of_the_rfc() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519 as EDDSA, UnparsedPublicKey};
    let decoded = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let request = Unsigned {
        method: &Method::GET,
        scheme: "https",
        authority: "resource.example.org",
        path: "/protectedresource",
        query: Some("a=1"),
        body: None,
        now_ms: 1_562_262_618_000,
    };
    for (name, key) in [("ES256", P256), ("EdDSA", ED25519)] {
        let lease =
            lease(&[("access_token", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), ("dpop_key", key)]);
        let json = format!(r#"{{"kind": "dpop", "algorithm": "{name}"}}"#);
        let signer: Signer = serde_json::from_str(&json).expect("a signer");
        let mut fields = HeaderMap::new();
        signer.sign(&lease, &request, &mut fields).expect("signed");
        let proof = text(&fields, "dpop").to_owned();
        let parts: Vec<&str> = proof.split('.').collect();
        let header: serde_json::Value = serde_json::from_slice(&decoded(parts[0])).expect("a header");
        assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("dpop+jwt"), Some(name)));
        let number = |name: &str| decoded(header["jwk"][name].as_str().expect("a number"));
        assert_eq!(header["jwk"].get("d"), None);
        let signed = format!("{}.{}", parts[0], parts[1]);
        let verified = if name == "ES256" {
            let point = [&[4][..], &number("x"), &number("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(signed.as_bytes(), &decoded(parts[2]))
        } else {
            UnparsedPublicKey::new(&EDDSA, number("x")).verify(signed.as_bytes(), &decoded(parts[2]))
        };
        assert!(verified.is_ok());
        let claims: serde_json::Value = serde_json::from_slice(&decoded(parts[1])).expect("claims");
        assert_eq!(claims["htm"], "GET");
        assert_eq!(claims["htu"], "https://resource.example.org/protectedresource");
        assert_eq!(claims["iat"], 1_562_262_618);
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(claims.get("nonce"), None);
        // No proof is like another.
        signer.sign(&lease, &request, &mut fields).expect("signed");
        assert_ne!(text(&fields, "dpop"), proof);
    }
}

#[test]
fn a_nonce_is_for_its_origin_and_goes_on_with_the_next_token() {
    use crate::lease::Leases;
    let fields = [("access_token", "t"), ("dpop_key", P256)];
    let signer = Signer::Dpop(Dpop { algorithm: dpop::Algorithm::Es256 });
    let (here, there) =
        ("https://a.test".parse().expect("origin"), "https://b.test:8443".parse().expect("origin"));
    let nonce_for = |lease: &Lease, authority: &str| {
        let request = Unsigned {
            method: &Method::GET,
            scheme: "https",
            authority,
            path: "/\"x",
            query: None,
            body: None,
            now_ms: 0,
        };
        let mut fields = HeaderMap::new();
        signer.sign(lease, &request, &mut fields).expect("signed");
        let claims = text(&fields, "dpop").split('.').nth(1).expect("claims").to_owned();
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("claims");
        claims.get("nonce").and_then(|nonce| nonce.as_str()).map(str::to_owned)
    };
    let leases = Leases::default();
    leases.put("con", lease(&fields));
    let first = leases.get("con").expect("lease");
    assert!(first.nonces().learn(&here, &headers(&[("dpop-nonce", "n1")])));
    assert!(first.nonces().learn(&here, &headers(&[("dpop-nonce", "n2")])));
    for (authority, nonce) in [("a.test", Some("n2")), ("b.test:8443", None), ("a.test:444", None)] {
        assert_eq!(nonce_for(&first, authority).as_deref(), nonce);
    }
    leases.put("con", lease(&fields));
    leases.put("other", lease(&fields));
    let (next, other) = (leases.get("con").expect("lease"), leases.get("other").expect("lease"));
    assert!(next.nonces().learn(&there, &headers(&[("dpop-nonce", "m")])));
    assert_eq!(nonce_for(&next, "a.test").as_deref(), Some("n2"));
    assert_eq!(nonce_for(&next, "b.test:8443").as_deref(), Some("m"));
    assert_eq!(nonce_for(&other, "a.test"), None);
}

#[test]
fn what_is_no_nonce_is_not_learned() {
    let nonces = dpop::Nonces::default();
    let origin = "https://a.test".parse().expect("origin");
    let long = "n".repeat(dpop::NONCE_BYTES_MAX + 1);
    for wrong in ["", "a b", "a\"b", "a\\b", "é", long.as_str()] {
        let mut answer = HeaderMap::new();
        answer.insert("dpop-nonce", HeaderValue::from_bytes(wrong.as_bytes()).expect("value"));
        assert!(!nonces.learn(&origin, &answer), "{wrong}");
    }
    assert!(!nonces.learn(&origin, &headers(&[])));
    let mut twice = headers(&[("dpop-nonce", "a")]);
    twice.append("dpop-nonce", HeaderValue::from_static("b"));
    assert!(!nonces.learn(&origin, &twice));
    assert!(nonces.learn(&origin, &headers(&[("dpop-nonce", "!#$[]^~")])));
}

#[test]
fn without_its_key_no_call_goes_out_with_a_bound_token() {
    let request = Unsigned {
        method: &Method::GET,
        scheme: "https",
        authority: "a.test",
        path: "/",
        query: None,
        body: None,
        now_ms: 0,
    };
    for (fields, algorithm) in [
        (&[("access_token", "t")][..], dpop::Algorithm::Es256),
        (&[("dpop_key", P256)], dpop::Algorithm::Es256),
        (&[("access_token", "t"), ("dpop_key", P256)], dpop::Algorithm::EdDsa),
        (&[("access_token", "t"), ("dpop_key", ED25519)], dpop::Algorithm::Es256),
        (&[("access_token", "t"), ("dpop_key", "no key")], dpop::Algorithm::Es256),
    ] {
        let signer = Dpop { algorithm };
        let refusal = signer.sign(&lease(fields), &request, &mut HeaderMap::new()).expect_err("refused");
        assert_eq!(refusal.code, Code::CredentialUnavailable);
    }
}
