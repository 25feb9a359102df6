//! What others write about time and keys: `Tidegate-Timeout`, `Retry-After`, a key in a JSON body.
#![no_main]

use std::time::SystemTime;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::forward::deadline::seconds;
use tidegate_wire::forward::idempotency::{Member, member, with_member};
use tidegate_wire::forward::tries::retry_after;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(seconds(text).is_none_or(|asked| !asked.is_zero()));
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value);
        let _ = retry_after(&headers, SystemTime::UNIX_EPOCH);
    }
    // A body that has no key has one afterwards, and everything else that it had.
    if member(bytes, "key") == Member::Absent {
        let changed = with_member(bytes, "key", "k").expect("an object");
        assert_eq!(member(&changed, "key"), Member::Given);
        assert!(changed.len() > bytes.len());
    }
});
