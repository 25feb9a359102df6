//! What a credential costs a call, and what the search for it finds that is none. One JSON object on
//! standard output: microseconds for each way of attaching, and the false alarms in clean answers.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, Method};
use tidegate_wire::attach::attach;
use tidegate_wire::lease::Lease;
use tidegate_wire::origin::Origin;
use tidegate_wire::sign::{Signer, Unsigned};
use tidegate_wire::snapshot::AttachPart;
use zeroize::Zeroizing;

const ROUNDS: usize = 41;
const IN_A_ROUND: u32 = 5_000;
const ANSWERS: usize = 100_000;
const ANSWER_BYTES: usize = 600;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin: Origin = "https://api.example.com".parse()?;
    let lease = lease(&origin)?;
    let static_us = attached(&origin, &lease)?;
    let body = vec![b'x'; 4 << 10];
    let sigv4 = signer(r#"{"kind": "sigv4", "service": "execute-api", "region": "eu-central-1"}"#)?;
    let rfc9421 = signer(
        r#"{"kind": "http_signature", "label": "sig1", "algorithm": "ed25519",
            "components": ["@method", "@authority", "@path", "content-digest"]}"#,
    )?;
    // With the provider's nonce in it, as most want.
    let given = HeaderMap::from_iter([(
        HeaderName::from_static("dpop-nonce"),
        http::HeaderValue::from_static("eyJ7S_zG.eyJH0-Z.HX4w-7v"),
    )]);
    assert!(lease.nonces().learn(&origin, &given));
    let dpop = signer(r#"{"kind": "dpop", "algorithm": "ES256"}"#)?;
    let said = serde_json::json!({
        "attach_static_us": static_us,
        "sign_sigv4_4kib_us": signed(&sigv4, &lease, &body),
        "sign_ed25519_4kib_us": signed(&rfc9421, &lease, &body),
        "sign_dpop_us": signed(&dpop, &lease, &body),
        "echo_false_alarms": false_alarms(&lease),
    });
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}

fn lease(origin: &Origin) -> Result<Lease, Box<dyn std::error::Error>> {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";
    let fields = [
        ("token", "sk_live_51HxAbCdEfGhIjKlMnOpQrStUvWxYz"),
        ("access_key_id", "AKIDEXAMPLE"),
        ("secret_access_key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("key_id", "key-1"),
        ("key", pem),
        ("access_token", "ya29.A0ARrdaM-k9Vq7GzY2pL4yf8qZx"),
        ("dpop_key", &dpop_key()?),
    ];
    let fields: HashMap<Box<str>, Zeroizing<Vec<u8>>> = fields
        .into_iter()
        .map(|(name, value)| (name.into(), Zeroizing::new(value.as_bytes().to_vec())))
        .collect();
    Ok(Lease::new(1, 0, vec![origin.clone()], fields, u64::MAX)?)
}

/// A P-256 key in PEM, as Tidegate makes them.
fn dpop_key() -> Result<String, Box<dyn std::error::Error>> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| "no key")?;
    let text = BASE64_STANDARD.encode(made);
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
}

fn signer(json: &str) -> Result<Signer, serde_json::Error> {
    serde_json::from_str(json)
}

fn attached(origin: &Origin, lease: &Lease) -> Result<f64, serde_json::Error> {
    let parts: Vec<AttachPart> = serde_json::from_str(
        r#"[{"kind": "header", "name": "Authorization", "field": "token", "prefix": "Bearer "}]"#,
    )?;
    let mut headers = HeaderMap::with_capacity(16);
    Ok(each_us(|| {
        let added = attach(lease, origin, &parts, &mut headers);
        assert!(black_box(added).is_ok());
    }))
}

fn signed(signer: &Signer, lease: &Lease, body: &[u8]) -> f64 {
    let request = Unsigned {
        method: &Method::POST,
        scheme: "https",
        authority: "api.example.com",
        path: "/v1/things",
        query: Some("a=1&b=2"),
        body: Some(body),
        now_ms: 1_700_000_000_000,
    };
    let mut headers = HeaderMap::with_capacity(16);
    headers
        .insert(HeaderName::from_static("content-type"), http::HeaderValue::from_static("application/json"));
    each_us(|| {
        let added = signer.sign(lease, &request, &mut headers);
        assert!(black_box(added).is_ok());
    })
}

/// The median of rounds, each the mean of many.
fn each_us(mut once: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..IN_A_ROUND {
                once();
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(IN_A_ROUND)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Answers as APIs give them: JSON with ids, digests and tokens of others, some of them like our own.
fn false_alarms(lease: &Lease) -> usize {
    let Some(needles) = lease.needles() else { return ANSWERS };
    let wanted: Vec<Box<str>> = ["token", "secret_access_key", "key"].map(Into::into).into();
    (0..ANSWERS).filter(|number| needles.find(&answer(*number), 0, &wanted).is_some()).count()
}

fn answer(number: usize) -> Vec<u8> {
    let mut chance = [0; 300];
    // Without chance every answer would be the same, and say little; it does not fail here.
    let _ = rand::fill(&mut chance);
    let text = BASE64_STANDARD.encode(chance);
    let mut body = format!(
        r#"{{"id": {number}, "key": "sk_live_51HxAbCdEfGh{}", "digest": "{}", "url": "https://x.test/?k=sk_live_51HxAbC%2F", "data": "{}"}}"#,
        &text[..18],
        &text[18..82],
        &text[82..]
    );
    body.truncate(ANSWER_BYTES);
    body.into_bytes()
}
