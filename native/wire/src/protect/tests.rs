//! Policies over requests, and the promises that hold for all of them: no leaf leaves without a rule, and nothing
//! that a rule keeps is found in what leaves.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::act::Act;
use super::policy::{Policy, RawPolicy, Unknown};
use super::told::{FieldTold, Told};
use super::{Breach, Original, Rewritten, document, rewrite};
use crate::error::Code;
use crate::json::Node;
use crate::sign::digest::hex;
use crate::snapshot::Snapshot;

fn policy(unknown: &str, fields: &Json) -> Policy {
    let raw = json!({"name": "p", "operations": [], "purpose": "sales", "unknown_fields": unknown,
                     "body_bytes": 1_048_576, "fields": fields});
    let raw: RawPolicy = serde_json::from_value(raw).expect("a policy");
    raw.compile(|_| None).expect("a sound policy")
}

fn of_body(unknown: &str, fields: &Json, body: &str) -> Result<String, Breach> {
    let policy = policy(unknown, fields);
    let written = document::rewrite(body.as_bytes(), &mut Told::new(&policy))?;
    Ok(String::from_utf8(written).expect("UTF-8"))
}

/// A provider with one operation, `POST /people/{id}`, under a policy.
fn snapshot(unknown: &str, fields: &Json) -> Snapshot {
    let document = json!({"format": 1, "revision": 1, "clients": [], "providers": [{
        "name": "crm", "origins": ["https://api.example.com"],
        "operations": [["PostPeople", "POST", "/people/{id}", 0], ["Other", "POST", "/people/new", 0]],
        "protection": [{"name": "p", "operations": [0], "purpose": "sales", "unknown_fields": unknown,
                        "body_bytes": 4096, "fields": fields}],
    }]});
    Snapshot::parse(document.to_string().as_bytes()).expect("a snapshot")
}

struct Sample<'s> {
    path: &'s str,
    query: Option<&'s str>,
    headers: &'s [(&'s str, &'s str)],
    body: &'s [u8],
}

const EMPTY: Sample<'static> = Sample { path: "/people/17", query: None, headers: &[], body: b"" };
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

type Sent = (Rewritten, Vec<FieldTold>, Vec<FieldTold>);

fn sent(unknown: &str, fields: &Json, sample: &Sample<'_>) -> Result<Sent, Breach> {
    let snapshot = snapshot(unknown, fields);
    let provider = &snapshot.providers[0];
    let policy = provider.operations[0].policy.as_ref().expect("a policy");
    let mut headers = HeaderMap::new();
    for (name, value) in sample.headers {
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    let original = Original {
        method: &Method::POST,
        path: sample.path,
        query: sample.query,
        headers: &headers,
        body: sample.body,
    };
    let mut told = Told::new(policy);
    let fresh = rewrite(provider, 0, &original, &mut told)?;
    Ok((fresh, told.sent(), told.withheld()))
}

fn body_sent(fields: &Json, headers: &[(&str, &str)], body: &[u8]) -> Result<String, Breach> {
    let (fresh, ..) = sent("reject", fields, &Sample { headers, body, ..EMPTY })?;
    Ok(String::from_utf8(fresh.body.expect("a body").to_vec()).expect("UTF-8"))
}

#[test]
fn a_leaf_goes_only_by_a_rule() {
    let fields = json!([{"at": "body $.email", "do": "allow"}]);
    assert_eq!(
        of_body("reject", &fields, r#"{"email": "a@b.example"}"#).expect("ok"),
        r#"{"email":"a@b.example"}"#
    );
    let breach = of_body("reject", &fields, r#"{"email": 1, "phone": "+49 170"}"#).expect_err("no rule");
    assert_eq!(breach.code, Code::UndeclaredField);
    assert!(breach.detail.contains("`body $.phone`") && !breach.detail.contains("170"), "{}", breach.detail);
    assert_eq!(
        of_body("drop", &fields, r#"{"email": 1, "phone": "+49 170"}"#).expect("ok"),
        r#"{"email":1}"#
    );
    assert_eq!(of_body("drop", &fields, r#"{"phone": {"a": [1, 2]}}"#).expect("ok"), "{}");
    assert_eq!(of_body("drop", &fields, "[1]").expect("ok"), "[]");
    assert_eq!(of_body("drop", &fields, "1").expect("ok"), "null");
    // What has nothing in it is a leaf, too.
    assert!(of_body("reject", &fields, r#"{"x": {}}"#).is_err());
    assert!(of_body("reject", &fields, r#"{"x": null}"#).is_err());
}

#[test]
fn each_line_of_a_body_of_lines_is_a_document() {
    let fields = json!([{"at": "body $.a", "do": "allow"}, {"at": "body $.b", "do": {"mask": {}}}]);
    let sent = |body: &str| body_sent(&fields, &[("content-type", "application/x-ndjson")], body.as_bytes());
    let lines = "{\"a\":1}\r\n {\"b\":\"x\"} \n{\"a\":[2]}";
    assert_eq!(sent(lines).as_deref(), Ok("{\"a\":1}\n{\"b\":\"*\"}\n{\"a\":[2]}\n"));
    assert_eq!(sent("{\"a\":1}\n").as_deref(), Ok("{\"a\":1}\n"));
    for lines in [
        "{\"a\":1}\n\n{\"a\":1}",
        "{\"a\":1}\n\n",
        "\n",
        "{\"a\":\n1}",
        "{\"a\":1}{\"a\":1}",
        "{\"a\":1}\r{\"a\":1}",
        "{\"a\":1\r}",
        "{\"a\":1}\n{\"c\":1}",
        "{\"a\":\"the same\"}\n{\"b\":\"the same\"}",
    ] {
        assert!(sent(lines).is_err(), "{lines:?}");
    }
    let other = json!([{"at": "form a", "do": "allow"}]);
    assert!(body_sent(&other, &[("content-type", "application/x-ndjson")], b"{}").is_err());
    let bytes = |count: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(count - 8));
    let policy = policy("reject", &fields);
    let read = |body: String| super::content::lines(body.as_bytes(), &mut Told::new(&policy));
    assert!(read(bytes(256 << 10)).is_ok() && read(bytes((256 << 10) + 1)).is_err());
    assert!(read("{\"a\":1}\n".repeat(10_000)).is_ok() && read("{\"a\":1}\n".repeat(10_001)).is_err());
}

#[test]
fn the_most_specific_rule_takes_a_leaf() {
    let fields = json!([
        {"at": "body $.people[*]", "do": "drop"},
        {"at": "body $.people[*].name", "do": {"mask": {}}},
        {"at": "body $.people[0].name", "do": "allow"},
        {"at": "body $..id", "do": "allow"},
        {"at": "body $.people[*].id", "do": {"mask": {"keep": 1}}},
        {"at": "body /meta/0", "do": "allow"},
    ]);
    let document =
        r#"{"people":[{"name":"Ann","id":"11","x":1},{"name":"Bob","id":"22"}],"meta":["m"],"id":7}"#;
    assert_eq!(
        of_body("reject", &fields, document).expect("ok"),
        r#"{"people":[{"name":"Ann","id":"*1"},{"name":"***","id":"*2"}],"meta":["m"],"id":7}"#
    );
    let named = document.replace(r#"["m"]"#, r#"{"0":"m"}"#);
    assert!(of_body("reject", &fields, &named).expect("ok").contains(r#""meta":{"0":"m"}"#));
}

#[test]
fn two_rules_that_only_the_data_brings_together_are_refused() {
    let fields = json!([
        {"at": "body $..email", "do": "allow"},
        {"at": "body $.people[?@.role == 'x'].email", "do": "drop"},
        {"at": "body $.people[*].role", "do": "allow"},
    ]);
    assert!(of_body("reject", &fields, r#"{"people":[{"role":"y","email":"e"}]}"#).is_ok());
    let breach =
        of_body("reject", &fields, r#"{"people":[{"role":"x","email":"e"}]}"#).expect_err("two rules");
    assert!(breach.detail.contains("neither is more specific"), "{}", breach.detail);
}

#[test]
fn a_query_finds_what_it_finds_in_the_document_as_it_came() {
    let fields = json!([
        {"at": "body $[?@.kind == 'card'].number", "do": {"mask": {"keep": 4}}},
        {"at": "body $[*].kind", "do": {"mask": {}}},
        {"at": "body $[*].number", "do": "reject"},
    ]);
    // Masking `kind` first would leave the number to the rule after it.
    let breach = of_body("reject", &fields, r#"[{"kind":"card","number":"4111111111111111"}]"#);
    // A rule of plain steps says more than a query of the same depth.
    assert!(breach.is_err());
    let fields = json!([
        {"at": "body $[?@.kind == 'card'].number", "do": {"mask": {"keep": 4}}},
        {"at": "body $[*].kind", "do": {"mask": {}}},
    ]);
    assert_eq!(
        of_body("reject", &fields, r#"[{"kind":"card","number":"4111111111111111"}]"#).expect("ok"),
        r#"[{"kind":"****","number":"************1111"}]"#
    );
}

#[test]
fn what_an_action_is_not_for_is_refused_and_never_sent_in_clear() {
    let fields = json!([{"at": "body $.born", "do": {"generalise": "year"}}]);
    let breach = of_body("reject", &fields, r#"{"born": "May 1987"}"#).expect_err("no date");
    assert_eq!(breach.code, Code::Unparseable);
    assert!(breach.detail.contains("`body $.born`") && !breach.detail.contains("May"), "{}", breach.detail);
    assert!(of_body("reject", &fields, r#"{"born": true}"#).is_err());
    assert_eq!(of_body("reject", &fields, r#"{"born": null}"#).expect("nothing"), r#"{"born":null}"#);
}

#[test]
fn forms_are_written_anew_pair_by_pair() {
    let fields = json!([
        {"at": "form email", "do": "allow"},
        {"at": "form metadata[*]", "do": "drop"},
        {"at": "form metadata[order]", "do": "allow"},
        {"at": "form card[number]", "do": {"mask": {"keep": 4}}},
        {"at": "form tag", "repeated": true, "do": "allow"},
        {"at": "form item[*]", "do": "allow"},
    ]);
    let form = |body: &str| body_sent(&fields, FORM, body.as_bytes());
    assert_eq!(
        form("email=a%40b.example&metadata[x]=1&metadata%5Border%5D=7&card[number]=4111111111111111&tag=a&tag=b+c&item[]=1&item[]=2&&").expect("ok"),
        "email=a%40b.example&metadata[order]=7&card[number]=%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A%2A1111&tag=a&tag=b%20c&item[]=1&item[]=2"
    );
    for (body, why) in [
        ("email=a&email=b", "more than once"),
        ("email=a&e%6Dail=b", "more than once"),
        ("phone=1", "no rule for `form phone`"),
        ("email=%zz", "two hexadecimal digits"),
        ("email=%ff", "not UTF-8"),
        ("metadata[order]extra=1", "no rule"),
        ("[email]=1", "no rule"),
        ("card[number][x]=true", ""),
    ] {
        let result = form(body);
        assert!(why.is_empty() == result.is_ok(), "{body} {result:?}");
        assert!(result.map_or_else(|breach| breach.detail.contains(why), |_| true), "{body}");
    }
}

const PARTS: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b")];

fn part(name: &str, more: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{content}\r\n")
}

/// What goes out of parts, with `B` for its boundary.
fn parts_sent(unknown: &str, fields: &Json, body: &[u8]) -> Result<String, Breach> {
    let (fresh, ..) = sent(unknown, fields, &Sample { headers: PARTS, body, ..EMPTY })?;
    let mut header = HeaderMap::new();
    fresh.apply(&mut header);
    let media_type = header["content-type"].to_str().expect("text").to_owned();
    let boundary = media_type.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
    assert_eq!(header["content-length"], fresh.body.as_ref().expect("a body").len().to_string());
    Ok(String::from_utf8_lossy(&fresh.body.expect("a body")).replace(boundary, "B"))
}

#[test]
fn parts_are_written_anew_one_by_one() {
    let fields = json!([
        {"at": "part email", "do": {"mask": {"keep": 2}}},
        {"at": "part meta[*]", "do": "drop"},
        {"at": "part meta[order]", "do": "allow"},
        {"at": "part cv", "do": "allow"},
        {"at": "part cv filename", "do": {"mask": {"keep": 4}}},
        {"at": "part scan", "do": "allow"},
        {"at": "part tag", "repeated": true, "do": "allow"},
        {"at": "part person $.name", "do": "allow"},
        {"at": "part person $..ssn", "do": "drop"},
    ]);
    let with = |body: &str| parts_sent("reject", &fields, format!("{body}--b--").as_bytes());
    let pdf = "\r\nContent-Type: application/pdf; name=\"jane.pdf\"";
    let person = part("person", "", r#"{"name": "Jane", "more": {"ssn": 1}}"#);
    let body = [
        part("email", "", "jane@example.com"),
        part("meta[a]", "; filename=\"a.txt\"", "x"),
        part("meta[order]", "", "17"),
        part("cv", &format!("; filename=\"jane-doe.pdf\"{pdf}"), "%PDF"),
        part("scan", "; filename=\"scan.pdf\"", "x"),
        part("tag", "", "1") + &part("tag", "", "2"),
        person.clone(),
    ];
    let out = [
        part("email", "", "**************om"),
        part("meta[order]", "", "17"),
        part("cv", "; filename=\"********.pdf\"\r\nContent-Type: application/pdf", "%PDF"),
        part("scan", "; filename=\"scan.pdf\"", "x"),
        part("tag", "", "1") + &part("tag", "", "2"),
        part("person", "", r#"{"name":"Jane"}"#),
    ];
    let expected = format!("{}--B--\r\n", out.concat().replace("--b\r\n", "--B\r\n"));
    assert_eq!(with(&body.concat()).expect("ok"), expected);
    for (body, why) in [
        (part("phone", "", "1"), "no rule for `part phone`"),
        (part("email", "", "1") + &part("email", "", "2"), "more than once"),
        (person.clone() + &person, "more than once"),
        (part("person", "; filename=\"x\"", r#"{"name": "x"}"#), "no rule for `part person filename`"),
        (part("person", "", r#"{"phone": 1}"#), "no rule for `part person $.phone`"),
        (part("person", "", r#"{"a": 1, "a": 2}"#), "one name twice"),
        (part("person", "\r\nContent-Type: text/csv", "{}"), "other than JSON"),
    ] {
        let breach = with(&body).expect_err("refused");
        assert!(breach.detail.contains(why), "{}", breach.detail);
    }
    assert_eq!(
        parts_sent(
            "drop",
            &json!([{"at": "part a", "do": "allow"}]),
            format!("{}--b--", part("x", "", "y")).as_bytes()
        )
        .expect("ok"),
        "--B--\r\n"
    );
}

#[test]
fn the_same_parts_are_the_same_bytes() {
    let fields = json!([{"at": "part a", "do": "allow"}, {"at": "part b", "do": "drop"}]);
    let with = |a: &str, b: &str| {
        let body = format!("{}{}--b--", part("a", "", a), part("b", "", b));
        let (fresh, ..) =
            sent("reject", &fields, &Sample { headers: PARTS, body: body.as_bytes(), ..EMPTY }).expect("ok");
        fresh.body.expect("a body")
    };
    assert_eq!(with("1", "2"), with("1", "3"));
    assert_ne!(with("1", "2")[..40], with("2", "2")[..40]);
}

#[test]
fn a_file_that_is_no_text_goes_whole_or_not_at_all() {
    let file = |act: &Json, kind: &str| {
        let fields = json!([{"at": "part f", "do": act}]);
        let mut body =
            format!("--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n{kind}\r\n").into_bytes();
        body.extend_from_slice(b"\xff\xd8\xff\r\n--b--");
        sent("reject", &fields, &Sample { headers: PARTS, body: &body, ..EMPTY })
            .map(|(fresh, ..)| fresh.body.expect("a body"))
    };
    let image = "Content-Type: image/jpeg\r\n";
    let whole = file(&json!("allow"), image).expect("ok");
    assert!(whole.windows(7).any(|bytes| bytes == b"\r\n\xff\xd8\xff\r\n"));
    assert!(!file(&json!("drop"), image).expect("ok").contains(&0xff));
    for (act, kind) in [
        (json!("reject"), image),
        (json!({"mask": {}}), image),
        (json!({"generalise": "year"}), image),
        (json!("allow"), ""),
        (json!("allow"), "Content-Type: text/plain\r\n"),
        (json!("allow"), "Content-Type: application/json\r\n"),
    ] {
        assert!(file(&act, kind).is_err(), "{act} {kind}");
    }
}

#[test]
fn what_a_rule_keeps_is_found_in_other_parts_and_their_names() {
    let fields = json!([
        {"at": "part email", "do": {"mask": {}}},
        {"at": "part cv", "personal": true, "do": "drop"},
        {"at": "part note", "do": "allow"},
    ]);
    let with = |more: String| {
        let body = format!(
            "{}{}{more}--b--",
            part("email", "", "jane@example.com"),
            part("cv", "; filename=\"jane-doe.pdf\"", "born 1987-05-23")
        );
        parts_sent("reject", &fields, body.as_bytes())
    };
    assert!(with(part("note", "", "a note")).is_ok());
    for more in [
        part("note", "", "to jane@example.com"),
        part("note", "; filename=\"jane@example.com\"", "x"),
        part("note", "", &BASE64_STANDARD.encode("<jane@example.com>")),
        part("note", "", "born 1987-05-23."),
        part("note", "", "jane-doe.pdf"),
    ] {
        let breach = with(more).expect_err("in clear");
        assert!(breach.detail.contains("stands elsewhere"), "{}", breach.detail);
    }
}

#[test]
fn variables_of_a_query_have_rules_and_its_literals_too() {
    let fields = json!([
        {"at": "graphql $.input.email", "do": {"mask": {"keep": 2}}},
        {"at": "graphql $.input.tags[*]", "do": "allow"},
        {"at": "graphql $..secret", "do": "drop"},
        {"at": "graphql id", "do": "allow"},
        {"at": "graphql (first)", "do": "allow"},
        {"at": "graphql (last)", "do": "reject"},
    ]);
    let with = |body: &Json| body_sent(&fields, JSON, body.to_string().as_bytes());
    let query = "query Q($input: In!) { a(input: $input, first: 10) @include(if: true) { b } }";
    let variables = json!({"input": {"email": "jane@example.com", "tags": ["x"], "secret": 1}, "id": 7});
    let sent = with(&json!({"query": query, "variables": variables, "operationName": "Q"})).expect("ok");
    let sent: Json = serde_json::from_str(&sent).expect("JSON");
    assert_eq!(
        sent,
        json!({"query": query, "operationName": "Q",
               "variables": {"input": {"email": "**************om", "tags": ["x"]}, "id": 7}})
    );
    assert!(with(&json!({"query": "{ a }", "variables": null, "operationName": null})).is_ok());
    for (body, why) in [
        (json!([{"query": "{ a }"}]), "not one object"),
        (json!({"variables": {}}), "no text as its `query`"),
        (json!({"query": ["{ a }"]}), "no text as its `query`"),
        (json!({"query": "{ a", "variables": {}}), "not as GraphQL has it"),
        (json!({"query": "{ a # jane\n }"}), "comment"),
        (json!({"query": "{ a(email: \"jane\") }"}), "`graphql (email)`"),
        (json!({"query": "{ a(email: JANE) }"}), "`graphql (email)`"),
        (json!({"query": "{ a(input: {email: [1]}) }"}), "`graphql (input)`"),
        (json!({"query": "query($email: String = \"jane\") { a }"}), "`graphql (email)`"),
        (json!({"query": "{ a(last: 3) }"}), "`graphql (last)`"),
        (json!({"query": "{ a }", "operationName": "jane"}), "names no operation"),
        (json!({"query": "{ a }", "operationName": 1}), "no text"),
        (json!({"query": "{ a }", "variables": "{}"}), "is no object"),
        (json!({"query": "{ a }", "variables": {"phone": 1}}), "`graphql $.phone`"),
        (json!({"query": "{ a }", "extensions": {"x": 1}}), "`body $.extensions.x`"),
        (json!({"query": "{ a }", "jane": 1}), "`body $.jane`"),
        (json!({"query": "{ a(first: 4111111111111111) }"}), ""),
    ] {
        let result = with(&body);
        assert_eq!(result.is_ok(), why.is_empty(), "{body} {result:?}");
        assert!(result.map_or_else(|breach| breach.detail.contains(why), |_| true), "{body}");
    }
    let hidden = json!({"query": "{ a(first: \"jane@example.com\") }", "variables": variables});
    assert!(with(&hidden).expect_err("in clear").detail.contains("stands elsewhere"));
}

#[test]
fn columns_of_a_table_have_rules() {
    let headers = &[("content-type", "text/csv; charset=utf-8; header=present")];
    let fields = json!([
        {"at": "csv *", "do": "drop"},
        {"at": "csv first name", "do": "allow"},
        {"at": "csv email", "do": {"mask": {"keep": 4}}},
        {"at": "csv lat", "do": {"generalise": {"geo": 1}}},
        {"at": "csv ssn", "personal": true, "do": "drop"},
    ]);
    let with = |unknown: &str, fields: &Json, body: &str| {
        let sample = Sample { headers, body: body.as_bytes(), ..EMPTY };
        sent(unknown, fields, &sample)
            .map(|(fresh, ..)| String::from_utf8(fresh.body.expect("a body").to_vec()).expect("UTF-8"))
    };
    assert_eq!(
        with("reject", &fields, "x,first name,email,lat,ssn\n1,\"Ann, A.\",ann@x.example,-48.13,078-05-1120\n2,,b@x.example,11.5,\n").expect("ok"),
        "first name,email,lat\r\n\"Ann, A.\",*********mple,-48.1\r\n,*******mple,11.5\r\n"
    );
    assert_eq!(with("reject", &json!([{"at": "csv a", "do": "drop"}]), "a\r\n1\r\n").expect("ok"), "");
    assert_eq!(
        with("drop", &json!([{"at": "csv a", "do": "allow"}]), "a,b\r\n\"\",2\r\n").expect("ok"),
        "a\r\n\"\"\r\n"
    );
    let one = json!([{"at": "csv a", "do": {"generalise": "year"}}]);
    for (body, why) in [
        ("a,b\r\n", "no rule for `csv b`"),
        ("a,jane@x.example\r\n", "no rule for `csv …`"),
        ("A\r\n", "no rule for `csv A`"),
        ("a,a\r\n", "two columns of one name"),
        ("a,\r\n", "or one without"),
        ("a\r\n1987-05-23\r\nMay\r\n", "`csv a[1]`"),
        ("a\r\n1,2\r\n", "more or fewer fields"),
    ] {
        let breach = with("reject", &one, body).expect_err("refused");
        assert!(breach.detail.contains(why), "{}", breach.detail);
    }
    let hidden = with("reject", &fields, "first name,ssn\r\nann 078-05-1120,078-05-1120\r\n");
    assert!(hidden.expect_err("in clear").detail.contains("stands elsewhere"));
    let body = b"a\r\n1\r\n";
    let absent = Sample { headers: &[("content-type", "text/csv; header=absent")], body, ..EMPTY };
    assert!(sent("reject", &json!([{"at": "csv *", "do": "allow"}]), &absent).is_err());
}

#[test]
fn query_path_and_header_fields_have_rules_too() {
    let fields = json!([
        {"at": "query email", "do": {"mask": {"keep": 2}}},
        {"at": "query page", "do": "allow"},
        {"at": "query debug", "do": "drop"},
        {"at": "path id", "do": {"mask": {"keep": 2}}},
        {"at": "header x-user", "do": "drop"},
        {"at": "header x-born", "do": {"generalise": "year"}},
    ]);
    let headers = &[("x-user", "jane"), ("x-born", "1987-05-23"), ("accept", "*/*")];
    let query = Some("email=jane&page=2&debug");
    let (fresh, told, withheld) =
        sent("reject", &fields, &Sample { path: "/people/jane%20d", query, headers, ..EMPTY }).expect("ok");
    assert_eq!(fresh.query.as_deref(), Some("email=%2A%2Ane&page=2"));
    assert_eq!(fresh.path.as_deref(), Some("/people/%2A%2A%2A%2A%20d"));
    let mut header: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    fresh.apply(&mut header);
    assert_eq!(header.len(), 2);
    assert_eq!(
        (&header["x-born"], &header["accept"]),
        (&HeaderValue::from_static("1987"), &HeaderValue::from_static("*/*"))
    );
    let words =
        |list: &[FieldTold]| list.iter().map(|one| format!("{} {}", one.at, one.act)).collect::<Vec<_>>();
    assert_eq!(
        words(&told),
        ["query email mask", "query page allow", "path id mask", "header x-born generalise"]
    );
    assert_eq!(words(&withheld), ["query debug drop", "header x-user drop"]);
    let breach = sent("reject", &fields, &Sample { query: Some("q=1"), ..EMPTY }).expect_err("no rule");
    assert!(breach.detail.contains("`query q`"));
}

#[test]
fn a_path_that_becomes_another_operations_is_refused() {
    let fields = json!([{"at": "path id", "do": {"generalise": "year"}}]);
    // No value that an action makes is a path of its own; a literal that is one is found first by the table.
    assert!(sent("reject", &fields, &Sample { path: "/people/1987-05-23", ..EMPTY }).is_ok());
    let fields = json!([{"at": "path nobody", "do": "allow"}]);
    let document = json!({"format": 1, "revision": 1, "clients": [], "providers": [{
        "name": "crm", "origins": ["https://api.example.com"], "operations": [["A", "POST", "/a/{id}", 0]],
        "protection": [{"name": "p", "operations": [0], "purpose": "x", "unknown_fields": "reject",
                        "body_bytes": 1, "fields": fields}]}]});
    let error = Snapshot::parse(document.to_string().as_bytes()).expect_err("no such parameter");
    assert!(error.to_string().contains("{nobody}"), "{error}");
}

#[test]
fn a_body_of_a_kind_without_rules_is_refused() {
    let fields = json!([{"at": "body $.a", "do": "allow"}]);
    let ok = br#"{"a":1}"#;
    let with = |headers: &[(&str, &str)]| body_sent(&fields, headers, ok);
    assert!(with(JSON).is_ok());
    assert!(with(&[("content-type", "application/vnd.api+json")]).is_ok());
    for headers in [
        &[][..],
        FORM,
        &[("content-type", "text/plain")],
        &[("content-type", "text/json+x")],
        &[("content-type", "multipart/form-data; boundary=x")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
        &[("content-type", "application/json"), ("content-type", "application/json")],
        &[("content-type", "application/json\u{e9}")],
        &[("content-type", "application/json"), ("content-encoding", "br")],
        &[("content-type", "application/json"), ("content-encoding", "gzip, gzip")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        assert_eq!(with(headers).expect_err("refused").code, Code::Unparseable, "{headers:?}");
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

#[test]
fn a_compressed_body_is_read_within_its_bounds_and_goes_out_plain() {
    let fields = json!([{"at": "body $.a", "do": "allow"}]);
    let headers = &[("content-type", "application/json"), ("content-encoding", "gzip")];
    let sample =
        |body: &[u8]| sent("reject", &fields, &Sample { headers, body, ..EMPTY }).map(|(fresh, ..)| fresh);
    let body = gzipped(br#"{"a":"xyz"}"#);
    let fresh = sample(&body).expect("ok");
    let mut header: HeaderMap =
        [("content-encoding", "gzip"), ("content-digest", "sha-256=:AA==:"), ("trailer", "x")]
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
    fresh.apply(&mut header);
    assert_eq!(fresh.body.as_deref(), Some(&br#"{"a":"xyz"}"#[..]));
    assert!(!header.contains_key("content-encoding") && !header.contains_key("trailer"));
    assert_eq!(header["content-length"], "11");
    // Of `{"a":"xyz"}`, by another implementation.
    assert_eq!(header["content-digest"], "sha-256=:rK/VacYxq7tPusDb5uC1tk7onefw93COYP9Q6wotE6A=:");
    let bomb = gzipped(format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)).as_bytes());
    assert!(sample(&bomb).expect_err("a bomb").detail.contains("20 times"));
    let [two, trailed] = [[&body[..], &body[..]].concat(), [&body[..], b"x"].concat()];
    assert!(sample(&two).expect_err("two members").detail.contains("after its end"));
    assert!(sample(&trailed).is_err());
    assert!(sample(&body[..body.len() - 3]).is_err());
    assert!(sample(&gzipped(&body)).is_err());
}

#[test]
fn what_a_rule_keeps_is_found_wherever_it_goes_out() {
    let fields = json!([
        {"at": "body $.email", "do": {"mask": {"keep": 2}}},
        {"at": "body $.ssn", "category": "government_id", "personal": true, "do": "drop"},
        {"at": "body $.kind", "do": "drop"},
        {"at": "body $.note", "do": "allow"},
        {"at": "query note", "do": "allow"},
    ]);
    let with = |note: &str| {
        let body =
            json!({"email": "jane@example.com", "ssn": "078-05-1120", "kind": "standard", "note": note});
        body_sent(&fields, JSON, body.to_string().as_bytes())
    };
    assert!(with("a standard person").is_ok());
    for note in [
        "it is jane@example.com, really".to_owned(),
        format!("x{}", BASE64_STANDARD.encode("<jane@example.com>")),
        hex(b"jane@example.com"),
        "078-05-1120".to_owned(),
        json!({"inner": "jane@example.com"}).to_string(),
    ] {
        let breach = with(&note).expect_err("in clear");
        assert_eq!(breach.code, Code::UndeclaredField);
        assert!(!breach.detail.contains("jane") && !breach.detail.contains("078"));
    }
    let body = json!({"email": "jane@example.com", "ssn": null, "kind": null, "note": ""}).to_string();
    let query = Some("note=jane%40example.com");
    let result = sent("reject", &fields, &Sample { query, headers: JSON, body: body.as_bytes(), ..EMPTY });
    assert!(result.is_err());
}

#[test]
fn an_empty_body_has_no_fields_and_needs_no_type() {
    let (fresh, told, withheld) = sent("reject", &json!([]), &EMPTY).expect("nothing");
    assert_eq!((fresh.body, fresh.query, fresh.path), (None::<Bytes>, None, None));
    assert!(told.is_empty() && withheld.is_empty() && fresh.headers.is_empty());
}

#[test]
fn a_policy_that_makes_no_sense_is_not_taken() {
    for field in [
        json!({"at": "body $.[", "do": "allow"}),
        json!({"at": "nowhere x", "do": "allow"}),
        json!({"at": "path id", "do": "drop"}),
        json!({"at": "graphql (first)", "do": "drop"}),
    ] {
        let raw = json!({"name": "p", "operations": [0], "purpose": "x", "unknown_fields": "reject",
                         "body_bytes": 1, "fields": [field]});
        let raw: RawPolicy = serde_json::from_value(raw).expect("read");
        assert!(raw.compile(|_| Some("/a/{id}")).is_err());
    }
}

fn cases() -> u32 {
    std::env::var("TIDEGATE_PROPERTY_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(256)
}

/// Documents of few names, so that rules meet them often, with a mark in each text by which it is known again.
fn documents() -> impl Strategy<Value = Node<'static>> {
    let leaf = prop_oneof![
        2 => "[a-z]{8}-[ -~ß]{0,6}".prop_map(|text| Node::Text(text.into())),
        1 => "[1-9][0-9]{8,14}".prop_map(|digits| Node::Number(digits.into())),
        1 => prop_oneof![Just(Node::Null), Just(Node::Bool(true)), Just(Node::Map(vec![])), Just(Node::List(vec![]))],
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| Node::Map(
                map.into_iter().map(|(name, member)| (name.into(), member)).collect()
            )),
        ]
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let step = prop_oneof![
        4 => "[abc]".prop_map(|name| format!(".{name}")),
        2 => Just("[*]".to_owned()),
        1 => (0usize..3).prop_map(|index| format!("[{index}]")),
        1 => "[abc]".prop_map(|name| format!("..{name}")),
        1 => Just("[?@.a]".to_owned()),
    ];
    let act = prop_oneof![
        3 => Just(json!("allow")),
        2 => Just(json!("drop")),
        2 => (0usize..3).prop_map(|keep| json!({"mask": {"keep": keep}})),
    ];
    let rule = (prop::collection::vec(step, 0..4), act, any::<bool>());
    (prop::collection::btree_map("p[0-9]", rule, 0..6), any::<bool>()).prop_map(|(rules, drops)| {
        let by_path: BTreeMap<String, Json> = rules
            .into_values()
            .map(|(steps, act, personal)| {
                let at = format!("body ${}", steps.concat());
                (at.clone(), json!({"at": at, "do": act, "personal": personal}))
            })
            .collect();
        policy(if drops { "drop" } else { "reject" }, &Json::Array(by_path.into_values().collect()))
    })
}

/// All leaves of a document as texts.
fn leaves(node: &Node<'_>, out: &mut Vec<String>) {
    match node {
        Node::Text(text) => out.push(text.to_string()),
        Node::Number(digits) => out.push(digits.to_string()),
        Node::List(items) => items.iter().for_each(|item| leaves(item, out)),
        Node::Map(members) => members.iter().for_each(|(_, member)| leaves(member, out)),
        Node::Null | Node::Bool(_) => {}
    }
}

/// By which rules a leaf may leave, told in another way than the step does it: each rule's places are asked of
/// `serde_json_path`, and a leaf's are those at its deepest place.
fn rules_of_leaves(policy: &Policy, document: &Json) -> BTreeMap<String, Vec<usize>> {
    let mut of_leaf: BTreeMap<String, (usize, Vec<usize>)> = BTreeMap::new();
    let mut all = Vec::new();
    json_leaves(document, String::new(), &mut all);
    for (number, rule) in policy.rules.iter().enumerate() {
        let path =
            serde_json_path::JsonPath::parse(rule.at.strip_prefix("body ").expect("body")).expect("a path");
        for place in path.query_located(document).dedup().locations() {
            let (pointer, depth) = (place.to_json_pointer(), place.len());
            for leaf in
                all.iter().filter(|leaf| **leaf == pointer || leaf.starts_with(&format!("{pointer}/")))
            {
                let entry = of_leaf.entry(leaf.clone()).or_default();
                if depth > entry.0 || entry.1.is_empty() {
                    *entry = (depth, vec![number]);
                } else if depth == entry.0 {
                    entry.1.push(number);
                }
            }
        }
    }
    all.into_iter().map(|leaf| (leaf.clone(), of_leaf.remove(&leaf).unwrap_or_default().1)).collect()
}

fn json_leaves(document: &Json, pointer: String, out: &mut Vec<String>) {
    match document {
        Json::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                json_leaves(item, format!("{pointer}/{index}"), out);
            }
        }
        Json::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                json_leaves(member, format!("{pointer}/{name}"), out);
            }
        }
        _ => out.push(pointer),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_leaf_leaves_without_a_rule_and_nothing_kept_is_in_what_leaves(
        document in documents(), policy in policies(),
    ) {
        let written = document.written();
        let mut told = Told::new(&policy);
        let outcome = document::rewrite(&written, &mut told).and_then(|fresh| {
            super::survive::check(&told, &[&fresh])?;
            Ok(fresh)
        });
        let as_json: Json = serde_json::from_slice(&written).expect("json");
        let rules = rules_of_leaves(&policy, &as_json);
        let fresh = match outcome {
            // Refused: then a leaf has no rule, or two, or one that does not fit, or stands twice.
            Err(breach) => {
                prop_assert!(breach.code != Code::Internal, "{}", breach.detail);
                return Ok(());
            }
            Ok(fresh) => fresh,
        };
        let text = String::from_utf8(fresh.clone()).expect("UTF-8");
        for (pointer, rules) in &rules {
            let value = match as_json.pointer(pointer).expect("a leaf") {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                _ => continue,
            };
            let acts: Vec<&Act> = rules.iter().map(|rule| &policy.rules[*rule].act).collect();
            if rules.is_empty() {
                prop_assert!(policy.unknown == Unknown::Drop, "{pointer} went without a rule");
            }
            let kept = !acts.is_empty() && acts.iter().all(|act| act.changes());
            if kept && value.chars().count() >= 8 {
                for form in [value.clone(), BASE64_STANDARD.encode(&value), hex(value.as_bytes())] {
                    let quoted = serde_json::to_string(&form).expect("json");
                    prop_assert!(!text.contains(&quoted[1..quoted.len() - 1]), "{pointer} is still there");
                }
            }
        }
        // What leaves as it was did so by a rule: no more leaves of a value than rules that let it go.
        let mut out = Vec::new();
        leaves(&Node::read(&fresh).expect("read again"), &mut out);
        let mut may_go: Vec<String> = Vec::new();
        for (pointer, rules) in &rules {
            if rules.iter().any(|rule| policy.rules[*rule].act == Act::Allow) {
                match as_json.pointer(pointer).expect("a leaf") {
                    Json::String(text) => may_go.push(text.clone()),
                    Json::Number(number) => may_go.push(number.to_string()),
                    _ => {}
                }
            }
        }
        for leaf in out.into_iter().filter(|leaf| !leaf.starts_with('*')) {
            let found = may_go.iter().position(|may| *may == leaf);
            prop_assert!(found.is_some(), "`{leaf}` left and no rule let it go");
            may_go.swap_remove(found.expect("found"));
        }
    }
}
