//! What this node holds of one pot that all nodes share: a part, and parts never come to more than the pot.
//!
//! Pure: time is passed in, and what is said to the store and heard from it are values. A call takes from the
//! part without a round trip. When the store is lost the parts stay as they are, so that nothing is overstepped
//! at that moment; then whoever holds more than its share (the pot by the declared number of nodes) lets go of
//! it as calls age, and when all have done so, those with less rise to theirs.

use std::time::Duration;

use crate::reserve::model::{Gcra, Nanos, When, nanos};

/// For how long a store that had nothing is not asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// A part is given back but for what may be needed soon when nothing was taken for so long.
const AT_REST: Duration = Duration::from_secs(1);
/// After so long without a call a pot is no longer held on to.
const KNOWN: Duration = Duration::from_secs(600);
/// How much later than everyone must have noticed that the store is lost a part rises: clocks differ.
const NOTICED: Duration = Duration::from_secs(5);

/// The pot, as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    pub quota: u64,
    /// How much is taken ahead at once.
    pub step: u64,
    /// For how long what is taken counts.
    pub window: Duration,
    /// Of a pot with a pace: for one unit. It restores itself; others come back when calls have aged.
    pub interval: Option<Nanos>,
    pub nodes: u64,
}

impl Pool {
    /// A lease: at most what comes back in 50 ms, and a hundredth; the dearest call at least.
    pub fn step(quota: u64, rate: (u64, Duration), dearest: u64) -> u64 {
        let soon = u128::from(rate.0) * 50 / rate.1.as_millis().max(1);
        u64::try_from(soon).unwrap_or(u64::MAX).min(quota / 100).max(dearest).max(1)
    }

    fn share(&self, slot: u64) -> u64 {
        self.quota / self.nodes + u64::from(slot < self.quota % self.nodes)
    }
}

/// What the store is told. `have` is what this node takes for its own whatever the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub have: u64,
    pub need: u64,
    pub want: u64,
    pub spent: u64,
    pub refunded: u64,
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Whether it knows of everyone's part, and gives.
    pub open: bool,
    pub held: u64,
    /// What each may hold, where some lack.
    pub fair: Option<u64>,
    /// Whether more than half of the pot is held by nobody.
    pub slack: bool,
    /// What others hold or have used.
    pub others: u64,
}

/// Whether a call can take its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Yes,
    /// The store is asked, and answers soon.
    Asked,
    /// The store had nothing more, and is asked again then.
    Dry(Nanos),
    /// Alone: this is the most that may be taken; None: as `When` says.
    Alone(Limit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So much may count at once, and from a moment on a share that is larger.
    Held {
        most: u64,
        rises: Option<Nanos>,
    },
    Paced(When),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The store has not been reached yet, and may be.
    Starting,
    Pooled,
    /// From `rises` on the part is the share.
    Alone {
        rises: Nanos,
    },
}

#[derive(Debug)]
pub struct Part {
    pool: Pool,
    slot: u64,
    mode: Mode,
    /// What may count at once; of a pot with a pace, what may still be spent.
    held: u64,
    /// What counts now: in flight, and answered within the window.
    taken: u64,
    /// The most that waiting calls need, with what counts already.
    lacking: u64,
    dry_until: Nanos,
    used_at: Nanos,
    fair: Option<u64>,
    slack: bool,
    others: u64,
    spent: u64,
    refunded: u64,
    /// Spent since the store was last told.
    untold: u64,
    /// What was asked for: an answer with more is absurd.
    asked: u64,
    alone: Option<Gcra>,
}

impl Part {
    /// `lost`: since when the store is away, where it was reached before; `never`: it was not reached in time.
    pub fn new(pool: Pool, slot: u64, now: Nanos, begin: Begin) -> Self {
        let mut part = Self {
            pool,
            slot,
            mode: Mode::Starting,
            held: 0,
            taken: 0,
            lacking: 0,
            dry_until: 0,
            used_at: now,
            fair: None,
            slack: false,
            others: 0,
            spent: 0,
            refunded: 0,
            untold: 0,
            asked: 0,
            alone: None,
        };
        match begin {
            Begin::Starting => {}
            Begin::Connected => part.mode = Mode::Pooled,
            Begin::Lost(at) => {
                part.mode = Mode::Alone { rises: part.rises_after(at) };
                part.alone = part.paced_share(at, true);
            }
            Begin::Never => part.never_reached(now),
        }
        part
    }

    /// Whether `cost` can be taken while `taken` counts.
    pub fn room(&mut self, now: Nanos, taken: u64, cost: u64) -> Room {
        self.saw(now, taken);
        self.used_at = now;
        if self.pool.interval.is_some() {
            if self.held >= cost {
                return Room::Yes;
            }
            if let (Mode::Alone { .. }, Some(alone)) = (self.mode, &self.alone) {
                return match alone.when(unix_free(now), cost) {
                    When::Now => Room::Yes,
                    when => Room::Alone(Limit::Paced(when)),
                };
            }
            return self.ask(now, cost);
        }
        if taken + cost <= self.held {
            return Room::Yes;
        }
        if let Mode::Alone { rises } = self.mode {
            let rises = (rises > now && self.pool.share(self.slot) > self.held).then_some(rises);
            return Room::Alone(Limit::Held { most: self.held, rises });
        }
        self.ask(now, taken + cost)
    }

    fn ask(&mut self, now: Nanos, needed: u64) -> Room {
        if now < self.dry_until {
            return Room::Dry(self.dry_until);
        }
        self.lacking = self.lacking.max(needed);
        Room::Asked
    }

    /// A call has taken its cost.
    pub fn take(&mut self, now: Nanos, cost: u64) {
        self.used_at = now;
        self.taken += cost;
        if self.pool.interval.is_none() {
            return;
        }
        self.spent += cost;
        self.untold += cost;
        if self.held >= cost {
            self.held -= cost;
        } else if let Some(alone) = &mut self.alone {
            alone.take(unix_free(now), cost);
        }
    }

    /// A call never left, or cost less than was taken.
    pub fn refund(&mut self, now: Nanos, cost: u64) {
        if self.pool.interval.is_some() {
            self.refunded += cost;
            if let Some(alone) = &mut self.alone {
                alone.give_back(unix_free(now), now, cost);
            }
        }
    }

    /// A call cost more than was taken.
    pub fn debit(&mut self, now: Nanos, cost: u64) {
        if self.pool.interval.is_some() {
            self.spent += cost;
            if let Some(alone) = &mut self.alone {
                alone.take(unix_free(now), cost);
            }
        }
    }

    /// So much counts now: what has aged goes back where others lack it.
    pub fn saw(&mut self, now: Nanos, taken: u64) {
        self.taken = taken;
        if self.pool.interval.is_some() {
            return;
        }
        match self.mode {
            Mode::Pooled => {
                if let Some(fair) = self.fair {
                    self.held = self.held.min(taken.max(fair));
                }
            }
            Mode::Alone { rises } => {
                let share = self.pool.share(self.slot);
                if now >= rises {
                    self.held = share;
                }
                self.held = self.held.min(taken.max(share));
            }
            Mode::Starting => {}
        }
    }

    /// Whether the store is to hear of this now rather than at its turn.
    pub fn is_urgent(&self) -> bool {
        let free =
            if self.pool.interval.is_some() { self.held } else { self.held.saturating_sub(self.taken) };
        self.mode == Mode::Pooled
            && (self.lacking > 0 || (free < self.pool.step.div_ceil(2) && self.fair.is_none()))
    }

    /// What to tell the store. None: it need not know of this part.
    pub fn report(&mut self, now: Nanos) -> Report {
        let rested = now.saturating_sub(self.used_at);
        let (busy, known) = (rested < nanos(AT_REST), rested < nanos(KNOWN.max(self.pool.window)));
        let paced = self.pool.interval.is_some();
        let counted = if paced { 0 } else { self.taken };
        let ahead = if busy { self.pool.step } else { 0 };
        let need = if self.lacking > 0 { self.lacking.max(counted + ahead) } else { counted + ahead };
        let need = need.min(self.pool.quota.max(counted));
        let want = if known && !paced { need.max(self.pool.share(self.slot) / 2) } else { need };
        if self.mode == Mode::Pooled {
            let keeps = if self.slack { want } else { need };
            self.held = self.held.min(keeps.max(counted));
        }
        self.untold = 0;
        self.asked = want.max(self.held);
        let have = self.held.max(counted);
        Report {
            have,
            need: need.max(have),
            want: want.max(have),
            spent: self.spent,
            refunded: self.refunded,
        }
    }

    /// Take the store's answer; false: it is absurd.
    pub fn told(&mut self, now: Nanos, slot: u64, told: Told) -> bool {
        let paced = self.pool.interval.is_some();
        let counted = if paced { 0 } else { self.taken };
        if told.held > self.asked.max(self.held).max(counted)
            || told.others > self.pool.quota.saturating_mul(4)
        {
            return false;
        }
        self.slot = slot;
        self.others = told.others;
        if !told.open {
            // It gathers who holds what; until it knows, everyone goes by its own.
            if self.mode == Mode::Starting {
                self.never_reached(now);
            }
            self.lacking = 0;
            return true;
        }
        self.mode = Mode::Pooled;
        self.alone = None;
        (self.fair, self.slack) = (told.fair, told.slack);
        self.held = if paced { told.held.saturating_sub(self.untold) } else { told.held };
        if self.lacking > self.held {
            self.dry_until = now.saturating_add(nanos(ASK_AGAIN));
        }
        self.lacking = 0;
        true
    }

    /// The store has forgotten of this part, and was told so much before.
    pub fn left_store(&mut self, told: Report) {
        self.spent = self.spent.saturating_sub(told.spent);
        self.refunded = self.refunded.saturating_sub(told.refunded);
    }

    /// The store is away.
    pub fn lost(&mut self, now: Nanos) {
        match self.mode {
            Mode::Starting => self.never_reached(now),
            Mode::Alone { .. } => {}
            Mode::Pooled => {
                self.mode = Mode::Alone { rises: self.rises_after(now) };
                self.alone = self.paced_share(now, true);
                self.fair = None;
            }
        }
        self.lacking = 0;
    }

    /// Nothing is known of what others do, and this node has done nothing yet: it begins with its share.
    fn never_reached(&mut self, now: Nanos) {
        self.mode = Mode::Alone { rises: now };
        self.alone = self.paced_share(now, false);
        if self.pool.interval.is_none() {
            self.held = self.pool.share(self.slot);
        }
    }

    fn paced_share(&self, now: Nanos, empty: bool) -> Option<Gcra> {
        let interval = self.pool.interval?;
        let mut alone = Gcra::paced(interval.saturating_mul(self.pool.nodes), self.pool.share(self.slot));
        if empty {
            alone.lower(unix_free(now), 0);
        }
        Some(alone)
    }

    fn rises_after(&self, lost: Nanos) -> Nanos {
        lost.saturating_add(nanos(self.pool.window + NOTICED))
    }

    /// The pot is declared anew.
    pub fn becomes(&mut self, pool: Pool) {
        self.pool = pool;
        if self.pool.interval.is_none() {
            self.held = self.held.min(pool.quota);
        }
    }

    /// What still counts of what was taken; of a pot with a pace, nothing.
    pub fn counts(&self) -> u64 {
        if self.pool.interval.is_some() { 0 } else { self.taken }
    }

    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// The number of nodes, while each of them goes by itself.
    pub fn alone(&self) -> Option<u64> {
        matches!(self.mode, Mode::Alone { .. }).then_some(self.pool.nodes)
    }

    /// How much this node could take at most, as far as it knows.
    pub fn left(&self) -> u64 {
        let own = if self.pool.interval.is_some() { self.held } else { self.held.saturating_sub(self.taken) };
        match self.mode {
            Mode::Pooled => {
                let counted = if self.pool.interval.is_some() { 0 } else { self.taken };
                own.max(self.pool.quota.saturating_sub(self.others + counted))
            }
            Mode::Alone { .. } | Mode::Starting => own,
        }
    }
}

/// How things stand when a part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    Starting,
    Connected,
    Lost(Nanos),
    Never,
}

/// Models with a pace do not look at the calendar.
fn unix_free(at: Nanos) -> crate::reserve::model::Now {
    crate::reserve::model::Now { at, unix: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn pool(quota: u64, nodes: u64) -> Pool {
        Pool { quota, step: 1, window: Duration::from_secs(60), interval: None, nodes }
    }

    fn told(held: u64) -> Told {
        Told { open: true, held, fair: None, slack: false, others: 0 }
    }

    /// A part that holds so much, all of it taken.
    fn used_up(quota: u64, nodes: u64, held: u64) -> Part {
        let mut part = Part::new(pool(quota, nodes), 0, 0, Begin::Connected);
        assert_eq!(part.room(0, 0, held), Room::Asked);
        part.report(0);
        assert!(part.told(0, 0, told(held)));
        for _ in 0..held {
            part.take(0, 1);
        }
        part
    }

    #[test]
    fn nothing_is_taken_before_the_store_has_answered() {
        let mut part = Part::new(pool(100, 4), u64::MAX, 0, Begin::Starting);
        assert_eq!(part.room(0, 0, 1), Room::Asked);
        part.lost(SECOND);
        assert_eq!(part.room(SECOND, 24, 1), Room::Yes);
        assert!(matches!(part.room(SECOND, 25, 1), Room::Alone(_)));
    }

    #[test]
    fn what_was_held_when_the_store_was_lost_is_all_until_everyone_has_let_go() {
        let mut part = used_up(100, 4, 10);
        part.lost(0);
        let risen = 65 * SECOND;
        assert_eq!(part.room(SECOND, 10, 1), Room::Alone(Limit::Held { most: 10, rises: Some(risen) }));
        assert_eq!(part.room(SECOND, 9, 1), Room::Yes);
        assert_eq!(part.room(risen, 24, 1), Room::Yes);
        assert!(matches!(part.room(risen, 25, 1), Room::Alone(Limit::Held { most: 25, rises: None })));
    }

    #[test]
    fn who_holds_more_than_its_share_lets_go_as_calls_age_and_takes_nothing_meanwhile() {
        let mut part = used_up(100, 4, 70);
        part.lost(0);
        for taken in (25..70).rev() {
            assert!(matches!(part.room(SECOND, taken, 1), Room::Alone(_)), "{taken}");
        }
        assert_eq!(part.room(SECOND, 24, 1), Room::Yes);
    }

    #[test]
    fn shares_come_to_the_quota_and_no_more() {
        for (quota, nodes) in [(3, 4), (100, 7), (600, 8), (1, 1)] {
            let pool = pool(quota, nodes);
            assert_eq!((0..nodes).map(|slot| pool.share(slot)).sum::<u64>(), quota);
            assert_eq!(pool.share(u64::MAX), quota / nodes);
        }
    }

    #[test]
    fn what_has_aged_goes_back_where_others_lack_it() {
        let mut part = used_up(100, 2, 80);
        part.report(0);
        assert!(part.told(0, 0, Told { fair: Some(50), ..told(80) }));
        assert!(matches!(part.room(SECOND, 79, 1), Room::Asked));
        assert_eq!(part.report(SECOND).have, 79);
        assert_eq!(part.room(SECOND, 49, 1), Room::Yes);
    }

    #[test]
    fn an_answer_that_gives_more_than_was_asked_is_absurd() {
        let mut part = Part::new(pool(100, 2), 0, 0, Begin::Connected);
        assert_eq!(part.room(0, 0, 1), Room::Asked);
        let asked = part.report(0);
        assert!(!part.told(0, 0, told(asked.want + 1)));
        assert!(!part.told(0, 0, Told { others: u64::MAX, ..told(1) }));
        assert!(part.told(0, 0, told(1)));
    }

    #[test]
    fn a_store_that_had_nothing_is_not_asked_on_each_call() {
        let mut part = Part::new(pool(100, 2), 0, 0, Begin::Connected);
        assert_eq!(part.room(0, 0, 1), Room::Asked);
        part.report(0);
        assert!(part.told(0, 0, told(0)));
        assert_eq!(part.room(0, 0, 1), Room::Dry(nanos(ASK_AGAIN)));
        assert_eq!(part.room(nanos(ASK_AGAIN), 0, 1), Room::Asked);
    }

    #[test]
    fn of_a_pot_with_a_pace_what_is_ahead_is_spent_and_then_the_share_of_the_pace() {
        let paced = Pool { interval: Some(SECOND), ..pool(8, 2) };
        let mut part = Part::new(paced, 0, 0, Begin::Connected);
        assert_eq!(part.room(0, 0, 3), Room::Asked);
        part.report(0);
        assert!(part.told(0, 0, told(3)));
        part.take(0, 1);
        part.lost(0);
        for _ in 0..2 {
            assert_eq!(part.room(0, 0, 1), Room::Yes);
            part.take(0, 1);
        }
        // One unit in two seconds is this node's half of the pace.
        assert_eq!(part.room(0, 0, 1), Room::Alone(Limit::Paced(When::At(2 * SECOND))));
        assert_eq!(part.room(2 * SECOND, 0, 1), Room::Yes);
    }

    #[test]
    fn a_lease_is_small_and_one_call_at_least() {
        let minute = Duration::from_secs(60);
        assert_eq!(Pool::step(600, (600, minute), 1), 1);
        assert_eq!(Pool::step(1_000_000, (1_000_000, minute), 1), 833);
        assert_eq!(Pool::step(10_000, (10_000, Duration::from_secs(1)), 1), 100);
        assert_eq!(Pool::step(600, (600, minute), 10), 10);
    }
}
