//! What a policy reads of a request: JSON, GraphQL, forms, parts, tables, XML, selectors; what is written is read as it was written.
#![no_main]

use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tidegate_wire::json::Node;
use tidegate_wire::protect::selector::Selector;
use tidegate_wire::protect::{Original, Told, graphql, rewrite};
use tidegate_wire::snapshot::Snapshot;

static SNAPSHOT: LazyLock<Snapshot> =
    LazyLock::new(|| Snapshot::parse(include_bytes!("protect.json")).expect("a snapshot"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = Node::read(bytes) {
        assert_eq!(Node::read(&node.written()).as_ref(), Ok(&node));
        let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
        assert!(theirs.map_or_else(|error| error.to_string().contains("out of range"), |_| true));
    }
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text {
        let _ = text.parse::<Selector>();
    }
    let provider = &SNAPSHOT.providers[0];
    if let (Some(policy), Ok(query)) = (&provider.operations[1].policy, text) {
        let body = Node::Map(vec![("query".into(), Node::Text(query.into()))]).written();
        for body in [bytes, &body] {
            if let Ok(written) = graphql::rewrite(body, &mut Told::new(policy)) {
                assert_eq!(graphql::rewrite(&written, &mut Told::new(policy)), Ok(written));
            }
        }
    }
    let Some(policy) = &provider.operations[0].policy else { return };
    let (kind, body) = bytes.split_first().map_or((0, bytes), |(kind, body)| (*kind, body));
    let mut headers = HeaderMap::new();
    let types = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/csv",
        "application/xml",
    ];
    let number = if kind & 32 > 0 { 4 } else { usize::from(kind & 1) | usize::from(kind & 16) >> 3 };
    headers.insert("content-type", HeaderValue::from_static(types[number]));
    if kind & 2 > 0 {
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    }
    if kind & 4 > 0
        && let Ok(value) = HeaderValue::from_bytes(body)
    {
        headers.insert("content-type", value);
    }
    let query = text.ok().filter(|_| kind & 8 > 0);
    let original = Original { method: &Method::POST, path: "/people/jane", query, headers: &headers, body };
    let mut told = Told::new(policy);
    if let Ok(fresh) = rewrite(provider, 0, &original, &mut told) {
        fresh.apply(&mut headers);
        // What goes out is what the policy would let go again.
        if let Some(body) = &fresh.body {
            let again = Original {
                method: &Method::POST,
                path: "/people/jane",
                query: None,
                headers: &headers,
                body,
            };
            let again = rewrite(provider, 0, &again, &mut Told::new(policy));
            // Nothing is made of parts, tables and XML that is none.
            assert!(number < 2 || kind & 4 > 0 || again.is_ok());
        }
    }
});
