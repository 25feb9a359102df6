//! So much until a moment that the provider names, then all of it again.

use std::time::Duration;

use super::{Nanos, Now, When, nanos, until};

/// Providers name the end of a window in whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

/// What says where a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The provider's reset; until it is known, a window after the first call.
    Reset,
    /// The clock: windows begin at whole multiples of their length (Unix time).
    Clock,
}

#[derive(Debug)]
pub struct Window {
    pub(super) quota: u64,
    length: Duration,
    anchor: Anchor,
    used: u64,
    in_flight: u64,
    begun: Nanos,
    end: Option<Nanos>,
    /// What of `used` was answered when the provider may have begun the next window already.
    late: u64,
    /// Whether the provider has named this end.
    named: bool,
}

impl Window {
    pub fn new(quota: u64, length: Duration, anchor: Anchor) -> Self {
        Self { quota, length, anchor, used: 0, in_flight: 0, begun: 0, end: None, late: 0, named: false }
    }

    pub fn when(&mut self, now: Now, cost: u64) -> When {
        self.roll(now);
        if cost > self.quota {
            When::Never
        } else if self.used + self.in_flight + cost <= self.quota {
            When::Now
        } else if self.in_flight + cost > self.quota {
            When::Released
        } else {
            self.end.map_or(When::Now, When::At)
        }
    }

    pub fn take(&mut self, now: Now, cost: u64) {
        self.roll(now);
        self.in_flight += cost;
        if self.end.is_none() {
            self.begin(now);
        }
    }

    pub fn give_back(&mut self, _now: Now, cost: u64) {
        self.in_flight = self.in_flight.saturating_sub(cost);
    }

    /// What was in flight when the provider's window ended counts in the next one, too: it may have come late.
    pub fn answered(&mut self, now: Now, estimated: u64, actual: u64) {
        self.roll(now);
        self.in_flight = self.in_flight.saturating_sub(estimated);
        self.used += actual;
        if self.end.is_some_and(|end| end.saturating_sub(nanos(GRAIN)) <= now.at) {
            self.late += actual;
        }
        if self.end.is_none() && actual > 0 {
            self.begin(now);
        }
    }

    /// The provider's window ends in so long. An end that it has named already only moves away, and an answer
    /// to a call that left before this window began may speak of the one before.
    pub fn ends(&mut self, now: Now, sent: Nanos, reset: Duration) {
        if self.anchor == Anchor::Clock || reset.is_zero() || sent < self.begun {
            return;
        }
        let end = now.at.saturating_add(nanos(reset + GRAIN));
        self.end = Some(match self.end {
            Some(known) if self.named => known.max(end),
            _ => end,
        });
        self.named = true;
    }

    pub fn left(&mut self, now: Now) -> u64 {
        self.roll(now);
        self.quota.saturating_sub(self.used + self.in_flight)
    }

    pub fn resets_at(&mut self, now: Now) -> Option<Nanos> {
        self.roll(now);
        self.end
    }

    pub fn most(&self) -> u64 {
        self.quota
    }

    pub fn line(&mut self, now: Now, amount: u64) -> Option<Duration> {
        self.roll(now);
        let over = (self.used + self.in_flight + amount).saturating_sub(self.quota);
        if over == 0 {
            return Some(Duration::ZERO);
        }
        let rounds = (over - 1) / self.quota.max(1);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        let end = until(now.at, self.end.unwrap_or(now.at));
        Some(end.saturating_add(self.length.saturating_mul(rounds)))
    }

    pub fn taken(&mut self, now: Now) -> u64 {
        self.roll(now);
        self.used + self.in_flight
    }

    fn roll(&mut self, now: Now) {
        let Some(end) = self.end.filter(|end| *end <= now.at) else { return };
        let next = end.saturating_add(nanos(self.length));
        let goes_on = self.late > 0 && next > now.at;
        (self.used, self.end) = if goes_on { (self.late, Some(next)) } else { (0, None) };
        (self.late, self.named, self.begun) = (0, false, end);
    }

    fn begin(&mut self, now: Now) {
        (self.begun, self.named) = (now.at, false);
        self.end = Some(now.at.saturating_add(nanos(self.rest(now) + GRAIN)));
    }

    /// How long the window goes on that would begin now.
    fn rest(&self, now: Now) -> Duration {
        let window = self.length.as_nanos();
        if self.anchor == Anchor::Reset || window == 0 {
            return self.length;
        }
        let passed = now.unix.as_nanos() % window;
        Duration::from_nanos(u64::try_from(window - passed).unwrap_or(u64::MAX))
    }
}
