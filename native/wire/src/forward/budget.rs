//! How many calls may go out again: a share of those that came, so that trying again never becomes the load.
//!
//! One budget for each client at each provider, shared by all workers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

/// What a budget is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Thousandths of a try that each call brings.
    pub each_call: i64,
    /// Thousandths of a try that each second brings.
    pub each_second: i64,
    /// Thousandths of a try that are kept at most.
    pub most: i64,
}

/// A tenth of the calls, and one a second for whoever makes few.
pub const RETRIES: Fill = Fill { each_call: 100, each_second: 1_000, most: 10_000 };
/// One call in fifty.
pub const HEDGES: Fill = Fill { each_call: 20, each_second: 0, most: 2_000 };

const ONE: i64 = 1_000;

#[derive(Debug)]
pub struct Budget {
    fill: Fill,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    thousandths: i64,
    at: Instant,
}

impl Budget {
    /// Begins with what one call can use.
    pub fn new(fill: Fill, now: Instant) -> Self {
        let thousandths = (2 * fill.each_second).min(fill.most);
        Self { fill, kept: Mutex::new(Kept { thousandths, at: now }) }
    }

    /// A call came.
    pub fn earn(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.thousandths = (kept.thousandths + self.fill.each_call).min(self.fill.most);
    }

    /// Whether a call may go out again, which is then spent.
    pub fn spend(&self, now: Instant) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fill.each_second > 0 {
            let passed = now.saturating_duration_since(kept.at).as_millis();
            let passed = i64::try_from(passed).unwrap_or(i64::MAX / self.fill.each_second);
            kept.thousandths =
                (kept.thousandths + passed * self.fill.each_second / 1_000).min(self.fill.most);
            kept.at = now.max(kept.at);
        }
        let enough = kept.thousandths >= ONE;
        if enough {
            kept.thousandths -= ONE;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of `calls`, each of which would go out twice more, go out again.
    fn again(budget: &Budget, start: Instant, calls: u32, gap: Duration) -> u32 {
        let mut spent = 0;
        for number in 0..calls {
            budget.earn();
            for _ in 0..2 {
                spent += u32::from(budget.spend(start + gap * number));
            }
        }
        spent
    }

    #[test]
    fn a_tenth_and_one_a_second_at_a_hundred_calls_a_second() {
        let start = Instant::now();
        let spent = again(&Budget::new(RETRIES, start), start, 6_000, Duration::from_millis(10));
        assert!((600..=662).contains(&spent), "{spent}");
    }

    #[test]
    fn whoever_calls_once_in_a_while_is_tried_again() {
        let start = Instant::now();
        let spent = again(&Budget::new(RETRIES, start), start, 10, Duration::from_secs(3));
        assert_eq!(spent, 20);
    }

    #[test]
    fn what_was_saved_in_good_times_is_little() {
        let start = Instant::now();
        let budget = Budget::new(RETRIES, start);
        (0..100_000).for_each(|_| budget.earn());
        let burst = (0..1_000).filter(|_| budget.spend(start)).count();
        assert_eq!(burst, 10);
    }

    #[test]
    fn one_in_fifty_is_hedged() {
        let start = Instant::now();
        let budget = Budget::new(HEDGES, start);
        let mut spent = 0;
        for _ in 0..10_000 {
            budget.earn();
            spent += u32::from(budget.spend(start));
        }
        assert_eq!(spent, 200);
    }
}
