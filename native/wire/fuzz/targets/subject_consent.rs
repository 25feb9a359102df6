//! What a consumer says that a person decided: whatever else it says, it grants nothing but by one plain decision.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::subject::consent::{Asked, Consent, GPC, HEADER, Why};

const NOW: u64 = 1_800_000_000;

static ASKED: LazyLock<Asked> =
    LazyLock::new(|| serde_json::from_str(r#"{"max_age_s": 34128000, "sells": true}"#).expect("a rule"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, value.clone());
    let consent = ASKED.judge(&headers, NOW);
    if let Consent::Granted { at, .. } = consent {
        let text = std::str::from_utf8(bytes).expect("a dictionary is ASCII");
        assert!(text.contains("decision=granted"));
        assert!((1_765_872_000..=1_800_000_060).contains(&at));
        assert!(consent.to_string().starts_with("granted at 20"));
        assert_eq!(ASKED.judge(&headers, NOW + 34_128_061), Consent::None(Why::Stale));
    }
    headers.insert(GPC, HeaderValue::from_static("1"));
    assert!(!ASKED.judge(&headers, NOW).is_granted());
    headers.remove(GPC);
    headers.append(HEADER, value);
    assert!(!ASKED.judge(&headers, NOW).is_granted());
});
