//! Responses to `GET`: the verdict does not depend on the cut, and a head that passes is one for
//! hyper's parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::listen::lint::ResponseLint;
use tidegate_wire_fuzz::in_pieces;

fuzz_target!(|bytes: &[u8]| {
    let judge = |size| {
        let mut lint = ResponseLint::default();
        lint.expect(false);
        in_pieces(bytes, size, |bytes| lint.pass(bytes))
    };
    let whole = judge(bytes.len());
    let single = judge(1);
    // How much passes before a refusal depends on the cut; the refusal does not.
    assert_eq!(whole.1, single.1);
    assert!(whole.1.is_some() || whole.0 == single.0);
    if whole.0 > 0 {
        let mut fields = [httparse::EMPTY_HEADER; 200];
        let mut response = httparse::Response::new(&mut fields);
        assert!(response.parse(bytes).expect("sound").is_complete());
    }
});
