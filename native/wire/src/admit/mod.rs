//! Hold consumers, clients and grants to the rates and the concurrency that are declared for them.
//!
//! Runs after `decide`. A bucket is named by who calls, as `authenticate` and `decide` found it, never by
//! anything that the call says of itself: no spelling of a path and no header opens a second one. What is
//! counted for a consumer or by a grant is counted for each client apart, so that no client's calls are
//! felt by another. Of several limits, all give or none does.

pub mod bucket;
mod together;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::admit::bucket::{Bucket, Moment, Rate};
use crate::admit::together::Lack;
use crate::decide::AllowedCall;
use crate::error::{Code, Refusal};
use crate::ratelimit::{self, Allowance, Throttled, Unit};
use crate::shared::Store;
use crate::snapshot::{ClientIndex, Snapshot};

/// Calls that are under way are not timed: when one ends, nobody knows.
const AFTER_CONCURRENCY: Duration = Duration::from_secs(1);
/// How long a call waits at most for the answer of the store by which several gateways count together.
const LEASED: Duration = Duration::from_secs(1);

/// Whom a limit is declared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Consumer,
    Client,
    Grant,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Client => "client",
            Self::Grant => "grant",
        }
    }
}

/// A limit as the snapshot has it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Declared {
    /// So many calls in each window; null: no rate.
    #[serde(default)]
    amount: Option<u64>,
    #[serde(default = "one_second")]
    window_ms: u64,
    /// Null: the amount.
    #[serde(default)]
    burst: Option<u64>,
    #[serde(default)]
    concurrency: Option<u32>,
    /// One count for all clients together.
    #[serde(default)]
    shared: bool,
}

fn one_second() -> u64 {
    1_000
}

/// A limit with its buckets: one for each client, or one for all.
#[derive(Debug)]
pub struct Limit {
    scope: Scope,
    /// The consumer's, client's or grant's name.
    name: Arc<str>,
    declared: Declared,
    terms: Arc<Terms>,
    /// Found in `Buckets` when a call first needs one.
    places: Box<[OnceLock<Arc<Bucket>>]>,
}

/// What of a limit a call needs until it has ended.
#[derive(Debug)]
struct Terms {
    rate: Option<Rate>,
    /// How many calls may be under way.
    most: Option<u32>,
    /// Its names in `RateLimit` fields: for the rate, and for calls under way.
    policies: [Arc<str>; 2],
    /// Its members of `RateLimit-Policy`, which are the same on each answer.
    told_as: Box<str>,
    /// Numbers that come of several clients' calls are told to none of them.
    told: bool,
}

impl Limit {
    /// `clients` is how many clients the snapshot has.
    pub fn new(scope: Scope, name: Arc<str>, declared: Declared, clients: usize) -> Self {
        let rate = declared.amount.map(|amount| {
            Rate::new(amount, Duration::from_millis(declared.window_ms), declared.burst.unwrap_or(amount))
        });
        let apart = !declared.shared && scope != Scope::Client;
        let places = (0..if apart { clients } else { 1 }).map(|_| OnceLock::new()).collect();
        let policy = format!("tidegate-{}", scope.as_str());
        let mut terms = Terms {
            rate,
            most: declared.concurrency,
            policies: [policy.as_str().into(), format!("{policy}-inflight").into()],
            told_as: Box::default(),
            told: !declared.shared,
        };
        let unused = terms.allowances(&Bucket::default(), 0).collect::<Vec<_>>();
        terms.told_as = ratelimit::policies(&unused).into();
        Self { scope, name, declared, terms: Arc::new(terms), places }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn is_apart(&self) -> bool {
        !self.declared.shared && self.scope != Scope::Client
    }

    fn bucket(&self, buckets: &Buckets, snapshot: &Snapshot, client: ClientIndex) -> &Arc<Bucket> {
        let apart = self.is_apart();
        self.places[if apart { client as usize } else { 0 }].get_or_init(|| {
            let client = apart.then(|| Arc::clone(snapshot.client_name(client)));
            buckets.find(Name { scope: self.scope, of: Arc::clone(&self.name), client }, &self.terms)
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} `{}`: ", self.scope.as_str(), self.name)?;
        if let (Some(amount), Some(rate)) = (self.declared.amount, self.terms.rate) {
            write!(to, "{amount} in {}", spelled(self.declared.window_ms))?;
            if rate.burst != amount {
                write!(to, ", {} at once", rate.burst)?;
            }
        }
        if let Some(most) = self.declared.concurrency {
            let comma = if self.terms.rate.is_some() { ", " } else { "" };
            write!(to, "{comma}{most} under way")?;
        }
        match (self.scope, self.declared.shared) {
            (Scope::Client, _) => Ok(()),
            (_, true) => to.write_str(", all clients together"),
            (_, false) => to.write_str(", each client apart"),
        }
    }
}

fn spelled(window_ms: u64) -> String {
    match window_ms {
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    scope: Scope,
    of: Arc<str>,
    client: Option<Arc<str>>,
}

/// Every bucket of this engine, by name: a new snapshot finds those of the one before.
#[derive(Debug)]
pub struct Buckets {
    known: Mutex<HashMap<Name, Arc<Bucket>>>,
    epoch: Instant,
    /// Where several gateways count together.
    store: Option<Arc<Store>>,
    /// Woken when one of the buckets may have more.
    told: Arc<Notify>,
}

impl Buckets {
    /// `epoch` is the moment from which times count, for the store as well.
    pub fn new(epoch: Instant, store: Option<Arc<Store>>) -> Self {
        Self { known: Mutex::default(), epoch, store, told: Arc::default() }
    }

    fn find(&self, name: Name, terms: &Terms) -> Arc<Bucket> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = self.store.as_ref().map(|store| {
            let client = name.client.as_deref().map_or_else(String::new, |client| format!("+{client}"));
            (store, [name.scope.as_str().to_owned(), name.of.to_string(), client])
        });
        let bucket = Arc::clone(known.entry(name).or_default());
        if let Some((store, [scope, of, client])) = shared {
            bucket.count_together(store, &self.told, &[&scope, &of, &client], terms.rate, terms.most);
        }
        bucket
    }

    fn moment(&self, at: Instant) -> Moment {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// Forget those that no snapshot uses and that hold nothing.
    pub fn sweep(&self) {
        let now = self.moment(Instant::now());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_idle(now));
    }
}

/// A limit that holds for one call, and its bucket.
struct Held {
    terms: Arc<Terms>,
    bucket: Arc<Bucket>,
}

/// Leave to go on. Where calls under way are bounded, this one is until it is dropped.
pub struct Admission {
    held: Vec<Held>,
    at: Moment,
}

/// Let the call in, or say when it may come again. None: nothing is declared that holds for it.
///
/// Waits for nothing, but for the answer of the store by which several gateways count together.
pub async fn admit(
    buckets: &Buckets,
    snapshot: &Snapshot,
    allowed: &AllowedCall<'_>,
    at: Instant,
) -> Result<Option<Admission>, Refusal> {
    let mut attempt = admit_at_once(buckets, snapshot, allowed, at);
    while let Err(Hindrance::Asked(_)) = attempt {
        let told = buckets.told.notified();
        tokio::pin!(told);
        // The answer may have come before anybody listened.
        told.as_mut().enable();
        attempt = admit_at_once(buckets, snapshot, allowed, Instant::now());
        if let Err(Hindrance::Asked(refusal)) = attempt {
            let answered = tokio::time::timeout_at((at + LEASED).into(), told).await;
            answered.map_err(|_| *refusal)?;
            attempt = admit_at_once(buckets, snapshot, allowed, Instant::now());
        }
    }
    attempt.map_err(Hindrance::into_refusal)
}

/// The same, without waiting.
pub fn admit_at_once(
    buckets: &Buckets,
    snapshot: &Snapshot,
    allowed: &AllowedCall<'_>,
    at: Instant,
) -> Result<Option<Admission>, Hindrance> {
    let mut limits = limits_of(snapshot, allowed).peekable();
    if limits.peek().is_none() {
        return Ok(None);
    }
    let now = buckets.moment(at);
    let mut admission = Admission { held: Vec::with_capacity(3), at: now };
    for limit in limits {
        let held = Held {
            terms: Arc::clone(&limit.terms),
            bucket: Arc::clone(limit.bucket(buckets, snapshot, allowed.client)),
        };
        if let Err(lack) = held.take(now) {
            admission.give_back();
            let refusal = Box::new(refusal(limit, lack, &held, now));
            if lack == Lack::Asked {
                return Err(Hindrance::Asked(refusal));
            }
            held.bucket.refuse();
            return Err(Hindrance::Refused(refusal));
        }
        admission.held.push(held);
    }
    Ok(Some(admission))
}

/// Why a call is not let in at once.
#[derive(Debug)]
pub enum Hindrance {
    Refused(Box<Refusal>),
    /// It depends on the store's answer; this is what to say when there is none.
    Asked(Box<Refusal>),
}

impl Hindrance {
    pub fn into_refusal(self) -> Refusal {
        let (Self::Refused(refusal) | Self::Asked(refusal)) = self;
        *refusal
    }
}

/// The limits that hold for a call, the widest first.
pub fn limits_of<'s>(snapshot: &'s Snapshot, allowed: &AllowedCall<'s>) -> impl Iterator<Item = &'s Limit> {
    let client = snapshot.client_limit(allowed.client);
    let consumer = allowed.routed.caller.consumer.limit.as_ref();
    let grant = allowed.grant.limit.as_ref();
    [client, consumer, grant].into_iter().flatten()
}

impl Held {
    fn take(&self, now: Moment) -> Result<(), Lack> {
        if let Some(most) = self.terms.most {
            self.bucket.begin(most, now)?;
        }
        let Some(rate) = self.terms.rate else { return Ok(()) };
        self.bucket.draw(rate, now).inspect_err(|_| self.end())
    }

    fn end(&self) {
        if self.terms.most.is_some() {
            self.bucket.end();
        }
    }
}

impl Terms {
    fn allowances(&self, bucket: &Bucket, now: Moment) -> impl Iterator<Item = Allowance> {
        let [by_rate, by_flight] = &self.policies;
        let rate = self.rate.map(|rate| {
            let left = bucket.left(rate, now);
            Allowance {
                name: Arc::clone(by_rate),
                quota: rate.burst,
                unit: Unit::Window(rate.fills_in()),
                remaining: left.calls,
                reset: Some(left.until),
            }
        });
        let flight = self.most.map(|most| Allowance {
            name: Arc::clone(by_flight),
            quota: most.into(),
            unit: Unit::Concurrent,
            remaining: bucket
                .left_of_calls()
                .map_or(u64::MAX, |left| left)
                .min(most.saturating_sub(bucket.in_flight()).into()),
            reset: None,
        });
        [rate, flight].into_iter().flatten()
    }
}

impl Admission {
    /// Tell on an answer what is left.
    pub fn tell(&self, headers: &mut HeaderMap, at: Instant, buckets: &Buckets) {
        let now = buckets.moment(at).max(self.at);
        let (mut policies, mut left) = (String::with_capacity(128), String::with_capacity(128));
        for Held { terms, bucket } in &self.held {
            ratelimit::add_member(&mut policies, &terms.told_as);
            if terms.told {
                terms
                    .allowances(bucket, now)
                    .for_each(|allowance| ratelimit::add_left(&mut left, &allowance));
            }
        }
        headers.append("ratelimit-policy", ratelimit::field(policies));
        if !left.is_empty() {
            headers.append("ratelimit", ratelimit::field(left));
        }
    }

    /// Another limit refused: what was taken from these is theirs again.
    fn give_back(&mut self) {
        for held in &self.held {
            if let Some(rate) = held.terms.rate {
                held.bucket.give_back(rate, self.at);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.held.iter().for_each(Held::end);
    }
}

fn refusal(limit: &Limit, lack: Lack, held: &Held, now: Moment) -> Refusal {
    let [by_rate, by_flight] = &limit.terms.policies;
    let (policy, retry_after, hint) = match lack {
        Lack::In(wait) => {
            (by_rate, Duration::from_nanos(wait), "`Retry-After` says when there is room again")
        }
        Lack::Ends => (by_flight, AFTER_CONCURRENCY, "there is room when calls under way end"),
        Lack::Asked => (by_rate, LEASED, "the store that gateways count at has not answered in time"),
    };
    let detail = format!("The limit of {limit}, is reached; {hint}.");
    Refusal::new(Code::Throttled, detail).by(Arc::clone(&limit.name)).throttled(Throttled {
        limits: if held.terms.told { held.terms.allowances(&held.bucket, now).collect() } else { Vec::new() },
        violated: vec![Arc::clone(policy)],
        retry_after: Some(retry_after),
        scope: limit.scope.as_str(),
    })
}

/// One bucket as `tidegate limits` shows it.
#[derive(Debug, Serialize)]
pub struct Live<'s> {
    scope: Scope,
    name: &'s str,
    /// Whose calls are counted; null where those of all are.
    client: Option<&'s str>,
    amount: Option<u64>,
    window_ms: Option<u64>,
    burst: Option<u64>,
    left: Option<u64>,
    concurrency: Option<u32>,
    in_flight: u32,
    refused: u64,
}

/// Every limit that is declared; of those that count clients apart, the buckets that were used.
pub fn live<'s>(snapshot: &'s Snapshot, buckets: &Buckets) -> Vec<Live<'s>> {
    let now = buckets.moment(Instant::now());
    snapshot.limits().flat_map(|limit| limit.live(snapshot, now)).collect()
}

impl Limit {
    fn live<'s>(&'s self, snapshot: &'s Snapshot, now: Moment) -> Vec<Live<'s>> {
        let used: Vec<_> =
            (0..).zip(&self.places).filter_map(|(client, place)| Some((client, place.get()?))).collect();
        if used.is_empty() {
            return vec![self.shown(&Bucket::default(), None, now)];
        }
        let client = |index| self.is_apart().then(|| &**snapshot.client_name(index));
        used.into_iter().map(|(index, bucket)| self.shown(bucket, client(index), now)).collect()
    }

    fn shown<'s>(&'s self, bucket: &Bucket, client: Option<&'s str>, now: Moment) -> Live<'s> {
        Live {
            scope: self.scope,
            name: &self.name,
            client,
            amount: self.declared.amount,
            window_ms: self.terms.rate.map(|_| self.declared.window_ms),
            burst: self.terms.rate.map(|rate| rate.burst),
            left: self.terms.rate.map(|rate| bucket.left(rate, now).calls),
            concurrency: self.declared.concurrency,
            in_flight: bucket.in_flight(),
            refused: bucket.refused(),
        }
    }
}
