//! Answers that several gateways share, at the store at which they count (Redis 7 or Valkey).
//!
//! One gateway fetches, the others wait for its answer, for a bounded time. What stands at the store is sealed
//! (`seal`): what does not open is a miss. Whatever the store does, a call that misses goes to its provider.

pub mod form;
mod line;
pub mod seal;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use crate::cache::asked::Asked;
use crate::cache::directives::Directives;
use crate::cache::entry::{Entry, Label, Left};
use crate::cache::key::Key;
use crate::cache::purge::Which;
use crate::cache::rules::Sharing;
use crate::cache::tier::form::{Content, Plain};
use crate::cache::tier::seal::Keys;
use crate::cache::{Cache, Suits, vary};
use crate::shared::link::{Library, is_broken};
use crate::shared::{Config, hex};

/// How long one gateway may fetch while others wait; they wait no longer than half of the time that they have.
const FLIGHT: Duration = Duration::from_secs(5);
/// For the store to answer a call that misses.
const LOOK: Duration = Duration::from_millis(200);
/// How often who waits looks again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// What is not there, does not open or varies is looked at again at most this often at once.
const LOOKS_MAX: u32 = 4;
/// What may wait for being sent: how many, and how many bytes of answers.
const QUEUED_MAX: (usize, u64) = (1_024, 64 << 20);
const CHANGES_MAX: usize = 4_096;
/// No answer stands at the store for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What fields and seal may add to an answer's body.
const HEAD_MAX: u64 = 1 << 20;

const LIBRARY: &str = include_str!("library.lua");

/// None: of what all clients share, and of what gateways tell each other.
type KeyRing = HashMap<Option<Arc<str>>, Arc<Keys>>;

pub struct Tier {
    config: Arc<Config>,
    library: Library,
    /// What one client's answers may take of the store, and one answer.
    client_bytes: u64,
    answer_bytes: u64,
    /// Which process of which gateway this is.
    run: String,
    flights: AtomicU64,
    keys: ArcSwap<KeyRing>,
    /// Absent while the store is away.
    line: Mutex<Option<MultiplexedConnection>>,
    broken: AtomicBool,
    outbox: mpsc::Sender<Out>,
    queued: AtomicU64,
    changes: Mutex<VecDeque<Change>>,
    wake: Notify,
    closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    waits: AtomicU64,
    kept: AtomicU64,
    refused: AtomicU64,
}

/// How it stands with the answers that gateways share.
#[derive(Debug, Serialize)]
pub struct Standing {
    pub connected: bool,
    pub client_bytes_max: u64,
    /// Answers that another gateway had fetched.
    pub hits: u64,
    /// Calls that waited for another gateway.
    pub waits: u64,
    /// Answers that this one sent there.
    pub kept: u64,
    /// What did not open: somebody else writes to the store.
    pub refused: u64,
}

/// What is sent without anybody waiting.
enum Out {
    Keep { keys: Arc<Keys>, primary: Key, entry: Arc<Entry> },
    Land { keys: Arc<Keys>, name: String, who: String, pass: bool },
    Clear(Arc<Keys>),
}

/// What gateways tell each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// What stands at a place has changed (see `stamps`).
    Place(u64),
    Purge(Which),
}

/// That this gateway fetches, and others wait.
pub struct Claim {
    tier: Arc<Tier>,
    keys: Arc<Keys>,
    name: String,
    who: String,
}

/// What became of asking the others.
pub enum Others {
    /// The answer, and whether it was waited for.
    Answer(Arc<Entry>, bool),
    Claim(Claim),
    /// This call goes by itself.
    Nothing,
}

enum Said {
    Answer(Vec<u8>),
    Yours,
    Theirs,
    Pass,
}

/// Whether what another gateway fetched is this call's answer.
enum Judged {
    Good(Arc<Entry>),
    /// It is for nobody any more.
    Bad,
    Unsuited,
}

impl Tier {
    /// None where answers are not to be shared.
    pub fn start(
        config: &Arc<Config>,
        answer_bytes: u64,
        cache: Weak<Cache>,
    ) -> std::io::Result<Option<Arc<Self>>> {
        let Some(client_bytes) = config.cache_client_bytes else { return Ok(None) };
        let mut run = [0; 16];
        rand::fill(&mut run).map_err(|_| std::io::Error::other("no random bytes"))?;
        let (outbox, sent) = mpsc::channel(QUEUED_MAX.0);
        let tier = Arc::new(Self {
            config: Arc::clone(config),
            library: Library::new(LIBRARY),
            client_bytes,
            answer_bytes: answer_bytes + HEAD_MAX,
            run: hex(&run),
            flights: AtomicU64::new(0),
            keys: ArcSwap::default(),
            line: Mutex::default(),
            broken: AtomicBool::new(false),
            outbox,
            queued: AtomicU64::new(0),
            changes: Mutex::default(),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            thread: Mutex::default(),
            counts: Counts::default(),
        });
        let running = Arc::clone(&tier);
        let thread = std::thread::Builder::new().name("tidegate-tier".into());
        let thread = thread.spawn(move || line::run(&running, &cache, sent))?;
        *locked(&tier.thread) = Some(thread);
        Ok(Some(tier))
    }

    /// These clients' keys from now on; those of others are forgotten.
    pub fn put_keys(&self, secrets: &HashMap<Option<Arc<str>>, zeroize::Zeroizing<Vec<u8>>>) {
        let made = secrets.iter().filter_map(|(client, secret)| {
            Some((client.clone(), Arc::new(Keys::new(&self.config.prefix, secret)?)))
        });
        self.keys.store(Arc::new(made.collect()));
    }

    /// An answer that may be given for a while goes to the store as well.
    pub fn keep(&self, primary: Key, entry: &Arc<Entry>) {
        let size = entry.body.len() as u64;
        let lives = matches!(entry.left(Instant::now()), Left::Fresh(_)) && !entry.terms.no_cache;
        let Some(keys) = self.keys_of(entry.label.client.as_ref()).filter(|_| lives) else { return };
        if !self.is_connected() || self.queued.fetch_add(size, Ordering::AcqRel) + size > QUEUED_MAX.1 {
            self.queued.fetch_sub(size, Ordering::AcqRel);
            return;
        }
        if self.outbox.try_send(Out::Keep { keys, primary, entry: Arc::clone(entry) }).is_err() {
            self.queued.fetch_sub(size, Ordering::AcqRel);
        }
    }

    /// Tell the other gateways.
    pub fn tell(&self, change: Change) {
        let mut changes = locked(&self.changes);
        if changes.len() < CHANGES_MAX {
            changes.push_back(change);
        }
        drop(changes);
        self.wake.notify_one();
    }

    /// Take a client's answers out of the store, or everyone's.
    pub fn clear(&self, client: Option<&str>) {
        for (whose, keys) in self.keys.load().iter() {
            if client.is_none() || client == whose.as_deref() {
                let _ = self.outbox.try_send(Out::Clear(Arc::clone(keys)));
            }
        }
    }

    pub fn standing(&self) -> Standing {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Standing {
            connected: self.is_connected(),
            client_bytes_max: self.client_bytes,
            hits: count(&self.counts.hits),
            waits: count(&self.counts.waits),
            kept: count(&self.counts.kept),
            refused: count(&self.counts.refused),
        }
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
        if let Some(thread) = locked(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn is_connected(&self) -> bool {
        locked(&self.line).is_some()
    }

    fn keys_of(&self, client: Option<&Arc<str>>) -> Option<Arc<Keys>> {
        self.keys.load().get(&client.cloned()).cloned()
    }

    /// None: the store is away, or does not answer in time.
    async fn look(&self, keys: &Keys, name: &str, who: &str, drops: bool) -> Option<Said> {
        let mut line = locked(&self.line).clone()?;
        let mut look = redis::cmd("FCALL");
        look.arg(format!("tidegate_look_{}", self.library.version)).arg(3);
        look.arg(&keys.answers).arg(&keys.ends).arg(keys.flight(name));
        look.arg(name).arg(who).arg(line::milliseconds(FLIGHT)).arg(self.answer_bytes).arg(u8::from(drops));
        let asked = tokio::time::timeout(LOOK, look.query_async::<(i64, Vec<u8>)>(&mut line)).await;
        match asked {
            Ok(Ok((1, sealed))) => Some(Said::Answer(sealed)),
            Ok(Ok((2, _))) => Some(Said::Yours),
            Ok(Ok((3, _))) => Some(Said::Theirs),
            Ok(Ok((4, _))) => Some(Said::Pass),
            Ok(Err(error)) if !is_broken(&error) => None,
            _ => {
                // Other calls are not to wait for it as well.
                *locked(&self.line) = None;
                self.broken.store(true, Ordering::Release);
                self.wake.notify_one();
                None
            }
        }
    }
}

impl Cache {
    /// Whether another gateway has the answer, or fetches it.
    pub(super) async fn ask_others(
        &self,
        asked: &Asked<'_>,
        (key, flight): (Key, Key),
        wish: &Directives,
        deadline: Instant,
    ) -> Others {
        // A credential's fingerprint is this process's own, so nothing that it parts is found elsewhere.
        let shared = asked.rules.is_shared();
        let Some(tier) = self.tier.as_ref().filter(|_| asked.rules.mode != Sharing::Credential) else {
            return Others::Nothing;
        };
        let Some(keys) = tier.keys_of((!shared).then_some(&asked.whose.client)) else {
            return Others::Nothing;
        };
        let began = Instant::now();
        let patience = began + FLIGHT.min(deadline.saturating_duration_since(began) / 2);
        let who = format!("{}:{}", tier.run, tier.flights.fetch_add(1, Ordering::Relaxed));
        let (mut place, mut drops, mut looks) = (flight, false, 0);
        let (mut waited, mut pause) = (false, AGAIN.0);
        while looks < LOOKS_MAX {
            let name = keys.name(&place);
            let Some(said) = tier.look(&keys, &name, &who, drops).await else { return Others::Nothing };
            looks += 1;
            drops = false;
            match said {
                Said::Answer(sealed) => {
                    let content = keys.open(place.bytes(), &sealed).and_then(form::read);
                    match content {
                        None => {
                            tier.counts.refused.fetch_add(1, Ordering::Relaxed);
                            drops = true;
                        }
                        Some(Content::Varies(names)) => {
                            place = vary::variant(&key, &names, asked.headers);
                        }
                        Some(Content::Answer(plain)) => match self.judge(asked, (key, place), *plain, wish) {
                            Judged::Good(entry) => {
                                tier.counts.hits.fetch_add(1, Ordering::Relaxed);
                                return Others::Answer(entry, waited);
                            }
                            Judged::Bad => drops = true,
                            Judged::Unsuited => return Others::Nothing,
                        },
                    }
                }
                Said::Yours => return Others::Claim(Claim { tier: Arc::clone(tier), keys, name, who }),
                Said::Pass => return Others::Nothing,
                Said::Theirs => {
                    if !waited {
                        tier.counts.waits.fetch_add(1, Ordering::Relaxed);
                    }
                    (waited, looks) = (true, 0);
                    if Instant::now() + pause > patience {
                        return Others::Nothing;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
        Others::Nothing
    }

    fn judge(&self, asked: &Asked<'_>, (key, place): (Key, Key), plain: Plain, wish: &Directives) -> Judged {
        let own =
            if plain.vary().is_empty() { key } else { vary::variant(&key, plain.vary(), asked.headers) };
        if own != place {
            return Judged::Bad;
        }
        let label = Label {
            key: place,
            primary: key,
            client: (!asked.rules.is_shared()).then(|| Arc::clone(&asked.whose.client)),
            provider: Arc::clone(&asked.whose.provider),
            operation: Arc::clone(asked.operation),
            places: Box::default(),
        };
        let account = self.store.account(label.client.as_ref());
        let entry = plain.into_entry(asked.rules, label, account);
        let ended = entry.terms.no_cache || matches!(entry.left(Instant::now()), Left::Stale(_));
        if ended || self.stamps.outdates(&entry.label.places, entry.terms.sent) {
            return Judged::Bad;
        }
        match Suits::judge(&entry, wish, asked.method) {
            Suits::Yes(..) => Judged::Good(Arc::new(entry)),
            Suits::WhileRevalidating | Suits::Not(_) => Judged::Unsuited,
        }
    }

    /// What another gateway told.
    fn heard(&self, change: Change) {
        match change {
            Change::Place(place) => self.changed_here(place, Instant::now()),
            Change::Purge(which) => {
                if let Some(disk) = &self.disk {
                    disk.purge(&which);
                }
                self.take_out(&which);
            }
        }
    }
}

impl Claim {
    /// `pass`: what came cannot be shared, so nobody need wait for its like.
    pub fn land(self, pass: bool) {
        let Self { tier, keys, name, who } = self;
        // Where it is not told, it ends by itself.
        let _ = tier.outbox.try_send(Out::Land { keys, name, who, pass });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
