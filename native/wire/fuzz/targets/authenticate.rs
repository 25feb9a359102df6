//! Access tokens, wherever they may stand (header, basic, query, cookie): nothing unknown gets in.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::authenticate::{Shown, authenticate, well_formed};
use tidegate_wire::identity::Keys;
use tidegate_wire::snapshot::Snapshot;

/// One consumer with one token, whose text nobody knows, and a provider for each place.
static SNAPSHOT: LazyLock<Snapshot> =
    LazyLock::new(|| Snapshot::parse(include_bytes!("../seeds/snapshot/places.json")).expect("sound"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = well_formed(text);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        for name in [header::AUTHORIZATION, header::COOKIE, header::HeaderName::from_static("x-key")] {
            headers.insert(name, value.clone());
        }
    }
    for name in ["by-header", "by-query", "by-cookie"] {
        let provider = SNAPSHOT.provider_named(name).map(|index| SNAPSHOT.provider(index));
        assert!(provider.is_some());
        let shown = Shown { headers: &headers, query: Some(text), names: &[] };
        assert!(authenticate(&SNAPSHOT, &key, &Keys::default(), &shown, provider, 0).is_err());
        headers.remove(header::AUTHORIZATION);
    }
});
