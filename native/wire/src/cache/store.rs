//! Where answers are kept: in memory, bounded in all and for each client.
//!
//! What is asked for least goes first when all is full; a client that fills its own share loses its own
//! oldest, and nobody else's.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use serde::Deserialize;

use crate::cache::disk;
use crate::cache::entry::{Account, Entry};
use crate::cache::key::Key;
use crate::cache::search::SearchRule;

/// How much is kept; docs/reference/engine.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    pub bytes: u64,
    /// Of one client; what is shared by all counts as one more client.
    pub client_bytes: u64,
    /// Of one answer's body.
    pub answer_bytes: u64,
    /// Where more is kept than memory holds, and over restarts.
    pub disk: Option<disk::Settings>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 256 << 20, client_bytes: 64 << 20, answer_bytes: 4 << 20, disk: None }
    }
}

/// At most this many answers to one request, told apart by `Vary`.
pub const VARIANTS_MAX: usize = 16;

/// What stands under a key.
#[derive(Clone)]
pub enum Slot {
    Entry(Arc<Entry>),
    /// The answers differ by these fields, each under a key of its own.
    Varies(Arc<Varies>),
    /// What the provider says of the query parameters of a path.
    Search(Arc<SearchRule>),
}

pub struct Varies {
    pub names: Box<[HeaderName]>,
    variants: Vec<Key>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Slot> for Weight {
    fn weight(&self, _: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Entry(entry) => entry.weight(),
            Slot::Varies(_) | Slot::Search(_) => 1_024,
        }
    }
}

/// Keys are digests already.
#[derive(Default)]
pub struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

type Slots = Cache<Key, Slot, Weight, BuildHasherDefault<Digested>, DefaultLifecycle<Key, Slot>>;

/// One client's share.
#[derive(Default)]
struct Share {
    account: Arc<Account>,
    /// Its keys, oldest first; some of them may be gone.
    order: Mutex<VecDeque<Key>>,
}

pub struct Store {
    slots: Slots,
    pub bounds: Bounds,
    shares: Mutex<HashMap<Option<Arc<str>>, Arc<Share>>>,
}

/// What there is of one client.
#[derive(Debug, serde::Serialize)]
pub struct Held {
    /// None: shared by all.
    pub client: Option<Arc<str>>,
    pub answers: u64,
    pub bytes: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn new(bounds: Bounds) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(bounds.bytes / 8_192).unwrap_or(usize::MAX).max(64))
            .weight_capacity(bounds.bytes)
            // An answer must fit into a shard; few shards are enough for as many threads as there are cores.
            .shards(
                usize::try_from((bounds.bytes / bounds.answer_bytes.max(1) / 8).clamp(1, 16)).unwrap_or(1),
            )
            .build();
        let slots = match options {
            Ok(options) => Cache::with_options(
                options,
                Weight,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            ),
            Err(_) => Cache::with(
                64,
                bounds.bytes,
                Weight,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            ),
        };
        Self { slots, bounds, shares: Mutex::default() }
    }

    pub fn get(&self, key: &Key) -> Option<Slot> {
        self.slots.get(key)
    }

    /// Principal bytes the entries of this client are.
    pub fn account(&self, client: Option<&Arc<str>>) -> Arc<Account> {
        Arc::clone(&self.share(client).account)
    }

    /// Keep an answer under its request's key; where it varies, under its variant's.
    pub fn put(&self, primary: Key, variant: Option<Key>, entry: Arc<Entry>) {
        let client = entry.label.client.clone();
        if let Some(variant) = variant {
            let mut variants = match self.slots.get(&primary) {
                Some(Slot::Varies(known)) if known.names == entry.vary => known.variants.clone(),
                _ => Vec::new(),
            };
            variants.retain(|known| *known != variant);
            variants.push(variant);
            while variants.len() > VARIANTS_MAX {
                self.slots.remove(&variants.remove(0));
            }
            let names = entry.vary.clone();
            self.slots.insert(primary, Slot::Varies(Arc::new(Varies { names, variants })));
            self.slots.insert(variant, Slot::Entry(entry));
            self.note(client.as_ref(), variant);
        } else {
            self.slots.insert(primary, Slot::Entry(entry));
            self.note(client.as_ref(), primary);
        }
    }

    pub fn put_search(&self, key: Key, rule: SearchRule) {
        self.slots.insert(key, Slot::Search(Arc::new(rule)));
    }

    pub fn remove(&self, key: &Key) {
        self.slots.remove(key);
    }

    /// Take out every answer of which this is true; how many those were.
    pub fn purge(&self, doomed: impl Fn(&Entry) -> bool) -> u64 {
        let gone: Vec<Key> = self
            .slots
            .iter()
            .filter_map(|(key, slot)| match slot {
                Slot::Entry(entry) if doomed(&entry) => Some(key),
                _ => None,
            })
            .collect();
        gone.iter().filter(|key| self.slots.remove(*key).is_some()).count() as u64
    }

    pub fn held(&self) -> Vec<Held> {
        let mut all: Vec<Held> = locked(&self.shares)
            .iter()
            .map(|(client, share)| Held {
                client: client.clone(),
                answers: share.account.entries.load(Ordering::Relaxed),
                bytes: share.account.bytes.load(Ordering::Relaxed),
            })
            .collect();
        all.sort_by(|one, other| one.client.cmp(&other.client));
        all
    }

    /// Note what was stored last, and take out the client's oldest while it has more than its share.
    fn note(&self, client: Option<&Arc<str>>, key: Key) {
        let share = self.share(client);
        let mut order = locked(&share.order);
        order.push_back(key);
        while share.account.bytes.load(Ordering::Relaxed) > self.bounds.client_bytes {
            let Some(oldest) = order.pop_front() else { break };
            self.slots.remove(&oldest);
        }
        // Keys that went otherwise are dropped now and then, at a cost shared by those that came.
        let entries = share.account.entries.load(Ordering::Relaxed);
        if order.len() as u64 > 1_024 + 2 * entries {
            let mut seen = std::collections::HashSet::new();
            let newest_first: Vec<Key> = order
                .iter()
                .rev()
                .filter(|key| self.slots.contains_key(*key) && seen.insert(key.word()))
                .copied()
                .collect();
            *order = newest_first.into_iter().rev().collect();
        }
    }

    fn share(&self, client: Option<&Arc<str>>) -> Arc<Share> {
        let mut shares = locked(&self.shares);
        match shares.get(&client.cloned()) {
            Some(share) => Arc::clone(share),
            None => Arc::clone(shares.entry(client.cloned()).or_default()),
        }
    }
}
