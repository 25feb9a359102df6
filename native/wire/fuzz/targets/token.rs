//! What looks like a token, in texts, answers and streams of events that providers and consumers write: nothing opens that was not made here.
#![no_main]

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tidegate_wire::detect::{Detector, find};
use tidegate_wire::protect::held::Held;
use tidegate_wire::protect::keys::{Place, Roots};
use tidegate_wire::protect::person::{ID_BYTES, Id, PersonKey};
use tidegate_wire::protect::persons::Persons;
use tidegate_wire::protect::restore::{RawRestoration, Restoring};
use tidegate_wire::protect::token::{self, Token};
use tidegate_wire::protect::tokenise;
use zeroize::Zeroizing;

const PLACES: &str = r#"{"operations": [0], "at": "body $", "field": "f"}"#;
const ALL: [Detector; 6] =
    [Detector::Pan, Detector::Iban, Detector::Email, Detector::Secret, Detector::Jwt, Detector::Entropy];

const PLACE: Place<'static> = Place { provider: "p", field: "f" };
static PERSONS: LazyLock<Persons> = LazyLock::new(Persons::default);

fuzz_target!(|bytes: &[u8]| {
    let key = |id: &Id| PersonKey::new(*id, &[7; 32]).map(Arc::new);
    let ours = key(&[7; ID_BYTES]);
    assert!(ours.is_some_and(|key| key.open("c", PLACE, bytes).is_none()));
    let Some(roots) = Roots::new("c".into(), [(1, Zeroizing::new(vec![7; 32]))]) else { return };
    let roots = Arc::new(roots);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(token) = Token::read(text) {
            assert_eq!(token.write(), text);
            assert!(tokenise::open(&token, &roots, PLACE, key).is_none());
        }
        for (range, found) in token::find(text) {
            assert_eq!(found.write(), text[range]);
        }
        let _ = find(&ALL, text, None, None);
    }
    let place = serde_json::from_str::<RawRestoration>(PLACES).ok().and_then(|raw| raw.compile().ok());
    let restorations = place.into_iter().map(Arc::new).collect();
    let restoring = Restoring { restorations, roots, client: "c".into(), provider: "p".into() };
    // Nothing opens, so that no key is asked for and nothing waits.
    let restored = pin!(restoring.restore(bytes, &PERSONS)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(restored, Poll::Ready(None)));
    // A stream in which nothing is restored goes on as it came, but for comments, which may go first.
    let mut held = Held::new(restoring);
    let size = usize::from(bytes.first().copied().unwrap_or_default()).max(1);
    let mut out: Vec<u8> = bytes.chunks(size).flat_map(|piece| held.push(piece, &PERSONS)).collect();
    out.extend(held.end());
    let mut came = bytes.to_vec();
    came.sort_unstable();
    out.sort_unstable();
    assert_eq!(out, came);
});
