//! What the cache reads of requests and answers: one spelling stays one, and nothing that changes is read-only.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use std::time::SystemTime;
use tidegate_wire::cache::asked::one_spelling;
use tidegate_wire::cache::body::canonical;
use tidegate_wire::cache::directives::Directives;
use tidegate_wire::cache::disk::value::Head;
use tidegate_wire::cache::entry::groups;
use tidegate_wire::cache::rules::BodyForm;
use tidegate_wire::cache::search::SearchRule;
use tidegate_wire::cache::tier::form;
use tidegate_wire::cache::{date, graphql, vary};

fuzz_target!(|bytes: &[u8]| {
    for form in [BodyForm::Exact, BodyForm::Json, BodyForm::Form, BodyForm::Graphql, BodyForm::Llm] {
        let key = canonical(form, bytes);
        // What is keyed as JSON is keyed the same when it is written so.
        if let (BodyForm::Json, Some(key)) = (form, &key)
            && let Some(written) = key.strip_prefix(b"json\n")
        {
            assert_eq!(canonical(form, written).as_ref(), Some(key));
        }
    }
    let _ = form::read(bytes.to_vec());
    if let Some((head, length)) = Head::read(bytes) {
        assert_eq!(head.write().as_deref(), Some(&bytes[..length]));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let spelled = one_spelling(text);
        assert_eq!(one_spelling(&spelled), spelled);
        // A document of one definition that only reads does not begin with a word that changes.
        if graphql::reads_only(text) {
            let begins = text.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r', ',']);
            assert!(!begins.starts_with("mutation") && !begins.starts_with("subscription"));
        }
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let _ = date::read(&value, SystemTime::UNIX_EPOCH);
    let mut headers = HeaderMap::new();
    for name in ["cache-control", "cdn-cache-control", "no-vary-search", "cache-groups", "vary"] {
        headers.insert(name, value.clone());
    }
    let _ = Directives::read(&headers);
    let _ = Directives::of_answer(&headers, &[http::HeaderName::from_static("cdn-cache-control")]);
    assert!(groups(&headers, "cache-groups").len() <= 32);
    let _ = vary::names(&headers);
    if let Some(rule) = SearchRule::said(&headers)
        && let Ok(query) = std::str::from_utf8(bytes)
    {
        let once = rule.apply(Some(query)).map(std::borrow::Cow::into_owned);
        assert_eq!(rule.apply(once.as_deref()).as_deref(), once.as_deref());
    }
});
