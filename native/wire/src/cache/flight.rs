//! One question to the provider for many calls at once: who comes while it is under way waits for its answer.
//!
//! Flights are shared by the worker threads. A flight whose leader is gone lands as `Gone`, and one of those
//! who waited leads the next. What turns out to be no one else's frees all of them at once, and leaves a
//! mark, so that for a moment nobody waits for its like.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::tier::Claim;
use crate::error::Refusal;

/// How long calls go on their own after an answer that could not be shared.
const PASS: Duration = Duration::from_secs(2);
const SHARDS: usize = 16;
const PASSES_MAX: usize = 4_096;

#[derive(Default)]
pub struct Flights {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    under_way: HashMap<Key, Arc<Flight>>,
    passes: HashMap<Key, Instant>,
}

#[derive(Default)]
struct Flight {
    landing: Mutex<Option<Landing>>,
    landed: Notify,
    followers: AtomicUsize,
}

/// What came of a flight.
#[derive(Clone)]
pub enum Landing {
    Answer(Arc<Entry>),
    /// The provider could not be asked, for a reason that holds for all.
    Refused(Refusal),
    /// The answer is the leader's alone.
    Pass,
    /// The leader went before there was one.
    Gone,
}

pub enum Joined {
    Lead(Lead),
    Follow(Following),
    Alone,
}

/// The one that asks.
pub struct Lead {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    landed: bool,
    /// That other gateways wait as well.
    claim: Option<Claim>,
}

/// Sees whether anybody waits.
pub struct Watch(Arc<Flight>);

/// One that waits.
pub struct Following(Arc<Flight>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// Lead, follow, or go alone where what came last could not be shared.
    pub fn join(self: &Arc<Self>, key: Key) -> Joined {
        self.board(key, true)
    }

    fn board(self: &Arc<Self>, key: Key, heeds_passes: bool) -> Joined {
        let mut shard = self.shard(&key);
        if let Some(flight) = shard.under_way.get(&key) {
            flight.followers.fetch_add(1, Ordering::AcqRel);
            return Joined::Follow(Following(Arc::clone(flight)));
        }
        if let Some(until) = shard.passes.get(&key) {
            if heeds_passes && Instant::now() < *until {
                return Joined::Alone;
            }
            shard.passes.remove(&key);
        }
        let flight = Arc::new(Flight::default());
        shard.under_way.insert(key, Arc::clone(&flight));
        drop(shard);
        Joined::Lead(Lead { flights: Arc::clone(self), key, flight, landed: false, claim: None })
    }

    /// Lead, unless somebody does already.
    pub fn lead(self: &Arc<Self>, key: Key) -> Option<Lead> {
        match self.board(key, false) {
            Joined::Lead(lead) => Some(lead),
            Joined::Follow(_) | Joined::Alone => None,
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let number = usize::try_from(key.word() >> 32).unwrap_or_default() % SHARDS;
        locked(&self.shards[number])
    }
}

impl Watch {
    pub fn has_followers(&self) -> bool {
        self.0.followers.load(Ordering::Acquire) > 0 && locked(&self.0.landing).is_none()
    }
}

impl Lead {
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.flight))
    }

    pub fn has_followers(&self) -> bool {
        self.flight.followers.load(Ordering::Acquire) > 0
    }

    pub fn claims(&mut self, claim: Claim) {
        self.claim = Some(claim);
    }

    pub fn land(mut self, landing: Landing) {
        self.end(landing);
    }

    fn end(&mut self, landing: Landing) {
        if std::mem::replace(&mut self.landed, true) {
            return;
        }
        if let Some(claim) = self.claim.take() {
            claim.land(matches!(landing, Landing::Pass));
        }
        let mut shard = self.flights.shard(&self.key);
        shard.under_way.remove(&self.key);
        if matches!(landing, Landing::Pass) {
            let now = Instant::now();
            if shard.passes.len() >= PASSES_MAX {
                shard.passes.retain(|_, until| now < *until);
            }
            if shard.passes.len() < PASSES_MAX {
                shard.passes.insert(self.key, now + PASS);
            }
        }
        drop(shard);
        *locked(&self.flight.landing) = Some(landing);
        self.flight.landed.notify_waiters();
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Landing::Gone);
    }
}

impl Following {
    pub async fn landing(&self) -> Landing {
        loop {
            let landed = self.0.landed.notified();
            let mut landed = std::pin::pin!(landed);
            // What comes between the look and the wait is not missed.
            landed.as_mut().enable();
            if let Some(landing) = locked(&self.0.landing).clone() {
                return landing;
            }
            landed.await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Parts;

    fn key(number: u64) -> Key {
        let mut parts = Parts::new();
        parts.add(&number.to_be_bytes());
        parts.key()
    }

    #[tokio::test]
    async fn one_leads_and_all_others_hear_of_it() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = flights.join(key(1)) else { panic!("the first one leads") };
        let waiting: Vec<_> = (0..1_000)
            .map(|_| {
                let Joined::Follow(following) = flights.join(key(1)) else { panic!("the others follow") };
                tokio::spawn(async move { following.landing().await })
            })
            .collect();
        assert!(lead.has_followers());
        lead.land(Landing::Pass);
        for one in waiting {
            assert!(matches!(one.await.expect("joined"), Landing::Pass));
        }
        assert!(matches!(flights.join(key(1)), Joined::Alone));
        assert!(matches!(flights.join(key(2)), Joined::Lead(_)));
    }

    #[tokio::test]
    async fn a_leader_that_goes_leaves_the_lead_to_others() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = flights.join(key(1)) else { panic!("lead") };
        let Joined::Follow(following) = flights.join(key(1)) else { panic!("follow") };
        drop(lead);
        assert!(matches!(following.landing().await, Landing::Gone));
        assert!(matches!(flights.join(key(1)), Joined::Lead(_)));
    }
}
