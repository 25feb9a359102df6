use std::collections::HashSet;

use http::HeaderValue;

use super::*;

fn key(secret: u8) -> Key {
    Key::new(&[secret; 32]).expect("a key")
}

fn keys() -> Keys {
    let keys = Keys::default();
    keys.put(HashMap::from([("acme".to_owned(), Zeroizing::new(vec![1; 32]))]));
    keys
}

fn asked(values: &[&str], suppressed: Option<&Suppressed>) -> Result<Subjects, Refusal> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HEADER, HeaderValue::from_str(value).expect("a value"));
    }
    let found = subjects(&mut headers, &keys(), &"acme".into(), suppressed, false);
    assert!(found.is_err() || !headers.contains_key(HEADER));
    found
}

fn named(kind: &str, identifier: &str) -> Named {
    Named::new(kind, identifier).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn index(kind: &str, identifier: &str) -> Index {
    key(1).index(&named(kind, identifier))
}

#[test]
fn an_index_is_the_hmac_of_kind_zero_and_identifier() {
    // printf 'email\0ada@example.com' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…01
    let found = asked(&["email:ada@example.com"], None).expect("read");
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), b"email\0ada@example.com");
    assert_eq!(*found.indexes, [hex(expected.as_ref()).into_boxed_str()]);
}

#[test]
fn spellings_of_one_person_have_one_index() {
    let same = [
        ("email", " Ada@Example.COM ", "ada@example.com"),
        ("email", "u\u{308}ber@example.com", "\u{fc}ber@example.com"),
        ("email", "J\u{30c}@example.com", "\u{1f0}@example.com"),
        ("phone", "+49 (30) 123-456", "004930123456"),
        ("customer", " c-1", "c-1"),
    ];
    for (kind, one, other) in same {
        assert_eq!(index(kind, one), index(kind, other), "{one}");
    }
    let different = [
        ("email", "a.da@example.com", "ada@example.com"),
        ("email", "ada+x@example.com", "ada@example.com"),
        ("customer", "C-1", "c-1"),
    ];
    for (kind, one, other) in different {
        assert_ne!(index(kind, one), index(kind, other), "{one}");
    }
    assert_ne!(index("customer", "49301234"), index("account", "49301234"));
    assert_ne!(key(1).index(&named("customer", "1")), key(2).index(&named("customer", "1")));
}

#[test]
fn several_are_named_by_commas_and_by_fields_each_once() {
    let found = asked(&["email:a@b.example, customer:1", "email:A@B.example,customer:a%2Cb"], None);
    assert_eq!(found.expect("read").indexes.len(), 3);
    let many = vec!["customer:1"; SUBJECTS_MAX].join(",");
    assert!(asked(&[&many], None).is_ok());
    let refused = asked(&[&many, "customer:1"], None).expect_err("one too many");
    assert_eq!(refused.code, Code::MalformedRequest);
}

#[test]
fn what_cannot_be_read_is_refused_without_a_word_of_it() {
    let marked = "zanzibar";
    let wrong = [
        "zanzibar",
        "",
        ",",
        "Email:zanzibar@x.example",
        "email:zanzibar",
        "email:zanzibar@x@y",
        "email:@zanzibar",
        "phone:030-zanzibar",
        "phone:+12",
        "customer:",
        "customer:%",
        "customer:%zanzibar",
        "customer:%ff%fezanzibar",
        "customer:zanzibar%00",
        "customer:zanzibar%0a",
        ":zanzibar",
    ];
    for text in wrong {
        let refused = asked(&[text], None).expect_err(text);
        assert_eq!(refused.code, Code::MalformedRequest, "{text}");
        assert!(!format!("{refused:?}").contains(marked), "{text}");
    }
    let long = format!("customer:{}", "z".repeat(321));
    assert!(asked(&[&long], None).is_err());
}

#[test]
fn without_the_clients_key_nothing_is_sent() {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, HeaderValue::from_static("customer:1"));
    let refused = subjects(&mut headers, &Keys::default(), &"acme".into(), None, false);
    assert_eq!(refused.expect_err("no key").code, Code::NotReady);
    let mut nobody = HeaderMap::new();
    let found = subjects(&mut nobody, &Keys::default(), &"acme".into(), None, false);
    assert_eq!(found.expect("nobody is named"), Subjects::default());
}

#[test]
fn who_is_suppressed_is_refused_or_reported_as_declared() {
    let gone = HashSet::from([index("email", "ada@example.com")]);
    let refusing = Suppressed::new(Way::Refuse, gone.clone());
    let refused = asked(&["email:grace@example.com, email:Ada@example.com"], Some(&refusing));
    let refused = refused.expect_err("suppressed");
    assert_eq!(refused.code, Code::Suppressed);
    assert!(!format!("{refused:?}").to_lowercase().contains("ada@"));
    assert!(asked(&["email:grace@example.com"], Some(&refusing)).is_ok());
    let reported = asked(&["email:ada@example.com"], Some(&Suppressed::new(Way::Report, gone)));
    assert!(reported.expect("let through").would_refuse);
}

#[test]
fn a_call_that_erases_is_not_refused_for_whom_it_erases() {
    let gone = Suppressed::new(Way::Refuse, HashSet::from([index("customer", "1")]));
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, HeaderValue::from_static("customer:1"));
    assert!(subjects(&mut headers, &keys(), &"acme".into(), Some(&gone), true).is_ok());
}
