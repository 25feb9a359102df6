//! Count together with other gateways, at a store that all of them reach (Redis 7 or Valkey).
//!
//! Nothing of a call waits for the store but a call whose pot has run dry here. One thread speaks to it, in
//! rounds: what is urgent at once, all else a few times a second. Whatever the store does - it is gone, slow,
//! empty, or says what cannot be - this node goes on with the part of each pot that it holds (`part`).

pub(crate) mod link;
pub mod part;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use aws_lc_rs::{digest, rand};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::reserve::model::{Nanos, nanos};
use part::{Begin, Part, Pool, Report, Room};

/// docs/reference/engine.md.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub at: At,
    /// How many gateways there are at most.
    pub nodes: u64,
    /// What this gateway is known by: the same after a restart, and no other's.
    pub node: String,
    /// What begins the names of its keys.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// What of it one client's answers may take; None: answers are not shared.
    #[serde(default)]
    pub cache_client_bytes: Option<u64>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<Zeroizing<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    Unix(std::path::PathBuf),
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, ca_pem: Option<String> },
}

fn prefix() -> String {
    "tidegate".to_owned()
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("at", &self.at)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// Whose pot it is. Called on the thread that speaks to the store.
pub trait Holder: Send + Sync + fmt::Debug {
    /// Tell the part what counts now.
    fn refresh(&self, lent: &Arc<Lent>);
    /// The store has answered, or is lost: calls may go, or need not wait.
    fn changed(&self, lent: &Arc<Lent>);
}

/// One pot's part, and what the store knows it by.
#[derive(Debug)]
pub struct Lent {
    store: Arc<Store>,
    key: Box<str>,
    /// What a node says of itself outlives its process.
    keeps: bool,
    holder: Weak<dyn Holder>,
    /// The holder's number for it.
    pub number: usize,
    part: Mutex<Part>,
    urgent: AtomicBool,
    /// Whether the store has an entry of this part.
    entered: AtomicBool,
}

/// How it stands with the store, for whoever asks.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// `starting`, `connected`, or `lost`.
    pub state: &'static str,
    pub nodes: u64,
    /// How many are connected, as the store said last.
    pub present: u64,
    /// Whether the store knows of everyone's part.
    pub settled: bool,
    /// Why it is lost.
    pub reason: Option<String>,
    /// How often it was lost.
    pub losses: u64,
    /// How many pots this node has a part of.
    pub pots: usize,
}

#[derive(Debug)]
pub struct Store {
    config: Arc<Config>,
    origin: Instant,
    /// This node, and which of its processes this is.
    node: String,
    run: u64,
    sequence: AtomicU64,
    known: Mutex<Known>,
    wake: Notify,
    closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Known {
    lent: HashMap<Box<str>, Weak<Lent>>,
    /// Parts that were let go of, to be told.
    gone: Vec<Gone>,
    begin: Begin,
    slot: u64,
    standing: Standing,
}

#[derive(Debug)]
struct Gone {
    key: Box<str>,
    keeps: bool,
    pool: Pool,
    report: Report,
}

impl Store {
    /// `origin` is the moment from which times count.
    pub fn start(config: Arc<Config>, origin: Instant) -> std::io::Result<Arc<Self>> {
        let standing = Standing {
            state: "starting",
            nodes: config.nodes,
            present: 0,
            settled: false,
            reason: None,
            losses: 0,
            pots: 0,
        };
        let known = Known {
            lent: HashMap::new(),
            gone: Vec::new(),
            begin: Begin::Starting,
            slot: u64::MAX,
            standing,
        };
        let mut run = [0; 8];
        rand::fill(&mut run).map_err(|_| std::io::Error::other("no random bytes"))?;
        let store = Arc::new(Self {
            node: digested(&[&config.node]),
            config,
            origin,
            run: u64::from_le_bytes(run) >> 14,
            sequence: AtomicU64::new(1),
            known: Mutex::new(known),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let running = Arc::clone(&store);
        let thread = std::thread::Builder::new().name("tidegate-shared".into());
        let thread = thread.spawn(move || link::run(&running))?;
        *locked(&store.thread) = Some(thread);
        Ok(store)
    }

    pub fn nodes(&self) -> u64 {
        self.config.nodes
    }

    /// A part of the pot that is named so. `keeps`: what is said of it outlives the process.
    pub fn lend(
        self: &Arc<Self>,
        name: &[&str],
        pool: Pool,
        keeps: bool,
        holder: Weak<dyn Holder>,
        number: usize,
    ) -> Arc<Lent> {
        let key: Box<str> = format!("{}:v1:{{{}}}", self.config.prefix, digested(name)).into();
        let now = self.now();
        let mut known = locked(&self.known);
        let part = Mutex::new(Part::new(pool, known.slot, now, known.begin));
        let lent = Arc::new(Lent {
            store: Arc::clone(self),
            key: key.clone(),
            keeps,
            holder,
            number,
            part,
            urgent: AtomicBool::new(false),
            entered: AtomicBool::new(false),
        });
        known.lent.insert(key, Arc::downgrade(&lent));
        lent
    }

    pub fn standing(&self) -> Standing {
        let known = locked(&self.known);
        Standing { pots: known.lent.len(), ..known.standing.clone() }
    }

    /// Give all back, and end.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
        if let Some(thread) = locked(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }

    fn all(&self) -> Vec<Arc<Lent>> {
        let mut known = locked(&self.known);
        let all: Vec<_> = known.lent.values().filter_map(Weak::upgrade).collect();
        if all.len() < known.lent.len() {
            known.lent.retain(|_, lent| lent.strong_count() > 0);
        }
        all
    }

    fn connected(&self, slot: u64, present: u64, settled: bool) {
        let mut known = locked(&self.known);
        (known.begin, known.slot) = (Begin::Connected, slot);
        let Standing { nodes, losses, pots, .. } = known.standing;
        known.standing = Standing { state: "connected", nodes, present, settled, reason: None, losses, pots };
    }

    /// The store is away, or has forgotten: everyone goes by what he holds.
    fn lost(&self, reason: String) {
        let now = self.now();
        let mut known = locked(&self.known);
        let was = known.standing.state;
        known.begin = match known.begin {
            Begin::Starting | Begin::Never => Begin::Never,
            Begin::Connected => Begin::Lost(now),
            lost @ Begin::Lost(_) => lost,
        };
        known.standing.losses += u64::from(was != "lost");
        known.standing.state = "lost";
        known.standing.reason = Some(reason);
        drop(known);
        self.forgotten();
    }

    fn forgotten(&self) {
        for lent in self.all() {
            if let Some(holder) = lent.holder.upgrade() {
                holder.refresh(&lent);
            }
            lent.part().lost(self.now());
            lent.entered.store(false, Ordering::Relaxed);
            lent.changed();
        }
    }
}

impl Lent {
    pub fn part(&self) -> MutexGuard<'_, Part> {
        locked(&self.part)
    }

    /// Whether a call can take `cost` while `taken` counts; the store is asked where it must be.
    pub fn room(&self, now: Nanos, taken: u64, cost: u64) -> Room {
        let room = self.part().room(now, taken, cost);
        if room == Room::Asked {
            self.ask();
        }
        room
    }

    pub fn take(&self, now: Nanos, cost: u64) {
        let mut part = self.part();
        part.take(now, cost);
        let urgent = part.is_urgent();
        drop(part);
        if urgent {
            self.ask();
        }
    }

    /// Take `cost` of a pot with a pace where there is room, in one step: threads that draw do not overtake each other.
    pub fn draw(&self, now: Nanos, cost: u64) -> Room {
        let mut part = self.part();
        let room = part.room(now, 0, cost);
        if room == Room::Yes {
            part.take(now, cost);
        }
        let urgent = part.is_urgent();
        drop(part);
        if urgent || room == Room::Asked {
            self.ask();
        }
        room
    }

    /// So much counts now, as it is found under the part's lock.
    pub fn saw(&self, taken: impl FnOnce() -> u64) {
        let now = self.store.now();
        let mut part = self.part();
        part.saw(now, taken());
    }

    /// Have the store told of this part now.
    pub fn ask(&self) {
        if !self.urgent.swap(true, Ordering::AcqRel) {
            self.store.wake.notify_one();
        }
    }

    fn changed(self: &Arc<Self>) {
        if let Some(holder) = self.holder.upgrade() {
            holder.changed(self);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.entered.load(Ordering::Relaxed) {
            return;
        }
        let now = self.store.now();
        let part = self.part.get_mut().unwrap_or_else(PoisonError::into_inner);
        let gone =
            Gone { key: self.key.clone(), keeps: self.keeps, pool: part.pool(), report: part.report(now) };
        let mut known = locked(&self.store.known);
        // Another of the same name may be there already: then it speaks for both.
        if known.lent.get(&self.key).is_none_or(|lent| lent.strong_count() == 0) {
            known.gone.push(gone);
        }
    }
}

/// A short name for several that may hold anything.
fn digested(names: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for name in names {
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
    }
    hex(&context.finish().as_ref()[..16])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
