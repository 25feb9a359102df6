//! Keep more answers than memory holds, and over restarts: sealed, in a folder of files.
//!
//! Whatever is stored is handed on at once, not only when memory has no room for it, so that an end needs no
//! flush. Sealing, writing and taking out happen on a thread of their own, in the order in which they were
//! asked for. A call waits for a file only briefly; what comes later than that, or does not open, is a miss.

mod folder;
pub mod value;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use crate::cache::asked::Asked;
use crate::cache::disk::folder::{Folder, Place};
pub use crate::cache::disk::folder::{Held, Settings};
use crate::cache::disk::value::{Head, Mark, bound};
use crate::cache::entry::{Entry, Label, groups};
use crate::cache::flight::{Flights, Joined};
use crate::cache::key::Key;
use crate::cache::purge::Which;
use crate::cache::stamps::Stamps;
use crate::cache::store::Store;
use crate::cache::tier::form::{self, Content};
use crate::cache::tier::seal::Keys;
use crate::cache::vary;

/// How long a call waits for a file.
const PATIENCE: Duration = Duration::from_millis(200);
/// So many bytes of answers may wait to be written; what comes then is kept in memory alone.
const WAITING_BYTES_MAX: u64 = 32 << 20;
/// So many other tasks may wait; beyond that all is taken out, which is certain to be enough.
const WAITING_MAX: u64 = 65_536;
/// How long after its end an answer is worth keeping whose provider can be asked whether it still holds.
const VALIDATED_FOR: Duration = Duration::from_secs(24 * 3_600);

/// By client; None: of what clients share, and of marks.
type Ring = HashMap<Option<Arc<str>>, Arc<Keys>>;

pub struct Disk {
    folder: Arc<Folder>,
    keys: Arc<ArcSwap<Ring>>,
    /// Who wants what another call fetches from here already waits for that.
    fetches: Arc<Flights>,
    purges: AtomicU64,
    waiting: Arc<Waiting>,
    tasks: Sender<Task>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicU64,
    tasks: AtomicU64,
    overrun: AtomicBool,
}

enum Task {
    Keep(Key, Arc<Entry>),
    Remove(Place),
    Purge(Vec<Mark>),
    /// Somebody waits for how many those were.
    PurgeNow(Vec<Mark>, SyncSender<u64>),
    End,
}

impl Disk {
    /// Open the folder, and find again what is in it.
    pub fn open(settings: &Settings, stamps: Arc<Stamps>) -> std::io::Result<Self> {
        let (folder, keys) = (Arc::new(Folder::open(settings)?), Arc::<ArcSwap<Ring>>::default());
        let (waiting, (tasks, queue)) = (Arc::<Waiting>::default(), channel());
        let work = Work {
            folder: Arc::clone(&folder),
            keys: Arc::clone(&keys),
            waiting: Arc::clone(&waiting),
            stamps,
        };
        let thread =
            std::thread::Builder::new().name("tidegate-cache".into()).spawn(move || work.run(&queue))?;
        let (fetches, thread) = (Arc::default(), Mutex::new(Some(thread)));
        Ok(Self { folder, keys, fetches, purges: AtomicU64::new(0), waiting, tasks, thread })
    }

    /// These clients' keys from now on. What was sealed by another is taken out.
    pub fn put_keys(&self, secrets: &HashMap<Option<Arc<str>>, Zeroizing<Vec<u8>>>) {
        let made = secrets
            .iter()
            .filter_map(|(client, secret)| Some((client.clone(), Arc::new(Keys::new("disk", secret)?))));
        let ring: Arc<Ring> = Arc::new(made.collect());
        let before = self.keys.swap(Arc::clone(&ring));
        for (client, keys) in before.iter() {
            let same = ring.get(client).is_some_and(|now| now.answers == keys.answers);
            if let (Some(client), false) = (client, same) {
                self.purge_marks(|keys| vec![mark(keys, CLIENT, client.as_bytes())]);
            }
        }
    }

    pub fn held(&self) -> Held {
        self.folder.held()
    }

    /// An answer was stored.
    pub fn keep(&self, primary: Key, entry: &Arc<Entry>) {
        let size = entry.weight();
        if self.waiting.bytes.fetch_add(size, Ordering::Relaxed) + size > WAITING_BYTES_MAX {
            self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        let _ = self.tasks.send(Task::Keep(primary, Arc::clone(entry)));
    }

    /// An answer is none any more.
    pub fn remove(&self, entry: &Entry) {
        if let Some(keys) = self.keys_of(entry.label.client.as_ref()) {
            self.ask(Task::Remove(keys.name(&entry.label.key).into()));
        }
    }

    /// What stands at a place (see `stamps`) has changed.
    pub fn changed(&self, place: u64) {
        self.purge_marks(|keys| vec![mark(keys, PLACE, &place.to_be_bytes())]);
    }

    /// Everything may have changed.
    pub fn clear(&self) {
        self.ask(Task::Purge(Vec::new()));
    }

    /// Take out what an operator names; how many it was. It may take a while: not for a worker.
    pub fn purge(&self, which: &Which) -> u64 {
        // What is being fetched may be meant.
        self.purges.fetch_add(1, Ordering::AcqRel);
        // Without keys nobody can say what is meant: all of it goes, or it would come back with the keys.
        let marks = match self.keys_of(None).map(|keys| marks_of(&keys, which)) {
            Some(Some(marks)) => marks,
            Some(None) => return 0,
            None => Vec::new(),
        };
        // After what waits to be written: of that, too, some may be meant.
        let (purged, wait) = sync_channel(1);
        let _ = self.tasks.send(Task::PurgeNow(marks, purged));
        wait.recv().unwrap_or_default()
    }

    /// Fetch what memory does not have; true where it is worth another look there.
    pub async fn fetch(&self, store: &Store, key: Key, asked: &Asked<'_>, deadline: Instant) -> bool {
        let client = (!asked.rules.is_shared()).then_some(&asked.whose.client);
        let Some(keys) = self.keys_of(client) else { return false };
        let until = deadline.min(Instant::now() + PATIENCE);
        match self.fetches.join(key) {
            Joined::Follow(fetching) => {
                tokio::time::timeout_at(until.into(), fetching.landing()).await.is_ok()
            }
            Joined::Alone => false,
            Joined::Lead(_lead) => {
                let fetched = self.answer(store, key, asked, &keys);
                matches!(tokio::time::timeout_at(until.into(), fetched).await, Ok(Some(())))
            }
        }
    }

    async fn answer(&self, store: &Store, key: Key, asked: &Asked<'_>, keys: &Keys) -> Option<()> {
        let (at, answer) = match self.value(key, keys).await? {
            Content::Answer(answer) => (key, answer),
            Content::Varies(names) => {
                let variant = vary::variant(&key, &names, asked.headers);
                match self.value(variant, keys).await? {
                    Content::Answer(answer) if answer.vary() == names => (variant, answer),
                    _ => return None,
                }
            }
        };
        let label = Label {
            key: at,
            primary: key,
            client: (!asked.rules.is_shared()).then(|| Arc::clone(&asked.whose.client)),
            provider: Arc::clone(&asked.whose.provider),
            operation: Arc::clone(asked.operation),
            places: Box::default(),
        };
        let account = store.account(label.client.as_ref());
        let entry = Arc::new(answer.into_entry(asked.rules, label, account));
        let variant = (at != key).then_some(at);
        store.put(key, variant, entry);
        Some(())
    }

    async fn value(&self, key: Key, keys: &Keys) -> Option<Content> {
        let place = Place::from(keys.name(&key));
        let purges = self.purges.load(Ordering::Acquire);
        let bytes = self.folder.get(&place).await?;
        if purges != self.purges.load(Ordering::Acquire) {
            return None;
        }
        let opened = Head::read(&bytes).and_then(|(_, length)| {
            let (head, sealed) = bytes.split_at(length);
            form::read(keys.open(&bound(&key, head), sealed)?)
        });
        if opened.is_none() {
            self.ask(Task::Remove(place));
        }
        opened
    }

    fn keys_of(&self, client: Option<&Arc<str>>) -> Option<Arc<Keys>> {
        self.keys.load().get(&client.cloned()).cloned()
    }

    fn purge_marks(&self, marks: impl FnOnce(&Keys) -> Vec<Mark>) {
        // Without keys, as in `purge`.
        self.ask(Task::Purge(self.keys_of(None).map(|keys| marks(&keys)).unwrap_or_default()));
    }

    fn ask(&self, task: Task) {
        if self.waiting.tasks.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.tasks.fetch_sub(1, Ordering::Relaxed);
            self.waiting.overrun.store(true, Ordering::Release);
            return;
        }
        let _ = self.tasks.send(task);
    }

    /// Write what waits, and end.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.tasks.send(Task::End);
            let _ = thread.join();
            self.folder.close();
        }
    }
}

const CLIENT: &[u8] = b"client";
const PROVIDER: &[u8] = b"provider";
const OPERATION: &[u8] = b"operation";
const GROUP: &[u8] = b"group";
const KEY: &[u8] = b"key";
const PLACE: &[u8] = b"place";

/// `kind` keeps a client apart from a provider of the same name.
fn mark(keys: &Keys, kind: &[u8], name: &[u8]) -> Mark {
    Mark(keys.mark(kind, name))
}

/// What an operator names; None where nothing can be it.
fn marks_of(keys: &Keys, which: &Which) -> Option<Vec<Mark>> {
    let named = [
        (CLIENT, &which.client),
        (PROVIDER, &which.provider),
        (OPERATION, &which.operation),
        (GROUP, &which.group),
    ];
    let mut marks: Vec<Mark> = named
        .into_iter()
        .filter_map(|(kind, name)| Some(mark(keys, kind, name.as_ref()?.as_bytes())))
        .collect();
    if let Some(key) = &which.key {
        marks.push(mark(keys, KEY, Key::from_hex(key)?.bytes()));
    }
    Some(marks)
}

/// The thread that seals and writes.
struct Work {
    folder: Arc<Folder>,
    keys: Arc<ArcSwap<Ring>>,
    waiting: Arc<Waiting>,
    stamps: Arc<Stamps>,
}

impl Work {
    fn run(&self, queue: &Receiver<Task>) {
        for task in queue {
            if self.waiting.overrun.swap(false, Ordering::AcqRel) {
                self.folder.purge(&[]);
            }
            match task {
                Task::Keep(primary, entry) => {
                    self.waiting.bytes.fetch_sub(entry.weight(), Ordering::Relaxed);
                    let _ = self.keep(&primary, &entry);
                    continue;
                }
                Task::Remove(place) => self.folder.remove(&place),
                Task::Purge(marks) => {
                    self.folder.purge(&marks);
                }
                Task::PurgeNow(marks, purged) => {
                    let _ = purged.send(self.folder.purge(&marks));
                    continue;
                }
                Task::End => break,
            }
            self.waiting.tasks.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// None where it is not kept.
    fn keep(&self, primary: &Key, entry: &Entry) -> Option<()> {
        let (ring, label) = (self.keys.load(), &entry.label);
        let (keys, digests) = (ring.get(&label.client)?, ring.get(&None)?);
        // It came after a change that it does not know of; after a restart nobody else would.
        if self.stamps.outdates(&label.places, entry.terms.sent) {
            return None;
        }
        let head = Head { until: until(entry), marks: marks(digests, entry) };
        self.write(keys, &label.key, head.clone(), form::write(entry)?)?;
        if !entry.vary.is_empty() {
            self.write(keys, primary, head, form::write_varies(&entry.vary)?)?;
        }
        Some(())
    }

    fn write(&self, keys: &Keys, key: &Key, head: Head, value: Vec<u8>) -> Option<()> {
        let mut bytes = head.write()?;
        let sealed = keys.seal(&bound(key, &bytes), value)?;
        bytes.extend_from_slice(&sealed);
        self.folder.put(&keys.name(key).into(), head, &bytes);
        Some(())
    }
}

/// Until when (Unix seconds) an answer is of use.
fn until(entry: &Entry) -> u64 {
    let terms = &entry.terms;
    let stale = terms.while_revalidate.max(terms.if_error).max(terms.on_throttle).max(terms.max_stale);
    let after = if entry.has_validator() { stale.max(VALIDATED_FOR) } else { stale };
    let left = terms.lifetime.saturating_sub(entry.age(Instant::now())) + after;
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + left).as_secs()
}

/// What an answer can be taken out by.
fn marks(keys: &Keys, entry: &Entry) -> Box<[Mark]> {
    let label = &entry.label;
    let client = label.client.iter().map(|client| mark(keys, CLIENT, client.as_bytes()));
    let named = [
        mark(keys, PROVIDER, label.provider.as_bytes()),
        mark(keys, OPERATION, label.operation.as_bytes()),
        mark(keys, KEY, label.key.bytes()),
        mark(keys, KEY, label.primary.bytes()),
    ];
    let groups = groups(&entry.headers, "cache-groups");
    let groups = groups.iter().map(|group| mark(keys, GROUP, group.as_bytes()));
    let places = label.places.iter().map(|place| mark(keys, PLACE, &place.to_be_bytes()));
    client.chain(named).chain(groups).chain(places).collect()
}

#[cfg(test)]
mod tests;
