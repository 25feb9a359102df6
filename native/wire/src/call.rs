//! The way of one call, read from top to bottom.
//!
//! listen → authenticate → route → decide → admit → check → protect → cache → reserve → dial → attach →
//! forward → respond → record. Each step takes the proof that the step before it made; each refusal is
//! one problem; and whatever happens, `Trace` records the call once when it is dropped.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::admit::admit;
use crate::agreement::{Agreed, Moment};
use crate::authenticate::{Authenticated, Shown, authenticate};
use crate::body::{AnswerBody, Progress, ProviderStream, RequestBody, RestoredStream, StreamLimits};
use crate::cache::asked::{Asked, BODY_MAX, Principal, keys_body, one_spelling};
use crate::cache::rules::Rules;
use crate::cache::status::Way as Cached;
use crate::cache::storing::{Keeping, Settled, Storing};
use crate::cache::{self, Found, fill};
use crate::class::Class;
use crate::decide::{AllowedCall, Named, Verdict, decide, for_client};
use crate::detect::Detector;
use crate::dial::pool::Borrowed;
use crate::echo::{self, Echo};
use crate::error::{Code, Refusal};
use crate::event::{Step, micros, unix_now};
use crate::forward::Sending;
use crate::forward::deadline::{self, Limits};
use crate::forward::outgoing::{Outgoing, outgoing_query};
use crate::forward::reach::{self, lease};
use crate::forward::remedy::Tried;
use crate::forward::way::Way;
use crate::headers;
use crate::lease::Lease;
use crate::listen::{self, Consumer};
use crate::observe::Sample;
use crate::origin::Origin;
use crate::protect::held::Held;
use crate::protect::person::Person;
use crate::protect::restore::{self, Restoring};
use crate::protect::with::With;
use crate::protect::{self, Breach, Original, Policy, Told, content};
use crate::ratelimit::{self, Throttled};
use crate::reserve::reserve;
use crate::respond::{Route, clean, turn_round};
use crate::route::path::parameter_names;
use crate::route::{Routed, address, route};
use crate::schema::answer::{Judged, Looking};
use crate::schema::{self, Checks};
use crate::shed;
use crate::sign;
use crate::snapshot::{AccessToken, ClientIndex, Connection, ProviderIndex, Snapshot};
use crate::subject::consent::{self, Consent};
use crate::subject::{Whom, subjects};
use crate::trace::{Awaited, Trace};
use crate::worker::{Shared, Worker};

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
    let trace = Trace::begin(&worker, &consumer, &request);
    shed::look(&worker, trace.started);
    let awaited = Rc::clone(&trace.awaited);
    let caches = worker.shared.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.caches);
    let answer = answer(Rc::clone(&worker), consumer, request, trace);
    if caches { Outliving::new(worker, awaited, Box::pin(answer)).await } else { answer.await }
}

async fn answer(
    worker: Rc<Worker>,
    consumer: Rc<Consumer>,
    request: Request<Incoming>,
    mut trace: Trace,
) -> Response<AnswerBody> {
    match call(&worker, &consumer, request, &mut trace).await {
        Ok((answer, None)) => answer.begin(trace).await,
        Ok((answer, Some(restoring))) => {
            Box::pin(restored(answer.begin(trace).await, restoring, &worker.shared)).await
        }
        Err(mut refusal) => {
            if let Some(framing) = consumer.body_violation() {
                refusal = framing;
            }
            refused(&refusal, trace)
        }
    }
}

/// An answer fit to be passed on.
enum Answer {
    Provider(Box<FromProvider>),
    Stored(Box<http::response::Parts>, Bytes),
}

/// The provider's; its body is still to come.
struct FromProvider {
    parts: http::response::Parts,
    incoming: Incoming,
    borrowed: Borrowed,
    echo: Option<Echo>,
    bound: u64,
    idle: Duration,
    deadline: Instant,
    /// Where it goes besides to the consumer.
    keeping: Option<Box<Keeping>>,
    /// What its body is held against, before any of it goes on.
    looking: Option<Box<Looking>>,
}

impl Answer {
    /// The trace goes with the body, so that the call is recorded when its last byte has passed.
    async fn begin(self, mut trace: Trace) -> Response<AnswerBody> {
        match self {
            Self::Provider(answer) => answer.begin(trace).await,
            Self::Stored(parts, body) => {
                trace.answered(parts.status);
                if body.is_empty() {
                    trace.complete();
                }
                let body = (!body.is_empty()).then_some(body);
                Response::from_parts(*parts, AnswerBody::Stored(body, Box::new(trace)))
            }
        }
    }
}

impl FromProvider {
    async fn begin(self, mut trace: Trace) -> Response<AnswerBody> {
        trace.answered(self.parts.status);
        let limits = StreamLimits { bound: self.bound, idle: self.idle, deadline: self.deadline };
        let may_refuse = self.echo.as_ref().is_some_and(Echo::may_refuse);
        let mut stream = ProviderStream::new(self.incoming, &limits, self.borrowed, self.echo, trace);
        // A problem can be told only before the head of the answer has gone.
        if may_refuse && let Err(refusal) = stream.prime(FIRST_PIECE).await {
            return refused(&refusal, stream.into_trace());
        }
        if let Some(looking) = &self.looking
            && let Err(refusal) = looked(looking, &mut stream).await
        {
            if let Some(keeping) = self.keeping {
                keeping.refuse(&refusal);
            }
            return refused(&refusal, stream.into_trace());
        }
        let stream = Box::new(stream);
        let body = match self.keeping {
            Some(keeping) => AnswerBody::Reading(fill::begin(stream, keeping)),
            None => AnswerBody::Provider(stream),
        };
        Response::from_parts(self.parts, body)
    }
}

/// Judge the body, and let go on what may.
async fn looked(looking: &Looking, stream: &mut ProviderStream) -> Result<(), Refusal> {
    let whole = stream.gather(looking.body_max()).await?;
    if let Judged::Changed(body) = looking.judge(whole.as_ref(), stream.told())? {
        stream.replace(body);
    }
    Ok(())
}

async fn call(
    worker: &Rc<Worker>,
    consumer: &Rc<Consumer>,
    request: Request<Incoming>,
    trace: &mut Trace,
) -> Result<(Answer, Option<Restoring>), Refusal> {
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
    let moment = Moment { unix_ms: trace.event.at_ms, at: trace.started, clock: &shared.clock };
    let allowed = decide(&snapshot, routed, client, named, moment).inspect_err(|refusal| {
        let denies = matches!(refusal.code, Code::Denied | Code::NoAgreement);
        trace.event.decision = denies.then_some("deny");
    })?;
    trace.decided(&allowed);
    let about = subjects(
        &mut parts.headers,
        &shared.subject_keys,
        snapshot.client_name(client),
        snapshot.suppressed(client),
        allowed.routed.operation.erases,
    )?;
    let whom = about.whom;
    trace.is_about(about);
    let consent = consented(allowed.routed.operation.policy.as_deref(), &mut parts.headers, now, trace)?;
    let mut at = trace.step(Step::Decide, at);

    // 4. admit: is there time for it, and is it within the limits of who calls?
    let (consumer_index, class) =
        (allowed.routed.caller.token.consumer, Class::of(&parts.headers, allowed.grant.class)?);
    worker.shed.enter(consumer_index, class, at)?;
    trace.under_way = Some(consumer_index);
    trace.admission = admit(&shared.buckets, &snapshot, &allowed, at).await?;
    if trace.admission.is_some() {
        at = trace.step(Step::Admit, at);
    }
    let limits = Limits::new(trace.started, allowed.deadlines(), BODY_IDLE, deadline::asked(&parts.headers)?);
    let gateway = (!host.is_empty()).then(|| format!("{}://{host}", consumer.scheme));
    let mut going = Going {
        worker,
        snapshot: &snapshot,
        allowed: &allowed,
        lease: lease(worker, &allowed, now)?,
        path: Cow::Borrowed(address.path),
        query: query.map(Cow::Borrowed),
        prefix: address.prefix,
        gateway: gateway.as_deref(),
        limits,
        class,
        whom,
        at,
    };

    // check: does the request fit the provider's document, where it is held against it?
    let content = match allowed.routed.operation.checks.as_ref() {
        None => Content::Coming(incoming),
        Some(checks) => going.check(checks, &mut parts, incoming, trace).await?,
    };
    let restoring = going.restoring(&mut parts.headers);

    // 5. protect: what of it goes out, and in which form. From here on it is what is sent.
    let content = match &allowed.routed.operation.policy {
        None => going.unprotected(&parts.headers, content, trace)?,
        Some(policy) => Box::pin(going.protect(policy, consent, &mut parts, content, now, trace)).await?,
    };

    // 6. cache: an answer that is stored is given; else it is known what to do with the provider's.
    let answer = match allowed.routed.operation.cache.as_ref() {
        None => Box::pin(going.carry(parts, content, &mut None, trace)).await?,
        Some(rules) => going.through_the_cache(rules, parts, content, trace).await?,
    };
    Ok((answer, restoring))
}

/// What whom the call is about decided, where its policy asks; the field that says so goes no further.
fn consented(
    policy: Option<&Policy>,
    headers: &mut HeaderMap,
    now: u64,
    trace: &mut Trace,
) -> Result<Option<Consent>, Refusal> {
    let asked = policy.and_then(|policy| Some((policy, policy.consent.as_ref()?)));
    let judged = asked.map(|(policy, asked)| (policy, asked, asked.judge(headers, now)));
    headers.remove(consent::HEADER);
    let Some((policy, asked, consent)) = judged else { return Ok(None) };
    trace.event.subject_consent = Some(consent.to_string().into());
    // While a policy only reports nothing is left out, and so nothing goes.
    if !(asked.drops() && policy.enforces(now)) {
        consent
            .require(&policy.name, &policy.purpose)
            .inspect_err(|_| trace.event.decision = Some("deny"))?;
    }
    Ok(Some(consent))
}

/// A request's body, before it is known how it goes.
enum Content {
    Coming(Incoming),
    /// Read ahead, to be checked or keyed.
    Begun(RequestBody, Rc<Progress>),
    /// Of our own making: a call of ours, or a body as it goes out.
    Held(Option<Bytes>),
}

impl Content {
    fn is_empty(&self) -> bool {
        match self {
            Self::Coming(incoming) => incoming.is_end_stream(),
            Self::Begun(body, _) => body.is_empty(),
            Self::Held(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }
}

/// A call that goes on to the provider, and how its consumer is answered.
struct Going<'c> {
    worker: &'c Rc<Worker>,
    snapshot: &'c Arc<Snapshot>,
    allowed: &'c AllowedCall<'c>,
    lease: Option<Arc<Lease>>,
    path: Cow<'c, str>,
    query: Option<Cow<'c, str>>,
    prefix: &'c str,
    gateway: Option<&'c str>,
    limits: Limits,
    /// How urgent it is where calls wait for the provider's quotas.
    class: Class,
    whom: Whom,
    at: Instant,
}

impl Going<'_> {
    /// For an operation that declares what its requests and answers are held against.
    async fn check(
        &mut self,
        checks: &Checks,
        parts: &mut Parts,
        incoming: Incoming,
        trace: &mut Trace,
    ) -> Result<Content, Refusal> {
        let provider = self.allowed.routed.provider;
        let query = outgoing_query(self.query.as_deref(), provider, None);
        let (query, headers) = (query.as_deref().map(String::as_str), &parts.headers);
        let asked = schema::request::Parts { path: &self.path, query, headers, provider };
        let reads = checks.request(&asked, !incoming.is_end_stream(), &mut trace.told)?;
        let content = if reads {
            let (mut body, progress) =
                RequestBody::new(Some(incoming), provider.bounds.request_body_bytes, true);
            let whole = body.look_ahead(checks.body_max(), &self.limits).await?;
            checks.request_body(&parts.headers, whole.as_deref(), &mut trace.told)?;
            Content::Begun(body, progress)
        } else {
            Content::Coming(incoming)
        };
        if checks.judges_answers() {
            // A part cannot be judged, nor what is coded in a way that is not known here.
            parts.headers.remove(RANGE);
            parts.headers.remove(IF_RANGE);
            echo::limit_codings(&mut parts.headers);
        }
        self.at = trace.step(Step::Check, self.at);
        Ok(content)
    }

    /// What is restored in the answer; then it must be one that can be read.
    fn restoring(&self, headers: &mut HeaderMap) -> Option<Restoring> {
        let Routed { provider, operation, .. } = &self.allowed.routed;
        let restorations = Arc::clone(operation.restore.as_ref()?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let client = Arc::clone(self.snapshot.client_name(self.allowed.client));
        let roots = self.worker.shared.protection.of(&client)?;
        Some(Restoring { restorations, roots, client, provider: Arc::clone(&provider.name) })
    }

    /// Step 5, for an operation without a policy.
    fn unprotected(
        &self,
        headers: &HeaderMap,
        content: Content,
        trace: &mut Trace,
    ) -> Result<Content, Refusal> {
        if self.allowed.refuses_unprotected() {
            return Err(self.allowed.unprotected());
        }
        trace.event.weak = self.query.is_some() || !content.is_empty();
        let provider = self.allowed.routed.provider;
        if provider.observe == 0 || !trace.event.weak || !self.is_sampled(provider.observe, trace) {
            return Ok(content);
        }
        let query = outgoing_query(self.query.as_deref(), provider, None);
        trace.observed = Some(Box::new(Sample::of(query.as_deref().cloned(), headers)));
        // What passes is kept, and looked at when it has gone.
        let (body, progress) = self.stream(content, true);
        Ok(Content::Begun(body, progress))
    }

    /// Whether this is the one of so many calls that is looked at.
    fn is_sampled(&self, one_in: u32, trace: &Trace) -> bool {
        let [a, b, c, d, ..] = self.worker.chance();
        u32::from_ne_bytes([a, b, c, d]).is_multiple_of(one_in)
            && self.worker.shared.observing.takes(unix_seconds(trace.event.at_ms))
    }

    /// Step 5, for an operation with a policy; `now` is in Unix seconds.
    async fn protect(
        &mut self,
        policy: &Policy,
        consent: Option<Consent>,
        parts: &mut Parts,
        content: Content,
        now: u64,
        trace: &mut Trace,
    ) -> Result<Content, Refusal> {
        trace.event.purpose = Some(Arc::clone(&policy.purpose));
        let Routed { provider, number, .. } = self.allowed.routed;
        let enforces = policy.enforces(now);
        let (mut body, progress) = self.stream(content, true);
        let whole = body.look_ahead(policy.body_bytes, &self.limits).await?;
        let query = outgoing_query(self.query.as_deref(), provider, None);
        let shared = &self.worker.shared;
        let person = if policy.needs_person { self.person(enforces).await } else { Person::default() };
        let told = Told::new(policy)
            .without_consent(consent.is_some_and(|consent| !consent.is_granted()))
            .with(With {
                roots: shared.protection.of(self.snapshot.client_name(self.allowed.client)),
                person,
                provider: &provider.name,
                now,
                live: policy.assert_absent.contains(&Detector::Secret).then(|| shared.leases.live()),
            });
        let mut told = if enforces { told } else { told.reporting() };
        let fresh = whole.as_deref().ok_or_else(|| Breach::too_large(policy)).and_then(|body| {
            let original = Original {
                method: &parts.method,
                path: &self.path,
                query: query.as_deref().map(String::as_str),
                headers: &parts.headers,
                body,
            };
            protect::rewrite(provider, number, &original, &mut told)
        });
        self.at = trace.step(Step::Protect, self.at);
        if !enforces {
            let refused = fresh.err();
            let unread = whole.as_deref().filter(|_| refused.is_some());
            let hard = unread.map_or(Ok(()), |body| told.trip_unread(body)).err();
            if let Some(breach) = refused.clone().filter(|breach| breach.is_hard).or(hard) {
                return Err(breach.refusal(policy));
            }
            let breach = told.breach.take().or(refused);
            trace.event.sent = told.sent_as_it_was();
            trace.event.would = Some(Box::new(told.would(breach)));
            return Ok(Content::Begun(body, progress));
        }
        let fresh = fresh.map_err(|breach| breach.refusal(policy))?;
        (trace.event.sent, trace.event.withheld) = (told.sent(), told.withheld());
        fresh.apply(&mut parts.headers);
        if let Some(path) = fresh.path {
            self.path = Cow::Owned(path);
        }
        if query.is_some() || self.query.is_some() {
            self.query = fresh.query.filter(|query| !query.is_empty()).map(Cow::Owned);
        }
        Ok(Content::Held(fresh.body))
    }

    /// By whose key values are sealed. Where a policy only reports nothing is, and no key is made.
    async fn person(&self, enforces: bool) -> Person {
        match self.whom {
            Whom::Nobody => Person::Unnamed,
            Whom::Several => Person::Several,
            Whom::One(_) if !enforces => Person::for_sample(),
            Whom::One(index) => {
                let client = self.snapshot.client_name(self.allowed.client);
                let key = self.worker.shared.persons.of(client, &index).await;
                key.map_or(Person::Unavailable, Person::Known)
            }
        }
    }

    /// Step 6, for an operation of a provider whose answers are cached.
    async fn through_the_cache(
        mut self,
        rules: &Arc<Rules>,
        mut parts: Parts,
        content: Content,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let (worker, allowed) = (self.worker, self.allowed);
        let provider = allowed.routed.provider;
        // What is keyed is what is sent.
        headers::clean_request(&mut parts.headers, provider);
        if self.lease.is_some() {
            echo::limit_codings(&mut parts.headers);
        }
        if let Cow::Owned(path) = one_spelling(&self.path) {
            self.path = Cow::Owned(path);
        }
        if let Some(Cow::Owned(query)) = self.query.as_deref().map(one_spelling) {
            self.query = Some(Cow::Owned(query));
        }
        let has_body = !content.is_empty();
        let (content, whole) = match content {
            content if !has_body => (content, Some(Bytes::new())),
            Content::Held(bytes) => (Content::Held(bytes.clone()), bytes),
            content if !keys_body(rules, &parts.method) => (content, None),
            content => {
                let (mut body, progress) = self.stream(content, true);
                let whole = body.look_ahead(BODY_MAX, &self.limits).await?;
                (Content::Begun(body, progress), whole)
            }
        };
        let query = outgoing_query(self.query.as_deref(), provider, None);
        let origin = reach::origin(allowed, allowed.routed.operation.origin)?;
        let asked = Asked {
            rules,
            method: &parts.method,
            origin,
            path: &self.path,
            query: query.as_deref().map(String::as_str),
            headers: &parts.headers,
            body: whole.clone(),
            has_body,
            whose: whose(self.snapshot, allowed, self.lease.as_deref()),
            provider,
            operation: &allowed.routed.operation.id,
        };
        let found = worker.shared.cache.look(&asked, self.limits.deadline).await?;
        self.at = trace.step(Step::Cache, self.at);
        let mut storing = match found {
            Found::Answer(answer) => return self.give(*answer, &parts, whole, trace),
            Found::Onward(storing) => Some(storing),
        };
        trace.awaited.set(storing.as_ref().and_then(|storing| storing.awaited()));
        let outcome = Box::pin(self.carry(parts, content, &mut storing, trace)).await;
        match (outcome, storing) {
            (Err(refusal), Some(storing)) => match storing.fail(&refusal) {
                Some(answer) => {
                    trace.stands_in(&refusal);
                    self.stored(*answer, trace)
                }
                None => Err(refusal),
            },
            (outcome, _) => outcome,
        }
    }

    /// Give what is stored; where it is stale by now, have its successor fetched meanwhile.
    fn give(
        &self,
        mut answer: cache::Answer,
        parts: &Parts,
        body: Option<Bytes>,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        if let Some(storing) = answer.refresh.take() {
            let again = Again {
                worker: Rc::clone(self.worker),
                snapshot: Arc::clone(self.snapshot),
                call: OwnedCall::of(self.allowed),
                path: self.path.clone().into_owned(),
                query: self.query.as_deref().map(str::to_owned),
            };
            let trace = Trace::in_background(trace);
            tokio::task::spawn_local(again.run(unconditional(parts), body, storing, trace));
        }
        self.stored(answer, trace)
    }

    fn stored(&self, answer: cache::Answer, trace: &mut Trace) -> Result<Answer, Refusal> {
        trace.event.cache = Some(answer.way.as_str());
        let cache::served::Served { mut parts, body } = answer.served;
        let origin = reach::origin(self.allowed, self.allowed.routed.operation.origin)?;
        self.finish_head(&mut parts, origin, trace)?;
        Ok(Answer::Stored(Box::new(parts), body))
    }

    /// What stands in every answer, wherever it is from.
    fn finish_head(
        &self,
        parts: &mut http::response::Parts,
        origin: &Origin,
        trace: &Trace,
    ) -> Result<(), Refusal> {
        let query = outgoing_query(self.query.as_deref(), self.allowed.routed.provider, None);
        let turn = Route {
            path: &self.path,
            query: query.as_deref().map(String::as_str),
            origins: self.allowed.connection.as_ref().map_or(&[], |c| c.origins.as_slice()),
            origin,
            prefix: self.prefix,
            gateway: self.gateway,
        };
        turn_round(parts, &turn)?;
        parts.version = http::Version::HTTP_11;
        parts.extensions.clear();
        parts.headers.insert("tidegate-call", headers::value(trace.event.id.as_str()));
        parts.headers.append("server-timing", headers::value(&trace.own_share()));
        for name in self.allowed.routed.provider.dialect.iter().flat_map(|dialect| dialect.hidden()) {
            parts.headers.remove(name);
        }
        trace.tell_limits(&mut parts.headers);
        Ok(())
    }

    /// `kept`: what passes may have to be sent again.
    fn stream(&self, content: Content, kept: bool) -> (RequestBody, Rc<Progress>) {
        match content {
            Content::Coming(incoming) => {
                let bound = self.allowed.routed.provider.bounds.request_body_bytes;
                RequestBody::new(Some(incoming), bound, kept)
            }
            Content::Begun(body, progress) => (body, progress),
            Content::Held(bytes) => RequestBody::held(bytes),
        }
    }

    /// Steps 7 to 11: to the provider, and back. It is large; boxed, it is made room for only when it is needed,
    /// and not moved with the call.
    async fn carry(
        &mut self,
        mut parts: Parts,
        content: Content,
        storing: &mut Option<Box<Storing>>,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let (worker, allowed, limits) = (self.worker, self.allowed, self.limits);
        let provider = allowed.routed.provider;

        // 7. reserve: what the call costs of the provider's quotas, taken before it leaves.
        if provider.quotas.is_some() {
            let mut waited = None;
            let reserved = reserve(self.snapshot, allowed, self.class, limits.deadline, &mut waited).await;
            trace.waited(waited);
            trace.reserved(reserved?);
            self.at = trace.step(Step::Reserve, self.at);
        }

        // 8. dial: a connection that is proven to lead to the origin, or to one that stands in for it.
        let mut way = Way::begin(worker, self.snapshot, allowed, self.lease.clone(), limits, trace)?;
        let proven = way.dial(trace).await?;
        let mut at = trace.step(Step::Dial, self.at);

        // 9. attach: the consumer's own fields are dropped, the credential goes on the final bytes.
        headers::clean_request(&mut parts.headers, provider);
        if way.lease.is_some() {
            echo::limit_codings(&mut parts.headers);
        }
        if let Some(reservation) = &trace.reservation {
            reservation.prepare(&mut parts.headers);
        }
        parts.extensions.clear();
        if let Some(storing) = storing {
            storing.ask(&mut parts.headers);
        }
        let kept = way.keeps(&parts.method);
        let (mut body, progress) = self.stream(content, kept);
        progress.touched.set(Instant::now());
        progress.ends.set(allowed.agreed.ends());
        trace.progress = Some(Rc::clone(&progress));
        let mut keyed = None;
        let repeat = way.repeat(&mut parts, self.query.as_deref(), &mut keyed, &mut body).await?;
        let query = keyed.as_deref().or(self.query.as_deref());
        let covers_body = provider.sign.as_ref().is_some_and(|signer| signer.covers_body(&parts.headers))
            || provider.hook.as_ref().is_some_and(|hook| hook.body);
        let gathered = if covers_body { Some(body.gather(sign::BODY_MAX, &limits).await?) } else { None };
        let hooks = &worker.shared.hooks;
        let outgoing =
            Outgoing { path: &self.path, query, body: gathered, provider, hooks, ends: limits.deadline };
        outgoing.attach(&mut parts, way.lease.as_deref(), &proven).await?;
        at = trace.step(Step::Attach, at);

        // 10. forward: send it, again where that is safe, and wait for the head of the answer.
        let method = parts.method.clone();
        let tried = Tried::default();
        let mut sending = Sending { way, outgoing, proven, progress, repeat, kept, tried };
        let answer = sending.answer(parts, body, trace).await?;
        let Sending { way: Way { lease, limits, .. }, proven, progress, .. } = sending;
        let now = Instant::now();
        trace.event.provider_us = Some(micros(at, now));
        trace.event.provider_status = Some(answer.status().as_u16());
        trace.step(Step::Forward, at);

        // 11. respond: bound it, clean it, strike out the credential, store it, turn its redirects round.
        let (mut parts, incoming) = answer.into_parts();
        let too_soon = trace.heard(provider.dialect.as_ref(), &parts);
        let echo = Echo::begin(lease.as_ref(), provider, &method, &mut parts)?;
        if let Some(storing) = storing {
            storing.see(&parts);
        }
        clean(&mut parts, provider.bounds.response_body_bytes)?;
        let looking = match &allowed.routed.operation.checks {
            Some(checks) => checks.look(&method, &mut parts, incoming.is_end_stream(), &mut trace.told)?,
            None => None,
        };
        let mut keeping = None;
        if let Some(storing) = storing.take() {
            match storing.settle(&worker.shared.cache, provider, &mut parts) {
                Settled::Answer(answer) => {
                    // A 304 is whole: its connection is at rest.
                    if incoming.is_end_stream() {
                        proven.lend(Rc::clone(&worker.pool), progress.done.get()).give_back();
                    }
                    return self.stored(*answer, trace);
                }
                Settled::Keep(kept, way) => {
                    trace.event.cache = Some(way.as_str());
                    keeping = Some(kept);
                }
                Settled::Pass(way) => trace.event.cache = Some(way.as_str()),
            }
        }
        self.finish_head(&mut parts, proven.origin(), trace)?;
        if too_soon {
            parts.headers.insert("tidegate-throttle", HeaderValue::from_static("provider"));
        }
        Ok(Answer::Provider(Box::new(FromProvider {
            parts,
            incoming,
            borrowed: proven.lend(Rc::clone(&worker.pool), progress.done.get()),
            echo,
            bound: provider.bounds.response_body_bytes,
            idle: allowed.deadlines().idle(),
            deadline: limits.deadline,
            keeping,
            looking,
        })))
    }
}

/// The answer with its consumer's own values, where tokens stand for them. One that cannot be looked into goes
/// on as it is.
async fn restored(
    answer: Response<AnswerBody>,
    restoring: Restoring,
    shared: &Arc<Shared>,
) -> Response<AnswerBody> {
    let (mut parts, mut body) = answer.into_parts();
    if parts.headers.contains_key(CONTENT_ENCODING) || body.is_end_stream() {
        return Response::from_parts(parts, body);
    }
    let content_type = parts.headers.get(CONTENT_TYPE);
    if content_type.is_some_and(is_events) {
        content::undescribe(&mut parts.headers);
        let stream = RestoredStream::new(body, Held::new(restoring), Arc::clone(shared));
        return Response::from_parts(parts, AnswerBody::Restored(Box::new(stream)));
    }
    if !content_type.is_some_and(is_json) {
        return Response::from_parts(parts, body);
    }
    let whole = match body.gather(restore::ANSWER_BYTES_MAX).await {
        Ok(whole) => whole,
        Err(rest) => return Response::from_parts(parts, rest),
    };
    let whole = match restoring.restore(&whole, &shared.persons).await {
        Some(fresh) => {
            let fresh = Bytes::from(fresh);
            content::describe(&mut parts.headers, &fresh);
            fresh
        }
        None => whole,
    };
    Response::from_parts(parts, AnswerBody::Own(Some(whole)))
}

fn is_json(content_type: &HeaderValue) -> bool {
    let kind = essence(content_type);
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

fn is_events(content_type: &HeaderValue) -> bool {
    essence(content_type).eq_ignore_ascii_case("text/event-stream")
}

fn essence(content_type: &HeaderValue) -> &str {
    content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// In whose name a call goes, for the cache to keep it apart from others'.
pub fn whose(snapshot: &Snapshot, allowed: &AllowedCall<'_>, lease: Option<&Lease>) -> Principal {
    let provider = allowed.routed.provider;
    // What is stored is what passed the checks, in the form that it passed them in.
    let checks = allowed.routed.operation.checks.as_ref().map_or(0, |checks| checks.fingerprint);
    Principal {
        client: Arc::clone(snapshot.client_name(allowed.client)),
        provider: Arc::clone(&provider.name),
        provider_rules: provider.rules ^ checks,
        connection: allowed.connection.as_ref().map(|one| (Arc::clone(&one.id), one.version)),
        credential: lease.map(|lease| *lease.fingerprint()),
    }
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
    if trace.blocks && !trace.progress.as_ref().is_some_and(|progress| progress.done.get()) {
        // What is refused before its body was read ends the connection; the consumer is told, lest its next
        // call goes there and is lost (RFC 9112 §9.6).
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
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

type Answering = Pin<Box<dyn Future<Output = Response<AnswerBody>>>>;

/// A call that goes on without its consumer where others wait for what it brings.
struct Outliving {
    worker: Rc<Worker>,
    awaited: Rc<Awaited>,
    call: Option<Answering>,
}

impl Outliving {
    fn new(worker: Rc<Worker>, awaited: Rc<Awaited>, call: Answering) -> Self {
        Self { worker, awaited, call: Some(call) }
    }
}

impl Future for Outliving {
    type Output = Response<AnswerBody>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let answer = ready!(call.as_mut().poll(context));
        self.call = None;
        Poll::Ready(answer)
    }
}

impl Drop for Outliving {
    fn drop(&mut self) {
        if let Some(call) = self.call.take()
            && self.awaited.is_awaited()
            && self.worker.running.get()
        {
            self.awaited.left.set(true);
            tokio::task::spawn_local(async move { fill::drain(call.await.into_body()).await });
        }
    }
}

/// A call made over again for the cache alone, of what was decided about the one that it is of.
struct Again {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    call: OwnedCall,
    path: String,
    query: Option<String>,
}

/// What was decided about a call, apart from the snapshot that it was decided by.
struct OwnedCall {
    token: AccessToken,
    provider: ProviderIndex,
    number: u32,
    client: ClientIndex,
    verdict: Verdict,
    rule: Arc<str>,
    connection: Option<Arc<Connection>>,
    agreed: Agreed,
}

impl OwnedCall {
    fn of(allowed: &AllowedCall<'_>) -> Self {
        let routed = &allowed.routed;
        Self {
            token: routed.caller.token.clone(),
            provider: routed.provider_index,
            number: routed.number,
            client: allowed.client,
            verdict: allowed.verdict,
            rule: Arc::clone(&allowed.rule),
            connection: allowed.connection.clone(),
            agreed: allowed.agreed.clone(),
        }
    }

    fn in_snapshot<'s>(&'s self, snapshot: &'s Snapshot) -> Option<AllowedCall<'s>> {
        let grants = snapshot.grants(self.token.consumer, self.provider)?;
        let grant = grants.iter().find(|grant| grant.name == self.rule)?;
        let provider = snapshot.provider(self.provider);
        Some(AllowedCall {
            routed: Routed {
                caller: Authenticated {
                    token: &self.token,
                    consumer: snapshot.consumer(self.token.consumer),
                },
                provider_index: self.provider,
                provider,
                number: self.number,
                operation: &provider.operations[self.number as usize],
            },
            client: self.client,
            grant,
            verdict: self.verdict,
            rule: Arc::clone(&self.rule),
            connection: self.connection.clone(),
            agreed: self.agreed.clone(),
        })
    }
}

impl Again {
    async fn run(self, parts: Parts, body: Option<Bytes>, storing: Box<Storing>, mut trace: Trace) {
        // It is the very snapshot that the call was decided by.
        let Some(allowed) = self.call.in_snapshot(&self.snapshot) else { return };
        let outcome = self.ask(&allowed, parts, body, storing, &mut trace).await;
        match outcome {
            Ok(answer) => fill::drain(answer.begin(trace).await.into_body()).await,
            Err(refusal) => trace.refuse(&refusal),
        }
    }

    async fn ask(
        &self,
        allowed: &AllowedCall<'_>,
        parts: Parts,
        body: Option<Bytes>,
        storing: Box<Storing>,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let mut going = Going {
            worker: &self.worker,
            snapshot: &self.snapshot,
            allowed,
            lease: lease(&self.worker, allowed, unix_now().as_secs())?,
            path: Cow::Borrowed(&self.path),
            query: self.query.as_deref().map(Cow::Borrowed),
            prefix: "",
            gateway: None,
            limits: Limits::new(trace.started, allowed.deadlines(), BODY_IDLE, None),
            class: allowed.grant.class,
            whom: Whom::Nobody,
            at: trace.started,
        };
        let mut storing = Some(storing);
        let outcome = Box::pin(going.carry(parts, Content::Held(body), &mut storing, trace)).await;
        trace.event.cache = Some(Cached::Refresh.as_str());
        if let (Err(refusal), Some(storing)) = (&outcome, storing) {
            storing.fail(refusal);
        }
        outcome
    }
}

/// A request for the whole answer, whatever of it the consumer has.
fn unconditional(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        parts.headers.remove(name);
    }
    parts
}
