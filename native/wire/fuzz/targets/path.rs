//! Paths: what passes has no segment that another reader could resolve, split or cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::route::path::{SEGMENTS_MAX, parameter_names, segments};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parameter_names(text);
    for encoded_slash in [false, true] {
        let Ok(found) = segments(text, encoded_slash) else { continue };
        let found = found.as_slice();
        assert!(found.len() <= SEGMENTS_MAX);
        for (number, segment) in found.iter().enumerate() {
            assert!(!matches!(&**segment, "." | ".."));
            assert!(!segment.contains(['\0', '\\']));
            assert!(encoded_slash || !segment.contains('/'));
            assert!(!segment.is_empty() || number + 1 == found.len());
        }
    }
});
