//! Refuse calls when this worker is behind with those it has, so that what it carries is carried in time.
//!
//! Part of `admit`. A worker is behind when whatever becomes ready waits for its turn longer than
//! `TARGET`, and has done so for a while (the rule of `CoDel`, RFC 8289 §4: a queue that stands is of no
//! use). Then a growing share of the calls is refused at once, which costs little; a consumer with few
//! calls under way is refused none of them, so that whoever sends ten times as much as the others pays
//! for it. The number of calls under way is bounded besides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::{Code, Refusal};
use crate::snapshot::ConsumerIndex;
use crate::worker::Worker;

/// How long something that is ready may wait for its turn. A call waits for some four turns.
const TARGET: Duration = Duration::from_millis(2);
/// How long it must have been longer before a call is refused: a hiccup is no overload.
const STANDING: Duration = Duration::from_millis(20);
/// A worker that was not looked at for so long is behind with nothing.
const FRESH: Duration = Duration::from_millis(100);
/// What one look adds to the share that is refused, or takes from it, in thousandths.
const STEP: u32 = 40;
const ALL: u32 = 1_000;

/// One worker's view of itself.
#[derive(Debug, Default)]
pub struct Shed {
    looking: Cell<bool>,
    looked_at: Cell<Option<Instant>>,
    behind_since: Cell<Option<Instant>>,
    /// Of a thousand calls, how many are refused.
    refused: Cell<u32>,
    /// What the share has come to since a call was refused last.
    due: Cell<u32>,
    under_way: RefCell<UnderWay>,
}

/// How many calls of each consumer are under way; by numbers, which a new snapshot may give to others.
#[derive(Debug, Default)]
struct UnderWay {
    by_consumer: Vec<u32>,
    all: u32,
    consumers: u32,
}

/// A call has come: find out how long something that becomes ready now waits for its turn.
pub fn look(worker: &Rc<Worker>, now: Instant) {
    if worker.shed.looking.replace(true) {
        return;
    }
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let turn = Instant::now();
        worker.shed.looking.set(false);
        worker.shed.waited(turn.saturating_duration_since(now), turn);
    });
}

impl Shed {
    /// Let a consumer's call go on, or refuse it. One that goes on is given back by `leave`.
    pub fn enter(&self, consumer: ConsumerIndex, now: Instant) -> Result<(), Refusal> {
        let place = consumer as usize;
        let mut under_way = self.under_way.borrow_mut();
        if under_way.by_consumer.len() <= place {
            under_way.by_consumer.resize(place + 1, 0);
        }
        let own = under_way.by_consumer[place];
        if self.is_behind(now) && !under_way.is_modest(own) && self.is_its_turn() {
            let detail =
                "Tidegate is behind with its calls, so this one was refused at once: try again shortly.";
            return Err(Refusal::new(Code::Overloaded, detail).by("gateway.load".into()));
        }
        under_way.by_consumer[place] = own + 1;
        under_way.all += 1;
        under_way.consumers += u32::from(own == 0);
        Ok(())
    }

    pub fn leave(&self, consumer: ConsumerIndex) {
        let mut under_way = self.under_way.borrow_mut();
        if let Some(own) = under_way.by_consumer.get_mut(consumer as usize) {
            *own = own.saturating_sub(1);
            let last = *own == 0;
            under_way.all = under_way.all.saturating_sub(1);
            under_way.consumers = under_way.consumers.saturating_sub(u32::from(last));
        }
    }

    /// Something had to wait so long for its turn.
    fn waited(&self, wait: Duration, now: Instant) {
        let refused = if self.is_fresh(now) { self.refused.get() } else { 0 };
        self.looked_at.set(Some(now));
        if wait <= TARGET {
            self.behind_since.set(None);
            self.refused.set(refused.saturating_sub(STEP));
            return;
        }
        let since = self.behind_since.get().unwrap_or(now.checked_sub(wait).unwrap_or(now));
        self.behind_since.set(Some(since));
        if now.saturating_duration_since(since) >= STANDING {
            // The longer the queue, the sooner it is cut.
            let times = u32::try_from(wait.as_micros() / TARGET.as_micros()).unwrap_or(u32::MAX).min(5);
            self.refused.set((refused + STEP * times).min(ALL));
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.looked_at.get().is_some_and(|looked| now.saturating_duration_since(looked) < FRESH)
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.refused.get() > 0 && self.is_fresh(now)
    }

    /// Spread the refusals evenly among the calls.
    fn is_its_turn(&self) -> bool {
        let due = self.due.get() + self.refused.get();
        self.due.set(due % ALL);
        due >= ALL
    }
}

impl UnderWay {
    /// Whether whoever has so many calls has at most half of what would be its share.
    fn is_modest(&self, own: u32) -> bool {
        u64::from(own) * u64::from(self.consumers.max(1)) * 2 < u64::from(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A worker that was behind from `start` on, as seen 100 ms later.
    fn behind(start: Instant) -> (Shed, Instant) {
        let shed = Shed::default();
        for ms in 0..100 {
            shed.waited(10 * MS, start + ms * MS);
        }
        (shed, start + 100 * MS)
    }

    #[test]
    fn a_hiccup_refuses_nobody() {
        let (shed, start) = (Shed::default(), Instant::now());
        for round in 0..100 {
            let now = start + round * 50 * MS;
            shed.waited(15 * MS, now);
            assert!(shed.enter(0, now).is_ok());
            shed.waited(MS, now + MS);
        }
    }

    #[test]
    fn a_queue_that_stands_is_cut_and_what_is_in_time_again_is_carried() {
        let (shed, now) = behind(Instant::now());
        let carried = (0..100).filter(|_| shed.enter(0, now).is_ok()).count();
        assert!(carried <= 1, "{carried}");
        // In time again: within thirty looks all are carried.
        for ms in 0..30 {
            shed.waited(Duration::ZERO, now + ms * MS);
        }
        assert!((0..100).all(|_| shed.enter(0, now + 30 * MS).is_ok()));
    }

    #[test]
    fn a_worker_that_nobody_called_for_a_while_is_not_behind() {
        let (shed, now) = behind(Instant::now());
        assert!(shed.enter(0, now + 2 * FRESH).is_ok());
    }

    #[test]
    fn whoever_has_few_calls_under_way_does_not_pay_for_who_has_many() {
        let shed = Shed::default();
        let start = Instant::now();
        (0..200).for_each(|_| shed.enter(7, start).expect("not behind"));
        for ms in 0..100 {
            shed.waited(10 * MS, start + ms * MS);
        }
        let now = start + 100 * MS;
        let refused = (0..20).filter(|_| shed.enter(7, now).is_err()).count();
        assert!(refused >= 19, "{refused}");
        for _ in 0..20 {
            shed.enter(3, now).expect("modest");
        }
        for _ in 0..20 {
            shed.leave(3);
        }
        (0..201).for_each(|_| shed.leave(7));
        assert_eq!((shed.under_way.borrow().all, shed.under_way.borrow().consumers), (0, 0));
    }
}
