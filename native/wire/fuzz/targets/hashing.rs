//! Values on their way to a hash, and snapshots that say how: there is never a hash of nothing, nor of a hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::protect::hash::Hashing;
use tidegate_wire::protect::jwe::KeyForm;
use tidegate_wire::protect::jwe::Recipient;
use tidegate_wire::protect::keys::Place;
use tidegate_wire::protect::pgp::Pgp;
use tidegate_wire::protect::with::With;

const STEPS: [&str; 4] = [
    r#"{"steps": ["no_spaces", "lowercase", "email", "gmail_suffix", "gmail_dots"]}"#,
    r#"{"steps": [{"phone": {"of": "49"}}, "plus"]}"#,
    r#"{"steps": ["us_postal_code", "lowercase", "no_punctuation", "no_spaces"]}"#,
    r#"{"steps": ["date"]}"#,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if let Some(steps) = STEPS.get(usize::from(*which % 5)) {
        let Ok(hashing) = serde_json::from_str::<Hashing>(steps) else { return };
        let place = Place { provider: "p", field: "f" };
        if let Ok(hash) = hashing.hash(text, None, place) {
            assert!(hash.len() == 64 && !text.trim().is_empty());
            assert!(hashing.hash(&hash, None, place).is_err());
        }
    } else if let Ok(form) = serde_json::from_str::<KeyForm>(text)
        && let Ok(recipient) = Recipient::new(&form)
    {
        let _ = recipient.encrypt(b"value", 0);
    } else if let Ok(pgp) = serde_json::from_str::<Pgp>(text) {
        let _ = pgp.message(b"file", &With::default());
    }
});
