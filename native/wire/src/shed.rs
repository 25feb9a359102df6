//! Refuse calls when this worker is behind with those it has, so that what it carries is carried in time.
//!
//! Part of `admit`. A worker is behind when its calls wait for their turns longer than `TARGET` in all, and
//! have done so for a while (the rule of `CoDel`, RFC 8289 §4: a queue that stands is of no use). How long
//! whatever becomes ready waits for one turn is seen; how many turns calls take depends on whether their
//! providers are asked. Then a growing share of the calls is refused at once, which costs little; a consumer
//! with few calls under way is refused none of them, so that whoever sends ten times as much as the others
//! pays for it. Batch is refused before normal, and normal before interactive, all but a twentieth while more
//! urgent calls come: none starves, as where calls wait for quotas. The number of calls under way is bounded
//! besides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::class::Class;
use crate::error::{Code, Refusal};
use crate::snapshot::ConsumerIndex;
use crate::worker::Worker;

/// How long a call may wait for all of its turns.
const TARGET: Duration = Duration::from_millis(8);
/// How many turns a call takes for which its provider is asked, and one that is answered here.
const TURNS_ASKED: u32 = 4;
const TURNS_ANSWERED: u32 = 1;
/// Over about so many calls goes the mean of turns.
const CALLS: u32 = 64;
/// It is kept in parts of this.
const FINE: u32 = 4_096;
/// With fewer calls under way nobody is refused: where each takes long, a handful of connections that wait for
/// their answers are behind already, and refused ones would only come again.
const FEW: u32 = 100;
/// How long it must have been longer before a call is refused: a hiccup is no overload.
const STANDING: Duration = Duration::from_millis(20);
/// A worker that was not looked at for so long is behind with nothing.
const FRESH: Duration = Duration::from_millis(100);
/// What one look adds to the share that is refused, or takes from it, in thousandths.
const STEP: u32 = 40;
const ALL: u32 = 1_000;
/// What is carried of a class at least while more urgent calls come, in thousandths.
const FLOOR: u32 = 50;
/// How many calls tell which classes come: then the older ones count half.
const LATELY: u32 = 512;

/// One worker's view of itself.
#[derive(Debug)]
pub struct Shed {
    looking: Cell<bool>,
    looked_at: Cell<Option<Instant>>,
    behind_since: Cell<Option<Instant>>,
    /// How many turns calls take, the latest counting most; in parts of `FINE`.
    turns: Cell<u32>,
    /// Of a thousand calls, how many are refused.
    refused: Cell<u32>,
    /// What the share of each class has come to since one of its calls was refused last.
    due: Cell<[u32; Class::ALL.len()]>,
    /// How many calls of each class came lately.
    came: Cell<[u32; Class::ALL.len()]>,
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

impl Default for Shed {
    fn default() -> Self {
        Self {
            looking: Cell::default(),
            looked_at: Cell::default(),
            behind_since: Cell::default(),
            turns: Cell::new(TURNS_ASKED * FINE),
            refused: Cell::default(),
            due: Cell::default(),
            came: Cell::default(),
            under_way: RefCell::default(),
        }
    }
}

impl Shed {
    /// Let a consumer's call go on, or refuse it. One that goes on is given back by `leave`.
    pub fn enter(&self, consumer: ConsumerIndex, class: Class, now: Instant) -> Result<(), Refusal> {
        self.count(class);
        let place = consumer as usize;
        let mut under_way = self.under_way.borrow_mut();
        if under_way.by_consumer.len() <= place {
            under_way.by_consumer.resize(place + 1, 0);
        }
        let own = under_way.by_consumer[place];
        if under_way.all >= FEW && self.is_behind(now) && self.pays(class, || under_way.is_modest(own)) {
            let detail =
                "Tidegate is behind with its calls, so this one was refused at once: try again shortly.";
            return Err(Refusal::new(Code::Overloaded, detail).by("gateway.load".into()));
        }
        under_way.by_consumer[place] = own + 1;
        under_way.all += 1;
        under_way.consumers += u32::from(own == 0);
        Ok(())
    }

    /// `asked`: its provider was, or would have been.
    pub fn leave(&self, consumer: ConsumerIndex, asked: bool) {
        let turns = self.turns.get();
        let own = if asked { TURNS_ASKED } else { TURNS_ANSWERED };
        self.turns.set(turns - turns / CALLS + own * FINE / CALLS);
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
        let target = TARGET * FINE / self.turns.get().max(FINE);
        if wait <= target {
            self.behind_since.set(None);
            self.refused.set(refused.saturating_sub(STEP));
            return;
        }
        let since = self.behind_since.get().unwrap_or(now.checked_sub(wait).unwrap_or(now));
        self.behind_since.set(Some(since));
        if now.saturating_duration_since(since) >= STANDING {
            // The longer the queue, the sooner it is cut.
            let times = u32::try_from(wait.as_micros() / target.as_micros()).unwrap_or(u32::MAX).min(5);
            self.refused.set((refused + STEP * times).min(ALL));
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.looked_at.get().is_some_and(|looked| now.saturating_duration_since(looked) < FRESH)
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.refused.get() > 0 && self.is_fresh(now)
    }

    /// Whether a call is refused. Who has few under way pays only where more urgent calls take all the time.
    fn pays(&self, class: Class, is_modest: impl FnOnce() -> bool) -> bool {
        let (share, outranked) = self.share(class);
        (share == ALL - FLOOR && outranked || !is_modest()) && self.is_its_turn(class, share)
    }

    /// How many of a thousand calls of a class are refused, so that it comes to `refused` of all calls and the
    /// least urgent pay first; and whether more urgent ones come.
    fn share(&self, class: Class) -> (u32, bool) {
        let came = self.came.get();
        let mut rest = self.refused.get() * came.iter().sum::<u32>();
        for other in Class::ALL.into_iter().rev() {
            let of_it = came[other as usize];
            let outranked = came[..other as usize].iter().any(|urgent| *urgent > 0);
            let most = if outranked { ALL - FLOOR } else { ALL };
            let share = (rest / of_it.max(1)).min(most);
            if other == class {
                return (share, outranked);
            }
            rest = rest.saturating_sub(share * of_it);
        }
        (0, false)
    }

    fn count(&self, class: Class) {
        let mut came = self.came.get();
        came[class as usize] += 1;
        if came.iter().sum::<u32>() >= LATELY {
            came = came.map(|calls| calls / 2);
        }
        self.came.set(came);
    }

    /// Spread the refusals evenly among the calls of a class.
    fn is_its_turn(&self, class: Class, share: u32) -> bool {
        let mut due = self.due.get();
        let own = due[class as usize] + share;
        due[class as usize] = own % ALL;
        self.due.set(due);
        own >= ALL
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

    /// A worker with as many calls as it takes for one to be refused.
    fn with_calls() -> Shed {
        let shed = Shed::default();
        (0..FEW).for_each(|_| shed.enter(0, Class::Normal, Instant::now()).expect("not behind"));
        shed
    }

    /// A worker that was behind from `start` on, as seen 100 ms later.
    fn behind(start: Instant) -> (Shed, Instant) {
        let shed = with_calls();
        for ms in 0..100 {
            shed.waited(10 * MS, start + ms * MS);
        }
        (shed, start + 100 * MS)
    }

    #[test]
    fn a_hiccup_refuses_nobody() {
        let (shed, start) = (with_calls(), Instant::now());
        for round in 0..100 {
            let now = start + round * 50 * MS;
            shed.waited(15 * MS, now);
            assert!(shed.enter(0, Class::Normal, now).is_ok());
            shed.waited(MS, now + MS);
        }
    }

    #[test]
    fn a_queue_that_stands_is_cut_and_what_is_in_time_again_is_carried() {
        let (shed, now) = behind(Instant::now());
        let carried = (0..100).filter(|_| shed.enter(0, Class::Normal, now).is_ok()).count();
        assert!(carried <= 1, "{carried}");
        // In time again: within thirty looks all are carried.
        for ms in 0..30 {
            shed.waited(Duration::ZERO, now + ms * MS);
        }
        assert!((0..100).all(|_| shed.enter(0, Class::Normal, now + 30 * MS).is_ok()));
    }

    #[test]
    fn where_few_calls_are_under_way_none_is_refused() {
        let (shed, now) = behind(Instant::now());
        shed.leave(0, true);
        assert!(shed.enter(0, Class::Normal, now).is_ok());
        let refused = (0..100).filter(|_| shed.enter(0, Class::Normal, now).is_err()).count();
        assert!(refused >= 99, "{refused}");
    }

    #[test]
    fn a_worker_that_nobody_called_for_a_while_is_not_behind() {
        let (shed, now) = behind(Instant::now());
        assert!(shed.enter(0, Class::Normal, now + 2 * FRESH).is_ok());
    }

    /// Of 300 calls of each class, how many are refused; `refused` of a thousand are too many.
    fn refused_of(refused: u32, classes: &[Class]) -> Vec<u32> {
        let (shed, now) = (with_calls(), Instant::now());
        shed.came.set(Default::default());
        shed.looked_at.set(Some(now));
        let mut counts = vec![0; classes.len()];
        for round in 0..600 {
            for (class, count) in classes.iter().zip(&mut counts) {
                shed.refused.set(refused);
                *count += u32::from(shed.enter(0, *class, now).is_err() && round >= 300);
            }
        }
        counts
    }

    #[test]
    fn the_least_urgent_pay_first_and_all_but_a_twentieth() {
        let [interactive, normal, batch] = Class::ALL;
        let refused = refused_of(300, &[interactive, normal, batch]);
        assert!(refused[0] == 0 && refused[1] == 0 && (260..=280).contains(&refused[2]), "{refused:?}");
        let refused = refused_of(600, &[interactive, normal, batch]);
        assert!(refused[0] == 0 && (245..=265).contains(&refused[1]), "{refused:?}");
        assert!((280..=290).contains(&refused[2]), "{refused:?}");
        // Where all are of one class it is as if there were none.
        assert!((148..=152).contains(&refused_of(500, &[batch])[0]));
        assert!((148..=152).contains(&refused_of(500, &[normal])[0]));
    }

    #[test]
    fn a_call_that_is_answered_here_may_wait_for_its_one_turn_as_long_as_another_for_its_four() {
        let waits = |shed: &Shed, wait| {
            let start = Instant::now();
            (0..100).for_each(|ms| shed.waited(wait, start + ms * MS));
            shed.is_behind(start + 100 * MS)
        };
        let answered = |calls| {
            let shed = Shed::default();
            for _ in 0..calls {
                shed.enter(0, Class::Normal, Instant::now()).expect("not behind");
                shed.leave(0, false);
            }
            shed
        };
        assert!(waits(&answered(0), 3 * MS) && !waits(&answered(0), 2 * MS));
        assert!(!waits(&answered(500), 7 * MS) && waits(&answered(500), 9 * MS));
        let shed = answered(500);
        for _ in 0..500 {
            shed.enter(0, Class::Normal, Instant::now()).expect("not behind");
            shed.leave(0, true);
        }
        assert!(waits(&shed, 3 * MS), "they are asked again");
    }

    #[test]
    fn whoever_has_few_calls_under_way_does_not_pay_for_who_has_many() {
        let shed = Shed::default();
        let start = Instant::now();
        (0..200).for_each(|_| shed.enter(7, Class::Normal, start).expect("not behind"));
        for ms in 0..100 {
            shed.waited(10 * MS, start + ms * MS);
        }
        let now = start + 100 * MS;
        let refused = (0..20).filter(|_| shed.enter(7, Class::Normal, now).is_err()).count();
        assert!(refused >= 19, "{refused}");
        for _ in 0..20 {
            shed.enter(3, Class::Normal, now).expect("modest");
        }
        for _ in 0..20 {
            shed.leave(3, true);
        }
        (0..201).for_each(|_| shed.leave(7, true));
        assert_eq!((shed.under_way.borrow().all, shed.under_way.borrow().consumers), (0, 0));
    }
}
