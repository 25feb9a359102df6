//! So much in any window: a sliding log, which holds for a provider however it lays its windows.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Nanos, Now, When, nanos, until};

/// Into how many slots a window is cut: what is remembered stays small, and ages a thousandth too late.
const SLOTS: u64 = 1_024;

/// A call counts while it is in flight, and from its answer on for one window.
#[derive(Debug)]
pub struct Log {
    pub(super) quota: u64,
    window: Nanos,
    slot: Nanos,
    in_flight: u64,
    /// What was answered, by the end of its slot; the oldest first.
    slots: VecDeque<(Nanos, u64)>,
    counted: u64,
}

impl Log {
    pub fn new(quota: u64, window: Duration) -> Self {
        let window = nanos(window).max(1);
        let slot = (window / SLOTS).max(1);
        Self { quota, window, slot, in_flight: 0, slots: VecDeque::new(), counted: 0 }
    }

    pub fn when(&mut self, now: Now, cost: u64) -> When {
        if cost > self.quota {
            return When::Never;
        }
        self.forget(now);
        let mut over = (self.used() + cost).saturating_sub(self.quota);
        if over == 0 {
            return When::Now;
        }
        for (end, counted) in &self.slots {
            over = over.saturating_sub(*counted);
            if over == 0 {
                return When::At(end.saturating_add(self.window));
            }
        }
        When::Released
    }

    pub fn take(&mut self, _now: Now, cost: u64) {
        self.in_flight += cost;
    }

    pub fn give_back(&mut self, _now: Now, cost: u64) {
        self.in_flight = self.in_flight.saturating_sub(cost);
    }

    pub fn answered(&mut self, now: Now, estimated: u64, actual: u64) {
        self.in_flight = self.in_flight.saturating_sub(estimated);
        if actual == 0 {
            return;
        }
        let end = (now.at / self.slot + 1) * self.slot;
        self.counted += actual;
        match self.slots.back_mut() {
            Some((last, counted)) if *last >= end => *counted += actual,
            _ => self.slots.push_back((end, actual)),
        }
    }

    pub fn left(&mut self, now: Now) -> u64 {
        self.forget(now);
        self.quota.saturating_sub(self.used())
    }

    pub fn resets_at(&mut self, now: Now) -> Option<Nanos> {
        self.forget(now);
        self.slots.front().map(|(end, _)| end.saturating_add(self.window))
    }

    pub fn most(&self) -> u64 {
        self.quota
    }

    pub fn line(&mut self, now: Now, amount: u64) -> Option<Duration> {
        self.forget(now);
        let over = (self.used() + amount).saturating_sub(self.quota);
        if over == 0 {
            return Some(Duration::ZERO);
        }
        // What goes beyond one quota waits for whole windows more.
        let (rounds, mut over) = ((over - 1) / self.quota.max(1), (over - 1) % self.quota.max(1) + 1);
        let mut at = now.at.saturating_add(self.window);
        for (end, counted) in &self.slots {
            over = over.saturating_sub(*counted);
            if over == 0 {
                at = end.saturating_add(self.window);
                break;
            }
        }
        Some(until(now.at, at.saturating_add(self.window.saturating_mul(rounds))))
    }

    pub fn taken(&mut self, now: Now) -> u64 {
        self.forget(now);
        self.used()
    }

    fn used(&self) -> u64 {
        self.in_flight + self.counted
    }

    fn forget(&mut self, now: Now) {
        while let Some((end, counted)) = self.slots.front() {
            if end.saturating_add(self.window) > now.at {
                break;
            }
            self.counted -= counted;
            self.slots.pop_front();
        }
    }
}
