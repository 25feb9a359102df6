//! A folder of append-only segments: one JSON line an event, read in order, deleted when acknowledged.
//!
//! Segments are named by number. A clean end leaves the file `closed`; its absence at the next start means
//! that the last engine died, and the gap is told. What was spooled but not acknowledged is read again:
//! readers are idempotent by call id.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::event::Event;

const SEGMENT_BYTES: u64 = 8 << 20;
const CLOSED: &str = "closed";

/// What is missing because an engine died: at most `events_max` events after `after_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub after_ms: u64,
    pub events_max: u64,
    pub reason: &'static str,
}

pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    arrived: Condvar,
    /// Held for the engine's life: two engines never share a spool.
    _lock: File,
}

struct State {
    segments: VecDeque<Segment>,
    file: Option<File>,
    next: u64,
    read: Cursor,
    line: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// How far the reader is: a segment and a byte in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cursor {
    segment: u64,
    byte: u64,
}

impl Cursor {
    fn pack(self) -> u64 {
        (self.segment << 32) | self.byte
    }

    fn unpack(packed: u64) -> Self {
        Self { segment: packed >> 32, byte: packed & 0xffff_ffff }
    }
}

#[derive(Deserialize)]
struct When {
    at_ms: u64,
}

impl Spool {
    /// Open the folder, made if it is missing; tells the gap of an engine that died here.
    pub fn open(folder: &Path, bytes_max: u64, events_held_max: u64) -> io::Result<(Self, Option<Gap>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another engine uses the spool {}", folder.display()),
            )
        })?;
        let mut numbers: Vec<u64> = fs::read_dir(folder)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let mut segments = VecDeque::new();
        for number in numbers.iter().copied() {
            segments.push_back(Segment { number, bytes: whole_lines(&segment_path(folder, number))? });
        }
        let used_before = folder.join("used").exists();
        let died = used_before && !folder.join(CLOSED).exists();
        let gap = died.then(|| Gap {
            after_ms: last_time(folder, &segments).unwrap_or_default(),
            events_max: events_held_max,
            reason: "the engine before this one ended without closing its spool",
        });
        match fs::remove_file(folder.join(CLOSED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("used"))?;
        let next = numbers.last().map_or(1, |last| last + 1);
        let read = Cursor { segment: segments.front().map_or(next, |s| s.number), byte: 0 };
        let state = State { segments, file: None, next, read, line: Vec::with_capacity(64 << 10) };
        let spool = Self {
            folder: folder.to_owned(),
            bytes_max,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            _lock: lock,
        };
        Ok((spool, gap))
    }

    /// Append a batch with one write. An error means that none of it is kept.
    pub fn append(&self, batch: &[Event]) -> io::Result<()> {
        let mut state = self.state();
        let mut lines = std::mem::take(&mut state.line);
        lines.clear();
        for event in batch {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        let result = state.append(&self.folder, &lines, self.bytes_max);
        state.line = lines;
        drop(state);
        self.arrived.notify_all();
        result
    }

    /// Up to `max` lines and the cursor after them; waits at most `timeout` for the first.
    pub fn read(&self, max: usize, timeout: Duration) -> io::Result<(u64, Vec<Vec<u8>>)> {
        let mut state = self.state();
        if !state.has_unread() {
            state = self
                .arrived
                .wait_timeout_while(state, timeout, |state| !state.has_unread())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut lines = Vec::new();
        while lines.len() < max && state.has_unread() {
            let Some(segment) = state.segment_to_read() else { break };
            let wanted = (segment.bytes - state.read.byte).min(1 << 20);
            let chunk = read_part(&segment_path(&self.folder, segment.number), state.read.byte, wanted)?;
            let before = lines.len();
            for line in chunk.split_inclusive(|b| *b == b'\n').take(max - before) {
                if line.last() != Some(&b'\n') {
                    break;
                }
                state.read.byte += line.len() as u64;
                lines.push(line[..line.len() - 1].to_vec());
            }
            if lines.len() == before {
                // A line longer than a chunk cannot be one of ours: skip the segment's rest.
                state.read.byte = segment.bytes;
            }
        }
        Ok((state.read.pack(), lines))
    }

    /// Everything before the cursor is stored elsewhere: whole segments before it are deleted.
    pub fn acknowledge(&self, cursor: u64) -> io::Result<()> {
        let cursor = Cursor::unpack(cursor);
        let mut state = self.state();
        while let Some(first) = state.segments.front().copied() {
            let finished = first.number < cursor.segment
                || (first.number == cursor.segment && cursor.byte >= first.bytes && state.segments.len() > 1);
            if !finished {
                break;
            }
            state.segments.pop_front();
            fs::remove_file(segment_path(&self.folder, first.number))?;
        }
        // The segment being written is emptied once all of it is stored, so that a restart reads nothing twice.
        if let (Some(only), 1) = (state.segments.front().copied(), state.segments.len())
            && only.number == cursor.segment
            && only.bytes > 0
            && cursor.byte >= only.bytes
            && state.read == cursor
        {
            state.segments.clear();
            state.file = None;
            fs::remove_file(segment_path(&self.folder, only.number))?;
        }
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.state().segments.iter().map(|s| s.bytes).sum()
    }

    /// A clean end: everything handed over is in the files.
    pub fn close(&self) {
        let mut state = self.state();
        if let Some(file) = state.file.take() {
            let _ = file.sync_data();
        }
        let _ = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.folder.join(CLOSED));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, folder: &Path, lines: &[u8], bytes_max: u64) -> io::Result<()> {
        let used: u64 = self.segments.iter().map(|s| s.bytes).sum();
        if used + lines.len() as u64 > bytes_max {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        let room =
            self.segments.back().is_some_and(|last| last.bytes + (lines.len() as u64) <= SEGMENT_BYTES);
        if self.file.is_none() || !room {
            let path = segment_path(folder, self.next);
            self.file = Some(OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?);
            self.segments.push_back(Segment { number: self.next, bytes: 0 });
            self.next += 1;
        }
        let (Some(file), Some(last)) = (self.file.as_mut(), self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        if let Err(error) = file.write_all(lines) {
            // A part may be written: cut it off, so that the next batch starts a line.
            let _ = file.set_len(last.bytes);
            return Err(error);
        }
        last.bytes += lines.len() as u64;
        Ok(())
    }

    fn has_unread(&self) -> bool {
        self.segments.iter().any(|s| {
            s.number > self.read.segment && s.bytes > 0
                || s.number == self.read.segment && s.bytes > self.read.byte
        })
    }

    /// The segment under the cursor, which moves on past segments that are read to their end.
    fn segment_to_read(&mut self) -> Option<Segment> {
        let next = self.segments.iter().copied().find(|s| {
            s.number > self.read.segment || s.number == self.read.segment && s.bytes > self.read.byte
        })?;
        if next.number != self.read.segment {
            self.read = Cursor { segment: next.number, byte: 0 };
        }
        Some(next)
    }
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.jsonl"))
}

fn read_part(path: &Path, from: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut part = Vec::new();
    file.take(bytes).read_to_end(&mut part)?;
    Ok(part)
}

/// The length of a segment up to its last line end: a crash may have cut the last line.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    Ok(memchr::memrchr(b'\n', &bytes).map_or(0, |at| at as u64 + 1))
}

fn last_time(folder: &Path, segments: &VecDeque<Segment>) -> Option<u64> {
    let last = segments.iter().rev().find(|s| s.bytes > 0)?;
    let bytes = fs::read(segment_path(folder, last.number)).ok()?;
    let line = bytes[..usize::try_from(last.bytes).ok()?].trim_ascii_end().rsplit(|b| *b == b'\n').next()?;
    serde_json::from_slice::<When>(line).ok().map(|when| when.at_ms)
}
