//! By which origin a call reaches its provider, and whether it may: breaker, stand-ins, tries.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::sleep;

use crate::body::RequestBody;
use crate::decide::AllowedCall;
use crate::dial::pool::Proven;
use crate::error::{Code, Refusal};
use crate::event::unix_now;
use crate::forward::breaker::{Pass, Turned};
use crate::forward::bulkhead::Full;
use crate::forward::deadline::Limits;
use crate::forward::idempotency::{KeyedQuery, ensure_key};
use crate::forward::reach;
use crate::forward::rules::{FieldName, Resilience};
use crate::forward::state::ProviderMemory;
use crate::forward::tries::{Repeat, Tries, When, is_safe};
use crate::lease::Lease;
use crate::sign::{DigestAuth, Signer};
use crate::snapshot::Snapshot;
use crate::trace::Trace;
use crate::worker::Worker;

/// Answers that say of the origin that it cannot.
const CANNOT: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// Whether a try may go to another of the origins that stand for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    No,
    /// Nothing reached the one before.
    Free,
    /// The one before may have the call.
    Counted,
}

pub struct Way<'c> {
    pub(super) worker: &'c Rc<Worker>,
    pub(super) snapshot: &'c Snapshot,
    pub(super) allowed: &'c AllowedCall<'c>,
    pub lease: Option<Arc<Lease>>,
    pub limits: Limits,
    pub(super) rules: Option<&'c Resilience>,
    pub(super) memory: Option<Arc<ProviderMemory>>,
    tries: Tries<'c>,
    /// Which of the provider's origins it goes to.
    pub(super) origin: usize,
    pass: Option<Pass>,
}

impl<'c> Way<'c> {
    /// Take a seat among the calls at the provider, and see what is declared about faults.
    pub fn begin(
        worker: &'c Rc<Worker>,
        snapshot: &'c Snapshot,
        allowed: &'c AllowedCall<'c>,
        lease: Option<Arc<Lease>>,
        limits: Limits,
        trace: &mut Trace,
    ) -> Result<Self, Refusal> {
        let provider = allowed.routed.provider;
        let rules = provider.resilience.as_deref();
        let memory = rules.map(|_| worker.shared.faults.of(&provider.name));
        let mut tries = Tries::default();
        if let (Some(rules), Some(memory)) = (rules, &memory) {
            let client = snapshot.client_name(allowed.client);
            if let Some(rule) = rules.bulkhead {
                let seat = memory.bulkhead.take(rule, client).map_err(|full| no_seat(full, allowed))?;
                trace.seat = Some(seat);
            }
            if let Some(rule) = &rules.retry {
                tries = Tries::new(rule, memory.retries(client));
            }
        }
        let origin = allowed.routed.operation.origin;
        Ok(Self { worker, snapshot, allowed, lease, limits, rules, memory, tries, origin, pass: None })
    }

    /// A connection that is proven to lead to the origin, or to one that stands in for it.
    pub async fn dial(&mut self, trace: &mut Trace) -> Result<Proven, Refusal> {
        if self.pass.is_none() {
            self.enter(self.origin, true, trace)?;
        }
        loop {
            let timeout = self.limits.connect.min(self.limits.left(Instant::now()));
            let (lease, origin) = (self.lease.as_deref(), self.origin);
            let dialled = reach::dial(self.worker, self.snapshot, self.allowed, lease, origin, timeout).await;
            let refusal = match dialled {
                Ok(proven) => {
                    trace.dialled(&proven);
                    if origin != self.allowed.routed.operation.origin {
                        trace.event.failover = Some(proven.origin().to_string().into());
                    }
                    return Ok(proven);
                }
                Err(refusal) => refusal,
            };
            match refusal.code {
                Code::ProviderUnreachable | Code::ProviderTimeout if !self.is_over() => self.failed(trace),
                Code::TlsFailed => {
                    self.failed(trace);
                    return Err(refusal);
                }
                _ => {
                    self.pass = None;
                    return Err(refusal);
                }
            }
            let Some(pause) = self.another(When::Later, Elsewhere::Free, trace) else { return Err(refusal) };
            sleep(pause).await;
        }
    }

    /// Whether what passes of the body is to be kept for a second try.
    pub fn keeps(&self, method: &Method) -> bool {
        self.can_renew()
            || self.tries.any_left() && (Repeat::of(method) == Repeat::Idempotent || self.takes_key())
    }

    /// What a second arrival would do; gives the call a key where its operation takes one.
    pub async fn repeat(
        &self,
        parts: &mut Parts,
        query: Option<&str>,
        keyed: &mut KeyedQuery,
        body: &mut RequestBody,
    ) -> Result<Repeat, Refusal> {
        let repeat = Repeat::of(&parts.method);
        let convention = self.rules.and_then(|rules| rules.idempotency.as_ref());
        let Some(convention) = convention.filter(|_| self.tries.any_left() && self.takes_key()) else {
            return Ok(repeat);
        };
        let mut fresh = [0; 16];
        fresh[..10].copy_from_slice(&self.worker.chance());
        fresh[10..].copy_from_slice(&self.worker.chance()[..6]);
        let has_key = ensure_key(convention, parts, query, keyed, body, fresh, &self.limits).await?;
        Ok(if has_key && repeat == Repeat::Never { Repeat::Keyed } else { repeat })
    }

    fn takes_key(&self) -> bool {
        let convention = self.rules.and_then(|rules| rules.idempotency.as_ref());
        convention.is_some_and(|convention| convention.takes(self.allowed.routed.number))
    }

    pub fn any_tries(&self) -> bool {
        self.tries.any_left()
    }

    /// Whether the call is asked a second time when its answer is late.
    pub fn hedges(&self, method: &Method) -> bool {
        let rule = self.rules.and_then(|rules| rules.hedge.as_ref());
        rule.is_some_and(|rule| rule.covers(self.allowed.routed.number)) && is_safe(method)
    }

    /// Whether a call that is not let in may be let in with another token, or by what was learnt from that.
    pub fn can_renew(&self) -> bool {
        self.digest().is_some() || self.lease.as_ref().is_some_and(|lease| lease.is_issued())
    }

    pub fn digest(&self) -> Option<&'c DigestAuth> {
        match &self.allowed.routed.provider.sign {
            Some(Signer::Digest(digest)) => Some(digest),
            _ => None,
        }
    }

    /// The provider did not take the token: have another issued, and say whether there is one.
    pub async fn renew_lease(&mut self, patience: Duration) -> Result<bool, Refusal> {
        let (Some(old), Some(connection)) = (&self.lease, &self.allowed.connection) else { return Ok(false) };
        let patience = patience.min(self.limits.left(Instant::now()));
        if !self.worker.shared.leases.renewed(&connection.id, old, patience).await {
            return Ok(false);
        }
        self.lease = reach::lease(self.worker, self.allowed, unix_now().as_secs())?;
        Ok(true)
    }

    /// Whether an answer is to be asked for again.
    pub fn wants_instead(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let convention = self.rules.and_then(|rules| rules.idempotency.as_ref());
        let hint = convention.and_then(|convention| convention.hint.as_ref());
        self.tries.wants(status, headers, hint.map(|FieldName(name)| name))
    }

    /// Whether a call that this origin may have can go to another: a key may count at one origin alone.
    pub fn elsewhere(&self, repeat: Repeat) -> Elsewhere {
        let convention = self.rules.and_then(|rules| rules.idempotency.as_ref());
        let across = convention.is_some_and(|convention| convention.across_origins);
        match repeat {
            Repeat::Idempotent => Elsewhere::Counted,
            Repeat::Keyed if across => Elsewhere::Counted,
            Repeat::Keyed | Repeat::Never => Elsewhere::No,
        }
    }

    /// Take one of the call's tries: how long to wait for it, or None where there is none.
    pub fn another(&mut self, when: When, elsewhere: Elsewhere, trace: &mut Trace) -> Option<Duration> {
        if !self.tries.any_left() {
            return None;
        }
        self.lease = reach::lease(self.worker, self.allowed, unix_now().as_secs()).ok()?;
        let here = self.origin;
        let may_move = elsewhere != Elsewhere::No;
        self.enter(if may_move { self.after(here) } else { here }, may_move, trace).ok()?;
        let counted = elsewhere == Elsewhere::Counted;
        let when = if self.origin == here { when } else { When::Elsewhere { counted } };
        let [high, low, ..] = self.worker.chance();
        let lot = u16::from_be_bytes([high, low]);
        let pause = self.tries.take(when, Instant::now(), self.limits.deadline, lot);
        if pause.is_some() {
            trace.event.retries += 1;
        } else {
            self.pass = None;
        }
        pause
    }

    /// The origin has answered.
    pub fn answered(&mut self, status: StatusCode, trace: &mut Trace) {
        if CANNOT.contains(&status) {
            return self.failed(trace);
        }
        let Some(pass) = self.pass.take() else { return };
        if pass.succeeded(Instant::now()) == Some(Turned::Closed) {
            trace.event.breaker = Some("closed");
        }
    }

    /// The origin has not answered, or only that it cannot.
    pub fn failed(&mut self, trace: &mut Trace) {
        let Some(pass) = self.pass.take() else { return };
        if pass.failed(Instant::now()) == Some(Turned::Opened) {
            trace.event.breaker = Some("opened");
        }
    }

    /// Ask the breakers, of `first` and then of those that stand in for it.
    fn enter(&mut self, first: usize, elsewhere: bool, trace: &mut Trace) -> Result<(), Refusal> {
        let (Some(rules), Some(memory)) = (self.rules, &self.memory) else { return Ok(()) };
        let Some(rule) = rules.breaker else {
            self.origin = first;
            return Ok(());
        };
        let (now, mut next, mut closed_for) = (Instant::now(), first, Duration::MAX);
        loop {
            let breaker = memory.breaker(reach::origin(self.allowed, next)?);
            match breaker.enter(rule, self.allowed.client, now) {
                Ok(pass) => {
                    if pass.is_probe() {
                        trace.event.breaker = Some("probe");
                    }
                    self.origin = next;
                    self.pass = Some(pass);
                    return Ok(());
                }
                Err(left) => closed_for = closed_for.min(left),
            }
            next = self.after(next);
            if !elsewhere || next == first {
                break;
            }
        }
        // What opened it is worth more to the record than that it is open.
        trace.event.breaker = trace.event.breaker.or(Some("open"));
        let provider = &self.allowed.routed.provider.name;
        let detail =
            format!("Calls to provider `{provider}` fail, so none is sent for a moment; this one was not.");
        Err(Refusal::new(Code::CircuitOpen, detail).after(closed_for))
    }

    /// The next of the origins that stand for one another.
    fn after(&self, origin: usize) -> usize {
        let all = self.rules.map_or(&[][..], |rules| &rules.failover);
        match all.iter().position(|one| *one == origin) {
            Some(place) => all[(place + 1) % all.len()],
            None => origin,
        }
    }

    fn is_over(&self) -> bool {
        self.limits.left(Instant::now()).is_zero()
    }
}

fn no_seat(full: Full, allowed: &AllowedCall<'_>) -> Refusal {
    let provider = &allowed.routed.provider.name;
    let detail = match full {
        Full::Client => {
            format!("The client has as many calls at provider `{provider}` as its share allows.")
        }
        Full::Provider => format!("Provider `{provider}` has as many calls as it may have at once."),
    };
    let rule = format!("providers.{provider}.bulkhead");
    Refusal::new(Code::Overloaded, detail).by(rule.into()).after(Duration::from_secs(1))
}
