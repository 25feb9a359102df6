//! What has changed, and when: an answer that was asked for before that is not given any more.
//!
//! Invalidation (RFC 9111 §4.4, RFC 9875) is a note of the moment, not a search: it holds for every variant
//! and body, and for answers that are still on their way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const SHARDS: usize = 16;
const STAMPS_MAX: usize = 4_096;

#[derive(Default)]
pub struct Stamps {
    any: AtomicBool,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    changed: HashMap<u64, Instant>,
    /// What was forgotten to make room: all of the shard changed then, for all that is known.
    floor: Option<Instant>,
}

impl Stamps {
    /// What stands at this place has changed.
    pub fn stamp(&self, place: u64, at: Instant) {
        let mut shard = self.shard(place);
        if shard.changed.len() >= STAMPS_MAX && !shard.changed.contains_key(&place) {
            shard.floor = Some(at);
            shard.changed.clear();
        }
        shard.changed.insert(place, at);
        drop(shard);
        self.any.store(true, Ordering::Release);
    }

    /// Everything may have changed.
    pub fn stamp_all(&self, at: Instant) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.floor = Some(at);
            shard.changed.clear();
        }
        self.any.store(true, Ordering::Release);
    }

    /// Whether an answer asked for at `sent` may be one from before a change at any of its places.
    pub fn outdates(&self, places: &[u64], sent: Instant) -> bool {
        self.any.load(Ordering::Acquire)
            && places.iter().any(|place| {
                let shard = self.shard(*place);
                shard.changed.get(place).copied().max(shard.floor).is_some_and(|changed| sent <= changed)
            })
    }

    fn shard(&self, place: u64) -> std::sync::MutexGuard<'_, Shard> {
        let number = usize::try_from(place % SHARDS as u64).unwrap_or_default();
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_asked_for_before_a_change_is_outdated_whatever_is_forgotten() {
        let stamps = Stamps::default();
        let early = Instant::now();
        let (changed, late) = (early + Duration::from_secs(1), early + Duration::from_secs(2));
        assert!(!stamps.outdates(&[7], early));
        stamps.stamp(7, changed);
        assert!(stamps.outdates(&[3, 7], early) && stamps.outdates(&[7], changed));
        assert!(!stamps.outdates(&[7], late) && !stamps.outdates(&[8], early));
        stamps.stamp_all(changed);
        assert!(stamps.outdates(&[9], early) && !stamps.outdates(&[9], late));
        for place in 0..200_000 {
            stamps.stamp(place, changed);
        }
        assert!(stamps.outdates(&[7], early) && !stamps.outdates(&[7], late));
        let held: usize = stamps.shards.iter().map(|shard| shard.lock().expect("lock").changed.len()).sum();
        assert!(held <= SHARDS * STAMPS_MAX);
    }
}
