//! Keep a call within what its provider allows: take its cost before it is sent, or wait, or refuse.
//!
//! Runs after `decide` and the cache, before `dial`. A provider with no quotas declared costs a look at an
//! `Option`. All that a call draws on is taken at once or not at all, under its provider's lock (`desk`), and
//! given back if the call never leaves. `model` counts as the provider counts, `pot` holds the count to what
//! the provider says (`signal`), `room` is where calls wait, `debits` keeps days and months on disk.

pub mod debits;
mod desk;
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
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};

pub use desk::LivePot;

use crate::class::Class;
use crate::decide::AllowedCall;
use crate::error::{Code, Refusal};
use crate::ratelimit::Throttled;
use crate::snapshot::Snapshot;
use debits::Debits;
use desk::{Asked, Asking, Desk, Ending, Held, Place, Refused, Why};
use keeper::Keeper;
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
    debits: Arc<Debits>,
    desks: Mutex<HashMap<Arc<str>, Arc<Desk>>>,
}

/// Proof that a call is within its provider's quotas. Dropped before it is sent, it gives all back.
#[derive(Debug)]
pub struct Reservation {
    desk: Arc<Desk>,
    held: Held,
    ending: Ending,
    went_before: bool,
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
    /// `spool` is the folder that this engine has the lock of.
    pub fn open(spool: &Path) -> io::Result<Self> {
        let origin = Instant::now();
        Ok(Self {
            origin,
            keeper: Arc::new(Keeper::new(origin)),
            debits: Arc::new(Debits::open(spool.join(DEBITS))?),
            desks: Mutex::default(),
        })
    }

    /// A snapshot comes into force: its providers' quotas are counted from where those before them stand.
    pub fn declare(&self, snapshot: &Snapshot) {
        for (number, provider) in (0..).zip(&snapshot.providers) {
            let Some(plan) = &provider.quotas else { continue };
            let desk = Arc::clone(self.desks().entry(Arc::clone(&provider.name)).or_insert_with(|| {
                let (keeper, debits) = (Arc::clone(&self.keeper), Arc::clone(&self.debits));
                Arc::new(Desk::new(Arc::clone(&provider.name), self.origin, keeper, debits))
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
        let exact = self.desks().values().flat_map(|desk| desk.exact()).collect();
        self.debits.close(exact)
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
            let verdict = if taken.is_some() { "waited" } else { Why::TooLate.as_str() };
            *waited = Some(Waited { verdict, wait });
            match (taken, waiting.place.take()) {
                (Some(taken), Some(place)) => (taken, place.shares),
                (_, place) => return Err(waiting.in_vain(place, &provider.name)),
            }
        }
    };
    let pointer = draws.iter().find_map(|draw| match &plan.quotas[draw.quota].settle {
        Some(Settle::Body(pointer)) => Some(pointer.as_str().into()),
        _ => None,
    });
    let held = Held::new(shares, taken);
    let desk = Arc::clone(desk);
    let ending = Ending::Unsent;
    Ok(Some(Reservation { desk, held, ending, went_before: false, pointer, body: Vec::new() }))
}

/// A call in the room. Dropped, because its consumer has left, it leaves its place to the next.
struct Waiting<'c> {
    desk: &'c Arc<Desk>,
    client: &'c Arc<str>,
    place: Option<Place>,
}

impl Waiting<'_> {
    async fn until_let_in(&mut self) -> Option<u64> {
        let place = self.place.as_mut()?;
        let until = self.desk.instant(place.until);
        tokio::time::timeout_at(until.into(), &mut place.door).await.ok()?.ok()
    }

    fn in_vain(&self, place: Option<Place>, provider: &str) -> Refusal {
        let Some(mut place) = place else { return Refusal::new(Code::Internal, "A call lost its place.") };
        self.desk.leave(self.client, &mut place);
        if place.for_disk {
            return Refusal::new(
                Code::Overloaded,
                "What is used of a day's or a month's quota cannot be written to disk, and nothing goes unwritten.",
            );
        }
        refusal(&self.desk.in_vain(&place.shares), provider)
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

    /// The call goes out once more by another connection: its provider may count it twice.
    pub fn sent_again(&mut self) {
        self.went_before = true;
        self.desk.take_again(&self.held.shares, true);
    }

    /// Whether there is enough for the call to go out once more, after a try that came to nothing; it is taken.
    pub fn draws_again(&mut self) -> bool {
        if self.ending == Ending::Unsent {
            return true;
        }
        self.went_before = true;
        self.desk.take_again(&self.held.shares, false)
    }

    /// The provider did not answer.
    pub fn dropped(&mut self) {
        self.ending = Ending::Dropped;
    }

    /// What is settled by its body must be readable.
    pub fn prepare(&self, headers: &mut HeaderMap) {
        if self.pointer.is_some() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }

    /// Take the provider's word on its limits; `signals` is what its dialect says, and may be empty.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap, signals: &[Signal]) {
        let standard;
        let signals = if signals.is_empty() {
            standard = Signal::standard(status, headers, SystemTime::now());
            standard.as_slice()
        } else {
            signals
        };
        self.desk.answered(&mut self.held, signals, |quota| said(quota, status, headers));
        self.ending = if overburdened(status) { Ending::Dropped } else { Ending::Gone };
        if headers.contains_key(CONTENT_ENCODING) {
            self.pointer = None;
        }
    }

    /// Take the provider's word on its limits that did not come with the head of its answer.
    pub fn observe(&mut self, signal: &Signal) {
        self.desk.answered(&mut self.held, std::slice::from_ref(signal), |_| None);
    }

    /// A piece of the answer's body, where that says what the call came to.
    pub fn passes(&mut self, piece: &Bytes) {
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

    /// The whole answer has passed.
    pub fn complete(&mut self) {
        if self.ending == Ending::Gone {
            self.ending = Ending::Answered;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
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
    let soon = refused
        .wait
        .map_or_else(String::new, |wait| format!(" in {} s", crate::ratelimit::seconds_up(wait).max(1)));
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
    let violated = refused.limits.iter().map(|limit| Arc::clone(&limit.name)).collect();
    Refusal::new(code, detail).throttled(Throttled {
        limits: refused.limits.clone(),
        violated,
        retry_after: refused.wait,
        scope: "quota",
    })
}
