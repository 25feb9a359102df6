//! A rate with a burst: the generic cell rate algorithm (ITU-T I.371), which is a leaky bucket read backwards.

use std::time::Duration;

use super::{Nanos, Now, When, nanos, until};

/// `tat` is the theoretical arrival time: when all that was taken would have come in at the even rate.
#[derive(Debug)]
pub struct Gcra {
    /// For one unit of cost.
    interval: Nanos,
    burst: u64,
    tat: Nanos,
}

impl Gcra {
    /// A provider that counts `quota` in any `window`: a burst, and the rest spread over the window, so that
    /// burst + rate × window never comes to more.
    pub fn new(quota: u64, window: Duration, burst: u64) -> Self {
        let burst = burst.clamp(1, quota.saturating_sub(1).max(1));
        let spread = quota.saturating_sub(burst).max(1);
        Self { interval: nanos(window).div_ceil(spread).max(1), burst, tat: 0 }
    }

    /// A provider with a bucket of so many units, of which `restored` come back in each `window`.
    pub fn bucket(capacity: u64, restored: u64, window: Duration) -> Self {
        let interval = nanos(window).div_ceil(restored.max(1)).max(1);
        Self { interval, burst: capacity.max(1), tat: 0 }
    }

    /// So many at once, which may be none, and so long for each to come back.
    pub fn paced(interval: Nanos, burst: u64) -> Self {
        Self { interval: interval.max(1), burst, tat: 0 }
    }

    pub fn interval(&self) -> Nanos {
        self.interval
    }

    pub fn when(&self, now: Now, cost: u64) -> When {
        if cost > self.burst {
            return When::Never;
        }
        let full = self.tat.max(now.at).saturating_add(self.span(cost));
        let at = full.saturating_sub(self.span(self.burst));
        if at <= now.at { When::Now } else { When::At(at) }
    }

    pub fn take(&mut self, now: Now, cost: u64) {
        self.tat = self.tat.max(now.at).saturating_add(self.span(cost));
    }

    /// What has come back of it since it was taken is not given back a second time.
    pub fn give_back(&mut self, now: Now, taken: Nanos, cost: u64) {
        let restored = now.at.saturating_sub(taken) / self.interval;
        self.tat = self.tat.saturating_sub(self.span(cost.saturating_sub(restored)));
    }

    pub fn answered(&mut self, now: Now, taken: Nanos, estimated: u64, actual: u64) {
        if actual > estimated {
            self.take(now, actual - estimated);
        } else {
            self.give_back(now, taken, estimated - actual);
        }
    }

    /// The provider has no more than this left.
    pub fn lower(&mut self, now: Now, left: u64) {
        let owed = self.span(self.burst.saturating_sub(left));
        self.tat = self.tat.max(now.at.saturating_add(owed));
    }

    pub fn left(&self, now: Now) -> u64 {
        let owed = self.tat.saturating_sub(now.at).div_ceil(self.interval);
        self.burst.saturating_sub(owed)
    }

    /// When the next unit is there.
    pub fn resets_at(&self, now: Now) -> Option<Nanos> {
        let owed = self.tat.checked_sub(now.at).filter(|owed| *owed > 0)?;
        Some(self.tat - (owed.div_ceil(self.interval) - 1) * self.interval)
    }

    pub fn most(&self) -> u64 {
        self.burst
    }

    pub fn line(&self, now: Now, amount: u64) -> Option<Duration> {
        let full = self.tat.max(now.at).saturating_add(self.span(amount));
        Some(until(now.at, full.saturating_sub(self.span(self.burst))))
    }

    fn span(&self, cost: u64) -> Nanos {
        self.interval.saturating_mul(cost)
    }
}
