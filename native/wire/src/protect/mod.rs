//! What of a request goes to the provider, and in which form: no rule, no send.
//!
//! Runs after `admit` and before `cache`, so that what is keyed, sent again and signed is what goes out. An
//! operation without a policy pays for one look. One with a policy is read whole and strictly, each of its fields
//! is taken by the most specific rule, and a request is written anew of what goes out: once, whatever happens to
//! it later. What cannot be read, or what no rule lets go, is refused.
//!
//! [`policy`] is what is declared, [`selector`] where fields are, [`act`] what becomes of one, [`told`] what the
//! record says of it; [`sample`] shows it all of a sample. [`document`], [`graphql`], [`named`], [`multipart`], [`csv`]
//! and [`xml`] are what is read, [`survive`] looks once more at what was written. [`hash`], [`tokenise`], [`ff1`],
//! [`jwe`], [`seal`] and [`pgp`] make what stands for a value, by [`keys`] of the client, of the [`person`] they are about, or of
//! the provider; [`signals`] tell the provider what a person decided; [`restore`] turns tokens in answers into values
//! again, [`held`] in streams of [`events`].

pub mod act;
pub mod content;
pub mod csv;
pub mod document;
pub mod events;
pub mod ff1;
pub mod generalise;
pub mod graphql;
pub mod hash;
pub mod held;
pub mod jwe;
pub mod keys;
pub mod multipart;
pub mod named;
pub mod person;
pub mod persons;
pub mod pgp;
pub mod policy;
pub mod restore;
pub mod sample;
pub mod seal;
pub mod selector;
pub mod signals;
pub mod survive;
#[cfg(test)]
mod tests;
pub mod token;
pub mod tokenise;
pub mod told;
pub mod with;
pub mod xml;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::utf8_percent_encode;

use crate::error::Code;
use crate::route::path;
use crate::route::table::Found;
use crate::snapshot::Provider;

use act::{Fresh, Outcome, Value};
use named::{Kind, UNRESERVED};
pub use policy::{Policy, RawPolicy};
use selector::Target;
pub use told::{Breach, FieldTold, Told, Would};

/// A request as it would go out without a policy.
#[derive(Debug, Clone, Copy)]
pub struct Original<'r> {
    pub method: &'r http::Method,
    pub path: &'r str,
    /// Without what is the credential's.
    pub query: Option<&'r str>,
    pub headers: &'r HeaderMap,
    pub body: &'r [u8],
}

/// What takes its place; what is None stays as it is.
#[derive(Debug, Default)]
pub struct Rewritten {
    pub path: Option<String>,
    pub query: Option<String>,
    /// Fields that have other values, or none.
    pub headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    pub body: Option<Bytes>,
}

/// Let the policy of operation `number` have its way with a request; `told` is told also where it is refused.
pub fn rewrite(
    provider: &Provider,
    number: u32,
    original: &Original<'_>,
    told: &mut Told<'_>,
) -> Result<Rewritten, Breach> {
    let mut fresh = Rewritten {
        path: parameters(provider, number, original, told)?,
        query: original.query.map(|query| named::rewrite(Kind::Query, query, told)).transpose()?,
        headers: fields(original.headers, told)?,
        body: None,
    };
    if let Some(content) = content::rewrite(original.headers, original.body, told)? {
        let of_seals = told.seals().flat_map(|sealing| &sealing.headers);
        fresh.headers.extend(of_seals.map(|(name, value)| (name.clone(), vec![value.clone()])));
        fresh.headers.extend(content.media_type.map(|media_type| (CONTENT_TYPE, vec![media_type])));
        fresh.body = Some(content.body);
    }
    let path = fresh.path.as_deref().unwrap_or(original.path);
    let outgoing = [Some(path.as_bytes()), fresh.query.as_deref().map(str::as_bytes), fresh.body.as_deref()];
    survive::check(told, &outgoing.into_iter().flatten().collect::<Vec<_>>())?;
    Ok(fresh)
}

impl Rewritten {
    /// Put what it has in the header.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, values) in &self.headers {
            headers.remove(name);
            for value in values {
                headers.append(name, value.clone());
            }
        }
        if let Some(body) = &self.body {
            content::describe(headers, body);
        }
    }
}

/// The path with the parameters that rules are for; it is still a path of the same operation.
fn parameters(
    provider: &Provider,
    number: u32,
    original: &Original<'_>,
    told: &mut Told<'_>,
) -> Result<Option<String>, Breach> {
    let Some(ruled) = told.policy.parameters.get(&number) else { return Ok(None) };
    let unparseable = || Breach::new(Code::Unparseable, "The path cannot be read.");
    let decoded = path::segments(original.path, provider.encoded_slash).map_err(|_| unparseable())?;
    let mut raw: Vec<Cow<'_, str>> =
        original.path.strip_prefix('/').unwrap_or(original.path).split('/').map(Cow::Borrowed).collect();
    let mut is_changed = false;
    for (segment, rule) in ruled {
        let value = decoded.as_slice().get(*segment).ok_or_else(unparseable)?;
        let Target::Parameter(name) = &told.policy.rules[*rule].target else { continue };
        let place = told::Place::named("path", name);
        if let Outcome::New(Fresh::Text(text) | Fresh::Number(text)) =
            told.act(Some(*rule), Value::Text(value), &place)?
        {
            raw[*segment] = Cow::Owned(utf8_percent_encode(&text, UNRESERVED).collect());
            is_changed = true;
        }
    }
    if !is_changed {
        return Ok(None);
    }
    let fresh = format!("/{}", raw.join("/"));
    let segments = path::segments(&fresh, provider.encoded_slash).map_err(|_| unparseable())?;
    match provider.table.find(original.method, segments.as_slice()) {
        Found::Operation(found) if found == number => {}
        _ => {
            return Err(Breach::new(
                Code::Unparseable,
                "What a rule makes of the path is another operation's.",
            ));
        }
    }
    drop(segments);
    Ok(Some(fresh))
}

/// The header fields that rules are for; the others pass as they do without a policy.
fn fields(headers: &HeaderMap, told: &mut Told<'_>) -> Result<Vec<(HeaderName, Vec<HeaderValue>)>, Breach> {
    let policy = told.policy;
    let mut changed = Vec::new();
    for (number, rule) in policy.rules.iter().enumerate() {
        let Target::Header(name) = &rule.target else { continue };
        let place = told::Place::named("header", name.as_str());
        let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        if values.is_empty() {
            continue;
        }
        if values.len() > 1 && !rule.repeated {
            return Err(Breach::repeated(&place));
        }
        let mut fresh = Vec::with_capacity(values.len());
        for value in values {
            let unparseable = || Breach::new(Code::Unparseable, format!("`{place}` is not plain text."));
            let text = value.to_str().map_err(|_| unparseable())?;
            match told.act(Some(number), Value::Text(text), &place)? {
                Outcome::Same => fresh.push(value.clone()),
                Outcome::Gone | Outcome::File(_) => {}
                Outcome::New(Fresh::Text(text) | Fresh::Number(text)) => {
                    fresh.push(HeaderValue::from_str(&text).map_err(|_| unparseable())?);
                }
            }
        }
        changed.push((name.clone(), fresh));
    }
    Ok(changed)
}
