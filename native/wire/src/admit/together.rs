//! One limit's count where several gateways count together: the bucket's own, and this gateway's parts of the whole.
//!
//! A bucket holds its limit by itself, as it does where there is one gateway; beside that a call takes from the
//! part that this gateway holds of the rate, and of what may be under way ([`crate::shared`]). A part that ran dry
//! is asked for, which takes one round trip. While the store is away each gateway goes by its share and by what it
//! let through itself, and by one call at least: a limit is there for fairness, and nobody is turned away by every
//! second gateway because it is small.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::bucket::{Bucket, Moment, Rate};
use crate::shared::part::{Pool, Room};
use crate::shared::{Holder, Lent, Store};

/// After so long the calls of a gateway that is gone are taken for ended.
const CALLS_END: Duration = Duration::from_secs(60);

/// The holder's numbers for its two parts.
const RATE: usize = 0;
const UNDER_WAY: usize = 1;

/// Why nothing is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// There is room in so many nanoseconds.
    In(u64),
    /// There is room when calls under way end.
    Ends,
    /// The store is asked for more, and answers soon.
    Asked,
}

/// This gateway's parts of a limit.
#[derive(Debug, Default)]
pub struct Parts {
    rate: OnceLock<Arc<Lent>>,
    under_way: OnceLock<Arc<Lent>>,
    told: OnceLock<Arc<Notify>>,
}

impl Bucket {
    /// Count with the other gateways from now on; `name` is the limit's, `told` is woken when there is more.
    pub fn count_together(
        self: &Arc<Self>,
        store: &Arc<Store>,
        told: &Arc<Notify>,
        name: &[&str],
        rate: Option<Rate>,
        most: Option<u32>,
    ) {
        self.parts.told.get_or_init(|| Arc::clone(told));
        let paced = rate.map(|rate| pool_of_rate(rate, store.nodes()));
        let counted = most.map(|most| pool_of_calls(most.into(), store.nodes()));
        for (place, pool, number) in
            [(&self.parts.rate, paced, RATE), (&self.parts.under_way, counted, UNDER_WAY)]
        {
            let Some(pool) = pool else { continue };
            let lent = place.get_or_init(|| {
                let holder: Weak<Self> = Arc::downgrade(self);
                let kind = if number == RATE { "rate" } else { "under way" };
                store.lend(&[&["limit"], name, &[kind]].concat(), pool, false, holder, number)
            });
            let mut part = lent.part();
            if part.pool() != pool {
                part.becomes(pool);
            }
        }
    }

    /// Take one call's share of a rate.
    pub fn draw(&self, rate: Rate, now: Moment) -> Result<(), Lack> {
        let Some(lent) = self.parts.rate.get() else { return self.take(rate, now).map_err(Lack::In) };
        let alone = lent.part().alone();
        if let Some(nodes) = alone {
            self.take(rate.share(nodes), now).map_err(Lack::In)?;
            lent.take(now, 1);
            return Ok(());
        }
        self.take(rate, now).map_err(Lack::In)?;
        let lack = match lent.draw(now, 1) {
            Room::Yes => return Ok(()),
            Room::Asked => Lack::Asked,
            // What others hold comes back at the rate's pace.
            Room::Dry(_) | Room::Alone(_) => Lack::In(rate.interval),
        };
        self.give_back_own(rate);
        Err(lack)
    }

    /// Put back what `draw` took, for a call that another limit refused.
    pub fn give_back(&self, rate: Rate, now: Moment) {
        self.give_back_own(rate);
        if let Some(lent) = self.parts.rate.get() {
            lent.part().refund(now, 1);
        }
    }

    /// Begin a call, when fewer than `most` are under way.
    pub fn begin(&self, most: u32, now: Moment) -> Result<(), Lack> {
        let Some(lent) = self.parts.under_way.get() else {
            return self.begin_own(most).map(drop).ok_or(Lack::Ends);
        };
        // Counted under the part's lock: what others hear of it never lags behind what is under way.
        let mut part = lent.part();
        let others = self.begin_own(most).ok_or(Lack::Ends)?;
        let room = part.room(now, others.into(), 1);
        let goes = room == Room::Yes || (others == 0 && matches!(room, Room::Alone(_)));
        if goes {
            part.take(now, 1);
        } else {
            self.end();
        }
        let urgent = part.is_urgent();
        drop(part);
        if urgent || room == Room::Asked {
            lent.ask();
        }
        match room {
            _ if goes => Ok(()),
            Room::Asked => Err(Lack::Asked),
            _ => Err(Lack::Ends),
        }
    }

    /// At most so many of all gateways' calls are left; None where this one counts alone.
    pub fn left_of_rate(&self) -> Option<u64> {
        self.parts.rate.get().map(|lent| lent.part().left())
    }

    /// At most so many more may be under way; None where this gateway counts alone.
    pub fn left_of_calls(&self) -> Option<u64> {
        self.parts.under_way.get().map(|lent| lent.part().left())
    }
}

impl Holder for Bucket {
    fn refresh(&self, lent: &Arc<Lent>) {
        if lent.number == UNDER_WAY {
            lent.saw(|| self.in_flight.load(Ordering::Relaxed).into());
        }
    }

    fn changed(&self, _: &Arc<Lent>) {
        if let Some(told) = self.parts.told.get() {
            told.notify_waiters();
        }
    }
}

fn pool_of_rate(rate: Rate, nodes: u64) -> Pool {
    let a_second = Duration::from_secs(1);
    let soon = u64::try_from(a_second.as_nanos()).unwrap_or(u64::MAX) / rate.interval.max(1);
    Pool {
        quota: rate.burst,
        step: Pool::step(rate.burst, (soon, a_second), 1),
        window: rate.fills_in(),
        interval: Some(rate.interval),
        nodes,
    }
}

fn pool_of_calls(most: u64, nodes: u64) -> Pool {
    Pool { quota: most, step: (most / 100).max(1), window: CALLS_END, interval: None, nodes }
}
