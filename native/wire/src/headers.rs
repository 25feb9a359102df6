//! Which header fields may cross, and in which direction.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::snapshot::{AttachPart, Provider};

/// Fields between two neighbours only (RFC 9110 §7.6.1), whatever `Connection` says.
pub fn is_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Fields by which a consumer could authenticate, claim an address or change the method at the provider.
fn is_consumers_own(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "authorization"
            | "cookie"
            | "host"
            | "expect"
            | "forwarded"
            | "x-real-ip"
            | "true-client-ip"
            | "cf-connecting-ip"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "via"
    ) || name.starts_with("tidegate-")
        || name.starts_with("x-forwarded-")
}

pub fn is_never_forwarded(name: &HeaderName) -> bool {
    is_hop(name) || is_consumers_own(name)
}

/// Fields that frame or route a message: never in a trailer (RFC 9110 §6.5.1).
pub fn frames_or_routes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "content-encoding"
            | "content-type"
            | "content-range"
            | "trailer"
            | "set-cookie"
            | "cache-control"
            | "location"
    )
}

/// Leave only what may go to the provider, then add what the provider wants on each call.
pub fn clean_request(headers: &mut HeaderMap, provider: &Provider) {
    remove_named_by_connection(headers);
    let attached = |name: &HeaderName| {
        provider.attach.iter().any(|part| matches!(part, AttachPart::Header { name: own, .. } if own == name))
    };
    let signed = |name: &HeaderName| {
        provider.sign.as_ref().is_some_and(|signer| signer.owns(name))
            || provider.hook.as_ref().is_some_and(|hook| hook.owns(name))
    };
    let unfit: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_never_forwarded(name) || attached(name) || signed(name))
        .cloned()
        .collect();
    for name in unfit {
        headers.remove(name);
    }
    for (name, value) in &provider.headers {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Leave only what may go back to the consumer.
pub fn clean_response(headers: &mut HeaderMap) {
    remove_named_by_connection(headers);
    let unfit: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop(name) || is_providers_own(name)).cloned().collect();
    for name in unfit {
        headers.remove(name);
    }
}

/// A provider's session, its detours round the gateway, and words that only Tidegate says.
fn is_providers_own(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "set-cookie"
            | "set-cookie2"
            | "alt-svc"
            | "proxy-status"
            | "clear-site-data"
            | "strict-transport-security"
            | "public-key-pins"
            | "dpop-nonce"
    ) || name.starts_with("tidegate-")
}

/// What `Connection` names is for this hop; it can name nothing that we add, since that comes later.
fn remove_named_by_connection(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // A length or a type that is not hop-by-hop cannot be hidden this way.
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::CONTENT_TYPE | header::HOST))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// A header value from text of our own making; anything unfit is left out.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A value that asks for a protocol other than HTTP on this connection.
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
