//! What a provider says of its limits: whatever it is, it is bounded. A status, fields, an empty line, a body.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::dialect::{Dialect, Heard, Listening};
use tidegate_wire::reserve::signal::WAIT_MAX;

/// Every form that a dialect can have.
static DIALECT: LazyLock<Arc<Dialect>> =
    LazyLock::new(|| Arc::new(serde_json::from_str(include_str!("dialect.json")).expect("sound")));

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or(StatusCode::OK);
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            answer.headers_mut().append(name, value);
        }
    }
    let (parts, ()) = answer.into_parts();
    let now = UNIX_EPOCH + Duration::from_secs(1_795_766_400);
    let mut signals = DIALECT.read(Heard { status, headers: &parts.headers, body: None, now });
    if let Some(mut listening) = Listening::begin(&DIALECT, &parts, &signals, now) {
        for piece in body.chunks(7) {
            listening.passes(piece);
        }
        signals.extend(listening.complete());
    }
    assert!(signals.len() <= 66);
    for signal in signals {
        assert!(signal.reset.is_none_or(|reset| reset <= WAIT_MAX));
        assert!(signal.retry_after.is_none_or(|wait| wait <= WAIT_MAX));
        assert!(signal.scope.is_none_or(|scope| !scope.is_empty() && scope.len() <= 1_024));
    }
});
