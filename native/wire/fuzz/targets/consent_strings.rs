//! The IAB's strings of consent: read or refused, and what is read grants no purpose or vendor but those in it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_wire::subject::consent::tcf::Wanted;
use tidegate_wire::subject::consent::{gpp, tcf};

fn wanted(text: &str) -> Wanted {
    serde_json::from_str(text).expect("what is wanted")
}

static ASKED: LazyLock<[Wanted; 3]> = LazyLock::new(|| {
    [
        wanted(r#"{"purposes": [1, 3, 4, 7], "vendor": 755}"#),
        wanted(r#"{"purposes": [1], "vendor": 755}"#),
        wanted(r#"{"purposes": [0]}"#),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let held = ASKED.each_ref().map(|wanted| tcf::read(text, Some(wanted)));
    if let Some(plain) = tcf::read(text, None) {
        assert!(plain.updated >= 0);
        let [all, one, none] = held.map(|held| held.expect("what is asked for makes no other string"));
        assert!(one.covers || !all.covers);
        assert!(!none.covers, "there is no purpose 0");
        assert_eq!(all.updated, plain.updated);
    } else {
        assert_eq!(held, [None; 3]);
    }
    if let Some(said) = gpp::read(text) {
        assert!(said.tcf.is_none_or(|part| text.contains(part)));
        assert!(!said.objects || text.contains('~'));
    }
});
