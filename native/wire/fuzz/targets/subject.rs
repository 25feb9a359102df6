//! Whom a consumer says that a call is about: who is read is one person, by one spelling, or the call is refused.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::error::Code;
use tidegate_wire::subject::identifier::{Named, read};
use tidegate_wire::subject::{HEADER, Key, SUBJECTS_MAX};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new(&[7; 32]).expect("a key"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some((kind, identifier)) = text.split_once('\n')
        && let Ok(named) = Named::new(kind, identifier)
    {
        is_one_spelling(&named);
    }
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(HEADER, value);
    }
    match read(&headers) {
        Err(refusal) => assert_eq!(refusal.code, Code::MalformedRequest),
        Ok(found) => {
            assert!((1..=SUBJECTS_MAX).contains(&found.len()));
            found.iter().for_each(is_one_spelling);
        }
    }
});

fn is_one_spelling(named: &Named) {
    let (kind, identifier) = (named.kind(), named.identifier());
    assert!(!identifier.is_empty() && identifier.len() <= 320);
    assert!(!identifier.chars().any(char::is_control));
    let again = if kind == "phone" { format!("+{identifier}") } else { identifier.to_owned() };
    let again = Named::new(kind, &again).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(KEY.index(&again), KEY.index(named));
}
