//! Stop calling an origin that fails, and find out by single calls when it is back.
//!
//! One breaker for each origin of a provider, shared by all workers. What it counts are faults of the other
//! end: no connection, no answer in the declared time, 502, 503, 504. A 429 is an answer like any other. A
//! breaker that one client's calls could open for the others would be a weapon: as long as others succeed,
//! the failures of one client alone do not open it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::forward::rules::BreakerRule;
use crate::snapshot::ClientIndex;

/// No window is as long.
const AT_REST: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    /// No call goes before `until`; then one does, to see.
    Open {
        until: Instant,
        probing: bool,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Window::default())
    }
}

/// What came of the calls since `since`, and of those in the window before it.
#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    now: Counts,
    before: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    succeeded: u32,
    failed: u32,
    succeeding: Clients,
    failing: Clients,
}

/// Whose calls they were: one client's, or several clients'.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Clients {
    #[default]
    None,
    One(ClientIndex),
    Several,
}

/// What a call's end did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    Opened,
    Closed,
}

/// A call's leave to be sent. Dropped without a word, it counts for nothing.
#[derive(Debug)]
pub struct Pass {
    breaker: Arc<Breaker>,
    rule: BreakerRule,
    client: ClientIndex,
    probe: bool,
}

impl Breaker {
    /// Let a call of this client through, or say how long none will be.
    pub fn enter(
        self: &Arc<Self>,
        rule: BreakerRule,
        client: ClientIndex,
        now: Instant,
    ) -> Result<Pass, Duration> {
        let mut state = self.state();
        let probe = match &mut *state {
            State::Closed(_) => false,
            State::Open { until, probing } => {
                if now < *until || *probing {
                    return Err(until.saturating_duration_since(now).max(Duration::from_secs(1)));
                }
                *probing = true;
                true
            }
        };
        drop(state);
        Ok(Pass { breaker: Arc::clone(self), rule, client, probe })
    }

    /// Whether it holds nothing that still counts.
    pub fn is_at_rest(&self, now: Instant) -> bool {
        match &*self.state() {
            State::Closed(window) => {
                window.since.is_none_or(|since| now.saturating_duration_since(since) > AT_REST)
            }
            State::Open { until, .. } => now.saturating_duration_since(*until) > AT_REST,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The other end answered.
    pub fn succeeded(mut self, now: Instant) -> Option<Turned> {
        let probe = std::mem::take(&mut self.probe);
        let mut state = self.breaker.state();
        if probe {
            *state = State::default();
            return Some(Turned::Closed);
        }
        if let State::Closed(window) = &mut *state {
            window.roll(self.rule.window(), now);
            window.now.succeed(self.client);
        }
        None
    }

    /// The other end did not answer, or only that it cannot.
    pub fn failed(mut self, now: Instant) -> Option<Turned> {
        let probe = std::mem::take(&mut self.probe);
        let mut state = self.breaker.state();
        let open = State::Open { until: now + self.rule.open(), probing: false };
        if probe {
            *state = open;
            return None;
        }
        let State::Closed(window) = &mut *state else { return None };
        window.roll(self.rule.window(), now);
        window.now.fail(self.client);
        if !window.is_failing(self.rule) {
            return None;
        }
        *state = open;
        Some(Turned::Opened)
    }
}

impl Drop for Pass {
    /// The consumer left, or the call's own deadline came: whether the other end is back is not known.
    fn drop(&mut self) {
        if self.probe
            && let State::Open { probing, .. } = &mut *self.breaker.state()
        {
            *probing = false;
        }
    }
}

impl Window {
    /// Forget what is older than a window; what is asked is of between one half and all of it.
    fn roll(&mut self, window: Duration, now: Instant) {
        let half = window / 2;
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < half {
            return;
        }
        self.before = if age < window { self.now } else { Counts::default() };
        self.now = Counts::default();
        self.since = Some(now);
    }

    fn is_failing(&self, rule: BreakerRule) -> bool {
        let all = self.before.and(self.now);
        let calls = u64::from(all.succeeded) + u64::from(all.failed);
        calls >= u64::from(rule.calls)
            && u64::from(all.failed) * 100 >= calls * u64::from(rule.failed_percent)
            && !matches!(all.failing, Clients::One(_) if ![Clients::None, all.failing].contains(&all.succeeding))
    }
}

impl Counts {
    fn succeed(&mut self, client: ClientIndex) {
        self.succeeded += 1;
        self.succeeding = self.succeeding.and(Clients::One(client));
    }

    fn fail(&mut self, client: ClientIndex) {
        self.failed += 1;
        self.failing = self.failing.and(Clients::One(client));
    }

    fn and(self, later: Self) -> Self {
        Self {
            succeeded: self.succeeded + later.succeeded,
            failed: self.failed + later.failed,
            succeeding: self.succeeding.and(later.succeeding),
            failing: self.failing.and(later.failing),
        }
    }
}

impl Clients {
    fn and(self, others: Self) -> Self {
        match (self, others) {
            (Self::None, one) | (one, Self::None) => one,
            (one, other) if one == other => one,
            _ => Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"{"calls": 20, "failed_percent": 50, "window_ms": 10000, "open_ms": 5000}"#;

    fn rule() -> BreakerRule {
        serde_json::from_str(RULE).expect("rule")
    }

    /// One call of a client, which must be let through.
    fn call(breaker: &Arc<Breaker>, client: ClientIndex, now: Instant, works: bool) -> Option<Turned> {
        let pass = breaker.enter(rule(), client, now).expect("let through");
        if works { pass.succeeded(now) } else { pass.failed(now) }
    }

    #[test]
    fn it_opens_when_half_of_twenty_fail_and_closes_when_one_succeeds() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        for _ in 0..10 {
            assert_eq!(call(&breaker, 0, start, true), None);
        }
        for _ in 0..9 {
            assert_eq!(call(&breaker, 0, start, false), None);
        }
        assert_eq!(call(&breaker, 0, start, false), Some(Turned::Opened));
        let refused = breaker.enter(rule(), 0, start).expect_err("open");
        assert_eq!(refused, Duration::from_secs(5));

        // After its time one call goes, and no other beside it.
        let later = start + Duration::from_secs(5);
        let probe = breaker.enter(rule(), 0, later).expect("probe");
        assert!(breaker.enter(rule(), 0, later).is_err());
        assert_eq!(probe.failed(later), None);
        assert!(breaker.enter(rule(), 0, later + Duration::from_secs(4)).is_err());
        let again = later + Duration::from_secs(5);
        assert_eq!(call(&breaker, 0, again, true), Some(Turned::Closed));
        assert_eq!(call(&breaker, 0, again, false), None);
    }

    #[test]
    fn a_probe_that_nobody_waits_for_makes_room_for_the_next() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        for _ in 0..20 {
            call(&breaker, 0, start, false);
        }
        let later = start + Duration::from_secs(6);
        drop(breaker.enter(rule(), 0, later).expect("probe"));
        assert_eq!(call(&breaker, 0, later, true), Some(Turned::Closed));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        for second in 0..100 {
            // One in two fails, and never twenty within a window.
            let now = start + Duration::from_secs(second);
            assert_eq!(call(&breaker, 0, now, second % 2 == 0), None);
        }
    }

    #[test]
    fn one_client_does_not_open_it_for_those_whose_calls_succeed() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        assert_eq!(call(&breaker, 1, start, true), None);
        for _ in 0..1_000 {
            assert_eq!(call(&breaker, 0, start, false), None);
        }
        assert_eq!(call(&breaker, 1, start, false), Some(Turned::Opened));
    }
}
