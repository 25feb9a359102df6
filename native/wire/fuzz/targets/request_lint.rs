//! Requests: the verdict does not depend on the cut, and a head that passes is one for hyper's parser,
//! of the same length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::listen::lint::RequestLint;
use tidegate_wire_fuzz::in_pieces;

fuzz_target!(|bytes: &[u8]| {
    let judge = |size| {
        let mut lint = RequestLint::default();
        in_pieces(bytes, size, |bytes| {
            let starts_message = lint.in_head();
            let passed = lint.pass(bytes)?;
            assert_eq!(passed.head.is_some(), starts_message && passed.bytes > 0);
            if passed.head.is_some() {
                let mut fields = [httparse::EMPTY_HEADER; 100];
                let mut request = httparse::Request::new(&mut fields);
                let parsed = request.parse(bytes).expect("sound");
                assert!(parsed.is_complete() && parsed.unwrap() <= passed.bytes);
                let target = request.path.expect("parsed");
                assert!(http::Uri::try_from(target).is_ok_and(|uri| uri.path_and_query().is_some()));
            }
            Ok(passed.bytes)
        })
    };
    let whole = judge(bytes.len());
    assert_eq!(whole, judge(1));
    assert_eq!(whole, judge(7));
});
