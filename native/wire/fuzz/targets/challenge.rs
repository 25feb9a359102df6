//! What a provider asks to be shown: any field is read or refused, and what is quoted reads as it was.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::lease::Lease;
use tidegate_wire::sign::{DigestAuth, Unsigned, challenges};
use zeroize::Zeroizing;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = challenges(text);
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut answer = HeaderMap::new();
    answer.insert(header::WWW_AUTHENTICATE, value);
    let field = |name: &str| (name.into(), Zeroizing::new(b"J\xc3\xa4s\xc3\xb8n".to_vec()));
    let fields = [field("username"), field("password")].into_iter().collect();
    let lease = Lease::new(1, 0, Vec::new(), fields, u64::MAX).expect("lease");
    let origin = "https://api.test".parse().expect("origin");
    let digest = DigestAuth { md5: true };
    if digest.asked(&lease, &origin, &answer, None).unwrap_or(false) {
        let (method, mut headers) = (Method::GET, HeaderMap::new());
        let request = Unsigned {
            method: &method,
            scheme: "https",
            authority: "api.test",
            path: "/",
            query: None,
            body: None,
            now_ms: 0,
        };
        // What was taken for a challenge is answered with one well-formed credential.
        digest.sign(&lease, &request, &mut headers).expect("an answer");
        let shown = headers.get(header::AUTHORIZATION).expect("an answer");
        let shown = std::str::from_utf8(shown.as_bytes()).expect("text");
        let read = challenges(shown).expect("well formed");
        assert_eq!(read.len(), 1);
        assert!(read[0].parameter("response").is_some());
    }
});
