//! Start, feed and stop the workers: what Python holds in its hand.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::admit;
use crate::cache::Cache;
use crate::cache::purge::Which;
use crate::cache::store;
use crate::dial::Dialler;
use crate::dial::resolve;
use crate::fetch::{self, FetchError, FetchOptions, Fetched, SecretFields};
use crate::hooks::{Answered, Asked};
use crate::identity;
use crate::lease::Lease;
use crate::listen::secured::Secured;
use crate::listen::{self, Listeners};
use crate::origin::Origin;
use crate::protect::keys::Roots;
use crate::protect::persons;
use crate::record::spool::{Gap, Spool};
use crate::record::{BATCH, Recorder, WorkerRecord};
use crate::reserve::Reserve;
use crate::shared::{self, Store};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::worker::{self, Phase, Shared, Worker};

/// docs/reference/engine.md.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listeners: Vec<ListenerConfig>,
    #[serde(default = "default_workers")]
    pub workers: usize,
    pub spool: PathBuf,
    #[serde(default = "default_spool_bytes")]
    pub spool_bytes_max: u64,
    #[serde(default = "default_head_timeout")]
    pub head_timeout_ms: u64,
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout_ms: u64,
    #[serde(default = "default_body_idle_timeout")]
    pub body_idle_timeout_ms: u64,
    #[serde(default = "default_connections")]
    pub connections_max: u64,
    /// Calls under way at once; each holds memory.
    #[serde(default = "default_calls")]
    pub calls_max: u64,
    /// Off only to measure what recording costs.
    #[serde(default = "yes")]
    pub record: bool,
    #[serde(default)]
    pub resolver: resolve::Settings,
    #[serde(default)]
    pub cache: store::Bounds,
    /// Where several gateways count together; None: this one counts alone.
    #[serde(default)]
    pub shared: Option<shared::Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    pub name: String,
    pub bind: SocketAddr,
    #[serde(default)]
    pub tls: Option<ListenerTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
    #[serde(default)]
    pub client_ca_pem: Option<String>,
    #[serde(default)]
    pub client_crl_pem: Option<String>,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ListenerTls(…)")
    }
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
fn default_spool_bytes() -> u64 {
    4 << 30
}
fn default_head_timeout() -> u64 {
    10_000
}
fn default_idle_timeout() -> u64 {
    75_000
}
fn default_body_idle_timeout() -> u64 {
    30_000
}
fn default_connections() -> u64 {
    20_000
}
fn default_calls() -> u64 {
    10_000
}
fn yes() -> bool {
    true
}

/// Why the engine did not take what it was given; never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine's configuration does not parse: {0}")]
    Config(#[from] serde_json::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{0}")]
    Refused(String),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> EngineError {
    move |source| EngineError::Io { what: what.into(), source }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Engine {
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    recorder: Mutex<Option<Recorder>>,
    workers: Mutex<Vec<JoinHandle<io::Result<bool>>>>,
    phase: watch::Sender<Phase>,
    dialler: Arc<Dialler>,
    addresses: Vec<(String, SocketAddr)>,
    secured: HashMap<String, Arc<Secured>>,
    gap: Mutex<Option<Gap>>,
    lost: Arc<AtomicU64>,
    store: Option<Arc<Store>>,
}

impl Engine {
    pub fn start(config: &str, token_key: &[u8]) -> Result<Self, EngineError> {
        let mut config: Config = serde_json::from_str(config)?;
        if config.workers == 0 {
            return Err(EngineError::Refused("the engine needs a worker".to_owned()));
        }
        if token_key.len() < 32 {
            return Err(EngineError::Refused("the token key has fewer than 32 bytes".to_owned()));
        }
        let held_max = (BATCH * config.workers) as u64;
        let (spool, gap) = Spool::open(&config.spool, config.spool_bytes_max, held_max.max(100))
            .map_err(io_error(format!("the spool {} cannot be opened", config.spool.display())))?;
        let spool = Arc::new(spool);
        let Listeners { mut by_worker, addresses, secured } = listen::bind(&config)?;
        let own: Vec<SocketAddr> = addresses.iter().map(|(_, address)| *address).collect();
        let dialler = Arc::new(Dialler::new(config.resolver.clone(), own));
        let recorder =
            Recorder::start(Arc::clone(&spool)).map_err(io_error("the recording thread cannot start"))?;
        let origin = Instant::now();
        let sharing = config.shared.take().map(Arc::new);
        let store = sharing.clone().map(|shared| Store::start(shared, origin)).transpose();
        let store = store.map_err(io_error("the thread that speaks to the shared store cannot start"))?;
        let reserve = Reserve::open(&config.spool, origin, store.clone())
            .map_err(io_error("what is used of quotas cannot be read"))?;
        let cache = Cache::start(config.cache.clone(), sharing.as_ref())
            .map_err(io_error("the thread that shares answers cannot start"))?;
        let buckets = admit::Buckets::new(origin, store.clone());
        let shared = Arc::new(Shared::new(config, token_key, buckets, reserve, cache));
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut workers = Vec::new();
        for number in (0..shared.config.workers).rev() {
            let listeners = by_worker.pop().unwrap_or_default();
            let (shared, dialler, phases) = (Arc::clone(&shared), Arc::clone(&dialler), phases.clone());
            let sender = recorder.sender();
            let thread =
                std::thread::Builder::new().name(format!("tidegate-wire-{number}")).spawn(move || {
                    worker::run(Worker::new(shared, dialler, WorkerRecord::new(sender)), listeners, phases)
                });
            workers.push(thread.map_err(io_error("a worker cannot start"))?);
        }
        let lost = Arc::clone(&recorder.lost);
        Ok(Self {
            shared,
            spool,
            recorder: Mutex::new(Some(recorder)),
            workers: Mutex::new(workers),
            phase,
            dialler,
            addresses,
            secured,
            gap: Mutex::new(gap),
            lost,
            store,
        })
    }

    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Have a listener show another certificate, and judge its consumers' anew; on an error nothing changes.
    pub fn renew_tls(&self, listener: &str, tls: &str) -> Result<(), EngineError> {
        let tls: ListenerTls = serde_json::from_str(tls)?;
        let secured = self.secured.get(listener);
        let unknown = || EngineError::Refused(format!("no listener `{listener}` has TLS"));
        secured.ok_or_else(unknown)?.renew(listener, &tls)
    }

    /// Swap in a snapshot; on an error the one before stays.
    pub fn publish(&self, document: &[u8]) -> Result<u64, EngineError> {
        let snapshot = Snapshot::parse(document)?;
        let revision = snapshot.revision;
        self.shared.faults.keep(&snapshot);
        self.shared.reserve.declare(&snapshot);
        self.shared.snapshot.store(Some(Arc::new(snapshot)));
        Ok(revision)
    }

    pub fn lease(
        &self,
        connection: &str,
        version: u32,
        serial: u64,
        origins: &[String],
        fields: HashMap<Box<str>, Zeroizing<Vec<u8>>>,
        until: f64,
    ) -> Result<(), EngineError> {
        let origins =
            origins.iter().map(|origin| origin.parse::<Origin>()).collect::<Result<Vec<_>, _>>().map_err(
                |error| EngineError::Refused(format!("the lease of `{connection}` names no origin: {error}")),
            )?;
        let until = Duration::try_from_secs_f64(until)
            .map_err(|_| EngineError::Refused(format!("the lease of `{connection}` has no valid end")))?;
        let lease = Lease::new(version, serial, origins, fields, until.as_secs())
            .map_err(|error| EngineError::Refused(format!("the lease of `{connection}`: {error}")))?;
        self.dialler.forget(connection);
        self.shared.leases.put(connection, lease);
        Ok(())
    }

    /// `ended`: the consent is gone, and calls are told so.
    pub fn release(&self, connection: &str, ended: bool) {
        self.shared.leases.take(connection, ended);
        self.shared.cache.forget_connection(connection);
        self.dialler.forget(connection);
    }

    /// Take an issuer's keys (RFC 7517); those before are forgotten.
    pub fn put_keys(&self, issuer: &str, json: &[u8]) -> Result<(), EngineError> {
        let set = identity::read_keys(json)
            .ok_or_else(|| EngineError::Refused(format!("the keys of issuer `{issuer}` do not parse")))?;
        self.shared.issuer_keys.put(issuer, set);
        Ok(())
    }

    /// The issuers whose keys did not do since this was asked last.
    pub fn wanted_keys(&self) -> Vec<Arc<str>> {
        self.shared.issuer_keys.take_wanted()
    }

    /// Wait for tokens that a provider did not take: by connection, with their serial.
    pub fn refused_tokens(&self, patience: Duration) -> Vec<(Box<str>, u64)> {
        self.shared.leases.take_refused(patience)
    }

    /// Wait for a call that this hook is to sign.
    pub fn take_hook_call(&self, hook: &str, patience: Duration) -> Option<Asked> {
        self.shared.hooks.take(hook, patience)
    }

    /// Give what a hook made of a call; nobody may wait for it any more.
    pub fn answer_hook_call(&self, id: u64, answered: Answered) {
        self.shared.hooks.answer(id, answered);
    }

    pub fn events(&self, max: usize, timeout: Duration) -> io::Result<(u64, Vec<Vec<u8>>)> {
        self.spool.read(max, timeout)
    }

    pub fn acknowledge(&self, cursor: u64) -> io::Result<()> {
        self.spool.acknowledge(cursor)
    }

    pub fn take_gap(&self) -> Option<Gap> {
        locked(&self.gap).take()
    }

    pub fn fetch(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        secrets: SecretFields,
        options: &str,
    ) -> Result<Fetched, FetchError> {
        let options: FetchOptions =
            serde_json::from_str(options).map_err(|error| FetchError::options(&error))?;
        fetch::fetch(&self.dialler, method, url, headers, body, secrets, &options)
    }

    /// The live state of every limit, as JSON: docs/reference/engine.md.
    pub fn limits(&self) -> String {
        let snapshot = self.shared.snapshot.load();
        let consumer_side =
            snapshot.as_ref().map(|snapshot| admit::live(snapshot, &self.shared.buckets)).unwrap_or_default();
        let quotas = self.shared.reserve.live();
        serde_json::json!({"consumer_side": consumer_side, "quotas": quotas}).to_string()
    }

    /// The keys by which clients' answers are sealed where gateways share them; None: what is for all clients.
    pub fn put_cache_keys(&self, keys: HashMap<Option<String>, Zeroizing<Vec<u8>>>) {
        let keys = keys.into_iter().map(|(client, key)| (client.map(Into::into), key)).collect();
        self.shared.cache.put_keys(&keys);
    }

    /// The keys by which clients' subjects are known; those before are forgotten.
    pub fn put_subject_keys(&self, keys: HashMap<String, Zeroizing<Vec<u8>>>) {
        self.shared.subject_keys.put(keys);
    }

    /// The roots of the keys by which clients' values are protected, with their numbers; those before are wiped.
    pub fn put_protection_roots(
        &self,
        clients: HashMap<String, Vec<(u32, Zeroizing<Vec<u8>>)>>,
    ) -> Result<(), EngineError> {
        let made = clients.into_iter().map(|(client, roots)| {
            let refused = || EngineError::Refused(format!("what protects client `{client}` is no root"));
            Roots::new(client.as_str().into(), roots).ok_or_else(refused)
        });
        self.shared.protection.put(made.collect::<Result<Vec<_>, _>>()?);
        Ok(())
    }

    /// Wait for persons' keys to be asked for.
    pub fn take_person_asks(&self, most: usize, patience: Duration) -> Vec<persons::Asked> {
        self.shared.persons.take(most, patience)
    }

    /// Answer one of them; None: nobody can say.
    pub fn answer_person_ask(&self, ask: u64, answer: persons::Answer) {
        self.shared.persons.answer(ask, answer);
    }

    /// Forget every person's key; they are asked for again.
    pub fn forget_person_keys(&self) {
        self.shared.persons.forget();
    }

    /// What the cache holds, as JSON.
    pub fn cache_stats(&self) -> Result<String, EngineError> {
        Ok(serde_json::to_string(&self.shared.cache.stats())?)
    }

    /// Take out of the cache what a JSON object names; how many answers those were.
    pub fn cache_purge(&self, which: &str) -> Result<u64, EngineError> {
        let which: Which = serde_json::from_str(which)?;
        let nothing = || EngineError::Refused("a purge that names nothing takes nothing out".to_owned());
        self.shared.cache.purge(&which).ok_or_else(nothing)
    }

    /// How it stands with the store that gateways share, as JSON; `null` where there is none.
    pub fn shared(&self) -> String {
        serde_json::json!(self.store.as_ref().map(|store| store.standing())).to_string()
    }

    pub fn stats(&self) -> [(&'static str, u64); 6] {
        [
            ("calls", self.shared.calls()),
            ("in_flight", self.shared.in_flight()),
            ("connections", self.shared.connections.load(Ordering::Relaxed)),
            ("spool_bytes", self.spool.bytes()),
            ("events_lost", self.lost.load(Ordering::Relaxed)),
            ("revision", self.shared.snapshot.load().as_ref().map_or(0, |s| s.revision)),
        ]
    }

    pub fn set_ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Release);
    }

    /// Stop: no new connections, calls finish within `grace`, records are flushed. False when some were cut.
    pub fn shutdown(&self, grace: Duration) -> bool {
        self.set_ready(false);
        self.phase.send_replace(Phase::Draining(Instant::now() + grace));
        let mut drained = true;
        for worker in std::mem::take(&mut *locked(&self.workers)) {
            drained &= matches!(worker.join(), Ok(Ok(true)));
        }
        if let Some(recorder) = locked(&self.recorder).take() {
            recorder.close();
            self.shared.cache.close();
            if let Some(store) = &self.store {
                store.close();
            }
            // What was debited in advance stays debited where this fails: too much, and never too little.
            if let Err(error) = self.shared.reserve.close() {
                tracing::error!(%error, "quotas keep what was debited in advance");
            }
        }
        drained
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

/// What `explain` is asked: one request that is not made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub consumer: String,
    pub method: String,
    /// Path and query as they would be sent to Tidegate.
    pub target: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub client: Option<String>,
    #[serde(default)]
    pub connection: Option<String>,
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An address's class by the dialler's rules, `public` when it may be dialled.
pub fn classify_address(text: &str) -> Option<String> {
    let address: IpAddr = text.parse().ok()?;
    Some(crate::dial::classify(address).as_str().to_owned())
}
