//! One limit's state, shared by all workers without a lock: a rate by GCRA, and calls under way.
//!
//! GCRA (the generic cell rate algorithm, ITU-T I.371 annex A) needs one number: the moment at which the
//! bucket is full again. A call moves it by one interval, and may when that leaves it at most `burst`
//! intervals ahead of now. Every change is one compare-and-swap, so that no number of workers lets more through.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::together::Parts;

/// Nanoseconds since the engine started.
pub type Moment = u64;

/// Two workers' moments, taken for calls of the same time, are never this far apart.
const NOT_THE_SAME_MOMENT: u64 = 1_000_000_000;

/// How often, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds after which one more call may come.
    pub interval: u64,
    /// Calls that may come at once after a rest.
    pub burst: u64,
}

impl Rate {
    /// `amount` calls in each `window`, of which `burst` may come at once.
    pub fn new(amount: u64, window: Duration, burst: u64) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: never more than was declared.
        Self { interval: window.div_ceil(amount.max(1)).max(1), burst: burst.max(1) }
    }

    /// What one of so many gateways goes by when nobody counts for all.
    #[must_use]
    pub fn share(self, nodes: u64) -> Self {
        Self { interval: self.interval.saturating_mul(nodes), burst: (self.burst / nodes).max(1) }
    }

    fn capacity(self) -> u64 {
        // Beyond a century nobody waits, and nothing overflows.
        self.interval.saturating_mul(self.burst).min(1 << 62)
    }

    /// In how long an empty bucket is full again.
    pub fn fills_in(self) -> Duration {
        Duration::from_nanos(self.capacity())
    }
}

/// What of a rate is left, as it is told to consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub calls: u64,
    /// Until one more may come where none is left, else until all are back.
    pub until: Duration,
}

#[derive(Debug, Default)]
pub struct Bucket {
    full_at: AtomicU64,
    pub(super) in_flight: AtomicU32,
    refused: AtomicU64,
    /// Where several gateways count together.
    pub(super) parts: Parts,
}

impl Bucket {
    /// Take one call's share; Err says after how many nanoseconds there is one.
    pub fn take(&self, rate: Rate, now: Moment) -> Result<(), u64> {
        let mut seen = self.full_at.load(Ordering::Relaxed);
        loop {
            let owed = Self::debt_from(seen, rate, now);
            let (next, latest) = (owed + rate.interval, now + rate.capacity());
            if next > latest {
                // A wider limit than before: from here on it owes no more than its own, or the debt of the
                // narrow one would be met again at every moment until it is over. A little more is another
                // worker's later moment, and nothing is given back for that.
                if seen > owed.saturating_add(NOT_THE_SAME_MOMENT)
                    && let Err(other) =
                        self.full_at.compare_exchange(seen, owed, Ordering::Relaxed, Ordering::Relaxed)
                {
                    seen = other;
                    continue;
                }
                return Err(next - latest);
            }
            match self.full_at.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    /// Put back what `take` took.
    pub fn give_back_own(&self, rate: Rate) {
        let less = |full_at: u64| Some(full_at.saturating_sub(rate.interval));
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Nanoseconds until `take` would do; 0 is now.
    pub fn wait(&self, rate: Rate, now: Moment) -> u64 {
        let next = Self::debt_from(self.full_at.load(Ordering::Relaxed), rate, now) + rate.interval;
        next.saturating_sub(now + rate.capacity())
    }

    pub fn left(&self, rate: Rate, now: Moment) -> Left {
        let full_at = Self::debt_from(self.full_at.load(Ordering::Relaxed), rate, now);
        let free = now + rate.capacity() - full_at;
        let own = free / rate.interval;
        let calls = self.left_of_rate().map_or(own, |shared| own.min(shared));
        let until = if calls == 0 { rate.interval - free % rate.interval } else { full_at - now };
        Left { calls, until: Duration::from_nanos(until) }
    }

    /// Never behind now, and never further ahead than a full burst: a limit that was made wider owes less.
    fn debt_from(full_at: u64, rate: Rate, now: Moment) -> u64 {
        full_at.clamp(now, now + rate.capacity())
    }

    /// Begin a call, when fewer than `most` are under way: how many those are.
    pub fn begin_own(&self, most: u32) -> Option<u32> {
        let more = |in_flight: u32| (in_flight < most).then(|| in_flight + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()
    }

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether forgetting it would let nobody do more.
    pub fn is_idle(&self, now: Moment) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now && self.in_flight() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Instant;

    const SECOND: u64 = 1_000_000_000;

    fn rate(amount: u64, burst: u64) -> Rate {
        Rate::new(amount, Duration::from_secs(1), burst)
    }

    #[test]
    fn a_burst_may_come_at_once_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), rate(10, 5));
        let passed = (0..8).filter(|_| bucket.take(rate, SECOND).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(bucket.take(rate, SECOND), Err(SECOND / 10));
        assert_eq!(bucket.take(rate, SECOND + SECOND / 10), Ok(()));
        assert!(bucket.take(rate, SECOND + SECOND / 10).is_err());
    }

    #[test]
    fn what_is_left_is_told_as_it_is() {
        let (bucket, rate) = (Bucket::default(), rate(10, 5));
        assert_eq!(bucket.left(rate, 0), Left { calls: 5, until: Duration::ZERO });
        for _ in 0..5 {
            bucket.take(rate, 0).expect("within the burst");
        }
        assert_eq!(bucket.left(rate, 0), Left { calls: 0, until: Duration::from_millis(100) });
        assert_eq!(bucket.wait(rate, 0), SECOND / 10);
        assert_eq!(bucket.left(rate, SECOND / 10), Left { calls: 1, until: Duration::from_millis(400) });
        assert_eq!(bucket.wait(rate, SECOND / 10), 0);
    }

    #[test]
    fn a_wider_limit_does_not_go_on_owing_what_the_narrow_one_did() {
        let (bucket, narrow, wide) =
            (Bucket::default(), Rate::new(1, Duration::from_secs(60), 10), rate(100, 10));
        for _ in 0..10 {
            bucket.take(narrow, 0).expect("within the burst");
        }
        assert_eq!(bucket.take(wide, 0), Err(SECOND / 100));
        assert_eq!(bucket.take(wide, SECOND / 100), Ok(()));
    }

    #[test]
    fn no_number_of_threads_lets_more_through() {
        let (bucket, rate) = (Arc::new(Bucket::default()), rate(2_000, 100));
        let began = Instant::now();
        let passed: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let bucket = Arc::clone(&bucket);
                    scope.spawn(move || {
                        let mut passed = 0;
                        while began.elapsed() < Duration::from_millis(300) {
                            let now = u64::try_from(began.elapsed().as_nanos()).expect("small");
                            passed += u64::from(bucket.take(rate, now).is_ok());
                        }
                        passed
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        let most = 100 + 2_000 * u64::try_from(began.elapsed().as_millis()).expect("small") / 1_000;
        assert!(passed <= most, "{passed} > {most}");
        // And what came back meanwhile goes, too: a thread that sees a busy bucket does not give up.
        assert!(passed > 100, "{passed}");
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let bucket = Bucket::default();
        assert_eq!([bucket.begin_own(2), bucket.begin_own(2), bucket.begin_own(2)], [Some(0), Some(1), None]);
        bucket.end();
        assert_eq!(bucket.begin_own(2), Some(1));
        assert_eq!(bucket.in_flight(), 2);
        assert!(!bucket.is_idle(u64::MAX));
    }

    proptest! {
        /// In any window of any length: at most the burst and what the rate adds.
        #[test]
        fn never_more_than_burst_and_rate_in_any_window(
            amount in 1u64..1_000,
            burst in 1u64..50,
            steps in prop::collection::vec((0u64..40_000_000, prop::bool::weighted(0.1)), 1..400),
        ) {
            let (bucket, rate) = (Bucket::default(), rate(amount, burst));
            let (mut now, mut passed) = (SECOND, Vec::new());
            for (step, give_back) in steps {
                now += step;
                if bucket.take(rate, now).is_ok() {
                    if give_back {
                        bucket.give_back_own(rate);
                    } else {
                        passed.push(now);
                    }
                }
            }
            for (first, begin) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let most = burst + (end - begin) / rate.interval;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
