//! So many at once; where it is adaptive, as many as the provider bears.

use std::time::Duration;

use super::{Nanos, Now, When};

/// On a drop the limit goes down to this share of itself; on success it goes up by one.
const BACK_OFF: f64 = 0.9;
/// How the usual length of a call follows the calls: an eighth of each goes in.
const SMOOTHING: u32 = 8;

#[derive(Debug)]
pub struct Concurrency {
    most: u64,
    /// Additive increase, multiplicative decrease (AIMD), between 1 and `most`; None: it stays at `most`.
    adaptive: Option<f64>,
    in_flight: u64,
    usual: Option<Duration>,
}

impl Concurrency {
    pub fn new(most: u64, adaptive: bool) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 calls in flight")]
        let start = most as f64;
        Self { most, adaptive: adaptive.then_some(start), in_flight: 0, usual: None }
    }

    pub fn when(&self, _now: Now, cost: u64) -> When {
        if cost > self.most {
            When::Never
        } else if self.in_flight == 0 || self.in_flight + cost <= self.limit() {
            When::Now
        } else {
            When::Released
        }
    }

    pub fn take(&mut self, _now: Now, cost: u64) {
        self.in_flight += cost;
    }

    pub fn give_back(&mut self, _now: Now, cost: u64) {
        self.in_flight = self.in_flight.saturating_sub(cost);
    }

    /// It is given up when the call is over, not with the head of its answer.
    pub fn answered(&mut self, _now: Now, _estimated: u64, _actual: u64) {}

    pub fn ended(&mut self, cost: u64) {
        self.in_flight = self.in_flight.saturating_sub(cost);
    }

    /// The provider took a call, and more might go.
    pub fn went_well(&mut self, took: Duration) {
        let usual = self.usual.unwrap_or(took);
        self.usual = Some((usual * (SMOOTHING - 1) + took) / SMOOTHING);
        let half_used = self.in_flight * 2 >= self.limit();
        if let Some(limit) = &mut self.adaptive
            && half_used
        {
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 calls in flight")]
            let most = self.most as f64;
            *limit = (*limit + 1.0).min(most);
        }
    }

    /// The provider refused a call for want of room, or did not answer in time.
    pub fn dropped(&mut self) {
        if let Some(limit) = &mut self.adaptive {
            *limit = (*limit * BACK_OFF).max(1.0);
        }
    }

    pub fn left(&self, _now: Now) -> u64 {
        self.limit().saturating_sub(self.in_flight)
    }

    pub fn resets_at(&self, _now: Now) -> Option<Nanos> {
        None
    }

    pub fn taken(&self) -> u64 {
        self.in_flight
    }

    /// How many may be in flight now.
    pub fn limit(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and `most`")]
        self.adaptive.map_or(self.most, |limit| limit as u64)
    }

    pub fn most(&self) -> u64 {
        self.most
    }

    pub fn line(&self, _now: Now, amount: u64) -> Option<Duration> {
        let over = (self.in_flight + amount).saturating_sub(self.limit());
        if over == 0 {
            return Some(Duration::ZERO);
        }
        // As many as there is room for come back in the usual time.
        let rounds = u32::try_from(over / self.limit().max(1)).unwrap_or(u32::MAX);
        self.usual.map(|usual| usual.saturating_mul(rounds))
    }
}
