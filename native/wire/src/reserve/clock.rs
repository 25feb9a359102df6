//! A clock that stands until it is set: what simulations run by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::model::{Nanos, Now};

#[derive(Debug)]
pub struct VirtualClock {
    at: AtomicU64,
    /// Unix time at its beginning.
    begins: Duration,
}

impl VirtualClock {
    pub fn new(begins: Duration) -> Self {
        Self { at: AtomicU64::new(0), begins }
    }

    pub fn set(&self, at: Nanos) {
        self.at.store(at, Ordering::Relaxed);
    }

    pub fn now(&self) -> Now {
        let at = self.at.load(Ordering::Relaxed);
        Now { at, unix: self.begins + Duration::from_nanos(at) }
    }
}
