//! When each call is to start: a Poisson process, the same for the same seed.
//!
//! Independent consumers do not call in step. Even gaps would let a gateway finish each call before the
//! next and hide its queue.

use std::time::Duration;

pub struct Schedule {
    mean_gap_s: f64,
    remaining: u64,
    next: Duration,
    state: u64,
}

impl Schedule {
    pub fn new(rate: f64, calls: u64, seed: u64) -> Self {
        let mut schedule = Self {
            mean_gap_s: 1.0 / rate,
            remaining: calls,
            next: Duration::ZERO,
            state: seed,
        };
        schedule.next = schedule.gap();
        schedule
    }

    pub fn is_over(&self) -> bool {
        self.remaining == 0
    }

    /// The next intended start, if any is left.
    pub fn next(&self) -> Option<Duration> {
        (self.remaining > 0).then_some(self.next)
    }

    /// Take the next call if its time has come.
    pub fn due(&mut self, now: Duration) -> Option<Duration> {
        let intended = self.next().filter(|next| *next <= now)?;
        self.remaining -= 1;
        let gap = self.gap();
        self.next += gap;
        Some(intended)
    }

    fn gap(&mut self) -> Duration {
        Duration::from_secs_f64(-self.uniform().ln() * self.mean_gap_s)
    }

    /// `SplitMix64`, mapped to (0, 1].
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
