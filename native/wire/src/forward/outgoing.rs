//! What goes out of a consumer's request: its target, its query, and the credential on top.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use zeroize::Zeroizing;

use crate::attach::attach;
use crate::body::{Progress, RequestBody};
use crate::dial::pool::Proven;
use crate::error::{Code, Refusal};
use crate::event::unix_now;
use crate::headers;
use crate::hooks::Hooks;
use crate::lease::Lease;
use crate::origin::Origin;
use crate::route::path::decode_name;
use crate::sign::Unsigned;
use crate::snapshot::{AttachPart, Provider};

/// What of the consumer's request goes on, apart from its header and body.
pub struct Outgoing<'c> {
    pub path: &'c str,
    pub query: Option<&'c str>,
    /// Whole, where it is to be signed.
    pub body: Option<Bytes>,
    pub provider: &'c Provider,
    pub hooks: &'c Hooks,
    /// When the call is over.
    pub ends: Instant,
}

impl Outgoing<'_> {
    /// Address the request, with the credential on it. A second time replaces the first.
    pub async fn attach(
        &self,
        parts: &mut Parts,
        lease: Option<&Lease>,
        proven: &Proven,
    ) -> Result<(), Refusal> {
        // The consumer's are gone, so that what is here is what an earlier try put on.
        for name in [COOKIE, HOST] {
            parts.headers.remove(name);
        }
        let added = match lease {
            Some(lease) => attach(lease, proven.origin(), &self.provider.attach, &mut parts.headers)?,
            None => None,
        };
        let mut query = self.query(added.as_deref().map(String::as_str));
        if let (Some(signer), Some(lease)) = (&self.provider.sign, lease) {
            let request = self.unsigned(&parts.method, proven, query.as_ref());
            let added = signer.sign(lease, &request, &mut parts.headers)?.map(Zeroizing::new);
            query = with_added(query, added);
        }
        if let (Some(hook), Some(lease)) = (&self.provider.hook, lease) {
            let request = self.unsigned(&parts.method, proven, query.as_ref());
            let added = hook.sign(self.hooks, lease, &request, &mut parts.headers, self.ends).await?;
            query = with_added(query, added);
        }
        parts.uri = outgoing_uri(proven.origin(), self.path, query.as_ref(), proven.is_h2())?;
        if !proven.is_h2() {
            parts.headers.insert(HOST, headers::value(proven.origin().authority()));
        }
        parts.version = if proven.is_h2() { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        Ok(())
    }

    fn unsigned<'r>(
        &'r self,
        method: &'r Method,
        proven: &'r Proven,
        query: Option<&'r Zeroizing<String>>,
    ) -> Unsigned<'r> {
        Unsigned {
            method,
            scheme: proven.origin().scheme().as_str(),
            authority: proven.origin().authority(),
            path: self.path,
            query: query.map(|query| query.as_str()),
            body: self.body.as_deref(),
            now_ms: u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The body that went out, to go out again; None where it was not kept.
    pub fn again(&self, progress: &Rc<Progress>) -> Option<RequestBody> {
        match &self.body {
            Some(body) => Some(RequestBody::whole(body.clone(), progress)),
            None => RequestBody::again(progress),
        }
    }

    /// The consumer's, without parameters that are the credential's, and with the credential's at its end.
    pub fn query(&self, added: Option<&str>) -> Option<Zeroizing<String>> {
        outgoing_query(self.query, self.provider, added)
    }
}

fn with_added(
    query: Option<Zeroizing<String>>,
    added: Option<Zeroizing<String>>,
) -> Option<Zeroizing<String>> {
    let Some(added) = added else { return query };
    Some(match query.filter(|query| !query.is_empty()) {
        Some(query) => Zeroizing::new(format!("{}&{}", *query, *added)),
        None => added,
    })
}

pub fn outgoing_query(
    query: Option<&str>,
    provider: &Provider,
    added: Option<&str>,
) -> Option<Zeroizing<String>> {
    let signed = |name: &str| {
        provider.sign.as_ref().is_some_and(|signer| signer.owns_parameter(name))
            || provider.hook.as_ref().is_some_and(|hook| hook.owns_parameter(name))
    };
    let own = |name: &str| {
        let name = decode_name(name);
        signed(&name)
            || provider
                .attach
                .iter()
                .any(|part| matches!(part, AttachPart::Query { name: own, .. } if *own == name))
    };
    let needs_change = added.is_some()
        || provider.sign.is_some()
        || provider.hook.is_some()
        || provider.attach.iter().any(|part| matches!(part, AttachPart::Query { .. }));
    if !needs_change {
        return query.map(|query| Zeroizing::new(query.to_owned()));
    }
    let mut kept =
        Zeroizing::new(String::with_capacity(query.map_or(0, str::len) + added.map_or(0, str::len) + 1));
    let pairs = query
        .into_iter()
        .flat_map(|q| q.split('&'))
        .filter(|pair| !own(pair.split('=').next().unwrap_or_default()));
    for pair in pairs.chain(added) {
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(pair);
    }
    (!kept.is_empty() || query.is_some_and(str::is_empty)).then_some(kept)
}

fn outgoing_uri(
    origin: &Origin,
    path: &str,
    query: Option<&Zeroizing<String>>,
    absolute: bool,
) -> Result<Uri, Refusal> {
    let target = Zeroizing::new(match query {
        Some(query) => format!("{path}?{}", query.as_str()),
        None => path.to_owned(),
    });
    let malformed =
        |_| Refusal::new(Code::MalformedRequest, "The path or query has characters that no URI has.");
    let target: PathAndQuery = target.parse().map_err(malformed)?;
    if !absolute {
        return Ok(Uri::from(target));
    }
    Uri::builder()
        .scheme(origin.scheme().as_str())
        .authority(origin.authority())
        .path_and_query(target)
        .build()
        .map_err(|_| {
            Refusal::new(Code::MalformedRequest, "The path or query has characters that no URI has.")
        })
}
