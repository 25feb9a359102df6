//! Keep a call within what its provider allows: take its cost before it is sent, or wait, or refuse.
//!
//! Runs after `decide` and the cache, before `dial`. A provider with no quotas declared costs a look at an
//! `Option`. All that a call draws on is taken at once or not at all, under its provider's lock (`desk`), and
//! given back if the call never leaves. `model` counts as the provider counts, `pot` holds the count to what
//! the provider says (`signal`), `room` is where calls wait, `debits` keeps days and months on disk.

mod clock;
pub mod debits;
pub(crate) mod desk;
mod keeper;
pub mod model;
mod pot;
mod room;
pub mod rule;
pub mod signal;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};

pub use clock::VirtualClock;
pub use desk::LivePot;

use crate::class::Class;
use crate::decide::AllowedCall;
use crate::dialect::Listening;
use crate::error::{Code, Refusal};
use crate::ratelimit::{self, Throttled};
use crate::shared::Store;
use crate::snapshot::Snapshot;
use debits::Debits;
use desk::{Asked, Asking, Desk, Ending, Held, Place, Refused, WaitsFor, Why};
use keeper::Keeper;
use model::Nanos;
use rule::{Quota, Settle};
use signal::Signal;

/// The file in the spool's folder that keeps what is used of days and months.
const DEBITS: &str = "debits";
/// What is kept of a body to find in it what the call came to; of a larger one the estimate stands.
const SETTLED_BODY_MAX: usize = 256 << 10;

/// All that is counted at providers. One for the engine: workers share it.
#[derive(Debug)]
pub struct Reserve {
    origin: Instant,
    keeper: Arc<Keeper>,
    /// None in a simulation, which leaves nothing behind.
    debits: Option<Arc<Debits>>,
    clock: Option<Arc<VirtualClock>>,
    store: Option<Arc<Store>>,
    desks: Mutex<HashMap<Arc<str>, Arc<Desk>>>,
}

/// Proof that a call is within its provider's quotas. Dropped before it is sent, it gives all back.
#[derive(Debug)]
pub struct Reservation {
    desk: Arc<Desk>,
    held: Held,
    ending: Ending,
    went_before: bool,
    /// The body, as far as it may say more of the provider's limits.
    listening: Option<Listening>,
    /// Where the body says what the call came to, and what of it has passed.
    pointer: Option<Box<str>>,
    body: Vec<u8>,
}

/// How a call came by its reservation, for its record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waited {
    pub verdict: &'static str,
    pub wait: Duration,
}

impl Reserve {
    /// `spool` is the folder that this engine has the lock of, `origin` the moment from which times count.
    pub fn open(spool: &Path, origin: Instant, store: Option<Arc<Store>>) -> io::Result<Self> {
        Ok(Self {
            origin,
            keeper: Arc::new(Keeper::new(origin)),
            debits: Some(Arc::new(Debits::open(spool.join(DEBITS))?)),
            clock: None,
            store,
            desks: Mutex::default(),
        })
    }

    /// Counts that run by a clock of their own, and are looked after by whoever sets it.
    pub(crate) fn simulated(clock: Arc<VirtualClock>) -> Self {
        let origin = Instant::now();
        let keeper = Arc::new(Keeper::simulated(origin));
        Self { origin, keeper, debits: None, clock: Some(clock), store: None, desks: Mutex::default() }
    }

    /// When waiting calls are to be looked after next, in a simulation.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.keeper.due()
    }

    /// Look after those that are due.
    pub(crate) fn look_after(&self, at: Nanos) {
        self.keeper.look_after(at);
    }

    /// A snapshot comes into force: its providers' quotas are counted from where those before them stand.
    pub fn declare(&self, snapshot: &Snapshot) {
        let counted =
            |name: &Arc<str>| snapshot.providers.iter().any(|p| p.name == *name && p.quotas.is_some());
        let gone: Vec<_> = self
            .desks()
            .iter()
            .filter(|(name, _)| !counted(name))
            .map(|(_, desk)| Arc::clone(desk))
            .collect();
        for desk in gone {
            desk.forget();
        }
        for (number, provider) in (0..).zip(&snapshot.providers) {
            let Some(plan) = &provider.quotas else { continue };
            let desk = Arc::clone(self.desks().entry(Arc::clone(&provider.name)).or_insert_with(|| {
                let (keeper, debits, clock) =
                    (Arc::clone(&self.keeper), self.debits.clone(), self.clock.clone());
                let (name, store) = (Arc::clone(&provider.name), self.store.clone());
                Desk::new(name, self.origin, keeper, debits, clock, store)
            }));
            let accounts = snapshot.accounts(number);
            desk.declare(plan, |account| accounts.contains(account));
            let _ = plan.desk.set(desk);
        }
    }

    /// Every count as it stands.
    pub fn live(&self) -> Vec<LivePot> {
        let desks: Vec<_> = self.desks().values().map(Arc::clone).collect();
        desks.iter().flat_map(|desk| desk.live()).collect()
    }

    /// The engine has stopped: what was debited in advance and not used is given back.
    pub fn close(&self) -> io::Result<()> {
        self.keeper.close();
        let Some(debits) = &self.debits else { return Ok(()) };
        let exact = self.desks().values().flat_map(|desk| desk.exact()).collect();
        debits.close(exact)
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Take what the call costs, waiting where that is declared, until `deadline` at most.
pub async fn reserve(
    snapshot: &Snapshot,
    allowed: &AllowedCall<'_>,
    class: Class,
    deadline: Instant,
    waited: &mut Option<Waited>,
) -> Result<Option<Reservation>, Refusal> {
    let provider = allowed.routed.provider;
    let Some(plan) = &provider.quotas else { return Ok(None) };
    let draws = plan.draws(allowed.routed.number);
    let Some(desk) = plan.desk.get().filter(|_| !draws.is_empty()) else { return Ok(None) };
    let client = snapshot.client_name(allowed.client);
    let asking = Asking {
        client,
        account: allowed.connection.as_ref().map_or(client, |connection| &connection.id),
        operation: &allowed.routed.operation.id,
        origin: allowed.routed.operation.origin,
        class,
        deadline: desk.nanos(deadline),
    };
    let begun = desk.now();
    let refuse = |refused: &Refused| refusal(refused, &provider.name);
    let (taken, shares) = match desk.ask(begun, plan, draws, &asking) {
        Asked::Taken(taken, shares) => {
            *waited = Some(Waited { verdict: "at_once", wait: Duration::ZERO });
            (taken, shares)
        }
        Asked::Refused(refused) => {
            *waited = Some(Waited { verdict: refused.why.as_str(), wait: Duration::ZERO });
            return Err(refuse(&refused));
        }
        Asked::Waits(place) => {
            let mut waiting = Waiting { desk, client, place: Some(place) };
            let taken = waiting.until_let_in().await;
            let wait = Duration::from_nanos(desk.now().at.saturating_sub(begun.at));
            *waited = Some(Waited { verdict: taken.map_or_else(Why::as_str, |_| "waited"), wait });
            match (taken, waiting.place.take()) {
                (Ok(taken), Some(place)) => (taken, place.shares),
                (taken, place) => return Err(waiting.in_vain(taken.err(), place, &provider.name)),
            }
        }
    };
    let pointer = draws.iter().find_map(|draw| match &plan.quotas[draw.quota].settle {
        Some(Settle::Body(pointer)) => Some(pointer.as_str().into()),
        _ => None,
    });
    let held = Held::new(shares, taken);
    Ok(Some(Reservation {
        desk: Arc::clone(desk),
        held,
        ending: Ending::Unsent,
        went_before: false,
        listening: None,
        pointer,
        body: Vec::new(),
    }))
}

/// A call in the room. Dropped, because its consumer has left, it leaves its place to the next.
struct Waiting<'c> {
    desk: &'c Arc<Desk>,
    client: &'c Arc<str>,
    place: Option<Place>,
}

impl Waiting<'_> {
    async fn until_let_in(&mut self) -> Result<Nanos, Why> {
        let Some(place) = &mut self.place else { return Err(Why::TooLate) };
        let until = self.desk.instant(place.until);
        let told = tokio::time::timeout_at(until.into(), &mut place.door).await;
        // Who waits for the store's answer alone is told by a closed door that there was nothing.
        let (late, closed) = match place.waits_for {
            WaitsFor::Store => (Why::Exhausted, Why::Exhausted),
            WaitsFor::Quota | WaitsFor::Disk => (Why::TooLate, Why::RoomFull),
        };
        told.map_err(|_| late)?.map_err(|_| closed)
    }

    fn in_vain(&self, why: Option<Why>, place: Option<Place>, provider: &str) -> Refusal {
        let (Some(mut place), Some(why)) = (place, why) else {
            return Refusal::new(Code::Internal, "A call lost its place.");
        };
        self.desk.leave(self.client, &mut place);
        if place.waits_for == WaitsFor::Disk {
            return Refusal::new(
                Code::Overloaded,
                "What is used of a day's or a month's quota cannot be written to disk, and nothing goes unwritten.",
            );
        }
        refusal(&self.desk.in_vain(why, &place.shares), provider)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = &mut self.place {
            self.desk.leave(self.client, place);
        }
    }
}

impl Reservation {
    pub fn cost(&self) -> u64 {
        self.held.cost()
    }

    /// The call leaves: from now on what it took is not given back.
    pub fn sent(&mut self) {
        if self.ending == Ending::Unsent {
            self.ending = Ending::Gone;
        }
    }

    /// It did not reach the provider after all; an earlier try may have.
    pub fn unsent(&mut self) {
        if !self.went_before {
            self.ending = Ending::Unsent;
        }
    }

    /// The call is to go out once more by another connection, and its provider may count it twice. It may not
    /// where that cannot be written down first.
    pub fn sent_again(&mut self) -> bool {
        self.went_before = true;
        self.desk.take_again(&self.held.shares, true)
    }

    /// Whether there is enough for the call to go out once more, after a try that came to nothing; it is taken.
    pub fn draws_again(&mut self) -> bool {
        if self.ending == Ending::Unsent {
            return true;
        }
        self.went_before = true;
        self.desk.take_again(&self.held.shares, false)
    }

    /// The provider did not bear the call: it refused it, broke it off, or did not answer in time.
    pub fn dropped(&mut self) {
        self.desk.dropped(&self.held);
        self.ending = Ending::Dropped;
    }

    /// What is settled by its body must be readable.
    pub fn prepare(&self, headers: &mut HeaderMap) {
        if self.pointer.is_some() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }

    /// Take the word of an answer's head on the provider's limits. `listening`: its body may say more.
    pub fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        signals: &[Signal],
        listening: Option<Listening>,
    ) {
        self.desk.answered(
            &mut self.held,
            signals,
            |quota| said(quota, status, headers),
            |quota| {
                let is_told = |listening: &Listening| listening.tells_cost(&quota.name);
                quota.is_settled_by_body() || listening.as_ref().is_some_and(is_told)
            },
        );
        self.ending = Ending::Gone;
        if overburdened(status) || signals.iter().any(|signal| signal.throttled) {
            self.dropped();
        }
        self.listening = listening;
        if headers.contains_key(CONTENT_ENCODING) {
            self.pointer = None;
        }
    }

    /// Tell on an answer where the call's quotas stand.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let told = self.desk.allowances(&self.held);
        if !told.is_empty() {
            headers.append("ratelimit-policy", ratelimit::policy_field(&told));
            headers.append("ratelimit", ratelimit::limit_field(&told));
        }
    }

    /// A piece of the answer's body, as it came.
    pub fn passes(&mut self, piece: &Bytes) {
        if let Some(listening) = &mut self.listening {
            listening.passes(piece);
        }
        if self.pointer.is_none() {
            return;
        }
        if self.body.len() + piece.len() > SETTLED_BODY_MAX {
            self.pointer = None;
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// Take the word of the answer's body, as much as has passed of it.
    fn heard_out(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        let signals = listening.complete();
        // What stays open is settled when the call has ended.
        self.desk.answered(&mut self.held, &signals, |_| None, |_| true);
        if self.ending == Ending::Gone && signals.iter().any(|signal| signal.throttled) {
            self.dropped();
        }
    }

    /// The whole answer has passed.
    pub fn complete(&mut self) {
        self.heard_out();
        if self.ending == Ending::Gone {
            self.ending = Ending::Answered;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Who leaves before the end leaves a refusal behind all the same.
        self.heard_out();
        let actual = self.pointer.as_ref().and_then(|pointer| {
            let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
            whole(body.pointer(pointer)?)
        });
        self.desk.ended(&self.held, actual, self.ending);
    }
}

/// What the head of an answer says that the call came to by a quota.
fn said(quota: &Quota, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if quota.free.contains(&status) {
        return Some(0);
    }
    let Some(Settle::Header(name)) = &quota.settle else { return None };
    let text = headers.get(name.as_str())?.to_str().ok()?;
    whole(&serde_json::from_str(text.trim()).ok()?)
}

/// A cost is a whole number; a fraction counts as a whole one.
fn whole(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let cost = value.as_f64().filter(|cost| (0.0..1e15).contains(cost))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
        Some(cost.ceil() as u64)
    })
}

/// Statuses by which a provider says that it bears no more: 503, and 529 of some.
fn overburdened(status: StatusCode) -> bool {
    matches!(status.as_u16(), 503 | 529)
}

impl Why {
    /// As it stands in the call's record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::TooDear => "too_dear",
            Self::RoomFull => "room_full",
            Self::TooLate => "too_late",
        }
    }
}

fn refusal(refused: &Refused, provider: &str) -> Refusal {
    let quota = &refused.quota;
    let named = format!("quota `{}` of provider `{provider}` ({})", quota.name, quota.describe());
    let soon =
        refused.wait.map_or_else(String::new, |wait| format!(" in {} s", ratelimit::seconds_up(wait).max(1)));
    let (code, detail) = match refused.why {
        Why::TooDear => (
            Code::QuotaExceeded,
            format!(
                "The call costs more than {named} ever has; whoever runs Tidegate can declare another cost or quota."
            ),
        ),
        Why::Exhausted if refused.closed => {
            (Code::QuotaExceeded, format!("The provider refused calls by {named}; it takes more{soon}."))
        }
        Why::Exhausted => (Code::QuotaExceeded, format!("Nothing is left of {named}; there is more{soon}.")),
        Why::RoomFull => {
            (Code::QuotaExceeded, format!("As many calls as may wait for {named}; try again{soon}."))
        }
        Why::TooLate => (
            Code::QueueTimeout,
            format!("The call would wait for {named} longer than it may; try again{soon}."),
        ),
    };
    Refusal::new(code, detail).by(format!("quotas.{}", quota.name).into()).throttled(Throttled {
        limits: refused.limits.clone(),
        violated: refused.violated.clone(),
        retry_after: refused.wait,
        scope: "quota",
    })
}
