//! Show what a policy makes of a sample of a request, by the very code that calls go through, without any call.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use super::told::Tried;
use super::with::With;
use super::{Original, Rewritten, Told, rewrite};
use crate::engine::{EngineError, unix_now};
use crate::error::{Code, Refusal};
use crate::forward::outgoing::outgoing_query;
use crate::route::table::Found;
use crate::route::{address, path};
use crate::snapshot::{Provider, Snapshot};

/// A request as a consumer would send it. The body is base64.
#[derive(Deserialize)]
struct Sample {
    method: String,
    /// Path and query, at the gateway.
    target: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// Which operation it is of, where the target is only its template.
    #[serde(default)]
    operation: Option<String>,
}

#[derive(Default, Serialize)]
struct Shown {
    provider: Option<String>,
    operation: Option<String>,
    policy: Option<String>,
    purpose: Option<String>,
    /// Unix seconds; None where the policy enforces already.
    enforce_from: Option<u64>,
    outcome: &'static str,
    detail: Option<String>,
    fields: Vec<Tried>,
    before: Option<Sent>,
    after: Option<Sent>,
}

/// What is sent of a request. The body is base64.
#[derive(Serialize)]
struct Sent {
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

/// The question and the answer are JSON; Err says that the question itself makes no sense.
pub fn try_sample(snapshot: &[u8], sample: &str) -> Result<String, EngineError> {
    let snapshot = Snapshot::parse(snapshot)?;
    let sample: Sample = serde_json::from_str(sample)?;
    let mut shown = Shown { outcome: "ok", ..Shown::default() };
    if let Err(refusal) = show(&snapshot, &sample, &mut shown) {
        shown.outcome = refusal.code.as_str();
        shown.detail = Some(refusal.detail.into_owned());
    }
    Ok(serde_json::to_string(&shown)?)
}

fn show(snapshot: &Snapshot, sample: &Sample, shown: &mut Shown) -> Result<(), Refusal> {
    let malformed = |what: &'static str| Refusal::new(Code::MalformedRequest, what);
    let method: Method = sample.method.parse().map_err(|_| malformed("The method is not a word of HTTP."))?;
    let (target, query) = sample
        .target
        .split_once('?')
        .map_or((sample.target.as_str(), None), |(path, query)| (path, Some(query)));
    let address = address(snapshot, &sample.host, target);
    let (_, provider) = address.provider.ok_or_else(|| {
        Refusal::new(Code::UnknownProvider, "The sample is of no provider that is declared.")
    })?;
    shown.provider = Some(provider.name.to_string());
    let number = operation(provider, &method, address.path, sample.operation.as_deref())?;
    let operation = &provider.operations[number as usize];
    shown.operation = Some(operation.id.to_string());
    let headers =
        headers(&sample.headers).ok_or_else(|| malformed("The sample has a header that is none."))?;
    let body = BASE64_STANDARD.decode(&sample.body).map_err(|_| malformed("The body is not base64."))?;
    let query = outgoing_query(query, provider, None);
    let query = query.as_deref().map(String::as_str);
    let original = Original { method: &method, path: address.path, query, headers: &headers, body: &body };
    shown.before = Some(Sent::of(&original, &Rewritten::default()));
    let Some(policy) = &operation.policy else {
        let refuses = provider.refuses_unprotected;
        let code = Code::Unprotected;
        return if refuses {
            Err(Refusal::new(code, "No policy says what the operation may send (`unprotected: refuse`)."))
        } else {
            shown.after = Some(Sent::of(&original, &Rewritten::default()));
            Ok(())
        };
    };
    shown.policy = Some(policy.name.to_string());
    shown.purpose = Some(policy.purpose.to_string());
    shown.enforce_from = policy.enforce_from;
    if body.len() > policy.body_bytes {
        return Err(super::Breach::too_large(policy).refusal(policy));
    }
    let asked = policy.consent.as_ref().map(|asked| (asked, asked.judge(&headers, unix_now())));
    let mut told = Told::of_sample(policy)
        .without_consent(asked.is_some_and(|(asked, consent)| asked.drops() && !consent.is_granted()))
        .with(With::for_sample(&provider.name, unix_now()));
    let fresh = rewrite(provider, number, &original, &mut told);
    shown.fields = told.trail.unwrap_or_default();
    if let Some((asked, consent)) = asked
        && !asked.drops()
    {
        consent.require(&policy.name, &policy.purpose)?;
    }
    let fresh = told.breach.map_or(fresh, Err).map_err(|breach| breach.refusal(policy))?;
    shown.after = Some(Sent::of(&original, &fresh));
    Ok(())
}

fn operation(provider: &Provider, method: &Method, path: &str, named: Option<&str>) -> Result<u32, Refusal> {
    let unknown = || {
        let detail = format!("Provider `{}` has no such operation.", provider.name);
        Refusal::new(Code::UnknownOperation, detail)
    };
    if let Some(id) = named {
        let found = (0u32..).zip(&provider.operations).find(|(_, operation)| *operation.id == *id);
        return found.map(|(number, _)| number).ok_or_else(unknown);
    }
    let segments = path::segments(path, provider.encoded_slash)
        .map_err(|fault| Refusal::new(Code::MalformedRequest, fault.sentence))?;
    match provider.table.find(method, segments.as_slice()) {
        Found::Operation(number) => Ok(number),
        _ => Err(unknown()),
    }
}

fn headers(pairs: &[(String, String)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

impl Sent {
    fn of(original: &Original<'_>, fresh: &Rewritten) -> Self {
        let mut headers = original.headers.clone();
        fresh.apply(&mut headers);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            path: fresh.path.clone().unwrap_or_else(|| original.path.to_owned()),
            query: fresh.query.clone().or_else(|| original.query.map(str::to_owned)),
            headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: BASE64_STANDARD.encode(fresh.body.as_deref().unwrap_or(original.body)),
        }
    }
}
