//! Vectors of our own for each rule, in many spellings. Each is judged whole, cut in two at every
//! place, and byte by byte: the verdict must be the same.

use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::{Place, RequestLint, ResponseLint, Violation, ViolationCode};

/// How many messages passed, or which rule was broken first.
type Verdict = Result<usize, (ViolationCode, &'static str)>;

/// Presents `pieces` as a socket would, and what is withheld again with what follows it.
fn feed(pieces: &[&[u8]], mut pass: impl FnMut(&[u8]) -> Result<usize, Violation>) -> Option<Violation> {
    let mut held = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match pass(&held) {
                Ok(0) => break,
                Ok(passed) => drop(held.drain(..passed)),
                Err(violation) => return Some(violation),
            }
            if held.is_empty() {
                break;
            }
        }
    }
    None
}

fn judge_requests(pieces: &[&[u8]]) -> (usize, Option<Violation>) {
    let mut lint = RequestLint::default();
    let mut messages = 0;
    let violation = feed(pieces, |bytes| {
        let passed = lint.pass(bytes)?;
        if passed.bytes > 0 && lint.in_head() {
            messages += 1;
        }
        Ok(passed.bytes)
    });
    (messages, violation)
}

fn judge_responses(to: &[&str], pieces: &[&[u8]]) -> (usize, Option<Violation>) {
    let mut lint = ResponseLint::default();
    let mut asked = to.iter();
    let mut messages = 0;
    let mut expect_next = |lint: &mut ResponseLint| {
        if lint.is_idle()
            && let Some(method) = asked.next()
        {
            lint.expect(*method == "HEAD");
        }
    };
    expect_next(&mut lint);
    let violation = feed(pieces, |bytes| {
        let passed = lint.pass(bytes)?;
        if passed > 0 && lint.is_idle() {
            messages += 1;
            expect_next(&mut lint);
        }
        Ok(passed)
    });
    (messages, violation)
}

fn verdict((messages, violation): (usize, Option<Violation>)) -> Verdict {
    violation.map_or(Ok(messages), |violation| Err((violation.code, violation.rule)))
}

/// Judges `bytes` in every cut, and asserts that they all agree.
fn in_every_cut(bytes: &[u8], judge: impl Fn(&[&[u8]]) -> (usize, Option<Violation>)) -> Verdict {
    let whole = judge(&[bytes]);
    // A long vector differs at a few places only; a prime stride still meets each kind of place.
    let stride = if bytes.len() > 2000 { 997 } else { 1 };
    for cut in (0..bytes.len()).step_by(stride) {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(judge(&[left, right]), whole, "cut at {cut} of {}", bytes.escape_ascii());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(judge(&single), whole, "byte by byte: {}", bytes.escape_ascii());
    verdict(whole)
}

#[track_caller]
fn assert_request(bytes: impl AsRef<[u8]>, expected: Verdict) {
    let bytes = bytes.as_ref();
    assert_eq!(in_every_cut(bytes, judge_requests), expected, "{}", bytes.escape_ascii());
}

#[track_caller]
fn assert_responses(to: &[&str], bytes: impl AsRef<[u8]>, expected: Verdict) {
    let bytes = bytes.as_ref();
    let judge = |pieces: &[&[u8]]| judge_responses(to, pieces);
    // A surplus is refused with what it comes with, so messages before it count in some cuts only.
    let without_count = |pieces: &[&[u8]]| match judge(pieces) {
        (_, Some(violation)) => (0, Some(violation)),
        clean => clean,
    };
    assert_eq!(in_every_cut(bytes, without_count), expected, "{}", bytes.escape_ascii());
}

fn malformed(rule: &'static str) -> Verdict {
    Err((ViolationCode::MalformedRequest, rule))
}

fn refused(rule: &'static str) -> Verdict {
    Err((ViolationCode::MalformedResponse, rule))
}

/// A request with these field lines after a good request line and Host.
fn with_fields(fields: &str) -> String {
    format!("POST /stripe/v1/charges HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n")
}

fn chunked(body: &str) -> String {
    with_fields("Transfer-Encoding: chunked\r\n") + body
}

fn numbered_fields(numbers: RangeInclusive<usize>) -> String {
    numbers.map(|number| ["f", &number.to_string(), ": v\r\n"].concat()).collect()
}

#[test]
fn well_formed_requests_pass() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8191));
    let full_head = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", numbered_fields(2..=100));
    let large = "x".repeat(32 * 1024 - "GET / HTTP/1.1\r\nHost: h\r\nf: \r\n\r\n".len());
    let large_head = format!("GET / HTTP/1.1\r\nHost: h\r\nf: {large}\r\n\r\n");
    for (messages, request) in [
        (1, "GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n"),
        (1, "GET / HTTP/1.0\r\nHost: gate.test\r\n\r\n"),
        (1, "DELETE /a/b?c[]=d&e=f%20g|h HTTP/1.1\r\nhOsT:gate.test:8080\r\n\r\n"),
        (1, "GET /?q={\\}^`' HTTP/1.1\r\nHost: h\r\n\r\n"),
        (1, "GET http://other.test/x HTTP/1.1\r\nHost: gate.test\r\n\r\n"),
        (1, "GET HTTPS://[2001:db8::1]:443?x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        (1, "PROPFIND /x HTTP/1.1\r\nHost: 127.0.0.1\r\nEmpty:\r\nTabbed: \ta\tb \r\n\r\n"),
        (1, "GET / HTTP/1.1\r\nHost: h\r\nLatin: caf\u{e9}\r\nexpect: 100-Continue\r\n\r\n"),
        (1, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
        (1, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 005\r\n\r\n\r\n\0\x01\n"),
        (2, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (1, &chunked("5\r\nabcde\r\n00a;name=value;other\r\n0123456789\r\n0\r\n\r\n")),
        (1, &chunked("0000000000000001\r\nx\r\n0\r\nDigest: sha\r\nX-Sum: 1\r\n\r\n")),
        (2, &(chunked("1;e=\"q\"\r\n\n\r\n0\r\n\r\n") + &chunked("0\r\n\r\n"))),
        (0, "GET / HTTP/1.1\r\nHost: h\r\n"),
        (0, &with_fields("Content-Length: 9\r\n")),
        (1, &long_target),
        (1, &full_head),
        (1, &large_head),
    ] {
        assert_request(request, Ok(messages));
    }
}

#[test]
fn head_lines_end_with_crlf_alone() {
    for (rule, request) in [
        ("bare-lf", "GET / HTTP/1.1\nHost: h\n\n"),
        ("bare-lf", "GET / HTTP/1.1\r\nHost: h\n\r\n"),
        ("bare-lf", "GET / HTTP/1.1\r\nHost: h\r\n\n"),
        ("bare-lf", "GET / HTTP/1.1\r\nHost: h\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n"),
        ("bare-cr", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n"),
        ("bare-cr", "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n"),
        ("version", "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
        ("field-colon", "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n"),
        ("leading-blank-line", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("leading-blank-line", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("leading-blank-line", "\r\n\r\n"),
    ] {
        assert_request(request, malformed(rule));
    }
}

#[test]
fn request_line_has_one_form() {
    for (rule, line) in [
        ("method", " GET / HTTP/1.1"),
        ("method", "\x16\x03\x01"),
        ("method", "G(T / HTTP/1.1"),
        ("method", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1"),
        ("request-line", "GET\t/ HTTP/1.1"),
        ("request-line", "GET"),
        ("request-line", "GET /"),
        ("target-form", "GET  / HTTP/1.1"),
        ("target-form", "GET x HTTP/1.1"),
        ("target-form", "GET gate.test:80 HTTP/1.1"),
        ("target-form", "GET ftp://gate.test/ HTTP/1.1"),
        ("target-form", "GET xhttp://gate.test/ HTTP/1.1"),
        ("target-form", "GET ://gate.test/ HTTP/1.1"),
        ("host-value", "GET http:/// HTTP/1.1"),
        ("host-value", "GET http://user@gate.test/ HTTP/1.1"),
        ("host-value", "GET http://user:pw@gate.test/ HTTP/1.1"),
        ("host-value", "GET http://gate.test#/ HTTP/1.1"),
        ("host-value", "GET http://gate.test\\@evil.test/ HTTP/1.1"),
        ("host-value", "GET http://gate.test:99999/ HTTP/1.1"),
        ("host-value", "GET http://gate.test:/ HTTP/1.1"),
        ("target-character", "GET /a#b HTTP/1.1"),
        ("target-character", "GET /a\\b HTTP/1.1"),
        ("target-character", "GET /a`b HTTP/1.1"),
        ("target-character", "GET /a<b> HTTP/1.1"),
        ("target-character", "GET /?a\"b HTTP/1.1"),
        ("target-character", "GET /\0 HTTP/1.1"),
        ("target-character", "GET /\t HTTP/1.1"),
        ("target-character", "GET /\x7f HTTP/1.1"),
        ("target-character", "GET /caf\u{e9} HTTP/1.1"),
        ("target-character", "GET http://gate.test/a#b HTTP/1.1"),
        ("version", "GET / HTTP/1.1 "),
        ("version", "GET /  HTTP/1.1"),
        ("version", "GET / x HTTP/1.1"),
        ("version", "GET / http/1.1"),
        ("version", "GET / HTTP/1.2"),
        ("version", "GET / HTTP/2.0"),
        ("version", "GET / HTTP/0.9"),
        ("version", "GET / HTTP/1.10"),
        ("version", "GET / "),
    ] {
        assert_request(format!("{line}\r\nHost: h\r\n\r\n"), malformed(rule));
    }
}

#[test]
fn methods_that_bend_the_route_are_not_passed() {
    let not_allowed = |rule| Err((ViolationCode::MethodNotAllowed, rule));
    assert_request("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", not_allowed("method-not-passed"));
    assert_request("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", not_allowed("method-not-passed"));
    assert_request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", not_allowed("target-asterisk"));
}

#[test]
fn heads_have_bounds() {
    let too_long = Err((ViolationCode::UriTooLong, "target-length"));
    assert_request(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8192)), too_long);
    assert_request(format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000)), too_long);
    assert_request("A".repeat(40_000), too_long);

    let too_large = |rule| Err((ViolationCode::HeadTooLarge, rule));
    let value = "x".repeat(32 * 1024 + 1 - "GET / HTTP/1.1\r\nHost: h\r\nf: \r\n\r\n".len());
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nf: {value}\r\n\r\n");
    assert_request(large, too_large("head-size"));
    assert_request(format!("GET / HTTP/1.1\r\nf: {}", "x".repeat(40_000)), too_large("head-size"));
    let many = numbered_fields(2..=101);
    assert_request(with_fields(&many), too_large("field-count"));
}

#[test]
fn fields_have_one_form() {
    for (rule, fields) in [
        ("field-name-space", "Name : v\r\n"),
        ("field-name-space", "Content-Length\t: 5\r\n"),
        ("field-name-space", "Transfer-Encoding : chunked\r\n"),
        ("field-fold", " Name: v\r\n"),
        ("field-fold", "Name: v\r\n folded\r\n"),
        ("field-fold", "Name: v\r\n\tfolded\r\n"),
        ("coding-value", "Transfer-Encoding:\r\n chunked\r\n"),
        ("field-colon", "Name\r\n"),
        ("field-name", ": v\r\n"),
        ("field-name", "Na me: v\r\n"),
        ("field-name", "Na\0me: v\r\n"),
        ("field-name", "Name\u{e9}: v\r\n"),
        ("field-name", "Na\rme: v\r\n"),
        ("field-name", "\"Name\": v\r\n"),
        ("field-name", "Na/me: v\r\n"),
        ("field-value", "Name: a\0b\r\n"),
        ("field-value", "Name: a\x0bb\r\n"),
        ("field-value", "Name: \x0c\r\n"),
        ("field-value", "Name: a\x1b[31m\r\n"),
        ("field-value", "Name: \x7f\r\n"),
        ("field-lookalike", "Content_Length: 5\r\n"),
        ("field-lookalike", "transfer_encoding: chunked\r\n"),
    ] {
        assert_request(with_fields(fields), malformed(rule));
    }
}

#[test]
fn a_request_has_one_host() {
    for (rule, fields) in [
        ("host-missing", ""),
        ("host-missing", "Hosts: h\r\n"),
        ("host-repeated", "Host: h\r\nHost: h\r\n"),
        ("host-repeated", "Host: h\r\nhOST: other.test\r\n"),
        ("host-value", "Host:\r\n"),
        ("host-value", "Host: \r\n"),
        ("host-value", "Host: a b\r\n"),
        ("host-value", "Host: a,b\r\n"),
        ("host-value", "Host: user@h\r\n"),
        ("host-value", "Host: h/path\r\n"),
        ("host-value", "Host: h?x\r\n"),
        ("host-value", "Host: h#x\r\n"),
        ("host-value", "Host: http://h\r\n"),
        ("host-value", "Host: h:\r\n"),
        ("host-value", "Host: h:+80\r\n"),
        ("host-value", "Host: h:80:80\r\n"),
        ("host-value", "Host: h:65536\r\n"),
        ("host-value", "Host: h:x\r\n"),
        ("host-value", "Host: :80\r\n"),
        ("host-value", "Host: ::1\r\n"),
        ("host-value", "Host: [::1\r\n"),
        ("host-value", "Host: [::1]x\r\n"),
        ("host-value", "Host: [::g]\r\n"),
        ("host-value", "Host: [fe80::1%25eth0]\r\n"),
        ("host-value", "Host: [127.0.0.1]\r\n"),
        ("host-value", "Host: h%00\r\n"),
        ("host-value", "Host: h\u{e9}\r\n"),
    ] {
        assert_request(format!("GET / HTTP/1.1\r\n{fields}\r\n"), malformed(rule));
        assert_request(format!("GET / HTTP/1.0\r\n{fields}\r\n"), malformed(rule));
        if !fields.is_empty() {
            let absolute = format!("GET http://gate.test/ HTTP/1.1\r\n{fields}\r\n");
            assert_request(absolute, malformed(rule));
        }
    }
    assert_request(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(256)), malformed("host-value"));
}

#[test]
fn transfer_encoding_is_chunked_or_refused() {
    for value in [
        "chunked, chunked",
        "chunked,identity",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "gzip",
        "",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        ",chunked",
        "chun ked",
        "x chunked",
        "'chunked'",
        "\u{e9}chunked",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_request(with_fields(&fields), malformed("coding-value"));
    }
    for (rule, fields) in [
        ("coding-repeated", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-repeated", "Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("coding-value", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("field-value", "Transfer-Encoding: \x0bchunked\r\n"),
        ("field-value", "Transfer-Encoding: chunked\0\r\n"),
        ("coding-and-length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("coding-and-length", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-and-length", "Content-Length: 0\r\nTransfer-Encoding: CHUNKED\r\n"),
    ] {
        assert_request(with_fields(fields), malformed(rule));
    }
    let spaced = with_fields("TRANSFER-ENCODING: \t CHUNKED \t\r\n") + "0\r\n\r\n";
    assert_request(spaced, Ok(1));
    let old = "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_request(old, malformed("coding-version"));
}

#[test]
fn content_length_is_one_number() {
    for value in [
        "+5",
        "-1",
        "5,5",
        "5, 5",
        "5_0",
        "0x5",
        "5 5",
        "5.0",
        "5e1",
        "",
        "five",
        "\u{665}",
        "18446744073709551616",
        "9223372036854775808",
        "99999999999999999999999",
        "00000000000000000005",
        "5;",
        "\"5\"",
    ] {
        let fields = format!("Content-Length: {value}\r\n");
        assert_request(with_fields(&fields), malformed("length-value"));
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
    ] {
        assert_request(with_fields(fields), malformed("length-repeated"));
    }
    assert_request(with_fields("Content-Length: 9223372036854775807\r\n"), Ok(0));
}

#[test]
fn the_one_expectation_is_continue() {
    for value in ["200-ok", "", "100-continue, x", "100-continue;q=1", "100", "y 100-continue"] {
        assert_request(with_fields(&format!("Expect: {value}\r\n")), malformed("expect-value"));
    }
    let repeated = with_fields("Expect: 100-continue\r\nExpect: 100-continue\r\n");
    assert_request(repeated, malformed("expect-value"));

    let mut lint = RequestLint::default();
    let request = with_fields("Expect: 100-continue\r\nContent-Length: 2\r\n");
    let facts = lint.pass(request.as_bytes()).expect("sound").head.expect("whole");
    assert!(facts.expects_continue && !facts.http_10);
}

#[test]
fn chunks_have_one_form() {
    let extension = |length: usize| format!("1;{}\r\nx\r\n", "e".repeat(length));
    assert_request(chunked(&(extension(256) + "0\r\n\r\n")), Ok(1));
    assert_request(chunked(&extension(257)), malformed("chunk-extension-length"));
    assert_request(chunked(&extension(5000)), malformed("chunk-extension-length"));
    assert_request(chunked(&extension(250).repeat(33)), malformed("chunk-extension-length"));
    for (rule, body) in [
        ("chunk-size", "0x5\r\nabcde\r\n"),
        ("chunk-size", "5_0\r\n"),
        ("chunk-size", "+5\r\nabcde\r\n"),
        ("chunk-size", "-1\r\n"),
        ("chunk-size", " 5\r\nabcde\r\n"),
        ("chunk-size", "5 \r\nabcde\r\n"),
        ("chunk-size", "5\t\r\nabcde\r\n"),
        ("chunk-size", "5 ;e\r\nabcde\r\n"),
        ("chunk-size", "5\0\r\n"),
        ("chunk-size", "g\r\n"),
        ("chunk-size", "\r\nabc"),
        ("chunk-size", ";e\r\n"),
        ("chunk-size", "\n"),
        ("chunk-size", "00000000000000005\r\nabcde\r\n"),
        ("chunk-size", "8000000000000000\r\n"),
        ("chunk-size", "ffffffffffffffff\r\n"),
        ("chunk-size", "10000000000000000\r\n"),
        ("bare-lf", "5\nabcde\r\n"),
        ("bare-lf", "5;e\nabcde\r\n"),
        ("bare-lf", "0\n\r\n"),
        ("bare-cr", "5\rabcde\r\n"),
        ("bare-cr", "5;e\rx\r\nabcde\r\n"),
        ("chunk-extension", "5;\r\nabcde\r\n"),
        ("chunk-extension", "5; e\r\nabcde\r\n"),
        ("chunk-extension", "5;e\0\r\nabcde\r\n"),
        ("chunk-extension", "5;\u{e9}\r\nabcde\r\n"),
        ("chunk-end", "5\r\nabcdef\r\n"),
        ("chunk-end", "5\r\nabcde\n"),
        ("chunk-end", "5\r\nabcde\rx"),
        ("chunk-end", "5\r\nabcde0\r\n\r\n"),
        ("chunk-end", "5\r\nabcde\r\r\n"),
        ("chunk-size", "5\r\nabcde\r\n\r\n0\r\n\r\n"),
        ("chunk-end", "1\r\na\r\n2\r\nbbb\r\n"),
    ] {
        assert_request(chunked(body), malformed(rule));
    }
}

#[test]
fn trailers_follow_the_rules_of_fields() {
    for (rule, trailers) in [
        ("bare-lf", "A: b\n\r\n"),
        ("bare-lf", "\n"),
        ("field-colon", "GET / HTTP/1.1\r\n\r\n"),
        ("field-fold", "A: b\r\n c\r\n\r\n"),
        ("field-name-space", "A : b\r\n\r\n"),
        ("field-value", "A: \0\r\n\r\n"),
        ("trailer-name", "Content-Length: 5\r\n\r\n"),
        ("trailer-name", "A: b\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("trailer-name", "HOST: h\r\n\r\n"),
        ("trailer-name", "Authorization: x\r\n\r\n"),
        ("trailer-name", "Tidegate-Token: x\r\n\r\n"),
        ("trailer-name", "Cookie: x\r\n\r\n"),
        ("trailer-name", "Trailer: x\r\n\r\n"),
    ] {
        assert_request(chunked(&format!("1\r\nx\r\n0\r\n{trailers}")), malformed(rule));
    }
    let fields = |count: usize| "a: b\r\n".repeat(count) + "\r\n";
    assert_request(chunked(&format!("0\r\n{}", fields(32))), Ok(1));
    assert_request(chunked(&format!("0\r\n{}", fields(33))), malformed("trailer-count"));
    let sized = |bytes: usize| format!("0\r\na: {}\r\n\r\n", "x".repeat(bytes - "a: \r\n\r\n".len()));
    assert_request(chunked(&sized(8 * 1024)), Ok(1));
    assert_request(chunked(&sized(8 * 1024 + 1)), malformed("trailer-size"));
}

#[test]
fn what_precedes_a_violation_passes_first() {
    let first = "GET /one HTTP/1.1\r\nHost: h\r\n\r\n";
    let pipelined = format!("{first}GET /two HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\nGET /three");
    let (messages, violation) = judge_requests(&[pipelined.as_bytes()]);
    assert_eq!(messages, 1);
    let violation = violation.expect("two hosts");
    assert_eq!(violation.place, Place::Field(2, Some("Host".into())));

    let mut lint = RequestLint::default();
    let body = chunked("3\r\nabc\r\nxyz\r\n");
    let passed = lint.pass(body.as_bytes()).expect("the head and the first chunk are sound");
    assert!(passed.head.is_some());
    assert_eq!(body.as_bytes()[passed.bytes..], *b"xyz\r\n");
    assert_eq!(lint.pass(b"xyz\r\n").expect_err("not a size").rule, "chunk-size");
}

#[test]
fn places_name_fields_but_never_values() {
    let place = |fields: &str| {
        let (_, violation) = judge_requests(&[with_fields(fields).as_bytes()]);
        violation.expect("a violation").to_string()
    };
    assert!(place("A: b\r\nContent-Length: s3cret\r\n").ends_with("at field 3 `Content-Length`)"));
    assert!(place("X-Key: s3cret\0\r\n").ends_with("at field 2 `X-Key`)"));
    assert!(place("s3cret key: v\r\n").ends_with("at field 2)"));
}

#[test]
fn well_formed_responses_pass() {
    for (to, messages, response) in [
        (&["GET"][..], 1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (&["GET"], 1, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        (&["GET"], 1, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (&["GET"], 0, "HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        (&["GET"], 0, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        (&["GET"], 1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n"),
        (&["HEAD"], 1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (&["HEAD"], 1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (&["DELETE"], 1, "HTTP/1.1 204 No Content\r\n\r\n"),
        (&["GET"], 1, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        (&["GET"], 1, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
        (&["GET"], 1, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
    ] {
        assert_responses(to, response, Ok(messages));
    }
    let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(8) + "HTTP/1.1 204 No\r\n\r\n";
    assert_responses(&["GET"], many, Ok(1));
    let wide = numbered_fields(1..=200);
    assert_responses(&["GET"], format!("HTTP/1.1 204 No\r\n{wide}\r\n"), Ok(1));
}

#[test]
fn bad_responses_are_refused() {
    for (rule, response) in [
        ("status-line", "HTTP/2 200 OK\r\n\r\n"),
        ("status-line", "HTTP/1.2 200 OK\r\n\r\n"),
        ("status-line", "http/1.1 200 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1  200 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 20 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 2000 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 +20 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 099 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 600 OK\r\n\r\n"),
        ("status-line", "HTTP/1.1 200 O\0K\r\n\r\n"),
        ("status-line", "HTTP/1.1 200 O\rK\r\n\r\n"),
        ("status-line", "HTTP/1.1 200\tOK\r\n\r\n"),
        ("status-line", "\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("status-line", "ICY 200 OK\r\n\r\n"),
        ("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("bare-lf", "HTTP/1.1 200 OK\r\nA: b\n\r\n"),
        ("bare-cr", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n"),
        ("field-value", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"),
        ("field-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
        ("field-name-space", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"),
        ("coding-and-length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("length-repeated", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        ("length-value", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
        ("coding-value", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("coding-version", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("switching-protocols", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
        ("informational-body", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
        ("chunk-size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n"),
        ("trailer-name", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie: x\r\n\r\n"),
        ("surplus-bytes", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"),
        ("surplus-bytes", "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("surplus-bytes", "HTTP/1.1 304 No\r\nContent-Length: 1\r\n\r\nx"),
        ("surplus-bytes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\n"),
    ] {
        assert_responses(&["GET"], response, refused(rule));
    }
    let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(9);
    assert_responses(&["GET"], flood, refused("informational-count"));
    assert_responses(&["HEAD"], "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", refused("surplus-bytes"));
    assert_responses(&[], "H", refused("surplus-bytes"));
    let wide = numbered_fields(1..=201);
    assert_responses(&["GET"], format!("HTTP/1.1 204 No\r\n{wide}\r\n"), refused("field-count"));
    let large = format!("HTTP/1.1 200 OK\r\nf: {}", "x".repeat(70_000));
    assert_responses(&["GET"], large, refused("head-size"));
}

#[test]
fn targets_that_pass_are_taken_by_the_uri_of_hyper() {
    for byte in 0..=255_u8 {
        for prefix in ["/a", "/a?b", "http://h/a", "http://h?b"] {
            let target = [prefix.as_bytes(), &[byte], b"c"].concat();
            if super::check_target(&target).is_ok() {
                let uri = http::Uri::try_from(&target[..]).expect("a URI");
                let path_and_query = uri.path_and_query().expect("a path").as_str();
                assert!(path_and_query.ends_with('c'), "{uri} lost its end");
            }
        }
    }
}

/// Lines that are nearly HTTP reach deeper than bytes at random.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("GET / HTTP/1.1\r\n".as_bytes().to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Host: h\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5;e\r\nabcde\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_get_the_same_verdict_in_every_cut(bytes in nearly_http(), cut in any::<prop::sample::Index>()) {
        let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(judge_requests(&[&bytes]), judge_requests(&[left, right]));
        let responses = |pieces: &[&[u8]]| verdict(judge_responses(&["GET", "HEAD"], pieces)).map_err(|(_, rule)| rule);
        let (whole, cut) = (responses(&[&bytes]), responses(&[left, right]));
        // Announcing the second request between two reads makes a surplus an answer.
        prop_assert!(whole == cut || whole == Err("surplus-bytes"));
    }
}
