//! Put the leased credential on the call: only for an origin it is bound to and that `dial` has proven.
//!
//! Runs after `dial`, last before the bytes go. The consumer's own fields of these names are gone by then.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::error::{Code, Refusal};
use crate::lease::Lease;
use crate::origin::Origin;
use crate::snapshot::AttachPart;

/// RFC 3986 §2.3: what needs no encoding anywhere.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Set the parts' headers, and return what is to be added to the query.
pub fn attach(
    lease: &Lease,
    proven: &Origin,
    parts: &[AttachPart],
    headers: &mut HeaderMap,
) -> Result<Option<Zeroizing<String>>, Refusal> {
    if !lease.origins.contains(proven) {
        return Err(Refusal::new(
            Code::CredentialUnavailable,
            "The connection's credential is bound to other origins than the provider now has: connect it again.",
        )
        .because("lease not bound to the origin dialled"));
    }
    let mut query: Option<Zeroizing<String>> = None;
    let mut cookies: Option<Zeroizing<Vec<u8>>> = None;
    for part in parts {
        match part {
            AttachPart::Header { name, field, prefix } => {
                let value = joined(prefix.as_bytes(), wanted(lease, field)?);
                put(headers, name.clone(), &value)?;
            }
            AttachPart::Basic { username_field, password_field, username, password } => {
                let half = |field: &Option<String>, fixed: &str| match field {
                    Some(field) => wanted(lease, field).map(|v| Zeroizing::new(v.to_vec())),
                    None => Ok(Zeroizing::new(fixed.as_bytes().to_vec())),
                };
                let user = half(username_field, username)?;
                let pair = joined(&joined(&user, b":"), &half(password_field, password)?);
                let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
                put(headers, header::AUTHORIZATION, &joined(b"Basic ", encoded.as_bytes()))?;
            }
            AttachPart::Query { name, field } => {
                let value = std::str::from_utf8(wanted(lease, field)?).map_err(|_| unusable())?;
                let query = query.get_or_insert_default();
                if !query.is_empty() {
                    query.push('&');
                }
                query.extend(utf8_percent_encode(name, QUERY_VALUE));
                query.push('=');
                query.extend(utf8_percent_encode(value, QUERY_VALUE));
            }
            AttachPart::Cookie { name, field } => {
                let pair = joined(format!("{name}=").as_bytes(), wanted(lease, field)?);
                cookies = Some(match cookies.take() {
                    Some(before) => joined(&joined(&before, b"; "), &pair),
                    None => pair,
                });
            }
        }
    }
    // All of them: where the call goes out again, those of the session before are replaced.
    if let Some(cookies) = cookies {
        put(headers, header::COOKIE, &cookies)?;
    }
    Ok(query)
}

fn wanted<'l>(lease: &'l Lease, field: &str) -> Result<&'l [u8], Refusal> {
    lease.field(field).ok_or_else(|| {
        Refusal::new(
            Code::CredentialUnavailable,
            format!("The connection's credential has no field `{field}`: connect it again."),
        )
    })
}

fn unusable() -> Refusal {
    Refusal::new(
        Code::CredentialUnavailable,
        "The connection's credential cannot stand in a header or query: connect it again.",
    )
}

fn joined(a: &[u8], b: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::with_capacity(a.len() + b.len()));
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    all
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) -> Result<(), Refusal> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| unusable())?;
    // Never in HPACK's table, never in a Debug print.
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
