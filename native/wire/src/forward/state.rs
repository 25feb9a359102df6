//! What is remembered of faults, shared by all workers and kept when a snapshot is swapped: a breaker that
//! is open stays open although somebody edits the declaration.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::forward::breaker::Breaker;
use crate::forward::budget::{Budget, Fill, HEDGES, RETRIES};
use crate::forward::bulkhead::Bulkhead;
use crate::forward::lateness::Lateness;
use crate::origin::Origin;
use crate::snapshot::Snapshot;

/// Values that are made when they are asked for first, and found without a lock that others wait for.
#[derive(Debug)]
struct Kept<K: ?Sized, V>(RwLock<HashMap<Arc<K>, Arc<V>>>);

impl<K: ?Sized, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash + ?Sized, V> Kept<K, V> {
    fn known(&self, key: &K) -> Option<Arc<V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn get(&self, key: &K, own: impl FnOnce() -> Arc<K>, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(known) = self.known(key) {
            return known;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(own()).or_insert_with(|| Arc::new(make())))
    }

    fn retain(&self, wanted: impl Fn(&K, &V) -> bool) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|key, value| wanted(key, value));
    }
}

/// By the provider's name. Only providers that declare something are here.
#[derive(Debug, Default)]
pub struct Memory {
    providers: Kept<str, ProviderMemory>,
}

#[derive(Debug, Default)]
pub struct ProviderMemory {
    pub bulkhead: Arc<Bulkhead>,
    breakers: Kept<Origin, Breaker>,
    retries: Kept<str, Budget>,
    hedges: Kept<str, Budget>,
    lateness: Kept<str, Lateness>,
}

impl Memory {
    pub fn of(&self, provider: &Arc<str>) -> Arc<ProviderMemory> {
        self.providers.get(provider, || Arc::clone(provider), ProviderMemory::default)
    }

    /// Forget what is declared no more, so that no sequence of declarations makes this grow.
    pub fn keep(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let names: HashSet<&str> = snapshot.providers.iter().map(|provider| &*provider.name).collect();
        let clients: HashSet<&str> = snapshot.clients.iter().map(|client| &**client).collect();
        self.providers.retain(|name, _| names.contains(name));
        for provider in &snapshot.providers {
            let Some(memory) = self.providers.known(&provider.name) else { continue };
            memory.breakers.retain(|_, breaker| !breaker.is_at_rest(now));
            memory.retries.retain(|client, _| clients.contains(client));
            memory.hedges.retain(|client, _| clients.contains(client));
            memory.lateness.retain(|id, _| provider.operations.iter().any(|operation| *operation.id == *id));
        }
    }
}

impl ProviderMemory {
    pub fn breaker(&self, origin: &Origin) -> Arc<Breaker> {
        self.breakers.get(origin, || Arc::new(origin.clone()), Breaker::default)
    }

    pub fn retries(&self, client: &Arc<str>) -> Arc<Budget> {
        budget(&self.retries, RETRIES, client)
    }

    pub fn hedges(&self, client: &Arc<str>) -> Arc<Budget> {
        budget(&self.hedges, HEDGES, client)
    }

    pub fn lateness(&self, operation: &Arc<str>) -> Arc<Lateness> {
        self.lateness.get(operation, || Arc::clone(operation), Lateness::default)
    }
}

fn budget(kept: &Kept<str, Budget>, fill: Fill, client: &Arc<str>) -> Arc<Budget> {
    kept.get(client, || Arc::clone(client), || Budget::new(fill, Instant::now()))
}
