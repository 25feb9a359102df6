//! How long a policy takes over a request of 2 KiB with three protected fields: one number, in microseconds.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use tidegate_wire::protect::with::With;
use tidegate_wire::protect::{Original, Told, rewrite};
use tidegate_wire::snapshot::Snapshot;

const ROUNDS: u32 = 20_000;

#[allow(clippy::print_stdout)]
fn main() {
    let fields = json!([
        {"at": "body $.email", "category": "contact.email", "do": {"tokenise": {"how": "aead", "field": "body $.email", "root": 1}}},
        {"at": "body $.card", "category": "payment.card", "do": {"mask": {"keep": 4}}},
        {"at": "body $.login", "category": "contact.email", "do": {"mask": {}}},
        {"at": "body $.rest", "do": "allow"},
    ]);
    let document = json!({"format": 1, "revision": 1, "clients": [], "providers": [{
        "name": "crm", "origins": ["https://api.example.com"],
        "operations": [["PostPeople", "POST", "/people/{id}", 0]],
        "protection": [{"name": "p", "operations": [0], "purpose": "sales", "unknown_fields": "reject",
                        "body_bytes": 1_048_576, "fields": fields, "assert_absent": ["pan", "secret"]}],
    }]});
    let snapshot = Snapshot::parse(document.to_string().as_bytes()).expect("a snapshot");
    let provider = &snapshot.providers[0];
    let policy = provider.operations[0].policy.as_ref().expect("a policy");
    let lines: Vec<_> = (0..18)
        .map(|line| json!({"line": line, "amount": 19.99, "paid": true, "note": "An order of nothing in particular, told in a line of text."}))
        .collect();
    let body = json!({"email": "jane.doe@example.com", "login": "j.doe@example.org",
                      "card": "account of the person 8471936205118264", "rest": {"fill": "", "lines": lines}})
    .to_string();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let original = Original {
        method: &Method::POST,
        path: "/people/1",
        query: None,
        headers: &headers,
        body: body.as_bytes(),
    };
    let with = With::for_sample("crm", 0);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let mut told = Told::new(policy).with(with.clone());
        rewrite(provider, 0, &original, &mut told).expect("protected");
    }
    println!("{} bytes: {:.1} µs", body.len(), began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}
