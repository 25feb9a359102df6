//! How many calls are at a provider at once, and how many of them are one client's.
//!
//! A call has its seat until its answer has passed whole, so that a provider that hangs, or a client that
//! reads slowly, holds no more than its share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::forward::rules::BulkheadRule;

#[derive(Debug, Default)]
pub struct Bulkhead {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_client: HashMap<Arc<str>, u32>,
}

/// A call's place among those at the provider.
#[derive(Debug)]
pub struct Seat {
    bulkhead: Arc<Bulkhead>,
    client: Arc<str>,
}

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Provider,
    Client,
}

impl Bulkhead {
    pub fn take(self: &Arc<Self>, rule: BulkheadRule, client: &Arc<str>) -> Result<Seat, Full> {
        let mut taken = self.taken();
        if taken.by_client.get(client).is_some_and(|own| *own >= rule.client_calls) {
            return Err(Full::Client);
        }
        if taken.all >= rule.calls {
            return Err(Full::Provider);
        }
        taken.all += 1;
        *taken.by_client.entry(Arc::clone(client)).or_default() += 1;
        Ok(Seat { bulkhead: Arc::clone(self), client: Arc::clone(client) })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.bulkhead.taken();
        taken.all -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_the_others_the_rest() {
        let bulkhead = Arc::new(Bulkhead::default());
        let rule = BulkheadRule { calls: 5, client_calls: 3 };
        let (acme, globex): (Arc<str>, Arc<str>) = ("acme".into(), "globex".into());
        let mut seats: Vec<Seat> = (0..3).map(|_| bulkhead.take(rule, &acme).expect("a seat")).collect();
        assert_eq!(bulkhead.take(rule, &acme).err(), Some(Full::Client));
        seats.extend((0..2).map(|_| bulkhead.take(rule, &globex).expect("a seat")));
        assert_eq!(bulkhead.take(rule, &globex).err(), Some(Full::Provider));
        seats.clear();
        assert!(bulkhead.taken().by_client.is_empty());
        assert_eq!(bulkhead.taken().all, 0);
    }
}
