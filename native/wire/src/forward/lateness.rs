//! How long an operation's answers take, as far as it is needed to know a late one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Classes of a quarter of an octave each, from 0.25 ms on: the last begins at more than a minute.
const CLASSES: usize = 72;
const FIRST_US: f64 = 250.0;
/// Fewer answers than this say nothing.
const ANSWERS_MIN: u32 = 100;
/// Then all counts are halved: what is long ago fades.
const ANSWERS_MAX: u32 = 2_000;

/// The durations of an operation's recent answers, by class.
#[derive(Debug)]
pub struct Lateness(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    all: u32,
    classes: [u32; CLASSES],
}

impl Default for Lateness {
    fn default() -> Self {
        Self(Mutex::new(Counts { all: 0, classes: [0; CLASSES] }))
    }
}

impl Lateness {
    pub fn took(&self, time: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= ANSWERS_MAX {
            counts.classes.iter_mut().for_each(|count| *count /= 2);
            counts.all = counts.classes.iter().sum();
        }
        counts.classes[class(time)] += 1;
        counts.all += 1;
    }

    /// The time in which 95 of 100 answers came, rounded up to the end of its class.
    pub fn p95(&self) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all < ANSWERS_MIN {
            return None;
        }
        let mut late = counts.all / 20;
        for (number, count) in counts.classes.iter().enumerate().rev() {
            if *count > late {
                return Some(end(number));
            }
            late -= count;
        }
        None
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a duration of a call, and clamped"
)]
fn class(time: Duration) -> usize {
    let octaves = (time.as_micros() as f64 / FIRST_US).max(1.0).log2();
    ((octaves * 4.0) as usize).min(CLASSES - 1)
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn end(class: usize) -> Duration {
    Duration::from_secs_f64(FIRST_US * 1e-6 * 2_f64.powf((class + 1) as f64 / 4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_of_100_is_told_within_a_class() {
        let lateness = Lateness::default();
        for ms in 1..=99 {
            lateness.took(Duration::from_millis(ms));
            assert_eq!(lateness.p95(), None);
        }
        lateness.took(Duration::from_millis(100));
        let p95 = lateness.p95().expect("enough");
        assert!(Duration::from_millis(95) <= p95 && p95 <= Duration::from_millis(115), "{p95:?}");
    }

    #[test]
    fn what_is_long_ago_fades() {
        let lateness = Lateness::default();
        (0..2_000).for_each(|_| lateness.took(Duration::from_secs(30)));
        (0..20_000).for_each(|_| lateness.took(Duration::from_millis(1)));
        assert!(lateness.p95().expect("enough") < Duration::from_millis(2));
    }
}
