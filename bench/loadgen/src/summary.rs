//! What a run saw. Every latency is kept, so percentiles are exact.

use std::time::Duration;

pub struct Summary {
    warmup: u64,
    started: u64,
    finished: u64,
    failed: u64,
    refused: u64,
    latencies_ns: Vec<u64>,
    /// Of the answers that were no success.
    refusals_ns: Vec<u64>,
    lateness_ns: Vec<u64>,
}

impl Summary {
    pub fn new(warmup: u64, calls: u64) -> Self {
        let room = usize::try_from(calls).expect("calls fit memory");
        Self {
            warmup,
            started: 0,
            finished: 0,
            failed: 0,
            refused: 0,
            refusals_ns: Vec::new(),
            latencies_ns: Vec::with_capacity(room),
            lateness_ns: Vec::with_capacity(room),
        }
    }

    /// A call's time has come, noticed `late` after it: the generator's own error.
    pub fn due(&mut self, late: Duration) {
        self.started += 1;
        if self.started > self.warmup {
            self.lateness_ns.push(nanos(late));
        }
    }

    pub fn answered(&mut self, latency: Duration, status: u16) {
        self.finished += 1;
        let refused = !(200..300).contains(&status);
        if refused {
            self.refused += 1;
        }
        if self.finished > self.warmup {
            let kept = if refused { &mut self.refusals_ns } else { &mut self.latencies_ns };
            kept.push(nanos(latency));
        }
    }

    pub fn failed(&mut self) {
        self.finished += 1;
        self.failed += 1;
    }

    /// `took`: from the first intended start to the last answer.
    pub fn into_json(mut self, took: Duration) -> String {
        self.latencies_ns.sort_unstable();
        self.refusals_ns.sort_unstable();
        self.lateness_ns.sort_unstable();
        let us = |values: &[u64], permille| percentile_us(values, permille);
        format!(
            "{{\"calls\": {}, \"failed\": {}, \"refused\": {}, \"took_us\": {}, \"refused_p99_us\": {:.1}, \"p50_us\": {:.1}, \"p90_us\": {:.1}, \
             \"p99_us\": {:.1}, \"p999_us\": {:.1}, \"max_us\": {:.1}, \"late_p50_us\": {:.1}, \
             \"late_p99_us\": {:.1}}}",
            self.started,
            self.failed,
            self.refused,
            took.as_micros(),
            if self.refusals_ns.is_empty() { 0.0 } else { us(&self.refusals_ns, 990) },
            us(&self.latencies_ns, 500),
            us(&self.latencies_ns, 900),
            us(&self.latencies_ns, 990),
            us(&self.latencies_ns, 999),
            us(&self.latencies_ns, 1000),
            us(&self.lateness_ns, 500),
            us(&self.lateness_ns, 990),
        )
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nearest rank: the smallest value that at least `permille` thousandths do not exceed.
#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of one run fit a double"
)]
fn percentile_us(sorted_ns: &[u64], permille: usize) -> f64 {
    let rank = (sorted_ns.len() * permille).div_ceil(1000);
    sorted_ns
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
}
