use proptest::prelude::*;

use super::super::restore::tests::{restoring, sealed, text};
use super::*;

const PLACE: &str = "body $.choices[*].delta.content";

fn token(value: &str) -> String {
    sealed("acme", "llm", "email", &text(value))
}

fn held() -> Held {
    Held::new(restoring("acme", "llm", &[(PLACE, "email", None), ("body $.note", "name", None)]))
}

/// A stream that comes in pieces of this size, as it goes on.
fn passed(stream: &str, size: usize) -> String {
    let (mut held, persons) = (held(), Persons::default());
    let mut out = Vec::new();
    for piece in stream.as_bytes().chunks(size) {
        out.extend(held.push(piece, &persons));
    }
    out.extend(held.end());
    String::from_utf8(out).expect("text")
}

fn delta(text: &str) -> String {
    let text = serde_json::to_string(text).expect("json");
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}}}}]}}\n\n")
}

/// All that the deltas of a stream tell.
fn told(stream: &str) -> String {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    let documents =
        data.map(|data| serde_json::from_str::<serde_json::Value>(&format!("{{{data}")).expect("json"));
    documents.filter_map(|one| one.pointer("/choices/0/delta/content")?.as_str().map(str::to_owned)).collect()
}

#[test]
fn a_token_that_is_told_in_pieces_comes_back_wherever_they_end() {
    let message = format!("Dear {}, not {}!", token("Jane \"J\" Doe"), token("Bob"));
    for letters in [1, 2, 3, 7, 50, 1_000] {
        let pieces: Vec<char> = message.chars().collect();
        let deltas: String =
            pieces.chunks(letters).map(|piece| delta(&piece.iter().collect::<String>())).collect();
        let stream = format!("{deltas}data: [DONE]\n\n");
        for size in [1, 2, 5, 64, stream.len()] {
            let out = passed(&stream, size);
            assert_eq!(told(&out), "Dear Jane \"J\" Doe, not Bob!", "{letters} {size}");
            assert_eq!(out.matches("\n\n").count(), stream.matches("\n\n").count());
            assert!(out.ends_with("data: [DONE]\n\n"));
        }
    }
}

#[test]
fn an_event_goes_at_once_unless_its_text_may_begin_a_token() {
    let (mut held, persons) = (held(), Persons::default());
    let mut goes = |event: &str| String::from_utf8(held.push(event.as_bytes(), &persons)).expect("text");
    let whole = token("Jane");
    let (begin, end) = whole.split_at(20);
    assert_eq!(goes(&delta("Dear ")), delta("Dear "));
    assert_eq!(goes(&delta(&format!("to {begin}"))), "");
    assert_eq!(goes(": still here\n\n"), ": still here\n\n");
    assert_eq!(goes(&delta(end)), format!("{}{}", delta("to Jane"), delta("")));
    assert_eq!(goes(&delta("t")), "");
    assert_eq!(goes(&delta("o")), format!("{}{}", delta("t"), delta("o")));
    assert_eq!(goes(&delta(&format!("a {whole} b {whole}"))), delta("a Jane b Jane"));
    // Another event is not what goes on with the token.
    assert_eq!(goes(&delta(begin)), "");
    assert_eq!(goes("event: ping\ndata: {}\n\n"), format!("{}event: ping\ndata: {{}}\n\n", delta(begin)));
    assert_eq!(goes(&delta(end)), delta(end));
    // A token right after what seemed to be one.
    assert_eq!(goes(&delta("tdgt1.a1.AAAt")), "");
    assert_eq!(goes(&delta(&whole[1..15])), "");
    assert_eq!(goes(&delta(&whole[15..])), [delta("tdgt1.a1.AAAJane"), delta(""), delta("")].concat());
    assert_eq!(goes(&delta("tdgt1")), "");
    assert_eq!(String::from_utf8(held.end()).expect("text"), delta("tdgt1"));
}

#[test]
fn what_is_not_restored_goes_as_it_came() {
    let foreign = sealed("globex", "llm", "email", &text("Eve"));
    let elsewhere = format!("data: {{ \"text\" : \"{}\" }}\r\nid:7\r\n\r\n", token("Jane"));
    let other_field = format!("data:{{\"note\":\"{}\"}}\r\r", token("Jane"));
    let split: String = foreign.chars().map(|c| delta(&c.to_string())).collect();
    let unread =
        format!("data: {}\n\ndata: {{\"note\":1,\"note\":\"{}\"}}\n\n", token("Jane"), token("Jane"));
    let rest = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}", token("Jane"));
    let marked = "\u{feff}data: [1]\n\nretry: 5\n\n\n\n";
    for stream in [&delta(&foreign), &elsewhere, &other_field, &split, &unread, &rest, marked, ""] {
        for size in [1, 3, 1_000] {
            assert_eq!(passed(stream, size), *stream);
        }
    }
}

#[test]
fn lines_of_an_event_are_one_text_and_the_others_stay() {
    let token = token("Jane");
    let event = format!(
        "\u{feff}event: a\r\ndata: {{\"choices\":[{{\"delta\":\r\n: c\r\ndata: {{\"content\":\"{token}\"}}}}]}}\r\nid: 7\r\n\r\n"
    );
    let expected = "\u{feff}event: a\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Jane\"}}]}\r\n: c\r\nid: 7\r\n\r\n";
    assert_eq!(passed(&event, 1), expected);
}

#[test]
fn a_line_end_that_comes_in_two_pieces_is_not_parted() {
    let (mut held, persons) = (held(), Persons::default());
    let (event, crlf) = (delta("x").replace('\n', "\r\n"), delta("t").replace('\n', "\r\n"));
    let mut goes = |event: &str| String::from_utf8(held.push(event.as_bytes(), &persons)).expect("text");
    assert_eq!(goes(&event), event);
    assert_eq!(
        (goes(&event[..event.len() - 1]), goes("\n")),
        (event[..event.len() - 1].to_owned(), "\n".to_owned())
    );
    assert_eq!((goes(&crlf[..crlf.len() - 1]), goes("\n")), (String::new(), String::new()));
    assert_eq!(goes(&event), format!("{crlf}{event}"));
}

#[test]
fn what_is_larger_than_the_bound_goes_as_it_comes() {
    let token = token("Jane");
    let large = delta(&format!("{}{token}", "x".repeat(HELD_BYTES_MAX)));
    let stream = format!("{large}{}", delta(&token));
    assert_eq!(passed(&stream, 8_192), format!("{large}{}", delta("Jane")));
    // A beginning without an end does not keep all that follows.
    let (mut held, persons) = (held(), Persons::default());
    held.push(delta("tdgt1.a1.").as_bytes(), &persons);
    let filler = delta(&"A".repeat(1_000));
    let mut waited = 0;
    while held.push(filler.as_bytes(), &persons).is_empty() {
        waited += filler.len();
        assert!(waited <= HELD_BYTES_MAX);
    }
    assert!(waited > HELD_BYTES_MAX / 2);
}

proptest! {
    #[test]
    fn whatever_comes_goes_on_where_nothing_is_restored(
        stream in prop::collection::vec(prop_oneof![
            Just("data: "), Just("data"), Just(":"), Just("\r"), Just("\n"), Just("\r\n"), Just("\n\n"),
            Just("{\"choices\":[{\"delta\":{\"content\":\"tdgt1.a1.\"}}]}"), Just("\u{feff}"), Just("id: 1"), Just("é"),
        ], 0..30),
        size in 1_usize..9,
    ) {
        let stream = stream.concat();
        let out = passed(&stream, size);
        // Comments may go before what waits.
        let sorted = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.sort_unstable();
            bytes
        };
        prop_assert_eq!(sorted(&out), sorted(&stream));
    }
}
