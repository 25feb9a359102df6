//! A schema, and a document that is held against it: parted by a zero byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::schema::misfit;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (Some(schema), Some(document)) = (parts.next(), parts.next()) else { return };
    let Ok(schema) = std::str::from_utf8(schema) else { return };
    let Ok(judged) = misfit(schema, document) else { return };
    // What fits, another reader reads too, but for numbers beyond its own.
    if judged.is_none()
        && let Err(error) = serde_json::from_slice::<serde_json::Value>(document)
    {
        assert!(error.to_string().contains("out of range"), "{error}");
    }
});
