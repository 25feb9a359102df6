//! Keep on disk what was used of a day or a month, so that no restart gives any of it back.
//!
//! What calls use is debited before they are sent: some in advance, as much as the last second used, so that
//! it is the first call that waits for the disk and hardly any other. One thread appends and syncs
//! (fdatasync); a call goes when that is done. After a kill -9 what was debited counts as used. Lines hold
//! whole counts, not steps: of several on one count the largest holds, so that writing one twice changes
//! nothing, and a line that was cut short was never relied on.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::desk::Desk;
use super::model::{Nanos, Now};

/// A hundredth of a quota is debited in advance at most: what a kill -9 may lose of it.
const ADVANCE_SHARE: u64 = 100;
/// The file is written anew, with the newest counts alone, when it has grown by so much.
const GROWTH_BYTES: u64 = 1 << 20;
/// How long the writer waits after a failure. Until it succeeds no call goes.
const RETRY: Duration = Duration::from_secs(1);
const SECOND: Nanos = 1_000_000_000;

/// Whose count it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    pub provider: Arc<str>,
    pub quota: Arc<str>,
    pub connection: Option<Arc<str>>,
    pub part: Option<Arc<str>>,
}

/// What is used, or may be, of the period that began on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Count {
    pub begun: Date,
    pub used: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    account: Account,
    #[serde(flatten)]
    count: Count,
}

/// The file and the thread that writes it. The spool's lock keeps other engines from it.
#[derive(Debug)]
pub struct Debits {
    path: PathBuf,
    known: Mutex<HashMap<Account, Count>>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    wanted: Vec<(Account, Count, Weak<Desk>)>,
    closing: bool,
}

/// One count: what of it is on disk, and what was asked of the disk.
#[derive(Debug)]
pub struct Debited {
    account: Account,
    debits: Arc<Debits>,
    desk: Weak<Desk>,
    on_disk: Count,
    asked: Count,
    second: Nanos,
    this_second: u64,
    last_second: u64,
}

impl Debits {
    /// Read what earlier engines have used. A file that is not there is made when there is something to write.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let known = Mutex::new(read(&path)?);
        Ok(Self { path, known, queue: Mutex::default(), arrived: Condvar::new(), writer: Mutex::default() })
    }

    /// Where a count stands; `desk` is told what is written of it.
    pub fn account(self: &Arc<Self>, account: Account, desk: Weak<Desk>) -> Debited {
        let none = Count { begun: Date::ZERO, used: 0 };
        let on_disk = locked(&self.known).get(&account).copied().unwrap_or(none);
        Debited {
            account,
            debits: Arc::clone(self),
            desk,
            on_disk,
            asked: on_disk,
            second: 0,
            this_second: 0,
            last_second: 0,
        }
    }

    /// End, with the counts as they are in place of what was debited in advance.
    pub fn close(&self, exact: Vec<(Account, Count)>) -> io::Result<()> {
        locked(&self.queue).closing = true;
        self.arrived.notify_one();
        let Some(writer) = locked(&self.writer).take() else { return Ok(()) };
        let _ = writer.join();
        let mut known = locked(&self.known);
        known.extend(exact);
        rewrite(&self.path, &known).map(drop)
    }

    fn want(self: &Arc<Self>, account: Account, count: Count, desk: Weak<Desk>) {
        locked(&self.queue).wanted.push((account, count, desk));
        self.arrived.notify_one();
        let mut writer = locked(&self.writer);
        if writer.is_none() {
            let debits = Arc::clone(self);
            let thread = std::thread::Builder::new().name("tidegate-debits".into());
            *writer = thread.spawn(move || debits.write()).ok();
        }
    }

    fn write(&self) {
        let mut file = None;
        loop {
            let mut queue = locked(&self.queue);
            while queue.wanted.is_empty() && !queue.closing {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let wanted = std::mem::take(&mut queue.wanted);
            let closing = queue.closing;
            drop(queue);
            if wanted.is_empty() && closing {
                return;
            }
            while let Err(error) = self.append(&mut file, &wanted) {
                tracing::error!(%error, file = %self.path.display(), "quotas cannot be debited");
                file = None;
                if locked(&self.queue).closing {
                    return;
                }
                std::thread::sleep(RETRY);
            }
            for (account, count, desk) in wanted {
                if let Some(desk) = desk.upgrade() {
                    desk.written(&account, count);
                }
            }
        }
    }

    fn append(&self, file: &mut Option<File>, wanted: &[(Account, Count, Weak<Desk>)]) -> io::Result<()> {
        let mut known = locked(&self.known);
        for (account, count, _) in wanted {
            known.entry(account.clone()).and_modify(|known| *known = (*known).max(*count)).or_insert(*count);
        }
        let grown = match file {
            Some(file) => file.metadata()?.len() > GROWTH_BYTES,
            None => true,
        };
        if grown {
            // It is as new as what is wanted.
            *file = Some(rewrite(&self.path, &known)?);
            return Ok(());
        }
        drop(known);
        let mut lines = Vec::with_capacity(wanted.len() * 128);
        for (account, count, _) in wanted {
            push(&mut lines, account, *count)?;
        }
        if let Some(file) = file {
            file.write_all(&lines)?;
            file.sync_data()?;
        }
        Ok(())
    }
}

impl Debited {
    /// Whether so much may be used of the period that began on that day.
    pub fn covers(&self, count: Count) -> bool {
        self.on_disk.begun == count.begun && self.on_disk.used >= count.used
    }

    /// What was used before, if it was of the period that began on that day.
    pub fn before(&self, begun: Date) -> u64 {
        if self.on_disk.begun == begun { self.on_disk.used } else { 0 }
    }

    /// See to it that `count` is covered, and what the next second takes; `most` is all there is.
    pub fn want(&mut self, count: Count, most: u64) {
        let advance = self.this_second.max(self.last_second).min(most / ADVANCE_SHARE);
        let wanted = Count { used: (count.used + advance).min(most.max(count.used)), ..count };
        if wanted > self.asked {
            self.asked = wanted;
            self.debits.want(self.account.clone(), wanted, self.desk.clone());
        }
    }

    /// A call went: before what is in advance runs out, more is debited.
    pub fn spent(&mut self, now: Now, count: Count, cost: u64, most: u64) {
        let second = now.at / SECOND;
        if second != self.second {
            self.last_second = if second == self.second + 1 { self.this_second } else { 0 };
            (self.second, self.this_second) = (second, 0);
        }
        self.this_second += cost;
        let advance = self.this_second.max(self.last_second).min(most / ADVANCE_SHARE);
        if self.asked.begun != count.begun || count.used + advance / 2 > self.asked.used {
            self.want(count, most);
        }
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// So much is on disk now.
    pub fn written(&mut self, count: Count) {
        self.on_disk = self.on_disk.max(count);
    }
}

fn read(path: &Path) -> io::Result<HashMap<Account, Count>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    read_lines(&text).map_err(|line| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "line {line} of {} does not parse: what is used of quotas is not known. Mend the line, or move the file away if each day's and month's quota may begin anew",
                path.display()
            ),
        )
    })
}

/// The newest counts; Err is the number of a line that is none. What follows the last line's end was cut short.
pub fn read_lines(text: &[u8]) -> Result<HashMap<Account, Count>, usize> {
    let mut known: HashMap<Account, Count> = HashMap::new();
    let whole = memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let Line { account, count } = serde_json::from_slice(line).map_err(|_| number + 1)?;
        known.entry(account).and_modify(|known| *known = (*known).max(count)).or_insert(count);
    }
    Ok(known)
}

/// Put a file of these counts alone in the place of the one before, whatever happens meanwhile.
fn rewrite(path: &Path, known: &HashMap<Account, Count>) -> io::Result<File> {
    let mut lines = Vec::with_capacity(known.len() * 128);
    for (account, count) in known {
        push(&mut lines, account, *count)?;
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(&lines)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    OpenOptions::new().append(true).open(path)
}

fn push(lines: &mut Vec<u8>, account: &Account, count: Count) -> io::Result<()> {
    let line = Line { account: account.clone(), count };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
