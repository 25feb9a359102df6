//! What is learned of requests: places that rules can select, with names of plain letters alone, within bounds.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_wire::observe::Sample;
use tidegate_wire::observe::names::Names;
use tidegate_wire::observe::places::places;
use tidegate_wire::protect::selector::Selector;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let types = ["application/json", "application/x-www-form-urlencoded"];
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(types[usize::from(kind & 1)]));
    let query = std::str::from_utf8(body).ok().filter(|_| kind & 2 > 0).map(str::to_owned);
    let mut sample = Sample::of(query, &headers);
    sample.put(Some(body.to_vec().into()));
    for (place, _) in places(&sample, &mut Names::default(), 3).keys() {
        assert!(place == "body" || place.parse::<Selector>().is_ok());
        assert!(place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" $@*_-.[]'".contains(&byte)));
    }
});
