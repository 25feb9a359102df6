//! What looks like a token, in texts and answers that providers and consumers write: nothing opens that was not made here.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate_wire::detect::{Detector, find};
use tidegate_wire::protect::keys::{Place, Roots};
use tidegate_wire::protect::restore::{RawRestoration, Restoring};
use tidegate_wire::protect::token::{self, Token};
use tidegate_wire::protect::tokenise;
use zeroize::Zeroizing;

const PLACES: &str = r#"{"operations": [0], "at": "body $", "field": "f"}"#;
const ALL: [Detector; 6] =
    [Detector::Pan, Detector::Iban, Detector::Email, Detector::Secret, Detector::Jwt, Detector::Entropy];

fuzz_target!(|bytes: &[u8]| {
    let Some(roots) = Roots::new("c".into(), [(1, Zeroizing::new(vec![7; 32]))]) else { return };
    let roots = Arc::new(roots);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(token) = Token::read(text) {
            assert_eq!(token.write(), text);
            assert!(tokenise::open(&token, &roots, Place { provider: "p", field: "f" }).is_none());
        }
        for (range, found) in token::find(text) {
            assert_eq!(found.write(), text[range]);
        }
        let _ = find(&ALL, text, None, None);
    }
    let place = serde_json::from_str::<RawRestoration>(PLACES).ok().and_then(|raw| raw.compile().ok());
    let restorations = place.into_iter().map(Arc::new).collect();
    let restoring = Restoring { restorations, roots, provider: "p".into() };
    assert!(restoring.restore(bytes).is_none());
});
