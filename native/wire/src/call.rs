//! The way of one call, read from top to bottom.
//!
//! listen → authenticate → route → decide → (admit → protect → cache → reserve) → dial → attach →
//! forward → respond → record. Each step takes the proof that the step before it made; each refusal is
//! one problem; and whatever happens, `Trace` records the call once when it is dropped.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::attach::attach;
use crate::authenticate::{Shown, authenticate};
use crate::body::{AnswerBody, Progress, ProviderStream, RequestBody, StreamLimits};
use crate::decide::{AllowedCall, Named, decide, for_client};
use crate::dial::pool::{Borrowed, PoolKey, Proven};
use crate::dial::{DialCode, DialError, Target, Whose};
use crate::echo::{self, Echo};
use crate::error::{Code, Refusal};
use crate::event::{CallId, Event, Step, micros};
use crate::forward::{Failed, Limits, forward};
use crate::headers;
use crate::hooks::Hooks;
use crate::lease::Lease;
use crate::listen::guard::BegunCall;
use crate::listen::{self, Consumer};
use crate::origin::Origin;
use crate::respond::{Route, respond};
use crate::route::path::{decode_name, parameter_names};
use crate::route::{address, route};
use crate::sign::{self, DigestAuth, Signer, Unsigned, dpop};
use crate::snapshot::{AttachPart, Provider, Snapshot};
use crate::worker::Worker;

/// How long the next piece of a request body may take.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// A connection at rest that broke is replaced this many times, then by a new one.
const STALE_MAX: u32 = 3;
/// How long a call waits for the token that is to replace one the provider did not take.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long the head of an answer that may yet be refused waits for the first piece of its body.
const FIRST_PIECE: Duration = Duration::from_millis(100);

/// Serve one request: a health question, or a call.
pub async fn serve(
    worker: Rc<Worker>,
    consumer: Rc<Consumer>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    if let Some(answer) = health(&worker, request.uri().path()) {
        return answer;
    }
    let mut trace = Trace::begin(&worker, &consumer, &request);
    match call(&worker, &consumer, request, &mut trace).await {
        Ok(answer) => answer.begin(trace).await,
        Err(mut refusal) => {
            if let Some(framing) = consumer.body_violation() {
                refusal = framing;
            }
            refused(&refusal, trace)
        }
    }
}

/// The provider's answer, fit to be passed on; its body is still to come.
struct Answer {
    parts: http::response::Parts,
    incoming: Incoming,
    borrowed: Borrowed,
    echo: Option<Echo>,
    bound: u64,
    idle: Duration,
    deadline: Instant,
}

impl Answer {
    /// The trace goes with the body, so that the call is recorded when its last byte has passed.
    async fn begin(self, mut trace: Trace) -> Response<AnswerBody> {
        trace.answered(self.parts.status);
        let limits = StreamLimits { bound: self.bound, idle: self.idle, deadline: self.deadline };
        let may_refuse = self.echo.as_ref().is_some_and(Echo::may_refuse);
        let mut stream = ProviderStream::new(self.incoming, &limits, self.borrowed, self.echo, trace);
        // A problem can be told only before the head of the answer has gone.
        if may_refuse && let Err(refusal) = stream.prime(FIRST_PIECE).await {
            return refused(&refusal, stream.into_trace());
        }
        Response::from_parts(self.parts, AnswerBody::Provider(Box::new(stream)))
    }
}

async fn call(
    worker: &Rc<Worker>,
    consumer: &Rc<Consumer>,
    request: Request<Incoming>,
    trace: &mut Trace,
) -> Result<Answer, Refusal> {
    // 0. What was read off the socket: well formed, of a kind we carry, and there is room for it.
    let (mut parts, incoming) = received(worker, request, trace)?;
    let snapshot = worker.shared.snapshot.load_full().ok_or_else(|| {
        Refusal::new(Code::NotReady, "Nothing is declared yet: `tidegate apply` or `tidegate up` a file.")
    })?;
    let (at, now) = (trace.started, unix_seconds(trace.event.at_ms));
    trace.event.revision = snapshot.revision;

    let uri = std::mem::take(&mut parts.uri);
    let host =
        uri.authority().map(|a| a.as_str().to_owned()).or_else(|| host_header(&parts)).unwrap_or_default();
    let query = uri.query();
    trace.event.query = query.map(parameter_names).unwrap_or_default();

    // 1. authenticate: which consumer is it? The address is read first, for where its token may sit.
    let address = address(&snapshot, &host, uri.path());
    let provider = address.provider.map(|(_, provider)| provider);
    trace.event.provider = provider.map(|p| Arc::clone(&p.name));
    let shown = Shown { headers: &parts.headers, query, names: &consumer.names };
    let shared = &worker.shared;
    let caller = authenticate(&snapshot, &shared.token_key, &shared.issuer_keys, &shown, provider, now)?;
    trace.event.consumer = Some(Arc::clone(&caller.consumer.name));
    trace.event.token = Some(Arc::clone(&caller.token.id));
    let at = trace.step(Step::Authenticate, at);

    // 2. route: which operation?
    let routed = route(caller, &address, &parts.method)?;
    trace.event.operation = Some(Arc::clone(&routed.operation.id));
    let at = trace.step(Step::Route, at);

    // 3. decide: may it go, for which client, through which connection?
    let named = Named {
        client_in_path: address.client,
        client_in_header: text_header(&parts, "tidegate-client"),
        connection: text_header(&parts, "tidegate-connection"),
    };
    let client = for_client(&snapshot, &routed, named)?;
    trace.event.client = Some(Arc::clone(snapshot.client_name(client)));
    let allowed = decide(&snapshot, routed, client, named, now).inspect_err(|refusal| {
        trace.event.decision = (refusal.code == Code::Denied).then_some("deny");
    })?;
    trace.decided(&allowed);
    let at = trace.step(Step::Decide, at);

    // 4. admit, protect, cache, reserve: not yet.

    // 5. dial: a connection that is proven to lead to the origin.
    let provider = allowed.routed.provider;
    let limits = Limits::new(trace.started, &provider.deadlines, BODY_IDLE);
    let lease = lease(worker, &allowed, now)?;
    let proven = dial(worker, &snapshot, &allowed, lease.as_deref()).await?;
    trace.dialled(&proven);
    let mut at = trace.step(Step::Dial, at);

    // 6. attach: the consumer's own fields are dropped, the credential goes on the final bytes.
    headers::clean_request(&mut parts.headers, provider);
    if lease.is_some() {
        echo::limit_codings(&mut parts.headers);
    }
    parts.extensions.clear();
    let digest = match &provider.sign {
        Some(Signer::Digest(digest)) => Some(digest),
        _ => None,
    };
    let keep = digest.is_some() || lease.as_ref().is_some_and(|lease| lease.is_issued());
    let (mut body, progress) = RequestBody::new(incoming, provider.bounds.request_body_bytes, keep);
    trace.progress = Some(Rc::clone(&progress));
    let covers_body = provider.sign.as_ref().is_some_and(|signer| signer.covers_body(&parts.headers))
        || provider.hook.as_ref().is_some_and(|hook| hook.body);
    let gathered = if covers_body { Some(body.gather(sign::BODY_MAX, &limits).await?) } else { None };
    let hooks = &worker.shared.hooks;
    let outgoing =
        Outgoing { path: address.path, query, body: gathered, provider, hooks, ends: limits.deadline };
    let plain_query = outgoing.query(None);
    outgoing.attach(&mut parts, lease.as_deref(), &proven).await?;
    at = trace.step(Step::Attach, at);

    // 7. forward: send it, and wait for the head of the answer; once more where a new token, or an answer to
    // what the provider asked, may change it.
    let method = parts.method.clone();
    let spare = (keep || body.is_empty() && proven.reused).then(|| parts.clone());
    let mut sending =
        Sending { worker, snapshot: &snapshot, allowed: &allowed, lease, proven, progress, limits };
    let mut request = Request::from_parts(parts, body);
    let mut tried = Tried::default();
    let answer = loop {
        let answer = sending.send(&method, request, spare.as_ref(), trace).await?;
        let remedy = sending.remedy(&answer);
        if !keep || !tried.first_try_of(remedy) {
            break answer;
        }
        let Some((parts, body)) = spare.clone().zip(outgoing.again(&sending.progress)) else {
            break answer;
        };
        let go_again = match (remedy, digest) {
            (Remedy::Nonce, _) => true,
            (_, Some(digest)) => sending.asked(digest, answer.headers(), parts.headers.get(AUTHORIZATION))?,
            (_, None) => sending.renew_lease().await?,
        };
        if !go_again {
            break answer;
        }
        drop(answer);
        sending.dial_again(trace).await?;
        let mut parts = parts;
        outgoing.attach(&mut parts, sending.lease.as_deref(), &sending.proven).await?;
        request = Request::from_parts(parts, body);
    };
    if digest.is_some() && answer.status() != StatusCode::UNAUTHORIZED {
        sending.taken();
    }
    let Sending { lease, proven, progress, limits, .. } = sending;
    let now = Instant::now();
    trace.event.provider_us = Some(micros(at, now));
    trace.event.provider_status = Some(answer.status().as_u16());
    trace.step(Step::Forward, at);

    // 8. respond: bound it, clean it, strike out the credential, turn its redirects round.
    let (mut parts, incoming) = answer.into_parts();
    let echo = Echo::begin(lease.as_ref(), provider, &method, &mut parts)?;
    let gateway = (!host.is_empty()).then(|| format!("{}://{host}", consumer.scheme));
    let turn = Route {
        path: address.path,
        query: plain_query.as_deref().map(String::as_str),
        origins: allowed.connection.as_ref().map_or(&[], |c| c.origins.as_slice()),
        origin: proven.origin(),
        prefix: address.prefix,
        gateway: gateway.as_deref(),
    };
    respond(&mut parts, &turn, provider.bounds.response_body_bytes)?;
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    parts.headers.insert("tidegate-call", headers::value(trace.event.id.as_str()));
    parts.headers.append("server-timing", headers::value(&trace.own_share()));
    Ok(Answer {
        parts,
        incoming,
        borrowed: proven.lend(Rc::clone(&worker.pool), progress.done.get()),
        echo,
        bound: provider.bounds.response_body_bytes,
        idle: provider.deadlines.idle(),
        deadline: limits.deadline,
    })
}

fn received(
    worker: &Worker,
    request: Request<Incoming>,
    trace: &Trace,
) -> Result<(Parts, Incoming), Refusal> {
    if let Some(violation) = trace.begun.as_ref().and_then(|begun| begun.refused.as_deref()) {
        return Err(listen::refusal(violation));
    }
    if worker.record.is_full() {
        return Err(Refusal::new(
            Code::Overloaded,
            "Calls cannot be recorded fast enough; none goes unrecorded. Try again shortly.",
        ));
    }
    let (parts, incoming) = request.into_parts();
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::new(Code::MethodNotAllowed, "CONNECT and TRACE are never passed on."));
    }
    if headers::asks_for_websocket(&parts.headers) {
        return Err(Refusal::new(
            Code::Unsupported,
            "WebSocket is not carried; use the provider's HTTP operations.",
        ));
    }
    if parts.uri.path_and_query().is_some_and(|p| p.as_str().len() > listen::TARGET_MAX) {
        return Err(Refusal::new(Code::UriTooLong, "The request target is longer than 8 KiB."));
    }
    Ok((parts, incoming))
}

fn lease(worker: &Worker, allowed: &AllowedCall<'_>, now: u64) -> Result<Option<Arc<Lease>>, Refusal> {
    let provider = allowed.routed.provider;
    let signs = provider.sign.is_some() || provider.hook.is_some();
    if provider.attach.is_empty() && !signs && !provider.tls.client_certificate {
        return Ok(None);
    }
    let unavailable = |detail: &'static str| Refusal::new(Code::CredentialUnavailable, detail);
    let connection = allowed.connection.as_ref().ok_or_else(|| unavailable("The call has no connection."))?;
    let lease = worker.shared.leases.get(&connection.id).ok_or_else(|| {
        if worker.shared.leases.has_ended(&connection.id) {
            return Refusal::new(
                Code::NeedsReconsent,
                format!(
                    "The consent behind connection `{}` at provider `{}` has ended or was withdrawn, or its login is refused: whoever runs Tidegate renews it with `tidegate connect`.",
                    connection.name, provider.name
                ),
            );
        }
        unavailable("The connection's credential is not leased to this engine yet: try again shortly.")
    })?;
    if !lease.is_live(now) {
        return Err(unavailable("The lease of the connection's credential has ended and was not renewed."));
    }
    if lease.version != connection.version {
        return Err(unavailable("The connection's credential is being replaced: try again shortly."));
    }
    Ok(Some(lease))
}

async fn dial(
    worker: &Worker,
    snapshot: &Snapshot,
    allowed: &AllowedCall<'_>,
    lease: Option<&Lease>,
) -> Result<Proven, Refusal> {
    let provider = allowed.routed.provider;
    let number = allowed.routed.operation.origin;
    let origin = match &allowed.connection {
        Some(connection) => connection.origins.get(number),
        None => provider.origins.get(number).and_then(Option::as_ref),
    };
    let origin = origin.ok_or_else(|| Refusal::new(Code::Internal, "The operation has no origin."))?;
    let whose = match &allowed.connection {
        Some(connection) => Whose::Connection(Arc::clone(&connection.id), connection.version),
        None => Whose::Client {
            provider: Arc::clone(&provider.name),
            client: Arc::clone(snapshot.client_name(allowed.client)),
        },
    };
    let identity = lease.filter(|_| provider.tls.client_certificate).map(|lease| {
        lease.identity.as_ref().ok_or_else(|| {
            Refusal::new(
                Code::CredentialUnavailable,
                "The connection's credential has no client certificate: connect it again.",
            )
        })
    });
    let target = Target {
        origin,
        whose: &whose,
        allow_private: &provider.allow_private,
        tls: &provider.tls,
        identity: identity.transpose()?,
        timeout: provider.deadlines.connect(),
    };
    let key = PoolKey { whose: whose.clone(), origin: origin.clone(), rules: provider.rules };
    worker.pool.take(key, &target).await.map_err(|error| dial_refusal(&error, provider))
}

fn dial_refusal(error: &DialError, provider: &Provider) -> Refusal {
    let code = match error.code {
        DialCode::DestinationProhibited => Code::DestinationProhibited,
        DialCode::TlsFailed => Code::TlsFailed,
        DialCode::ProviderUnreachable => Code::ProviderUnreachable,
        DialCode::Timeout => Code::ProviderTimeout,
    };
    let detail: Cow<'static, str> = match code {
        Code::DestinationProhibited => format!(
            "Provider `{}` resolves to an address that is not public; `allow_private` on the provider allows a range on purpose.",
            provider.name
        )
        .into(),
        Code::TlsFailed => format!("The certificate or TLS version of provider `{}` was refused; no credential was sent.", provider.name).into(),
        Code::ProviderTimeout => "No connection to the provider came about in time.".into(),
        _ => format!("Provider `{}` could not be reached.", provider.name).into(),
    };
    Refusal::new(code, detail).because(error.detail.clone())
}

/// What of the consumer's request goes on, apart from its header and body.
struct Outgoing<'c> {
    path: &'c str,
    query: Option<&'c str>,
    /// Whole, where it is to be signed.
    body: Option<Bytes>,
    provider: &'c Provider,
    hooks: &'c Hooks,
    /// When the call is over.
    ends: Instant,
}

impl Outgoing<'_> {
    /// Address the request, with the credential on it. A second time replaces the first.
    async fn attach(&self, parts: &mut Parts, lease: Option<&Lease>, proven: &Proven) -> Result<(), Refusal> {
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
    fn again(&self, progress: &Rc<Progress>) -> Option<RequestBody> {
        match &self.body {
            Some(body) => Some(RequestBody::whole(body.clone(), progress)),
            None => RequestBody::again(progress),
        }
    }

    /// The consumer's, without parameters that are the credential's, and with the credential's at its end.
    fn query(&self, added: Option<&str>) -> Option<Zeroizing<String>> {
        outgoing_query(self.query, self.provider, added)
    }
}

/// A call on its way to the provider, by one connection or by another.
struct Sending<'c> {
    worker: &'c Rc<Worker>,
    snapshot: &'c Snapshot,
    allowed: &'c AllowedCall<'c>,
    lease: Option<Arc<Lease>>,
    proven: Proven,
    progress: Rc<Progress>,
    limits: Limits,
}

impl Sending<'_> {
    /// Send the request; on a connection that the provider had closed at rest, by another one.
    async fn send(
        &mut self,
        method: &Method,
        mut request: Request<RequestBody>,
        spare: Option<&Parts>,
        trace: &mut Trace,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut timer = std::pin::pin!(sleep(Duration::ZERO));
        let mut left = STALE_MAX;
        loop {
            let (progress, limits) = (&self.progress, &self.limits);
            match forward(&mut self.proven, method, request, progress, limits, timer.as_mut()).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Refused(refusal)) => return Err(refusal),
                Err(Failed::Unsent(unsent)) if left > 0 => request = *unsent,
                Err(Failed::Stale) if left > 0 && spare.is_some() => {
                    let parts =
                        spare.cloned().ok_or_else(|| Refusal::new(Code::Internal, "A request was lost."))?;
                    request = Request::from_parts(parts, RequestBody::empty(Rc::clone(&self.progress)));
                }
                Err(_) => {
                    return Err(Refusal::new(
                        Code::ProviderUnreachable,
                        "The provider closes connections before it answers.",
                    ));
                }
            }
            left -= 1;
            let was_h2 = self.proven.is_h2();
            self.dial_again(trace).await?;
            if self.proven.is_h2() != was_h2 {
                return Err(Refusal::new(
                    Code::ProviderUnreachable,
                    "The provider changed its HTTP version between two tries.",
                ));
            }
        }
    }

    async fn dial_again(&mut self, trace: &mut Trace) -> Result<(), Refusal> {
        trace.event.retries += 1;
        self.proven = dial(self.worker, self.snapshot, self.allowed, self.lease.as_deref()).await?;
        Ok(())
    }

    /// The provider asks for Digest: learn what, and say whether to answer it.
    fn asked(
        &self,
        digest: &DigestAuth,
        answer: &HeaderMap,
        shown: Option<&HeaderValue>,
    ) -> Result<bool, Refusal> {
        let Some(lease) = self.lease.as_deref() else { return Ok(false) };
        digest.asked(lease, self.proven.origin(), answer, shown)
    }

    /// The provider took what it was shown by Digest.
    fn taken(&self) {
        if let Some(lease) = self.lease.as_deref() {
            DigestAuth::taken(lease, self.proven.origin());
        }
    }

    /// What could turn a refusal of the provider's round.
    fn remedy(&self, answer: &Response<Incoming>) -> Remedy {
        let provider = self.allowed.routed.provider;
        if let (Some(Signer::Dpop(_)), Some(lease)) = (&provider.sign, &self.lease) {
            // Any answer may give the nonce for the next call.
            let given = lease.nonces().learn(self.proven.origin(), answer.headers());
            if answer.status() == StatusCode::UNAUTHORIZED && dpop::wants_nonce(answer.headers()) {
                return if given { Remedy::Nonce } else { Remedy::None };
            }
        }
        let over = provider.over.contains(&answer.status().as_u16());
        if over { Remedy::Credential } else { Remedy::None }
    }

    /// The provider did not take the token: have another issued, and say whether there is one.
    async fn renew_lease(&mut self) -> Result<bool, Refusal> {
        let (Some(old), Some(connection)) = (&self.lease, &self.allowed.connection) else { return Ok(false) };
        let patience = RENEWAL.min(self.limits.deadline.saturating_duration_since(Instant::now()));
        if !self.worker.shared.leases.renewed(&connection.id, old, patience).await {
            return Ok(false);
        }
        self.lease = lease(self.worker, self.allowed, unix_now().as_secs())?;
        Ok(true)
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

/// What a call that a provider refused may be sent again with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    None,
    /// Another access token or session, or an answer to what the provider asked.
    Credential,
    /// The nonce that the provider wants in the proof.
    Nonce,
}

/// What was tried already: each is once, so that no provider keeps a call going.
#[derive(Default)]
struct Tried {
    credential: bool,
    nonce: bool,
}

impl Tried {
    fn first_try_of(&mut self, remedy: Remedy) -> bool {
        match remedy {
            Remedy::None => false,
            Remedy::Credential => !std::mem::replace(&mut self.credential, true),
            Remedy::Nonce => !std::mem::replace(&mut self.nonce, true),
        }
    }
}

fn outgoing_query(
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

fn host_header(parts: &Parts) -> Option<String> {
    parts.headers.get(HOST)?.to_str().ok().map(str::to_owned)
}

fn text_header<'r>(parts: &'r Parts, name: &str) -> Option<&'r str> {
    parts.headers.get(name)?.to_str().ok()
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn unix_seconds(ms: u64) -> u64 {
    ms / 1000
}

/// Liveness and readiness, outside the way of a call: they name no one and are not recorded.
fn health(worker: &Worker, path: &str) -> Option<Response<AnswerBody>> {
    let (status, text) = match path {
        "/-/live" => (StatusCode::OK, "live\n"),
        "/-/ready" if worker.shared.is_ready() => (StatusCode::OK, "ready\n"),
        "/-/ready" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => return None,
    };
    let mut answer = Response::new(AnswerBody::Own(Some(Bytes::from_static(text.as_bytes()))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(answer)
}

fn refused(refusal: &Refusal, trace: Trace) -> Response<AnswerBody> {
    let answer = refusal_answer(refusal, &trace);
    trace.refuse(refusal);
    answer
}

fn refusal_answer(refusal: &Refusal, trace: &Trace) -> Response<AnswerBody> {
    let call = trace.event.id.as_str();
    let mut answer = Response::new(AnswerBody::Own(Some(Bytes::from(refusal.body(call)))));
    *answer.status_mut() = refusal.code.status();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("tidegate-call", headers::value(call));
    let problem = refusal.code.problem();
    headers.insert(
        "proxy-status",
        headers::value(&format!("tidegate; error={}; details=\"{}\"", problem.proxy_status, problem.code)),
    );
    headers.insert("server-timing", headers::value(&trace.own_share()));
    match refusal.code {
        Code::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""));
        }
        Code::Overloaded | Code::NotReady | Code::CredentialUnavailable => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    answer
}

/// One call's event in the making. Dropped, it is recorded: on every exit, once.
pub struct Trace {
    worker: Rc<Worker>,
    /// The guard's own knowledge of the request; while it is held, the connection is not idle.
    begun: Option<BegunCall>,
    started: Instant,
    event: Event,
    progress: Option<Rc<Progress>>,
    responding: Option<Instant>,
}

impl Trace {
    fn begin(worker: &Rc<Worker>, consumer: &Consumer, request: &Request<Incoming>) -> Self {
        worker.shared.calls_begun();
        let at_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
        let event = Event {
            id: CallId::new(at_ms, worker.chance()),
            at_ms,
            method: method_name(request.method()).into(),
            // What is left when nobody says otherwise: the consumer went away.
            outcome: "consumer_gone",
            http: if request.version() == http::Version::HTTP_2 { "2" } else { "1.1" },
            ..Event::default()
        };
        Self {
            worker: Rc::clone(worker),
            begun: consumer.begin(),
            started: Instant::now(),
            event,
            progress: None,
            responding: None,
        }
    }

    fn step(&mut self, step: Step, from: Instant) -> Instant {
        let now = Instant::now();
        self.event.steps_us.set(step, from, now);
        now
    }

    fn decided(&mut self, allowed: &AllowedCall<'_>) {
        self.event.decision = Some(allowed.verdict.as_str());
        self.event.rule = Some(Arc::clone(&allowed.rule));
        self.event.connection = allowed.connection.as_ref().map(|c| Arc::clone(&c.id));
    }

    fn dialled(&mut self, proven: &Proven) {
        let facts = proven.facts();
        self.event.tls_version = facts.tls_version;
        self.event.tls_group = facts.tls_group;
        self.event.address = Some(facts.address);
    }

    fn refuse(mut self, refusal: &Refusal) {
        self.event.outcome = refusal.code.as_str();
        self.event.status = refusal.code.problem().status;
        if let Some(rule) = &refusal.rule {
            self.event.rule = Some(Arc::clone(rule));
        }
        let internal = refusal.internal.as_deref().map(|internal| format!(" ({internal})"));
        self.event.detail = Some(format!("{}{}", refusal.detail, internal.unwrap_or_default()).into());
    }

    fn answered(&mut self, status: StatusCode) {
        self.event.status = status.as_u16();
        self.responding = Some(Instant::now());
    }

    pub fn received(&mut self, bytes: u64) {
        self.event.received_bytes += bytes;
    }

    /// The whole answer has passed.
    pub fn complete(&mut self) {
        self.event.outcome = "ok";
    }

    /// The credential came back, and was struck out of the answer.
    pub fn echoed(&mut self, field: &str) {
        self.event.detail = Some(format!("credential_echoed: field `{field}`, struck out").into());
    }

    /// The answer broke off on the way.
    pub fn fail(&mut self, code: Code, detail: String) {
        self.event.outcome = code.as_str();
        self.event.detail = Some(detail.into());
    }

    /// RFC-less but common `Server-Timing`: the milliseconds that were Tidegate's own.
    fn own_share(&self) -> String {
        let total = self.started.elapsed();
        let provider = Duration::from_micros(self.event.provider_us.unwrap_or_default().into());
        let own = total.saturating_sub(provider);
        format!("tidegate;dur={}.{:03}", own.as_millis(), own.subsec_micros() % 1000)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(responding) = self.responding {
            self.event.steps_us.set(Step::Respond, responding, now);
        }
        self.event.total_us = u64::from(micros(self.started, now));
        if let Some(progress) = &self.progress {
            self.event.sent_bytes = progress.sent.get();
        }
        self.worker.shared.calls_ended();
        let event = std::mem::take(&mut self.event);
        if self.worker.shared.config.record {
            self.worker.record.record(event);
        }
    }
}

/// Unknown methods come from outside: only the shape of a token, and not a long one, is kept.
fn method_name(method: &Method) -> &str {
    let name = method.as_str();
    if name.len() <= 16 { name } else { "OTHER" }
}
