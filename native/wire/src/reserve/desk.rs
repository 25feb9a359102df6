//! One provider's pots and who waits for them, under one lock: a call takes all that it needs or nothing.
//!
//! Workers share it, so that however many there are none of them oversteps a quota. What is done under the
//! lock is arithmetic on a few numbers; nothing is sent, awaited or written there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use slab::Slab;
use tokio::sync::oneshot;

use super::clock::VirtualClock;
use super::debits::{Account, Count, Debits};
use super::keeper::Keeper;
use super::model::{Nanos, Now, When, nanos, until};
use super::pot::Pot;
use super::room::{Room, Share};
use super::rule::{Draw, Plan, Quota, Whose};
use super::signal::Signal;
use crate::class::Class;
use crate::ratelimit::Allowance;
use crate::shared::{Holder, Lent, Store};

/// How long a call waits at most for its debit to be on disk, whether or not it may wait for the quota.
const WRITTEN: Duration = Duration::from_secs(5);
/// And how long for the answer of the store that nodes share.
const LEASED: Duration = Duration::from_secs(1);
/// How many calls wait for that at once.
const HASTY_MAX: usize = 10_000;

#[derive(Debug)]
pub struct Desk {
    provider: Arc<str>,
    origin: Instant,
    keeper: Arc<Keeper>,
    debits: Option<Arc<Debits>>,
    clock: Option<Arc<VirtualClock>>,
    /// Where several nodes count together.
    store: Option<Arc<Store>>,
    own: Weak<Self>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pots: Slab<Pot>,
    index: HashMap<Key, usize>,
    room: Room,
    /// What a client's turn is worth.
    turn: u64,
    /// Which round of letting calls in this is.
    round: u64,
    /// When the keeper looks next.
    look_at: Option<Nanos>,
    /// Calls that wait for the store's answer and for nothing else.
    hasty: Vec<Hasty>,
}

/// Where such a call stands in the room.
#[derive(Debug)]
struct Hasty {
    class: Class,
    client: Arc<str>,
    id: u64,
    shares: Box<[Share]>,
}

/// Whose pot it is: the quota, the connection, and the part of it that has a pot of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    quota: Arc<str>,
    connection: Option<Arc<str>>,
    part: Option<Arc<str>>,
}

/// The provider, the quota, and whose count of it: the connection's, and the part's.
pub type CountName = (Arc<str>, Arc<str>, Option<Arc<str>>, Option<Arc<str>>);

/// For whom a call asks, and for how long it can wait.
#[derive(Debug)]
pub struct Asking<'c> {
    pub client: &'c Arc<str>,
    /// The connection, or the client where there is none.
    pub account: &'c Arc<str>,
    pub operation: &'c Arc<str>,
    pub origin: usize,
    pub class: Class,
    pub deadline: Nanos,
}

/// What became of it.
#[derive(Debug)]
pub enum Asked {
    Taken(Nanos, Box<[Share]>),
    Waits(Place),
    Refused(Refused),
}

/// A place in the room.
#[derive(Debug)]
pub struct Place {
    pub id: u64,
    pub class: Class,
    pub shares: Box<[Share]>,
    pub door: oneshot::Receiver<Nanos>,
    /// Until when it is worth waiting.
    pub until: Nanos,
    pub waits_for: WaitsFor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// Its turn.
    Quota,
    /// Nothing but the disk.
    Disk,
    /// Nothing but the answer of the store that nodes share.
    Store,
}

/// Why a call does not go.
#[derive(Debug)]
pub struct Refused {
    pub why: Why,
    /// The quotas in its way, by name.
    pub violated: Vec<Arc<str>>,
    /// Those of them whose numbers its client may know.
    pub limits: Vec<Allowance>,
    /// In how long it may go.
    pub wait: Option<Duration>,
    /// The first of the quotas, spelled out.
    pub quota: Arc<Quota>,
    /// Whether the provider itself closed it.
    pub closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing is left, and it does not wait.
    Exhausted,
    /// It costs more than there ever is.
    TooDear,
    /// As many wait as may, and nobody who has more of them.
    RoomFull,
    /// It would wait longer than it can.
    TooLate,
}

/// How a call ended, for its pots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It never reached the provider.
    Unsent,
    /// Its answer has passed.
    Answered,
    /// Its consumer has left, or it was cut.
    Gone,
    /// The provider did not bear it, which is known to its pots already.
    Dropped,
}

/// What a call has taken of its pots.
#[derive(Debug)]
pub struct Held {
    pub shares: Box<[Share]>,
    pub taken: Nanos,
    /// Which of them are not settled, a bit for each.
    open: u32,
}

impl Held {
    pub fn new(shares: Box<[Share]>, taken: Nanos) -> Self {
        Self { shares, taken, open: u32::MAX }
    }

    /// What the call costs: the most that it takes of anything.
    pub fn cost(&self) -> u64 {
        self.shares.iter().map(|share| share.1).max().unwrap_or(0)
    }

    fn is_open(&self, place: usize) -> bool {
        self.open & (1 << place) != 0
    }
}

impl Desk {
    pub fn new(
        provider: Arc<str>,
        origin: Instant,
        keeper: Arc<Keeper>,
        debits: Option<Arc<Debits>>,
        clock: Option<Arc<VirtualClock>>,
        store: Option<Arc<Store>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            provider,
            origin,
            keeper,
            debits,
            clock,
            store,
            own: Weak::clone(own),
            state: Mutex::default(),
        })
    }

    pub fn now(&self) -> Now {
        if let Some(clock) = &self.clock {
            return clock.now();
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: nanos(self.origin.elapsed()), unix }
    }

    /// The moment on the clock that timers run by.
    pub fn instant(&self, at: Nanos) -> Instant {
        self.origin + Duration::from_nanos(at)
    }

    pub fn nanos(&self, instant: Instant) -> Nanos {
        nanos(instant.saturating_duration_since(self.origin))
    }

    /// A snapshot comes into force: counts go on under what is declared now.
    pub fn declare(self: &Arc<Self>, plan: &Plan, has: impl Fn(&str) -> bool) {
        let now = self.now();
        let mut state = self.state();
        let State { pots, index, .. } = &mut *state;
        index.retain(|key, number| {
            let pot = &mut pots[*number];
            let gone = key.connection.as_deref().is_some_and(|account| !has(account));
            match plan.quotas.iter().find(|quota| quota.name == key.quota) {
                Some(quota) if !gone => {
                    let goes_on = pot.quota.counts_as(quota);
                    pot.becomes(now, quota);
                    if !goes_on {
                        pot.lent = self.lend(pot, *number, plan.turn);
                    }
                    true
                }
                // What calls hold or wait for stays until they are done; what is on disk is read again.
                _ if pot.held > 0 || pot.queued.iter().any(|queued| *queued > 0) => true,
                _ => {
                    pots.remove(*number);
                    false
                }
            }
        });
        self.admit(&mut state, now);
    }

    /// Nothing is declared of the provider any more.
    pub fn forget(self: &Arc<Self>) {
        self.declare(&Plan::new(Vec::new(), Vec::new()), |_| false);
    }

    /// Ask for all that a call draws on.
    pub fn ask(self: &Arc<Self>, now: Now, plan: &Plan, draws: &[Draw], asking: &Asking<'_>) -> Asked {
        let mut state = self.state();
        let shares = self.shares(&mut state, now, plan, draws, asking);
        state.turn = plan.turn;
        state.round += 1;
        let when = if state.room.is_empty() {
            state.take(now, &shares)
        } else {
            // Nobody overtakes those who wait; whether it has to wait, too, is seen when all have been asked.
            state.look(now, &shares)
        };
        if when == When::Now && state.room.is_empty() {
            return Asked::Taken(now.at, shares);
        }
        match state.may_wait(now, when, &shares, asking) {
            Ok((until, waits_for)) => self.enter(&mut state, now, shares, asking, until, waits_for),
            Err(refused) => Asked::Refused(refused),
        }
    }

    fn enter(
        self: &Arc<Self>,
        state: &mut State,
        now: Now,
        shares: Box<[Share]>,
        asking: &Asking<'_>,
        until: Nanos,
        waits_for: WaitsFor,
    ) -> Asked {
        let (door, mut opened) = oneshot::channel();
        for (pot, cost) in &*shares {
            state.pots[*pot].queued[asking.class as usize] += cost;
            state.pots[*pot].waiting += 1;
        }
        let id = state.room.enter(asking.class, asking.client, shares.clone(), door);
        self.admit(state, now);
        if let Ok(taken) = opened.try_recv() {
            return Asked::Taken(taken, shares);
        }
        if waits_for == WaitsFor::Store {
            let (class, client) = (asking.class, Arc::clone(asking.client));
            state.hasty.push(Hasty { class, client, id, shares: shares.clone() });
        }
        Asked::Waits(Place { id, class: asking.class, shares, door: opened, until, waits_for })
    }

    /// The time of a place is up, or its consumer has left. What it was given meanwhile goes back.
    pub fn leave(self: &Arc<Self>, client: &str, place: &mut Place) {
        let now = self.now();
        let mut state = self.state();
        if let Ok(taken) = place.door.try_recv() {
            for &(pot, cost) in &*place.shares {
                state.pots[pot].give_back(now, taken, cost);
            }
        } else if state.room.leave(place.class, client, place.id).is_some() {
            state.unqueue(place.class, &place.shares);
        }
        self.admit(&mut state, now);
    }

    /// A place was given up in vain.
    pub fn in_vain(&self, why: Why, shares: &[Share]) -> Refused {
        let now = self.now();
        let mut state = self.state();
        state.round += 1;
        let lacking: Vec<Share> = shares
            .iter()
            .filter(|share| state.pots[share.0].when(now, share.1) != When::Now)
            .copied()
            .collect();
        state.refused(now, why, shares, &lacking, None)
    }

    /// A call goes out once more, and is counted once more: where it must, whether or not there is enough, but
    /// never before that is on disk where it is kept there. Its place among those in flight it has.
    pub fn take_again(&self, shares: &[Share], must: bool) -> bool {
        let now = self.now();
        let mut state = self.state();
        let lacks = |state: &mut State, &(pot, cost): &Share| {
            let pot = &mut state.pots[pot];
            if must {
                return !pot.is_debited(now, cost);
            }
            !pot.quota.kind.is_concurrency() && pot.when(now, cost) != When::Now
        };
        if shares.iter().any(|share| lacks(&mut state, share)) {
            return false;
        }
        for &(pot, cost) in shares {
            let pot = &mut state.pots[pot];
            if !pot.quota.kind.is_concurrency() {
                pot.take(now, cost);
                pot.answered(now, now.at, cost, cost);
                pot.ended(cost, None);
            }
        }
        true
    }

    /// The answer is there, or what of it `signals` speak of limits. `said` tells what the call came to by a
    /// quota, where that is known; where `later` says that the body will tell it, it stays open.
    pub fn answered(
        self: &Arc<Self>,
        held: &mut Held,
        signals: &[Signal],
        said: impl Fn(&Quota) -> Option<u64>,
        later: impl Fn(&Quota) -> bool,
    ) {
        let now = self.now();
        let chance = now.at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ held.taken;
        let mut state = self.state();
        for (place, &(number, cost)) in held.shares.iter().enumerate() {
            let meant: Vec<&Signal> =
                signals.iter().filter(|signal| state.is_meant(&held.shares, number, signal)).collect();
            let pot = &mut state.pots[number];
            let actual = said(&pot.quota).or_else(|| meant.iter().find_map(|signal| signal.cost));
            if held.is_open(place) && (actual.is_some() || !later(&pot.quota)) {
                pot.answered(now, held.taken, cost, actual.unwrap_or(cost));
                held.open &= !(1 << place);
            }
            for signal in meant {
                pot.observe(now, held.taken, signal, chance);
            }
        }
        self.admit(&mut state, now);
    }

    /// The provider did not bear a call: it refused it, broke it off, or did not answer in time.
    pub fn dropped(&self, held: &Held) {
        let mut state = self.state();
        for &(pot, _) in &*held.shares {
            state.pots[pot].dropped();
        }
    }

    /// Where a call's quotas stand, for its consumer.
    pub fn allowances(&self, held: &Held) -> Vec<Allowance> {
        let now = self.now();
        let mut state = self.state();
        let pots = &mut state.pots;
        held.shares.iter().filter_map(|share| pots[share.0].allowance(now)).collect()
    }

    /// What a call has taken of each count: which one, how much, and whether it counts for as long as the call lasts.
    pub fn drawn(&self, held: &Held) -> Vec<(CountName, u64, bool)> {
        let state = self.state();
        let drawn = held.shares.iter().map(|(number, cost)| {
            let pot = &state.pots[*number];
            let name = (
                Arc::clone(&self.provider),
                Arc::clone(&pot.quota.name),
                pot.connection.clone(),
                pot.part.clone(),
            );
            (name, *cost, pot.quota.kind.is_concurrency())
        });
        drawn.collect()
    }

    /// A call is over. `actual` is what it came to by the quotas that its body settles.
    pub fn ended(self: &Arc<Self>, held: &Held, actual: Option<u64>, ending: Ending) {
        let now = self.now();
        let took = (ending == Ending::Answered).then(|| until(held.taken, now.at));
        let mut state = self.state();
        for (place, &(number, cost)) in held.shares.iter().enumerate() {
            let pot = &mut state.pots[number];
            if ending == Ending::Unsent {
                pot.give_back(now, held.taken, cost);
                continue;
            }
            if held.is_open(place) {
                pot.answered(now, held.taken, cost, actual.unwrap_or(cost));
            }
            pot.ended(cost, took);
        }
        self.admit(&mut state, now);
    }

    /// So much of a count is on disk now.
    pub fn written(self: &Arc<Self>, account: &Account, count: Count) {
        let now = self.now();
        let key = Key {
            quota: Arc::clone(&account.quota),
            connection: account.connection.clone(),
            part: account.part.clone(),
        };
        let mut state = self.state();
        if let Some(&number) = state.index.get(&key)
            && let Some(debited) = &mut state.pots[number].debited
        {
            debited.written(count);
            self.admit(&mut state, now);
        }
    }

    /// The keeper's round.
    pub fn look(self: &Arc<Self>) {
        let now = self.now();
        let mut state = self.state();
        state.look_at = None;
        self.admit(&mut state, now);
    }

    /// What of days and months is used, for the disk.
    pub fn exact(&self) -> Vec<(Account, Count)> {
        let now = self.now();
        self.state().pots.iter_mut().filter_map(|(_, pot)| pot.exact(now)).collect()
    }

    /// Let in who can go, and have the keeper look again when the next one can.
    fn admit(self: &Arc<Self>, state: &mut State, now: Now) {
        if let Some(at) = state.admit(now)
            && state.look_at.is_none_or(|known| at < known || known <= now.at)
        {
            state.look_at = Some(at);
            self.keeper.look(at, self);
        }
    }

    fn shares(
        self: &Arc<Self>,
        state: &mut State,
        now: Now,
        plan: &Plan,
        draws: &[Draw],
        asking: &Asking<'_>,
    ) -> Box<[Share]> {
        let mut shares = Vec::with_capacity(draws.len());
        for draw in draws {
            let quota = &plan.quotas[draw.quota];
            let key = Key {
                quota: Arc::clone(&quota.name),
                connection: (quota.whose != Whose::Provider).then(|| Arc::clone(asking.account)),
                part: match quota.whose {
                    Whose::Operation => Some(Arc::clone(asking.operation)),
                    Whose::Origin => Some(asking.origin.to_string().into()),
                    Whose::Connection | Whose::Provider => None,
                },
            };
            let number = match state.index.get(&key) {
                Some(number) => *number,
                None => self.new_pot(state, now, quota, plan.turn, key),
            };
            shares.push((number, draw.cost));
        }
        shares.into()
    }

    /// This node's part of a pot, where several share it.
    fn lend(self: &Arc<Self>, pot: &Pot, number: usize, dearest: u64) -> Option<Arc<Lent>> {
        let store = self.store.as_ref()?;
        let given =
            |text: &Option<Arc<str>>| text.as_ref().map_or_else(String::new, |text| format!("+{text}"));
        let (connection, part) = (given(&pot.connection), given(&pot.part));
        let name = ["quota", &self.provider, &pot.quota.name, &connection, &part, pot.quota.kind.name()];
        let holder: Weak<Self> = Weak::clone(&self.own);
        let keeps = pot.quota.kind.is_durable();
        Some(store.lend(&name, pot.pool(store.nodes(), dearest), keeps, holder, number))
    }

    fn new_pot(
        self: &Arc<Self>,
        state: &mut State,
        now: Now,
        quota: &Arc<Quota>,
        turn: u64,
        key: Key,
    ) -> usize {
        let debited = self.debits.as_ref().filter(|_| quota.kind.is_durable()).map(|debits| {
            let account = Account {
                provider: Arc::clone(&self.provider),
                quota: Arc::clone(&key.quota),
                connection: key.connection.clone(),
                part: key.part.clone(),
            };
            let desk: Weak<Self> = Arc::downgrade(self);
            debits.account(account, desk)
        });
        let mut pot = Pot::new(Arc::clone(quota), key.connection.clone(), key.part.clone(), debited);
        pot.restore(now);
        let number = state.pots.vacant_key();
        pot.lent = self.lend(&pot, number, turn);
        state.pots.insert(pot);
        state.index.insert(key, number);
        number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder for Desk {
    fn refresh(&self, lent: &Arc<Lent>) {
        let now = self.now();
        if let Some(pot) = self.state().pots.get_mut(lent.number).filter(|pot| pot.has(lent)) {
            pot.refresh(now);
        }
    }

    fn changed(&self, _: &Arc<Lent>) {
        let now = self.now();
        let mut state = self.state();
        if let Some(desk) = self.own.upgrade() {
            desk.admit(&mut state, now);
        }
        state.dismiss(now);
    }
}

impl State {
    /// Who waited for the store's answer alone, and was not let in by it, need not wait any longer.
    fn dismiss(&mut self, now: Now) {
        for hasty in std::mem::take(&mut self.hasty) {
            self.round += 1;
            if matches!(self.look(now, &hasty.shares), When::Leased | When::Written) {
                self.hasty.push(hasty);
            } else if self.room.leave(hasty.class, &hasty.client, hasty.id).is_some() {
                self.unqueue(hasty.class, &hasty.shares);
            }
        }
    }

    /// When a call could go; a pot that was found exhausted in this round is kept for who found it so.
    fn look(&mut self, now: Now, shares: &[Share]) -> When {
        let mut when = When::Now;
        for &(number, cost) in shares {
            let pot = &mut self.pots[number];
            let this = if pot.exhausted_in == self.round { When::Released } else { pot.when(now, cost) };
            if this != When::Now {
                pot.exhausted_in = self.round;
            }
            when = when.and(this);
        }
        when
    }

    fn take(&mut self, now: Now, shares: &[Share]) -> When {
        let when = self.look(now, shares);
        if when == When::Now {
            for &(pot, cost) in shares {
                self.pots[pot].take(now, cost);
            }
        }
        when
    }

    /// Let in all who can go now; tells when another one can.
    fn admit(&mut self, now: Now) -> Option<Nanos> {
        if self.room.is_empty() {
            return None;
        }
        let mut next: Option<Nanos> = None;
        self.round += 1;
        let turn = self.turn;
        let mut room = std::mem::take(&mut self.room);
        while let Some((class, waiter)) = room.admit(turn, |shares| {
            let when = self.take(now, shares);
            if let When::At(at) = when {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            when
        }) {
            self.unqueue(class, &waiter.shares);
            // Who has left in this very moment leaves its share to the next.
            if waiter.door.send(now.at).is_err() {
                for &(pot, cost) in &*waiter.shares {
                    self.pots[pot].give_back(now, now.at, cost);
                    self.pots[pot].exhausted_in = 0;
                }
            }
        }
        self.room = room;
        next
    }

    /// Until when a call may wait for what it needs, or why it may not.
    fn may_wait(
        &mut self,
        now: Now,
        when: When,
        shares: &[Share],
        asking: &Asking<'_>,
    ) -> Result<(Nanos, WaitsFor), Refused> {
        if when == When::Written {
            return Ok((asking.deadline.min(now.at.saturating_add(nanos(WRITTEN))), WaitsFor::Disk));
        }
        let queues = |share: &Share| {
            let quota = &self.pots[share.0].quota;
            quota.queue.is_some_and(|queue| self.room.len() < queue.length)
        };
        if when == When::Leased && !shares.iter().all(queues) && self.hasty.len() < HASTY_MAX {
            return Ok((asking.deadline.min(now.at.saturating_add(nanos(LEASED))), WaitsFor::Store));
        }
        let lacking: Vec<Share> = if when == When::Now {
            shares.to_vec()
        } else {
            let lacks =
                |share: &&Share| !matches!(self.pots[share.0].when(now, share.1), When::Now | When::Written);
            shares.iter().filter(lacks).copied().collect()
        };
        if when == When::Never {
            return Err(self.refused(now, Why::TooDear, shares, &lacking, None));
        }
        let (mut until_at, mut expected, mut full) = (asking.deadline, Duration::ZERO, false);
        for &(pot, cost) in &lacking {
            let Some(queue) = self.pots[pot].quota.queue else {
                // What is there is not taken from under those who wait for another quota.
                if when == When::Now {
                    continue;
                }
                return Err(self.refused(now, Why::Exhausted, shares, &lacking, None));
            };
            full |= self.room.len() >= queue.length;
            until_at = until_at.min(now.at.saturating_add(nanos(queue.wait())));
            let ahead = self.ahead(asking, pot);
            expected = expected.max(self.pots[pot].line(now, ahead + cost).unwrap_or_default());
        }
        if now.at.saturating_add(nanos(expected)) > until_at {
            return Err(self.refused(now, Why::TooLate, shares, &lacking, Some(expected)));
        }
        if full && !self.make_room(asking) {
            return Err(self.refused(now, Why::RoomFull, shares, &lacking, None));
        }
        Ok((until_at, WaitsFor::Quota))
    }

    /// Somebody with more calls waiting gives up a place. Its door closes, which tells it why.
    fn make_room(&mut self, asking: &Asking<'_>) -> bool {
        let Some((class, waiter)) = self.room.make_room(asking.class, asking.client) else { return false };
        self.unqueue(class, &waiter.shares);
        true
    }

    fn unqueue(&mut self, class: Class, shares: &[Share]) {
        for &(pot, cost) in shares {
            let pot = &mut self.pots[pot];
            let queued = &mut pot.queued[class as usize];
            *queued = queued.saturating_sub(cost);
            pot.waiting = pot.waiting.saturating_sub(1);
        }
    }

    /// How much of a pot goes to others before a newcomer's turn, who shares it with the clients of its class.
    fn ahead(&self, asking: &Asking<'_>, pot: usize) -> u64 {
        let queued = &self.pots[pot].queued;
        let above: u64 = queued[..asking.class as usize].iter().sum();
        let (clients, own) = self.room.waiting(asking.class, asking.client, pot);
        above + queued[asking.class as usize].min((own + 1).saturating_mul(clients.max(1)))
    }

    fn refused(
        &mut self,
        now: Now,
        why: Why,
        shares: &[Share],
        lacking: &[Share],
        expected: Option<Duration>,
    ) -> Refused {
        let lacking = if lacking.is_empty() { shares } else { lacking };
        let (mut violated, mut limits) = (Vec::with_capacity(lacking.len()), Vec::new());
        let mut wait = expected.unwrap_or_default();
        for &(number, cost) in lacking {
            let pot = &mut self.pots[number];
            violated.push(Arc::clone(&pot.quota.name));
            limits.extend(pot.allowance(now));
            wait = wait.max(match pot.when(now, cost) {
                When::At(at) => until(now.at, at),
                _ => pot.line(now, cost).unwrap_or_default(),
            });
        }
        let first = &self.pots[lacking[0].0];
        Refused {
            why,
            violated,
            limits,
            wait: (why != Why::TooDear).then_some(wait),
            quota: Arc::clone(&first.quota),
            closed: first.closed_for(now).is_some(),
        }
    }

    /// Whether a signal is about a pot: the quota that it names, or the only one that it can mean.
    fn is_meant(&self, shares: &[Share], number: usize, signal: &Signal) -> bool {
        let quota = &self.pots[number].quota;
        if let Some(scope) = &signal.scope {
            if shares.iter().any(|share| self.pots[share.0].quota.name == *scope) {
                return quota.name == *scope;
            }
            // It is about a count that is not kept here: only that the call was refused is heeded.
            if !signal.throttled && signal.retry_after.is_none() {
                return false;
            }
        }
        let counts = |share: &&Share| !self.pots[share.0].quota.kind.is_concurrency();
        let counted = shares.iter().filter(counts).count();
        if signal.throttled || signal.retry_after.is_some() {
            return counted == 0 || !quota.kind.is_concurrency();
        }
        if quota.kind.is_concurrency() {
            return false;
        }
        counted == 1 || !signal.percent && signal.limit == Some(quota.kind.amount())
    }
}

/// One pot as `tidegate limits` shows it.
#[derive(Debug, Serialize)]
pub struct LivePot {
    pub provider: Arc<str>,
    pub quota: Arc<str>,
    pub connection: Option<Arc<str>>,
    pub part: Option<Arc<str>>,
    #[serde(skip)]
    pub rule: Arc<Quota>,
    model: &'static str,
    pub describe: String,
    pub limit: u64,
    pub used: u64,
    left: u64,
    /// Milliseconds until there is more.
    reset_ms: Option<u64>,
    /// Milliseconds for which the provider wants no calls.
    closed_ms: Option<u64>,
    in_flight: usize,
    /// How many calls wait for it, and what they will take.
    waiting: usize,
    queued: HashMap<&'static str, u64>,
}

impl Desk {
    /// What stands in each pot.
    pub fn live(&self) -> Vec<LivePot> {
        let now = self.now();
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        let pots = state.pots.iter_mut().map(|(_, pot)| LivePot {
            provider: Arc::clone(&self.provider),
            quota: Arc::clone(&pot.quota.name),
            connection: pot.connection.clone(),
            part: pot.part.clone(),
            rule: Arc::clone(&pot.quota),
            model: pot.quota.kind.name(),
            describe: pot.quota.describe(),
            limit: pot.limit(),
            left: pot.left(now),
            used: pot.limit().saturating_sub(pot.left(now)),
            reset_ms: pot.reset(now).map(ms),
            closed_ms: pot.closed_for(now).map(ms),
            in_flight: pot.held,
            waiting: pot.waiting,
            queued: Class::ALL.map(|class| (class.as_str(), pot.queued[class as usize])).into(),
        });
        pots.collect()
    }
}
