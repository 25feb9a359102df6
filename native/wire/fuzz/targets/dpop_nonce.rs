//! What a provider says of nonces: whatever is learned stands in a proof as it was given, and adds nothing.
#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::lease::Lease;
use tidegate_wire::origin::Origin;
use tidegate_wire::sign::Unsigned;
use tidegate_wire::sign::dpop::{Algorithm, Dpop, nonce_in, wants_nonce};
use zeroize::Zeroizing;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut answer = HeaderMap::new();
    answer.insert(header::WWW_AUTHENTICATE, value.clone());
    let _ = wants_nonce(&answer);
    answer.insert("dpop-nonce", value);
    let fields = [("access_token", "t"), ("dpop_key", KEY)];
    let fields = fields.map(|(name, value)| (name.into(), Zeroizing::new(value.as_bytes().to_vec())));
    let origin: Origin = "https://a.test".parse().expect("an origin");
    let lease = Lease::new(1, 1, vec![origin.clone()], fields.into(), u64::MAX).expect("a lease");
    assert_eq!(lease.nonces().learn(&origin, &answer), nonce_in(&answer).is_some());
    let request = Unsigned {
        method: &Method::GET,
        scheme: "https",
        authority: "a.test",
        path: "/",
        query: None,
        body: None,
        now_ms: 0,
    };
    let mut headers = HeaderMap::new();
    Dpop { algorithm: Algorithm::EdDsa }.sign(&lease, &request, &mut headers).expect("a proof");
    let proof = headers.get("dpop").and_then(|proof| proof.to_str().ok()).expect("a header field");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).expect("claims")).expect("base64url");
    let claims = String::from_utf8(claims).expect("text");
    // A nonce may hold what looks like a member; what stands before it may not change with it.
    let others = match nonce_in(&answer) {
        Some(nonce) => {
            claims.strip_suffix(&format!(r#","nonce":"{nonce}"}}"#)).expect("the nonce at the end")
        }
        None => claims.strip_suffix('}').expect("an object"),
    };
    assert!(!others.contains("nonce"));
    assert_eq!(others.matches(r#"":"#).count(), 5);
});
