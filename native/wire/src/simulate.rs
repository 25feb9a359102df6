//! Play a load against what is declared, in virtual time: nothing is sent, and an hour takes a moment.
//!
//! Limits and quotas are those of the wire path: `admit` and `reserve` run as they do for calls, on a clock that
//! goes from one event to the next. Each answer takes as long as the load says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::admit::{Admission, Buckets, admit_at_once};
use crate::agreement::{Clock, Moment};
use crate::authenticate::Authenticated;
use crate::class::Class;
use crate::decide::{AllowedCall, Named, decide, for_client};
use crate::engine::{EngineError, Question};
use crate::error::{Code, Refusal};
use crate::reserve::desk::{Asked, Asking, CountName, Desk, Ending, Held, Place, Why};
use crate::reserve::model::{Nanos, nanos};
use crate::reserve::{Reserve, VirtualClock};
use crate::route::{address, route};
use crate::snapshot::{AccessToken, Snapshot};

/// How many calls one play may have.
const CALLS_MAX: u64 = 2_000_000;
const LOADS_MAX: usize = 1_000;
const BINS_MAX: u32 = 1_000;

/// What is to be played.
#[derive(Debug, Deserialize)]
struct Play {
    duration_ms: u64,
    seed: u64,
    /// When it begins, in Unix seconds: days and months follow the calendar.
    begins: u64,
    /// Into how many parts of its length it is told.
    bins: u32,
    loads: Vec<Load>,
}

/// Calls of one kind.
#[derive(Debug, Deserialize)]
struct Load {
    #[serde(flatten)]
    call: Question,
    #[serde(default)]
    class: Option<Class>,
    arrival: Arrival,
    #[serde(default)]
    from_ms: u64,
    until_ms: u64,
    /// How long the provider takes to answer one.
    takes_ms: u64,
    /// How long a call may take in all, if that is less than what is declared.
    #[serde(default)]
    patience_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Arrival {
    /// One after another, evenly.
    Constant { per_second: f64 },
    /// Independent of each other.
    Poisson { per_second: f64 },
    /// So many at once, again and again.
    Bursts { calls: u32, every_ms: u64 },
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Told {
    /// Loads that no limit would see: by number, with why they are refused.
    refused: Vec<(usize, String)>,
    loads: Vec<Tally>,
    clients: BTreeMap<String, Tally>,
    quotas: Vec<QuotaTold>,
}

#[derive(Debug, Default, Clone, Serialize)]
struct Tally {
    client: String,
    asked: u64,
    sent: u64,
    waited: u64,
    /// Of all that were sent, in milliseconds.
    wait_p50_ms: u64,
    wait_p99_ms: u64,
    refused: BTreeMap<String, u64>,
    /// By the part of the play in which they came, or went.
    asked_in: Vec<u64>,
    sent_in: Vec<u64>,
    #[serde(skip)]
    waits: Vec<Nanos>,
}

#[derive(Debug, Serialize)]
struct QuotaTold {
    provider: String,
    quota: String,
    connection: Option<String>,
    part: Option<String>,
    describe: String,
    used: u64,
    /// What the provider allows in all that time.
    allowed: u64,
    /// The share of it that was used up, in percent, at the end of each part of the play.
    used_percent_in: Vec<u64>,
}

/// The play and what comes of it are JSON; Err says that the play itself makes no sense.
pub fn simulate(snapshot: &[u8], play: &str) -> Result<String, EngineError> {
    let snapshot = Snapshot::parse(snapshot)?;
    let play: Play = serde_json::from_str(play)?;
    if play.loads.len() > LOADS_MAX || play.bins > BINS_MAX || play.bins == 0 || play.duration_ms == 0 {
        return Err(EngineError::Refused("the play is too large, or has no length".into()));
    }
    let tokens: Vec<AccessToken> = play.loads.iter().map(|load| token(&snapshot, &load.call)).collect();
    let mut refused = Vec::new();
    let mut allowed = Vec::with_capacity(play.loads.len());
    for (number, (load, token)) in play.loads.iter().zip(&tokens).enumerate() {
        match allow(&snapshot, load, token, play.begins) {
            Ok(call) => allowed.push(call),
            Err(refusal) => {
                refused.push((number, format!("{}: {}", refusal.code.problem().code, refusal.detail)));
            }
        }
    }
    if !refused.is_empty() {
        let told = Told { refused, loads: Vec::new(), clients: BTreeMap::new(), quotas: Vec::new() };
        return Ok(serde_json::to_string(&told)?);
    }
    let mut stage = Stage::new(&snapshot, &play, allowed);
    stage.run()?;
    Ok(serde_json::to_string(&stage.told())?)
}

fn token(snapshot: &Snapshot, call: &Question) -> AccessToken {
    AccessToken {
        id: Arc::from("a simulated call"),
        consumer: snapshot.consumer_named(&call.consumer).unwrap_or_default(),
        client: None,
        providers: Vec::new(),
        expires: u64::MAX,
    }
}

/// The steps before `admit`, once for all calls of a load.
fn allow<'s>(
    snapshot: &'s Snapshot,
    load: &Load,
    token: &'s AccessToken,
    now: u64,
) -> Result<AllowedCall<'s>, Refusal> {
    let call = &load.call;
    if snapshot.consumer_named(&call.consumer).is_none() {
        let detail = format!("No consumer is called `{}`.", call.consumer);
        return Err(Refusal::new(Code::Unauthenticated, detail));
    }
    let malformed = |what| Refusal::new(Code::MalformedRequest, what);
    let method: Method = call.method.parse().map_err(|_| malformed("The method is not a word of HTTP."))?;
    let uri: Uri = call.target.parse().map_err(|_| malformed("The target is not a URI."))?;
    let caller = Authenticated { token, consumer: snapshot.consumer(token.consumer) };
    let address = address(snapshot, &call.host, uri.path());
    let named = Named {
        client_in_path: address.client,
        client_in_header: call.client.as_deref(),
        connection: call.connection.as_deref(),
    };
    let routed = route(caller, &address, &method)?;
    let client = for_client(snapshot, &routed, named)?;
    let clock = Clock::default();
    let now = Moment { unix_ms: now.saturating_mul(1000), at: Instant::now(), clock: &clock };
    decide(snapshot, routed, client, named, now)
}

/// What happens next, at the earliest moment first and otherwise in the order in which it was foreseen.
type Next = Reverse<(Nanos, u64, Event)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A part of the play ends, so many after its beginning.
    Look(u32),
    /// A call of a load comes.
    Comes(usize),
    /// The time of a call that waits is up.
    Expires(u64),
    /// A call is answered.
    Answered(u64),
}

struct Stage<'s> {
    snapshot: &'s Snapshot,
    play: &'s Play,
    calls: Vec<AllowedCall<'s>>,
    clock: Arc<VirtualClock>,
    reserve: Reserve,
    buckets: Buckets,
    /// The moment on the real clock that virtual time counts from.
    begun: Instant,
    next: BinaryHeap<Next>,
    foreseen: u64,
    chance: Vec<Chance>,
    waiting: HashMap<u64, Waiting>,
    let_in: Arc<Mutex<Vec<u64>>>,
    under_way: HashMap<u64, UnderWay>,
    tallies: Vec<Tally>,
    quotas: BTreeMap<CountName, Counted>,
    asked: u64,
}

#[derive(Default)]
struct Counted {
    used: u64,
    describe: String,
    allowed: u64,
    used_percent_in: Vec<u64>,
}

struct Waiting {
    load: usize,
    since: Nanos,
    desk: Arc<Desk>,
    place: Place,
    admission: Option<Admission>,
}

struct UnderWay {
    desk: Option<(Arc<Desk>, Held)>,
    /// Given up when the call has ended.
    _admission: Option<Admission>,
}

/// Tells that the door of a waiting call has opened.
struct Bell {
    call: u64,
    rung: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.call);
    }
}

impl<'s> Stage<'s> {
    fn new(snapshot: &'s Snapshot, play: &'s Play, calls: Vec<AllowedCall<'s>>) -> Self {
        let clock = Arc::new(VirtualClock::new(Duration::from_secs(play.begins)));
        let reserve = Reserve::simulated(Arc::clone(&clock));
        reserve.declare(snapshot);
        let bins = play.bins as usize;
        let begun = Instant::now();
        let tally = |call: &AllowedCall<'_>| Tally {
            client: snapshot.client_name(call.client).to_string(),
            asked_in: vec![0; bins],
            sent_in: vec![0; bins],
            ..Tally::default()
        };
        Self {
            tallies: calls.iter().map(tally).collect(),
            chance: (0..calls.len() as u64).map(|load| Chance::new(play.seed, load)).collect(),
            snapshot,
            play,
            calls,
            clock,
            reserve,
            buckets: Buckets::new(begun, None),
            begun,
            next: BinaryHeap::new(),
            foreseen: 0,
            waiting: HashMap::new(),
            let_in: Arc::default(),
            under_way: HashMap::new(),
            quotas: BTreeMap::new(),
            asked: 0,
        }
    }

    fn run(&mut self) -> Result<(), EngineError> {
        for load in 0..self.calls.len() {
            self.first_of(load);
        }
        for part in 1..=self.play.bins {
            let at = self.length() / u64::from(self.play.bins) * u64::from(part);
            self.foresee(at, Event::Look(part));
        }
        loop {
            let event = self.next.peek().map(|Reverse((at, ..))| *at);
            let look = self.reserve.due();
            let Some(at) = [event, look].into_iter().flatten().min() else { return Ok(()) };
            self.clock.set(at);
            if look.is_some_and(|look| look <= at) {
                self.reserve.look_after(at);
            } else if let Some(Reverse((_, _, event))) = self.next.pop() {
                self.happens(at, event)?;
            }
            self.open_doors(at);
        }
    }

    fn happens(&mut self, at: Nanos, event: Event) -> Result<(), EngineError> {
        match event {
            Event::Look(part) => self.look(part),
            Event::Comes(load) => {
                self.asked += 1;
                if self.asked > CALLS_MAX {
                    return Err(EngineError::Refused(format!("a play has at most {CALLS_MAX} calls")));
                }
                self.another_of(load, at);
                self.comes(load, at);
            }
            Event::Expires(call) => {
                if let Some(mut waiting) = self.waiting.remove(&call) {
                    waiting.desk.leave(self.client(waiting.load), &mut waiting.place);
                    self.in_vain(&waiting, Why::TooLate);
                }
            }
            Event::Answered(call) => {
                if let Some(UnderWay { desk: Some((desk, mut held)), .. }) = self.under_way.remove(&call) {
                    desk.answered(&mut held, &[], |_| None, |_| false);
                    desk.ended(&held, None, Ending::Answered);
                }
            }
        }
        Ok(())
    }

    fn comes(&mut self, load: usize, at: Nanos) {
        let bin = self.bin(at);
        let tally = &mut self.tallies[load];
        tally.asked += 1;
        tally.asked_in[bin] += 1;
        let moment = self.begun + Duration::from_nanos(at);
        let admission = match admit_at_once(&self.buckets, self.snapshot, &self.calls[load], moment) {
            Ok(admission) => admission,
            Err(hindrance) => {
                let refusal = hindrance.into_refusal();
                let scope = refusal.throttled.as_ref().map_or("", |throttled| throttled.scope);
                let rule = format!("{scope} `{}`", refusal.rule.as_deref().unwrap_or_default());
                *self.tallies[load].refused.entry(rule).or_default() += 1;
                return;
            }
        };
        let (call, options) = (&self.calls[load], &self.play.loads[load]);
        let provider = call.routed.provider;
        let plan = provider.quotas.as_ref();
        let drawn = plan.and_then(|plan| Some((plan, plan.desk.get()?, plan.draws(call.routed.number))));
        let Some((plan, desk, draws)) = drawn.filter(|(_, _, draws)| !draws.is_empty()) else {
            return self.goes(load, at, at, None, admission);
        };
        let client = self.snapshot.client_name(call.client);
        let patience = options.patience_ms.map_or(Duration::MAX, Duration::from_millis);
        let asking = Asking {
            client,
            account: call.connection.as_ref().map_or(client, |connection| &connection.id),
            operation: &call.routed.operation.id,
            origin: call.routed.operation.origin,
            class: options.class.unwrap_or(call.grant.class).max(call.grant.class),
            deadline: at.saturating_add(nanos(patience.min(call.deadlines().total()))),
        };
        let desk = Arc::clone(desk);
        match desk.ask(desk.now(), plan, draws, &asking) {
            Asked::Taken(taken, shares) => {
                self.goes(load, at, at, Some((desk, Held::new(shares, taken))), admission);
            }
            Asked::Refused(refused) => self.refused(load, &refused.quota.name, refused.why),
            Asked::Waits(place) => {
                let call = self.asked;
                let until = place.until;
                let mut waiting = Waiting { load, since: at, desk, place, admission };
                let bell = Waker::from(Arc::new(Bell { call, rung: Arc::clone(&self.let_in) }));
                // The door of one who has just come to wait is shut; from now on it tells when it opens.
                let _ = Pin::new(&mut waiting.place.door).poll(&mut Context::from_waker(&bell));
                self.waiting.insert(call, waiting);
                self.foresee(until, Event::Expires(call));
            }
        }
    }

    /// Those who were let in go; those whose place was given to somebody else are refused.
    fn open_doors(&mut self, at: Nanos) {
        let rung = std::mem::take(&mut *self.let_in.lock().unwrap_or_else(PoisonError::into_inner));
        for call in rung {
            let Some(mut waiting) = self.waiting.remove(&call) else { continue };
            match Pin::new(&mut waiting.place.door).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(taken)) => {
                    let held = Held::new(waiting.place.shares, taken);
                    self.goes(waiting.load, waiting.since, at, Some((waiting.desk, held)), waiting.admission);
                }
                Poll::Ready(Err(_)) => self.in_vain(&waiting, Why::RoomFull),
                Poll::Pending => {
                    self.waiting.insert(call, waiting);
                }
            }
        }
    }

    fn goes(
        &mut self,
        load: usize,
        since: Nanos,
        at: Nanos,
        held: Option<(Arc<Desk>, Held)>,
        admission: Option<Admission>,
    ) {
        // Who still waits in the end goes after it, and into no part of the play.
        let bin = (at < self.length()).then(|| self.bin(at));
        let tally = &mut self.tallies[load];
        tally.sent += 1;
        if let Some(bin) = bin {
            tally.sent_in[bin] += 1;
        }
        tally.waited += u64::from(at > since);
        tally.waits.push(at - since);
        let takes = nanos(Duration::from_millis(self.play.loads[load].takes_ms));
        if let Some((desk, held)) = &held
            && at < self.length()
        {
            for (name, cost, by_time) in desk.drawn(held) {
                let counted = self.quotas.entry(name).or_default();
                // Of what is counted at once, what is used is how much for how long.
                counted.used += if by_time { cost * (takes / 1_000_000).max(1) } else { cost };
            }
        }
        self.foreseen += 1;
        let call = u64::MAX - self.foreseen;
        self.under_way.insert(call, UnderWay { desk: held, _admission: admission });
        self.foresee(at.saturating_add(takes), Event::Answered(call));
    }

    fn in_vain(&mut self, waiting: &Waiting, why: Why) {
        let refused = waiting.desk.in_vain(why, &waiting.place.shares);
        self.refused(waiting.load, &refused.quota.name, why);
    }

    fn refused(&mut self, load: usize, quota: &str, why: Why) {
        let provider = &self.calls[load].routed.provider.name;
        let rule = format!("quota `{provider}.{quota}` {}", why.as_str());
        *self.tallies[load].refused.entry(rule).or_default() += 1;
    }

    fn look(&mut self, part: u32) {
        for pot in self.reserve.live() {
            let name = (pot.provider, pot.quota, pot.connection, pot.part);
            let counted = self.quotas.entry(name).or_default();
            counted.describe = pot.describe;
            counted.allowed = pot.rule.allows_in(Duration::from_millis(self.play.duration_ms));
            // Nothing was used before the first call that draws on it.
            counted.used_percent_in.resize(part as usize - 1, 0);
            counted.used_percent_in.push(pot.used.min(pot.limit) * 100 / pot.limit.max(1));
        }
    }

    fn first_of(&mut self, load: usize) {
        let (from, arrival) = (self.play.loads[load].from_ms, self.play.loads[load].arrival);
        let from = nanos(Duration::from_millis(from));
        match arrival {
            Arrival::Bursts { calls, .. } => (0..calls).for_each(|_| self.foresee_call(load, from)),
            Arrival::Constant { .. } => self.foresee_call(load, from),
            Arrival::Poisson { per_second } => {
                let wait = self.chance[load].exponential(per_second);
                self.foresee_call(load, from.saturating_add(wait));
            }
        }
    }

    /// Each call that comes brings its successor.
    fn another_of(&mut self, load: usize, at: Nanos) {
        let wait = match self.play.loads[load].arrival {
            Arrival::Constant { per_second } => seconds(1.0 / per_second),
            Arrival::Poisson { per_second } => self.chance[load].exponential(per_second),
            Arrival::Bursts { every_ms, .. } => nanos(Duration::from_millis(every_ms.max(1))),
        };
        self.foresee_call(load, at.saturating_add(wait.max(1)));
    }

    fn foresee_call(&mut self, load: usize, at: Nanos) {
        if at < nanos(Duration::from_millis(self.play.loads[load].until_ms)).min(self.length()) {
            self.foresee(at, Event::Comes(load));
        }
    }

    fn foresee(&mut self, at: Nanos, event: Event) {
        self.foreseen += 1;
        self.next.push(Reverse((at, self.foreseen, event)));
    }

    fn told(mut self) -> Told {
        let mut clients: BTreeMap<String, Tally> = BTreeMap::new();
        for tally in &self.tallies {
            clients.entry(tally.client.clone()).or_default().add(tally);
        }
        self.tallies.iter_mut().chain(clients.values_mut()).for_each(Tally::sum_up);
        let name = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
        let quotas = self.quotas.iter().map(|((provider, quota, connection, part), counted)| QuotaTold {
            provider: provider.to_string(),
            quota: quota.to_string(),
            connection: name(connection),
            part: name(part),
            describe: counted.describe.clone(),
            used: counted.used,
            allowed: counted.allowed,
            used_percent_in: counted.used_percent_in.clone(),
        });
        Told { refused: Vec::new(), quotas: quotas.collect(), loads: self.tallies, clients }
    }

    fn client(&self, load: usize) -> &'s str {
        self.snapshot.client_name(self.calls[load].client)
    }

    fn length(&self) -> Nanos {
        nanos(Duration::from_millis(self.play.duration_ms))
    }

    fn bin(&self, at: Nanos) -> usize {
        let bins = u128::from(self.play.bins);
        let bin = u128::from(at) * bins / u128::from(self.length());
        usize::try_from(bin.min(bins - 1)).unwrap_or_default()
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.client.clone_from(&other.client);
        (self.asked, self.sent, self.waited) =
            (self.asked + other.asked, self.sent + other.sent, self.waited + other.waited);
        for (rule, refused) in &other.refused {
            *self.refused.entry(rule.clone()).or_default() += refused;
        }
        for (own, others) in [(&mut self.asked_in, &other.asked_in), (&mut self.sent_in, &other.sent_in)] {
            own.resize(others.len(), 0);
            own.iter_mut().zip(others).for_each(|(own, other)| *own += other);
        }
        self.waits.extend_from_slice(&other.waits);
    }

    fn sum_up(&mut self) {
        self.waits.sort_unstable();
        let at = |percent: usize| {
            let place = (self.waits.len() * percent).div_ceil(100).saturating_sub(1);
            self.waits.get(place).map_or(0, |wait| wait / 1_000_000)
        };
        (self.wait_p50_ms, self.wait_p99_ms) = (at(50), at(99));
    }
}

/// Numbers by chance that are the same for the same seed (`SplitMix64`, Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn new(seed: u64, load: u64) -> Self {
        Self(seed ^ load.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How long until the next of events that come independently of each other.
    fn exponential(&mut self, per_second: f64) -> Nanos {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        seconds(-(1.0 - share).ln() / per_second)
    }
}

fn seconds(seconds: f64) -> Nanos {
    Duration::try_from_secs_f64(seconds).map_or(Nanos::MAX, nanos)
}
