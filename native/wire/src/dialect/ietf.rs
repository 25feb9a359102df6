//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11): structured fields (RFC 9651).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use super::{NAME_MAX, SIGNALS_MAX};
use crate::reserve::signal::{Signal, WAIT_MAX};

/// One signal for each policy that either field names.
pub fn read(headers: &HeaderMap) -> Vec<Signal> {
    let mut signals = Vec::new();
    for item in items(headers, "ratelimit-policy") {
        let quota = number(&item, "q").filter(|quota| *quota > 0);
        if let (Some(scope), Some(limit)) = (name(&item), quota) {
            signals.push(Signal { scope: Some(scope), limit: Some(limit), ..Signal::default() });
        }
    }
    for item in items(headers, "ratelimit") {
        let (Some(scope), Some(remaining)) = (name(&item), number(&item, "r")) else { continue };
        let reset = number(&item, "t").map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
        let known = signals.iter_mut().find(|signal: &&mut Signal| signal.scope.as_ref() == Some(&scope));
        match known {
            Some(signal) => (signal.remaining, signal.reset) = (Some(remaining), reset),
            None => signals.push(Signal {
                scope: Some(scope),
                remaining: Some(remaining),
                reset,
                ..Signal::default()
            }),
        }
    }
    signals
}

/// The items of a list; a field that is not of the form says nothing.
fn items(headers: &HeaderMap, field: &str) -> Vec<Item> {
    let lines: Vec<&[u8]> = headers.get_all(field).iter().map(http::HeaderValue::as_bytes).collect();
    let list: List = match lines.as_slice() {
        [] => return Vec::new(),
        lines => Parser::new(&lines.join(&b", "[..])).parse().unwrap_or_default(),
    };
    let item = |entry| match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    };
    list.into_iter().filter_map(item).take(SIGNALS_MAX).collect()
}

/// A name that is empty, or longer than names are, says of nothing.
fn name(item: &Item) -> Option<Arc<str>> {
    let name = match &item.bare_item {
        BareItem::String(name) => name.as_str(),
        BareItem::Token(name) => name.as_str(),
        _ => return None,
    };
    (1..=NAME_MAX).contains(&name.len()).then(|| name.into())
}

fn number(item: &Item, parameter: &str) -> Option<u64> {
    match item.params.get(parameter)? {
        BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    }
}
