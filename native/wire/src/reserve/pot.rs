//! One quota of one account: its model's count, held to what the provider says of it.
//!
//! What the provider says only ever lowers what is left: its word is older than the calls in flight, and
//! a late answer would give away what others have taken since. A refusal closes the pot until the time it
//! names, and it reopens at half its rate.

use std::sync::Arc;
use std::time::Duration;

use super::debits::{Account, Count, Debited};
use super::model::{Model, Nanos, Now, When, nanos, until};
use super::rule::{Kind, Quota};
use super::signal::Signal;
use crate::class::Class;
use crate::ratelimit::Allowance;
use crate::shared::Lent;
use crate::shared::part::{Limit, Pool, Room};

/// How much later than it said a closed pot reopens, at most: not all who wait come back at once.
const JITTER_SHARE: u64 = 10;
/// How long a pot is closed when the provider does not say; twice as long each further time.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// After so long calls of a node that is gone, or let go of its part, are taken for ended.
const CALLS_END: Duration = Duration::from_secs(60);
/// For how long a pot that reopens goes at half its rate: a window, within these.
const PACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[derive(Debug)]
pub struct Pot {
    pub quota: Arc<Quota>,
    /// The connection whose it is; None: all of the provider's.
    pub connection: Option<Arc<str>>,
    /// The operation or origin that it is for, where each has one of its own.
    pub part: Option<Arc<str>>,
    model: Model,
    /// What is on disk, for a count that outlives the engine.
    pub debited: Option<Debited>,
    /// This node's part of it, where several nodes share it.
    pub lent: Option<Arc<Lent>>,
    /// What calls have taken that are not answered.
    in_flight: u64,
    /// How many calls hold a share of it.
    pub held: usize,
    /// How many calls wait for it, and what they will take, by class.
    pub waiting: usize,
    pub queued: [u64; Class::ALL.len()],
    cap: Option<Cap>,
    closed: Option<Closed>,
    pace: Option<Pace>,
    /// In which round of letting calls in it was found to be exhausted.
    pub exhausted_in: u64,
}

/// No more than the provider said it has left, until it has all of it again.
#[derive(Debug)]
struct Cap {
    left: u64,
    until: Nanos,
}

#[derive(Debug)]
struct Closed {
    since: Nanos,
    until: Nanos,
    /// How often in a row.
    times: u32,
}

/// Half the rate: so long between two units of cost.
#[derive(Debug)]
struct Pace {
    interval: Nanos,
    next: Nanos,
    until: Nanos,
}

impl Pot {
    pub fn new(
        quota: Arc<Quota>,
        connection: Option<Arc<str>>,
        part: Option<Arc<str>>,
        debited: Option<Debited>,
    ) -> Self {
        Self {
            model: quota.model(),
            quota,
            connection,
            part,
            debited,
            lent: None,
            in_flight: 0,
            held: 0,
            waiting: 0,
            queued: [0; Class::ALL.len()],
            cap: None,
            closed: None,
            pace: None,
            exhausted_in: 0,
        }
    }

    /// The quota is declared anew. What was used of the old one is used of the new one.
    pub fn becomes(&mut self, now: Now, quota: &Arc<Quota>) {
        if !self.quota.counts_as(quota) {
            let used = self.model.most().saturating_sub(self.model.left(now));
            let mut model = quota.model();
            if used > 0 {
                let over = used.saturating_sub(self.in_flight);
                model.take(now, used);
                model.answered(now, now.at, over, over);
                if quota.kind.is_concurrency() {
                    model.ended(over);
                }
            }
            self.model = model;
            self.cap = None;
            self.pace = None;
        }
        self.quota = Arc::clone(quota);
    }

    pub fn when(&mut self, now: Now, cost: u64) -> When {
        let mut when = self.model.when(now, cost);
        if let Some(closed) = &self.closed
            && closed.until > now.at
        {
            when = when.and(When::At(closed.until));
        }
        match &self.cap {
            Some(cap) if cap.until <= now.at => self.cap = None,
            Some(cap) if cap.left < cost => when = when.and(When::At(cap.until)),
            _ => {}
        }
        match &self.pace {
            Some(pace) if pace.until <= now.at => self.pace = None,
            Some(pace) if pace.next > now.at => when = when.and(When::At(pace.next)),
            Some(_) if self.quota.kind.is_concurrency() && self.in_flight * 2 > self.model.most() => {
                when = when.and(When::Released);
            }
            _ => {}
        }
        if when == When::Now {
            when = self.by_part(now, cost);
        }
        if when == When::Now
            && let (Some(debited), Model::Calendar(calendar)) = (&mut self.debited, &mut self.model)
        {
            let count = calendar.count(now);
            let count = Count { used: count.used + cost, ..count };
            if !debited.covers(count) {
                debited.want(count, calendar.most());
                return When::Written;
            }
        }
        when
    }

    /// When this node's part has so much.
    fn by_part(&mut self, now: Now, cost: u64) -> When {
        let Some(lent) = &self.lent else { return When::Now };
        match lent.room(now.at, self.model.taken(now), cost) {
            Room::Yes => When::Now,
            Room::Asked => When::Leased,
            Room::Dry(at) => When::At(at),
            Room::Alone(Limit::Paced(When::Never)) => When::Released,
            Room::Alone(Limit::Paced(when)) => when,
            Room::Alone(Limit::Held { most, rises }) => match (self.model.within(now, cost, most), rises) {
                (When::At(at), Some(rises)) => When::At(at.min(rises)),
                (_, Some(rises)) => When::At(rises),
                (when, None) => when,
            },
        }
    }

    pub fn take(&mut self, now: Now, cost: u64) {
        self.model.take(now, cost);
        if let Some(lent) = &self.lent {
            lent.take(now.at, cost);
        }
        self.in_flight += cost;
        self.held += 1;
        if let Some(cap) = &mut self.cap {
            cap.left = cap.left.saturating_sub(cost);
        }
        if let Some(pace) = &mut self.pace {
            pace.next = pace.next.max(now.at).saturating_add(pace.interval.saturating_mul(cost));
        }
        if let (Some(debited), Model::Calendar(calendar)) = (&mut self.debited, &mut self.model) {
            debited.spent(now, calendar.count(now), cost, calendar.most());
        }
    }

    /// A call that took it at `taken` never left.
    pub fn give_back(&mut self, now: Now, taken: Nanos, cost: u64) {
        self.model.give_back(now, taken, cost);
        if let Some(lent) = &self.lent {
            lent.part().refund(now.at, self.unrestored(now, taken, cost));
        }
        self.in_flight = self.in_flight.saturating_sub(cost);
        self.held = self.held.saturating_sub(1);
        if let Some(cap) = &mut self.cap {
            cap.left = cap.left.saturating_add(cost);
        }
    }

    /// The provider has answered a call that took it at `taken`, or will not any more.
    pub fn answered(&mut self, now: Now, taken: Nanos, estimated: u64, actual: u64) {
        self.model.answered(now, taken, estimated, actual);
        if let Some(lent) = &self.lent {
            let mut part = lent.part();
            if actual > estimated {
                part.debit(now.at, actual - estimated);
            } else if actual < estimated {
                part.refund(now.at, self.unrestored(now, taken, estimated - actual));
            }
        }
        self.in_flight = self.in_flight.saturating_sub(estimated);
    }

    /// The call is over; `took` is how long, where it went well.
    pub fn ended(&mut self, cost: u64, took: Option<Duration>) {
        self.held = self.held.saturating_sub(1);
        if let Model::Concurrency(model) = &mut self.model {
            if let Some(took) = took {
                model.went_well(took);
            }
            model.ended(cost);
        }
    }

    /// The provider did not bear the call: it broke off, or was not answered in time.
    pub fn dropped(&mut self) {
        if let Model::Concurrency(model) = &mut self.model {
            model.dropped();
        }
    }

    /// Take the provider's word on a call that was sent at `sent`, and is answered; `chance` is any number.
    pub fn observe(&mut self, now: Now, sent: Nanos, signal: &Signal, chance: u64) {
        // An account's plan may allow more than is declared; it must be said of this very quota.
        let limit = signal.limit.filter(|limit| *limit > 0 && signal.scope.is_some() && !signal.percent);
        if let Some(limit) = limit {
            self.model.becomes(self.quota.within(limit));
        }
        if let Some(reset) = signal.reset {
            self.model.resets(now, sent, reset);
        }
        if let Some(remaining) = signal.remaining {
            let remaining = if signal.percent { self.percent(remaining) } else { remaining };
            self.lower(now, remaining.saturating_sub(self.in_flight), signal.reset);
        }
        if signal.throttled || signal.retry_after.is_some() {
            self.close(now, sent, signal, chance);
        } else if self.closed.as_ref().is_some_and(|closed| sent >= closed.until) {
            self.closed = None;
        }
    }

    /// So many percent of all there is, rounded down.
    fn percent(&self, percent: u64) -> u64 {
        let part = u128::from(self.quota.kind.amount()) * u128::from(percent) / 100;
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    fn lower(&mut self, now: Now, left: u64, reset: Option<Duration>) {
        if let (Kind::Bucket { .. }, Model::Gcra(bucket)) = (&self.quota.kind, &mut self.model) {
            return bucket.lower(now, left);
        }
        if self.quota.kind.is_concurrency() {
            return;
        }
        let end = reset.map(|reset| now.at.saturating_add(nanos(reset)));
        let end = end.or_else(|| match self.quota.kind {
            Kind::Window { .. } | Kind::Calendar { .. } => self.model.resets_at(now),
            _ => None,
        });
        let end = end.unwrap_or_else(|| now.at.saturating_add(nanos(self.quota.kind.window())));
        match &mut self.cap {
            Some(cap) if cap.until > now.at => {
                cap.left = cap.left.min(left);
                if left == 0 {
                    cap.until = cap.until.max(end);
                }
            }
            cap => *cap = Some(Cap { left, until: end }),
        }
    }

    fn close(&mut self, now: Now, sent: Nanos, signal: &Signal, chance: u64) {
        // Several calls may be refused for one reason: those that left before it was known say nothing new.
        let known = self.closed.as_ref().filter(|closed| sent < closed.since);
        let times = known
            .map_or_else(|| self.closed.as_ref().map_or(1, |closed| closed.times + 1), |closed| closed.times);
        let said = signal.retry_after.or(signal.reset);
        if said.is_none() && known.is_some() {
            return;
        }
        let wait = said.unwrap_or_else(|| (BACK_OFF * 2u32.pow((times - 1).min(6))).min(BACK_OFF_MAX));
        let jitter = nanos(wait) / JITTER_SHARE;
        let end = now.at.saturating_add(nanos(wait)).saturating_add(chance % jitter.max(1));
        let since = known.map_or(now.at, |closed| closed.since);
        let end = self.closed.as_ref().map_or(end, |closed| closed.until.max(end));
        self.closed = Some(Closed { since, until: end, times });
        let (amount, window) = self.quota.kind.rate();
        let interval = if self.quota.kind.is_concurrency() { 0 } else { 2 * nanos(window) / amount.max(1) };
        let span = nanos(window.clamp(PACE.0, PACE.1));
        self.pace = Some(Pace { interval, next: end, until: end.saturating_add(span) });
    }

    /// In how long so much would have gone, of calls that stand in a line; None where nobody can tell.
    pub fn line(&mut self, now: Now, amount: u64) -> Option<Duration> {
        let mut wait = self.model.line(now, amount)?;
        if let Some(closed) = &self.closed {
            wait = wait.max(until(now.at, closed.until));
        }
        if let Some(cap) = &self.cap
            && cap.left < amount
        {
            wait = wait.max(until(now.at, cap.until));
        }
        if let Some(pace) = &self.pace
            && pace.until > now.at
        {
            let paced = pace.next.saturating_add(pace.interval.saturating_mul(amount.saturating_sub(1)));
            wait = wait.max(until(now.at, paced.min(pace.until.max(pace.next))));
        }
        Some(wait)
    }

    pub fn left(&mut self, now: Now) -> u64 {
        let mut left = self.model.left(now);
        if let Some(lent) = &self.lent {
            left = left.min(lent.part().left());
        }
        if self.closed_for(now).is_some() {
            return 0;
        }
        match &self.cap {
            Some(cap) if cap.until > now.at => left.min(cap.left),
            _ => left,
        }
    }

    /// In how long there is more than now.
    pub fn reset(&mut self, now: Now) -> Option<Duration> {
        let model = self.model.resets_at(now).map(|at| until(now.at, at));
        let cap = self.cap.as_ref().filter(|cap| cap.until > now.at && cap.left == 0);
        let cap = cap.map(|cap| until(now.at, cap.until));
        [model, cap, self.closed_for(now)].into_iter().flatten().max()
    }

    /// Where it stands, for those who draw on it; None where its numbers are not theirs to know.
    pub fn allowance(&mut self, now: Now) -> Option<Allowance> {
        self.quota.is_told().then(|| Allowance {
            name: Arc::clone(&self.quota.name),
            quota: self.limit(),
            unit: self.quota.kind.unit(),
            remaining: self.left(now),
            reset: self.reset(now),
        })
    }

    /// For how long the provider wants no calls, where it said so.
    pub fn closed_for(&self, now: Now) -> Option<Duration> {
        let closed = self.closed.as_ref().filter(|closed| closed.until > now.at)?;
        Some(until(now.at, closed.until))
    }

    /// How much of it there is now: of an adaptive limit, what it has come to.
    pub fn limit(&self) -> u64 {
        if let Model::Concurrency(model) = &self.model { model.limit() } else { self.model.most() }
    }

    /// The pot that nodes share, of which this is a part; `dearest` is what the dearest call takes.
    pub fn pool(&self, nodes: u64, dearest: u64) -> Pool {
        let quota = self.model.most();
        let interval = self.model.interval();
        let window = match (interval, &self.quota.kind) {
            (Some(interval), _) => Duration::from_nanos(interval.saturating_mul(quota)),
            (_, Kind::Concurrency { .. }) => CALLS_END,
            // As long as a day or month can be.
            (_, Kind::Calendar { .. }) => self.quota.kind.window().mul_f64(1.12),
            // A window's end is known to the second, a log's ageing to a thousandth.
            (_, kind) => kind.window().mul_f64(1.01) + Duration::from_secs(1),
        };
        Pool { quota, step: Pool::step(quota, self.quota.kind.rate(), dearest), window, interval, nodes }
    }

    /// What of a cost that was taken then has not come back by itself.
    fn unrestored(&self, now: Now, taken: Nanos, cost: u64) -> u64 {
        let restored =
            self.model.interval().map_or(0, |interval| now.at.saturating_sub(taken) / interval.max(1));
        cost.saturating_sub(restored)
    }

    pub fn has(&self, lent: &Arc<Lent>) -> bool {
        self.lent.as_ref().is_some_and(|own| Arc::ptr_eq(own, lent))
    }

    /// Tell the part what counts now.
    pub fn refresh(&mut self, now: Now) {
        if let Some(lent) = &self.lent {
            // The provider may have said that there is more or less than was declared.
            let pool = lent.part().pool();
            let (quota, interval) = (self.model.most(), self.model.interval());
            if (pool.quota, pool.interval) != (quota, interval) {
                lent.part().becomes(Pool { quota, interval, ..pool });
            }
            lent.part().saw(now.at, self.model.taken(now));
        }
    }

    /// Begin where the engine before this one ended.
    pub fn restore(&mut self, now: Now) {
        if let (Some(debited), Model::Calendar(calendar)) = (&self.debited, &mut self.model) {
            let begun = calendar.count(now).begun;
            calendar.used_before(debited.before(begun));
        }
    }

    /// Whether so much more is used on disk already, where it is to be.
    pub fn is_debited(&mut self, now: Now, cost: u64) -> bool {
        let (Some(debited), Model::Calendar(calendar)) = (&self.debited, &mut self.model) else {
            return true;
        };
        let count = calendar.count(now);
        debited.covers(Count { used: count.used + cost, ..count })
    }

    /// What is used, where that is kept on disk.
    pub fn exact(&mut self, now: Now) -> Option<(Account, Count)> {
        match (&self.debited, &mut self.model) {
            (Some(debited), Model::Calendar(calendar)) => {
                Some((debited.account().clone(), calendar.count(now)))
            }
            _ => None,
        }
    }
}
