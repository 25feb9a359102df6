//! What is known of one call while it is under way, and its record when it has ended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::admit::Admission;
use crate::body::Progress;
use crate::cache::flight::Watch;
use crate::cache::status::Way as Cached;
use crate::decide::AllowedCall;
use crate::dial::pool::Proven;
use crate::dialect::{self, Dialect, Heard, Listening};
use crate::error::{Code, Refusal};
use crate::event::{CallId, Event, Step, micros, unix_now};
use crate::forward::bulkhead::Seat;
use crate::listen::Consumer;
use crate::listen::guard::BegunCall;
use crate::observe::Sample;
use crate::reserve::{Reservation, Waited};
use crate::schema;
use crate::snapshot::ConsumerIndex;
use crate::subject::Subjects;
use crate::worker::Worker;

/// What stands in the record of a call that goes on because its client only reports.
const WOULD_SUPPRESS: &str = "suppressed: would be refused, and is reported as declared";

/// One call's event in the making. Dropped, it is recorded: on every exit, once.
pub struct Trace {
    worker: Rc<Worker>,
    /// The guard's own knowledge of the request; while it is held, the connection is not idle.
    pub begun: Option<BegunCall>,
    /// While it is held, the call counts as under way.
    pub admission: Option<Admission>,
    pub started: Instant,
    pub event: Event,
    pub progress: Option<Rc<Progress>>,
    /// Whether its body comes on a connection that nothing else is read from until it has ended (RFC 9112 §9.3).
    pub blocks: bool,
    /// Its place among the calls at the provider.
    pub seat: Option<Seat>,
    /// Whose call this worker counts it as.
    pub under_way: Option<ConsumerIndex>,
    responding: Option<Instant>,
    /// Whether other calls wait for what this one brings.
    pub awaited: Rc<Awaited>,
    /// What the call has taken of its provider's quotas; it ends with the call.
    pub reservation: Option<Reservation>,
    /// What of it would have been refused.
    pub told: schema::Told,
    /// What of it is looked at when it has gone out.
    pub observed: Option<Box<Sample>>,
}

impl Trace {
    pub fn begin(worker: &Rc<Worker>, consumer: &Consumer, request: &Request<Incoming>) -> Self {
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
        let mut trace = Self::of(worker, event);
        trace.begun = consumer.begin();
        trace.blocks = request.version() < http::Version::HTTP_2 && !request.body().is_end_stream();
        trace
    }

    /// For a call that nobody waits for: to fetch what is to take the place of a stale answer.
    pub fn in_background(of: &Self) -> Self {
        of.worker.shared.calls_begun();
        let at_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
        let known = &of.event;
        let event = Event {
            id: CallId::new(at_ms, of.worker.chance()),
            at_ms,
            client: known.client.clone(),
            consumer: known.consumer.clone(),
            provider: known.provider.clone(),
            operation: known.operation.clone(),
            method: known.method.clone(),
            decision: known.decision,
            rule: known.rule.clone(),
            revision: known.revision,
            outcome: "consumer_gone",
            http: known.http,
            token: known.token.clone(),
            connection: known.connection.clone(),
            agreements: known.agreements.clone(),
            query: known.query.clone(),
            purpose: known.purpose.clone(),
            subjects: known.subjects.clone(),
            subject_consent: known.subject_consent.clone(),
            cache: Some(Cached::Refresh.as_str()),
            sent: known.sent.clone(),
            withheld: known.withheld.clone(),
            weak: known.weak,
            ..Event::default()
        };
        Self::of(&of.worker, event)
    }

    fn of(worker: &Rc<Worker>, event: Event) -> Self {
        Self {
            worker: Rc::clone(worker),
            begun: None,
            admission: None,
            started: Instant::now(),
            event,
            progress: None,
            blocks: false,
            seat: None,
            under_way: None,
            responding: None,
            awaited: Rc::default(),
            reservation: None,
            told: schema::Told::default(),
            observed: None,
        }
    }

    pub fn step(&mut self, step: Step, from: Instant) -> Instant {
        let now = Instant::now();
        self.event.steps_us.set(step, from, now);
        now
    }

    pub fn decided(&mut self, allowed: &AllowedCall<'_>) {
        self.event.decision = Some(allowed.verdict.as_str());
        self.event.rule = Some(Arc::clone(&allowed.rule));
        self.event.connection = allowed.connection.as_ref().map(|c| Arc::clone(&c.id));
        self.event.agreements = allowed.agreed.by().map(Arc::clone);
    }

    pub fn is_about(&mut self, subjects: Subjects) {
        self.event.subjects = subjects.indexes;
        if subjects.would_refuse {
            self.event.detail = Some(WOULD_SUPPRESS.into());
        }
    }

    pub fn waited(&mut self, waited: Option<Waited>) {
        self.event.quota = waited.map(|waited| waited.verdict);
        self.event.wait_ms = waited.map(|waited| u32::try_from(waited.wait.as_millis()).unwrap_or(u32::MAX));
    }

    pub fn reserved(&mut self, reservation: Option<Reservation>) {
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

    pub fn refuse(mut self, refusal: &Refusal) {
        self.event.outcome = refusal.code.as_str();
        self.event.status = refusal.code.problem().status;
        if let Some(rule) = &refusal.rule {
            self.event.rule = Some(Arc::clone(rule));
        }
        let internal = refusal.internal.as_deref().map(|internal| format!(" ({internal})"));
        self.event.detail = Some(format!("{}{}", refusal.detail, internal.unwrap_or_default()).into());
    }

    pub fn answered(&mut self, status: StatusCode) {
        self.event.status = status.as_u16();
        self.responding = Some(Instant::now());
    }

    /// What the answer's head says of the provider's limits goes to its quotas; tells whether it refused the call
    /// for one. What is left matters only to those who count, and an answer of success refuses nothing by its head.
    pub fn heard(&mut self, dialect: Option<&Arc<Dialect>>, parts: &http::response::Parts) -> bool {
        if self.reservation.is_none() && parts.status.is_success() {
            return false;
        }
        let (status, headers, now) = (parts.status, &parts.headers, SystemTime::now());
        let head = Heard { status, headers, body: None, now };
        if let Some(reservation) = &mut self.reservation {
            let signals = dialect::hear(dialect.map(Arc::as_ref), head);
            let listening = dialect.and_then(|it| Listening::begin(it, parts, &signals, now));
            reservation.answered(status, headers, &signals, listening);
        }
        !status.is_success() && dialect::refuses(dialect.map(Arc::as_ref), head)
    }

    pub fn tell_limits(&self, headers: &mut HeaderMap) {
        if let Some(admission) = &self.admission {
            admission.tell(headers, Instant::now(), &self.worker.shared.buckets);
        }
        if let Some(reservation) = &self.reservation {
            reservation.tell(headers);
        }
    }

    pub fn received(&mut self, bytes: u64) {
        self.event.received_bytes += bytes;
    }

    /// What is stored was given, because the provider could not be asked.
    pub fn stands_in(&mut self, refusal: &Refusal) {
        let internal = refusal.internal.as_deref().map(|internal| format!(" ({internal})"));
        let text = format!("{}: {}{}", refusal.code.as_str(), refusal.detail, internal.unwrap_or_default());
        self.event.detail = Some(text.into());
    }

    /// The consumer went; what still comes is for others.
    pub fn consumer_left(&mut self) {
        self.awaited.left.set(true);
    }

    /// The whole answer has passed.
    pub fn complete(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.complete();
        }
        self.event.outcome = "ok";
    }

    /// All of it is here, and none of it has passed.
    pub fn is_to_go_on(&mut self) {
        self.event.outcome = "consumer_gone";
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

    /// Let what went out whole be looked at, by the thread that writes the record.
    fn observe(&mut self) {
        let (Some(mut sample), Some(progress)) = (self.observed.take(), &self.progress) else { return };
        if progress.done.get() && self.event.steps_us.has(Step::Attach) {
            sample.put(progress.kept());
            self.event.observed = Some(sample);
        }
    }

    /// RFC-less but common `Server-Timing`: the milliseconds that were Tidegate's own.
    pub fn own_share(&self) -> String {
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
        if !self.event.steps_us.has(Step::Attach) {
            // Nothing has left.
            self.event.sent.clear();
            self.event.withheld.clear();
        }
        self.event.schema = self.told.take();
        if self.awaited.left.get() && self.event.outcome == "ok" {
            self.event.outcome = "consumer_gone";
        }
        if let Some(progress) = &self.progress {
            self.event.sent_bytes = progress.sent.get();
        }
        self.observe();
        self.worker.shared.calls_ended();
        if let Some(consumer) = self.under_way {
            // What stands in for a provider that failed took as long as the provider's own answer.
            let answered_here = self.event.steps_us.has(Step::Cache) && !self.event.steps_us.has(Step::Dial);
            self.worker.shed.leave(consumer, !answered_here);
        }
        let event = std::mem::take(&mut self.event);
        if self.worker.shared.config.record {
            self.worker.record.record(event);
        }
    }
}

/// Whether others wait for a call's answer, and whether its own consumer still does.
#[derive(Default)]
pub struct Awaited {
    by: RefCell<Option<Watch>>,
    pub left: Cell<bool>,
}

impl Awaited {
    pub fn set(&self, by: Option<Watch>) {
        *self.by.borrow_mut() = by;
    }

    pub fn is_awaited(&self) -> bool {
        self.by.borrow().as_ref().is_some_and(Watch::has_followers)
    }
}

/// Unknown methods come from outside: only the shape of a token, and not a long one, is kept.
fn method_name(method: &Method) -> &str {
    let name = method.as_str();
    if name.len() <= 16 { name } else { "OTHER" }
}
