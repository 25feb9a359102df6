//! One thread's share of the gateway: its listeners, its pool, its records. Workers share only `Shared`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::admit::Buckets;
use crate::agreement::Clock;
use crate::cache::Cache;
use crate::dial::Dialler;
use crate::dial::pool::Pool;
use crate::engine::Config;
use crate::forward::state::Memory;
use crate::hooks::Hooks;
use crate::identity::Keys;
use crate::lease::Leases;
use crate::listen::{self, Bound};
use crate::observe::Budget;
use crate::protect::keys::Keyring;
use crate::protect::persons::Persons;
use crate::record::{HOLD, WorkerRecord};
use crate::reserve::Reserve;
use crate::shed::Shed;
use crate::snapshot::Snapshot;
use crate::subject;

/// What all workers see.
pub struct Shared {
    pub config: Config,
    pub snapshot: ArcSwapOption<Snapshot>,
    pub leases: Leases,
    pub protection: Keyring,
    pub persons: Persons,
    pub hooks: Hooks,
    pub buckets: Buckets,
    pub reserve: Reserve,
    pub cache: Arc<Cache>,
    pub issuer_keys: Keys,
    pub subject_keys: subject::Keys,
    /// What agreements end by.
    pub clock: Clock,
    pub faults: Memory,
    /// How much is looked at to learn from.
    pub observing: Budget,
    pub token_key: hmac::Key,
    pub ready: AtomicBool,
    pub connections: AtomicU64,
    calls: AtomicU64,
    in_flight: AtomicU64,
}

impl Shared {
    pub fn new(
        config: Config,
        token_key: &[u8],
        buckets: Buckets,
        reserve: Reserve,
        cache: Arc<Cache>,
    ) -> Self {
        Self {
            config,
            cache,
            snapshot: ArcSwapOption::empty(),
            leases: Leases::default(),
            protection: Keyring::default(),
            persons: Persons::default(),
            hooks: Hooks::default(),
            buckets,
            reserve,
            issuer_keys: Keys::default(),
            subject_keys: subject::Keys::default(),
            clock: Clock::default(),
            faults: Memory::default(),
            observing: Budget::default(),
            token_key: hmac::Key::new(hmac::HMAC_SHA256, token_key),
            ready: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.snapshot.load().is_some()
    }

    pub fn calls_begun(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn calls_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// One worker, on its own thread; `Rc` because nothing of it leaves.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub pool: Rc<Pool>,
    pub record: WorkerRecord,
    pub shed: Shed,
    /// False when its tasks are being dropped: none can be added.
    pub running: Cell<bool>,
    chance: RefCell<Chance>,
}

/// Random bytes for call ids, drawn in blocks.
struct Chance {
    bytes: [u8; 640],
    used: usize,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, dialler: Arc<Dialler>, record: WorkerRecord) -> Self {
        Self {
            shared,
            pool: Rc::new(Pool::new(dialler)),
            record,
            shed: Shed::default(),
            running: Cell::new(true),
            chance: RefCell::new(Chance { bytes: [0; 640], used: 640 }),
        }
    }

    pub fn chance(&self) -> [u8; 10] {
        let mut chance = self.chance.borrow_mut();
        if chance.used == chance.bytes.len() {
            // A failure leaves the block as it was: ids stay apart by time, and nothing secret rests on them.
            let _ = aws_lc_rs::rand::fill(&mut chance.bytes);
            chance.used = 0;
        }
        let mut drawn = [0; 10];
        drawn.copy_from_slice(&chance.bytes[chance.used..chance.used + 10]);
        chance.used += 10;
        drawn
    }
}

/// How a stop is told: workers stop accepting at once and cut what is left at the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Serving,
    Draining(Instant),
}

/// Run a worker until it is drained; true when no call was cut.
pub fn run(worker: Worker, listeners: Vec<Bound>, phase: watch::Receiver<Phase>) -> std::io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let worker = Rc::new(worker);
    let drained = local.block_on(&runtime, async {
        let ticks = tokio::task::spawn_local(tick(Rc::clone(&worker)));
        let drained = listen::run(Rc::clone(&worker), listeners, phase).await;
        ticks.abort();
        drained
    });
    worker.running.set(false);
    // Calls that were cut record themselves as their futures are dropped.
    drop(local);
    drop(runtime);
    worker.record.finish();
    Ok(drained)
}

async fn tick(worker: Rc<Worker>) {
    let mut slow = Instant::now();
    loop {
        tokio::time::sleep(HOLD).await;
        worker.record.flush();
        if slow.elapsed() > Duration::from_secs(5) {
            slow = Instant::now();
            worker.pool.sweep();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            worker.shared.leases.sweep(now.as_secs());
            worker.shared.buckets.sweep();
        }
    }
}
