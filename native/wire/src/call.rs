//! The way of one call, read from top to bottom.
//!
//! listen → authenticate → route → decide → admit → (protect → cache) → reserve → dial → attach →
//! forward → respond → record. Each step takes the proof that the step before it made; each refusal is
//! one problem; and whatever happens, `Trace` records the call once when it is dropped.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::admit::{Admission, admit};
use crate::authenticate::{Shown, authenticate};
use crate::body::{AnswerBody, Progress, ProviderStream, RequestBody, StreamLimits};
use crate::decide::{AllowedCall, Named, decide, for_client};
use crate::dial::pool::{Borrowed, Proven};
use crate::dialect::Heard;
use crate::echo::{self, Echo};
use crate::error::{Code, Refusal};
use crate::event::{CallId, Event, Step, micros, unix_now};
use crate::forward::Sending;
use crate::forward::bulkhead::Seat;
use crate::forward::deadline::{self, Limits};
use crate::forward::outgoing::Outgoing;
use crate::forward::reach::lease;
use crate::forward::remedy::Tried;
use crate::forward::way::Way;
use crate::headers;
use crate::listen::guard::BegunCall;
use crate::listen::{self, Consumer};
use crate::ratelimit::{self, Throttled};
use crate::reserve::signal::Signal;
use crate::reserve::{Reservation, Waited, reserve};
use crate::respond::{Route, respond};
use crate::route::path::parameter_names;
use crate::route::{address, route};
use crate::shed;
use crate::sign;
use crate::snapshot::{ConsumerIndex, Provider};
use crate::worker::Worker;

/// How long the next piece of a request body may take.
const BODY_IDLE: Duration = Duration::from_secs(30);
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
    shed::look(&worker, trace.started);
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
    worker.shed.enter(caller.token.consumer, at)?;
    trace.under_way = Some(caller.token.consumer);
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
    let mut at = trace.step(Step::Decide, at);

    // 4. admit: is it within the limits of who calls?
    trace.admission = admit(&shared.buckets, &snapshot, &allowed, at)?;
    if trace.admission.is_some() {
        at = trace.step(Step::Admit, at);
    }

    // 5. reserve: what the call costs of the provider's quotas, taken before it leaves.
    let (provider, deadlines) = (allowed.routed.provider, allowed.deadlines());
    let limits = Limits::new(trace.started, deadlines, BODY_IDLE, deadline::asked(&parts.headers)?);
    if provider.quotas.is_some() {
        let mut waited = None;
        let reserved = reserve(&snapshot, &allowed, &parts.headers, limits.deadline, &mut waited).await;
        trace.waited(waited);
        trace.reserved(reserved?);
        at = trace.step(Step::Reserve, at);
    }

    // 6. dial: a connection that is proven to lead to the origin, or to one that stands in for it.
    let lease = lease(worker, &allowed, now)?;
    let mut way = Way::begin(worker, &snapshot, &allowed, lease, limits, trace)?;
    let proven = way.dial(trace).await?;
    at = trace.step(Step::Dial, at);

    // 7. attach: the consumer's own fields are dropped, the credential goes on the final bytes.
    headers::clean_request(&mut parts.headers, provider);
    if way.lease.is_some() {
        echo::limit_codings(&mut parts.headers);
    }
    if let Some(reservation) = &trace.reservation {
        reservation.prepare(&mut parts.headers);
    }
    parts.extensions.clear();
    let kept = way.keeps(&parts.method);
    let (mut body, progress) = RequestBody::new(incoming, provider.bounds.request_body_bytes, kept);
    trace.progress = Some(Rc::clone(&progress));
    let mut keyed = None;
    let repeat = way.repeat(&mut parts, query, &mut keyed, &mut body).await?;
    let query = keyed.as_deref().or(query);
    let covers_body = provider.sign.as_ref().is_some_and(|signer| signer.covers_body(&parts.headers))
        || provider.hook.as_ref().is_some_and(|hook| hook.body);
    let gathered = if covers_body { Some(body.gather(sign::BODY_MAX, &limits).await?) } else { None };
    let hooks = &worker.shared.hooks;
    let outgoing =
        Outgoing { path: address.path, query, body: gathered, provider, hooks, ends: limits.deadline };
    let plain_query = outgoing.query(None);
    outgoing.attach(&mut parts, way.lease.as_deref(), &proven).await?;
    at = trace.step(Step::Attach, at);

    // 8. forward: send it, again where that is safe, and wait for the head of the answer.
    let method = parts.method.clone();
    let tried = Tried::default();
    let mut sending = Sending { way, outgoing, proven, progress, repeat, kept, tried };
    let answer = sending.answer(parts, body, trace).await?;
    let Sending { way: Way { lease, limits, .. }, proven, progress, .. } = sending;
    let now = Instant::now();
    trace.event.provider_us = Some(micros(at, now));
    trace.event.provider_status = Some(answer.status().as_u16());
    trace.step(Step::Forward, at);

    // 9. respond: bound it, clean it, strike out the credential, turn its redirects round.
    let (mut parts, incoming) = answer.into_parts();
    let signals = heard(provider, &parts);
    let too_soon = signals.iter().any(|signal| signal.throttled);
    if let Some(reservation) = &mut trace.reservation {
        reservation.answered(parts.status, &parts.headers, &signals);
    }
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
    for name in provider.dialect.iter().flat_map(|dialect| dialect.hidden()) {
        parts.headers.remove(name);
    }
    if too_soon {
        parts.headers.insert("tidegate-throttle", HeaderValue::from_static("provider"));
    }
    trace.tell_limits(&mut parts.headers);
    Ok(Answer {
        parts,
        incoming,
        borrowed: proven.lend(Rc::clone(&worker.pool), progress.done.get()),
        echo,
        bound: provider.bounds.response_body_bytes,
        idle: deadlines.idle(),
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
    if worker.shared.in_flight() > worker.shared.config.calls_max {
        return Err(Refusal::new(Code::Overloaded, "Tidegate has as many calls as it may have at once.")
            .by("gateway.calls_max".into()));
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

/// What the head of an answer says of the provider's limits. Answers of success refuse nothing by their head.
fn heard(provider: &Provider, parts: &http::response::Parts) -> Vec<Signal> {
    // What is left matters to whoever counts.
    if parts.status.is_success() && provider.quotas.is_none() {
        return Vec::new();
    }
    let (status, headers, now) = (parts.status, &parts.headers, SystemTime::now());
    match &provider.dialect {
        Some(dialect) => dialect.read(Heard { status, headers, body: None, now }),
        None => Signal::standard(status, headers, now).into_iter().collect(),
    }
}

fn host_header(parts: &Parts) -> Option<String> {
    parts.headers.get(HOST)?.to_str().ok().map(str::to_owned)
}

fn text_header<'r>(parts: &'r Parts, name: &str) -> Option<&'r str> {
    parts.headers.get(name)?.to_str().ok()
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
    if let Some(wait) = refusal.retry_after {
        headers.insert(RETRY_AFTER, ratelimit::seconds_up(wait).max(1).into());
    }
    if let Some(throttled) = &refusal.throttled {
        tell_limits(headers, throttled);
    }
    trace.tell_limits(headers);
    if let Some(throttled) = &refusal.throttled {
        tell_limits(headers, throttled);
    }
    match refusal.code {
        Code::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""));
        }
        Code::Overloaded | Code::NotReady | Code::CredentialUnavailable if refusal.retry_after.is_none() => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    answer
}

/// Which limits stood in the way of a call, and when it may come again.
fn tell_limits(headers: &mut HeaderMap, throttled: &Throttled) {
    if !throttled.limits.is_empty() {
        headers.insert("ratelimit-policy", ratelimit::policy_field(&throttled.limits));
        headers.insert("ratelimit", ratelimit::limit_field(&throttled.limits));
    }
    headers.insert("tidegate-throttle", headers::value(&format!("gateway;scope={}", throttled.scope)));
    if let Some(wait) = throttled.retry_after {
        headers.insert(RETRY_AFTER, ratelimit::seconds_up(wait).max(1).into());
    }
}

/// One call's event in the making. Dropped, it is recorded: on every exit, once.
pub struct Trace {
    worker: Rc<Worker>,
    /// The guard's own knowledge of the request; while it is held, the connection is not idle.
    begun: Option<BegunCall>,
    /// While it is held, the call counts as under way.
    admission: Option<Admission>,
    started: Instant,
    pub event: Event,
    progress: Option<Rc<Progress>>,
    /// Its place among the calls at the provider.
    pub seat: Option<Seat>,
    /// Whose call this worker counts it as.
    under_way: Option<ConsumerIndex>,
    responding: Option<Instant>,
    /// What the call has taken of its provider's quotas; it ends with the call.
    pub reservation: Option<Reservation>,
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
            admission: None,
            started: Instant::now(),
            event,
            progress: None,
            seat: None,
            under_way: None,
            responding: None,
            reservation: None,
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

    fn waited(&mut self, waited: Option<Waited>) {
        self.event.quota = waited.map(|waited| waited.verdict);
        self.event.wait_ms = waited.map(|waited| u32::try_from(waited.wait.as_millis()).unwrap_or(u32::MAX));
    }

    fn reserved(&mut self, reservation: Option<Reservation>) {
        self.event.cost = reservation.as_ref().map(Reservation::cost);
        self.reservation = reservation;
    }

    /// A piece of the provider's body, as it came.
    pub fn passes(&mut self, piece: &Bytes) {
        if let Some(reservation) = &mut self.reservation {
            reservation.passes(piece);
        }
    }

    pub fn dialled(&mut self, proven: &Proven) {
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

    fn tell_limits(&self, headers: &mut HeaderMap) {
        if let Some(admission) = &self.admission {
            admission.tell(headers, Instant::now(), &self.worker.shared.buckets);
        }
    }

    pub fn received(&mut self, bytes: u64) {
        self.event.received_bytes += bytes;
    }

    /// The whole answer has passed.
    pub fn complete(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.complete();
        }
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
        if let Some(consumer) = self.under_way {
            self.worker.shed.leave(consumer);
        }
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
