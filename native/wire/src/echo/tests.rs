use std::collections::HashMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

const SECRET: &str = "sk_live_51HxAbCdEfGhIjKl";

fn lease() -> Arc<Lease> {
    let fields = HashMap::from([("token".into(), Zeroizing::new(SECRET.as_bytes().to_vec()))]);
    Arc::new(Lease::new(1, 0, Vec::new(), fields, u64::MAX).expect("lease"))
}

fn echo(policy: EchoPolicy) -> Echo {
    Echo {
        lease: lease(),
        wanted: Arc::from(["token".into()]),
        policy,
        body: Body::Plain(BytesMut::new()),
        struck: None,
    }
}

fn passed(echo: &mut Echo, pieces: &[&[u8]]) -> Result<Vec<u8>, Echoed> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&echo.pass(Bytes::copy_from_slice(piece), false)?);
    }
    out.extend_from_slice(&echo.rest());
    Ok(out)
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

fn decoded(coding: Coding, bound: u64) -> Decoded {
    Decoded::new(coding, lease(), Arc::from(["token".into()]), bound)
}

#[test]
fn what_is_struck_out_keeps_its_length() {
    let text = format!("{{\"key\": \"{SECRET}\", \"again\": \"{SECRET}\"}}");
    let mut echo = echo(EchoPolicy::Redact);
    let out = passed(&mut echo, &[text.as_bytes()]).expect("passed");
    assert_eq!(out, text.replace(SECRET, &"*".repeat(SECRET.len())).into_bytes());
    assert_eq!(echo.struck(), Some("token"));
}

#[test]
fn a_refused_answer_ends_with_what_came_before_it() {
    let mut echo = echo(EchoPolicy::Refuse);
    assert_eq!(echo.pass(Bytes::from_static(b"{\"a\": 1, "), false).expect("clean").len(), 9);
    let refused = echo.pass(Bytes::from(SECRET), false).expect_err("refused");
    assert_eq!(refused, Echoed::Field("token".into()));
    assert!(!refused.as_text().contains(SECRET));
}

#[test]
fn headers_are_searched() {
    let mut headers = HeaderMap::new();
    headers.insert("x-debug", HeaderValue::from_str(&format!("Bearer {SECRET}")).expect("value"));
    headers.insert("x-other", HeaderValue::from_static("1"));
    let mut redacting = echo(EchoPolicy::Redact);
    redacting.strike_headers(&mut headers.clone()).expect("struck out");
    assert_eq!(redacting.struck(), Some("token"));
    assert_eq!(echo(EchoPolicy::Refuse).strike_headers(&mut headers), Err(Echoed::Field("token".into())));
}

#[test]
fn encoded_bodies_are_looked_into_however_they_are_cut() {
    let clean = zipped(&"clean ".repeat(10_000));
    let bad = zipped(&format!("{}{SECRET}", "clean ".repeat(10_000)));
    for size in [1, 7, 1_000, 1 << 20] {
        let through = |bytes: &[u8]| {
            let mut decoded = decoded(Coding::Gzip, 1 << 20);
            bytes.chunks(size).try_for_each(|piece| decoded.pass(piece))
        };
        assert_eq!(through(&clean), Ok(()), "{size}");
        assert_eq!(through(&bad), Err(Echoed::Field("token".into())), "{size}");
    }
}

#[test]
fn a_body_that_grows_beyond_its_bound_or_is_not_what_it_says_is_refused() {
    let bomb = zipped(&"0".repeat(1 << 20));
    assert_eq!(decoded(Coding::Gzip, 1 << 16).pass(&bomb), Err(Echoed::TooLarge));
    assert_eq!(decoded(Coding::Gzip, 1 << 16).pass(b"{\"plain\": true}"), Err(Echoed::Unreadable));
    assert_eq!(decoded(Coding::Brotli, 1 << 16).pass(&[0xff; 64]), Err(Echoed::Unreadable));
}

#[test]
fn codings_that_cannot_be_looked_into_are_not_asked_for() {
    for (asked, kept) in [
        (&["gzip, deflate, br, zstd"][..], &["gzip, br"][..]),
        (&["gzip;q=1.0, br;q=0"], &["gzip;q=1.0, br;q=0"]),
        (&["zstd", "deflate"], &["identity"]),
        (&["*"], &["identity"]),
        (&["gzip", "br"], &["gzip", "br"]),
        (&[], &[]),
    ] {
        let mut headers = HeaderMap::new();
        for value in asked {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        limit_codings(&mut headers);
        let found: Vec<_> =
            headers.get_all(ACCEPT_ENCODING).iter().map(|value| value.to_str().expect("text")).collect();
        assert_eq!(found, kept);
    }
}

proptest! {
    #[test]
    fn it_is_found_across_pieces(
        before in "[ -~]{0,40}", after in "[ -~]{0,40}",
        cuts in proptest::collection::vec(1_usize..9, 1..40),
    ) {
        let text = format!("{before}{SECRET}{after}");
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        pieces.push(rest);
        let out = passed(&mut echo(EchoPolicy::Redact), &pieces).expect("passed");
        prop_assert_eq!(out, text.replace(SECRET, &"*".repeat(SECRET.len())).into_bytes());
    }

    #[test]
    fn clean_bytes_pass_unchanged(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let out = passed(&mut echo(EchoPolicy::Redact), &pieces).expect("passed");
        prop_assert_eq!(out, pieces.concat());
    }
}
