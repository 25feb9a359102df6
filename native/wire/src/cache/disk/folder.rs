//! A folder of sealed values: a file for each, named by its place.
//!
//! What there is, and how much, is known in memory, so that a miss costs no look at the disk; files are read on a
//! thread that does nothing else. The bound on bytes holds before a file is written, and what was asked for
//! longest ago goes first. A clean end leaves a mark; without it all is dropped at the start, because what had
//! changed at the end may not have been taken out. The folder knows no keys, and believes nothing that it reads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slab::Slab;
use tokio::sync::oneshot;

use crate::cache::disk::value::{HEAD_MAX, Head, Mark};
use crate::event::unix_now;

const CLOSED: &str = "closed";
const PLACE_LENGTH: usize = 32;
/// One value may have this part of all bytes.
const PART: u64 = 8;

/// docs/reference/engine.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub folder: PathBuf,
    pub bytes: u64,
}

/// Where a value stands: a keyed digest, in hexadecimal.
pub type Place = Arc<str>;

/// How much there is on disk.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Held {
    pub answers: u64,
    pub bytes: u64,
    pub bytes_max: u64,
}

pub struct Folder {
    root: PathBuf,
    bytes_max: u64,
    index: Arc<Mutex<Index>>,
    reads: Mutex<Option<Sender<Asked>>>,
    /// Told once, until it works again.
    failing: AtomicBool,
    /// Held for the engine's life: two engines never share a folder.
    _lock: File,
}

struct Asked {
    place: Place,
    bytes: u64,
    answer: oneshot::Sender<Option<Bytes>>,
}

/// What there is. It is locked for moments, and never while a file is touched that somebody waits for.
#[derive(Default)]
struct Index {
    files: Slab<Known>,
    at: HashMap<Place, usize>,
    marked: HashMap<Mark, HashSet<usize>>,
    /// By turn, the one asked for longest ago first.
    order: BTreeMap<u64, usize>,
    turn: u64,
    bytes: u64,
}

struct Known {
    place: Place,
    bytes: u64,
    head: Head,
    turn: u64,
}

impl Folder {
    /// Open the folder, made if it is missing, and find again what is in it.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let folder = settings.folder.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            let other = format!("another engine keeps its cache in {}", folder.display());
            io::Error::new(io::ErrorKind::ResourceBusy, other)
        })?;
        let orderly = match fs::remove_file(folder.join(CLOSED)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let index = Arc::<Mutex<Index>>::default();
        for shard in shards(&folder)? {
            let bytes_max = if orderly { settings.bytes } else { 0 };
            find_again(&shard, bytes_max, &mut locked(&index))?;
        }
        let (reads, asked) = channel();
        std::thread::Builder::new().name("tidegate-cache-read".into()).spawn({
            let (folder, index) = (folder.clone(), Arc::clone(&index));
            move || read(&asked, &folder, &index)
        })?;
        let reads = Mutex::new(Some(reads));
        Ok(Self {
            root: folder,
            bytes_max: settings.bytes,
            index,
            reads,
            failing: AtomicBool::new(false),
            _lock: lock,
        })
    }

    fn write(&self, place: &str, bytes: &[u8]) -> io::Result<()> {
        let path = path(&self.root, place);
        if let Some(shard) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(shard)?;
        }
        let unfinished = path.with_extension("part");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes).and_then(|()| fs::rename(&unfinished, path)).inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
    }

    fn drop_files(&self, places: &[Place]) {
        for place in places {
            let _ = fs::remove_file(path(&self.root, place));
        }
    }
}

impl Folder {
    /// The bytes at a place, as far as they are as many as were written. Nobody stands still for them.
    pub fn get(&self, place: &Place) -> impl Future<Output = Option<Bytes>> + use<> {
        let asked = locked(&self.index).ask_for(place, unix_now().as_secs()).map(|bytes| {
            let (answer, coming) = oneshot::channel();
            if let Some(reads) = &*locked(&self.reads) {
                let _ = reads.send(Asked { place: Arc::clone(place), bytes, answer });
            }
            coming
        });
        async move { asked?.await.ok().flatten() }
    }

    /// Keep a value in place of the one before; `bytes` begin with its head. What cannot be kept is not.
    pub fn put(&self, place: &Place, head: Head, bytes: &[u8]) {
        let size = bytes.len() as u64;
        if size > self.bytes_max / PART {
            self.remove(place);
            return;
        }
        let (before, gone) = {
            let mut index = locked(&self.index);
            let before = index.forget(place).is_some();
            (before, index.make_room(self.bytes_max - size))
        };
        self.drop_files(&gone);
        match self.write(place, bytes) {
            Ok(()) => {
                self.failing.store(false, Ordering::Relaxed);
                locked(&self.index).know(place, size, head);
            }
            Err(error) => {
                if before {
                    self.drop_files(&[Arc::clone(place)]);
                }
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "answers cannot be kept on disk");
                }
            }
        }
    }

    pub fn remove(&self, place: &Place) {
        if locked(&self.index).forget(place).is_some() {
            self.drop_files(&[Arc::clone(place)]);
        }
    }

    /// Take out the values that carry all of these marks, or every one where there are none; how many it was.
    pub fn purge(&self, marks: &[Mark]) -> u64 {
        let gone = locked(&self.index).forget_marked(marks);
        self.drop_files(&gone);
        gone.len() as u64
    }

    pub fn held(&self) -> Held {
        let index = locked(&self.index);
        Held { answers: index.at.len() as u64, bytes: index.bytes, bytes_max: self.bytes_max }
    }

    /// The last call: what is here counts as right at the next start.
    pub fn close(&self) {
        *locked(&self.reads) = None;
        let closed = self.root.join(CLOSED);
        if let Err(error) =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(closed)
        {
            tracing::warn!(%error, "what is cached on disk is dropped at the next start");
        }
    }
}

impl Index {
    /// How long the file is that is now asked for; None where there is none, or none of use.
    fn ask_for(&mut self, place: &str, now: u64) -> Option<u64> {
        let number = *self.at.get(place)?;
        let turn = self.next_turn();
        let known = self.files.get_mut(number)?;
        if known.head.until <= now {
            return None;
        }
        self.order.remove(&std::mem::replace(&mut known.turn, turn));
        self.order.insert(turn, number);
        Some(known.bytes)
    }

    fn know(&mut self, place: &Place, bytes: u64, head: Head) {
        self.forget(place);
        let turn = self.next_turn();
        let number = self.files.insert(Known { place: Arc::clone(place), bytes, head, turn });
        for mark in &self.files[number].head.marks {
            self.marked.entry(*mark).or_default().insert(number);
        }
        self.at.insert(Arc::clone(place), number);
        self.order.insert(turn, number);
        self.bytes += bytes;
    }

    fn forget(&mut self, place: &str) -> Option<Place> {
        let number = self.at.remove(place)?;
        let known = self.files.try_remove(number)?;
        for mark in &known.head.marks {
            if let Some(numbers) = self.marked.get_mut(mark) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.marked.remove(mark);
                }
            }
        }
        self.order.remove(&known.turn);
        self.bytes -= known.bytes;
        Some(known.place)
    }

    fn forget_marked(&mut self, marks: &[Mark]) -> Vec<Place> {
        let fewest =
            marks.iter().map(|mark| self.marked.get(mark)).min_by_key(|found| found.map_or(0, HashSet::len));
        let places: Vec<Place> = match fewest {
            None => self.at.keys().cloned().collect(),
            Some(None) => Vec::new(),
            Some(Some(numbers)) => numbers
                .iter()
                .filter_map(|number| self.files.get(*number))
                .filter(|known| marks.iter().all(|mark| known.head.marks.contains(mark)))
                .map(|known| Arc::clone(&known.place))
                .collect(),
        };
        places.into_iter().filter_map(|place| self.forget(&place)).collect()
    }

    /// Forget what was asked for longest ago, until no more is left than this.
    fn make_room(&mut self, bytes_max: u64) -> Vec<Place> {
        let mut gone = Vec::new();
        while self.bytes > bytes_max
            && let Some((_, number)) = self.order.first_key_value()
            && let Some(place) = self.files.get(*number).map(|known| Arc::clone(&known.place))
        {
            gone.extend(self.forget(&place));
        }
        gone
    }

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

/// Read what is asked for, until nobody can ask any more.
fn read(asked: &Receiver<Asked>, folder: &Path, index: &Mutex<Index>) {
    for Asked { place, bytes, answer } in asked {
        let path = path(folder, &place);
        let read = read_file(&path, bytes);
        // Shorter, longer or gone: it is not what was written.
        if read.is_none() && !answer.is_closed() {
            locked(index).forget(&place);
            let _ = fs::remove_file(path);
        }
        let _ = answer.send(read);
    }
}

fn read_file(path: &Path, bytes: u64) -> Option<Bytes> {
    let mut read = Vec::with_capacity(usize::try_from(bytes).ok()? + 1);
    File::open(path).ok()?.take(bytes + 1).read_to_end(&mut read).ok()?;
    (read.len() as u64 == bytes).then(|| read.into())
}

/// Take up the values that are of use, and remove the others. What is no value of ours is let alone: the folder
/// may be somebody's by mistake.
fn find_again(shard: &Path, bytes_max: u64, index: &mut Index) -> io::Result<()> {
    let now = unix_now().as_secs();
    for file in fs::read_dir(shard)? {
        let path = file?.path();
        let Some(place) = place_of(&path) else { continue };
        // What was cut off while it was written is none.
        match look_at(&path).filter(|_| path.extension().is_none()) {
            Some((size, head)) if head.until > now && index.bytes + size <= bytes_max => {
                index.know(&place, size, head);
            }
            _ => {
                let _ = fs::remove_file(path);
            }
        }
    }
    Ok(())
}

fn look_at(path: &Path) -> Option<(u64, Head)> {
    let file = File::open(path).ok()?;
    let size = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
    let mut start = Vec::with_capacity(HEAD_MAX);
    file.take(HEAD_MAX as u64).read_to_end(&mut start).ok()?;
    Some((size, Head::read(&start)?.0))
}

/// The folders that values are in.
fn shards(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_shard = name.len() == 2 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
        if is_shard && entry.file_type()?.is_dir() {
            shards.push(entry.path());
        }
    }
    Ok(shards)
}

fn path(folder: &Path, place: &str) -> PathBuf {
    folder.join(place.get(..2).unwrap_or_default()).join(place)
}

fn place_of(path: &Path) -> Option<Place> {
    let name = path.file_stem()?.to_str()?;
    let whole = name.len() == PLACE_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| name.into())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
