//! Write down every call: exactly one event on every exit.
//!
//! A worker gathers events and hands them over in batches of at most 64, or every 20 ms; one thread
//! appends them to the spool. So a kill -9 loses at most what a worker held: fewer than 100 events, or
//! 50 ms of them. The spool is files, so that a slow or locked store never slows a call.

pub mod spool;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::event::Event;
use crate::observe::learn::Learner;
use spool::Spool;

/// How many events a worker may hold.
pub const BATCH: usize = 64;
/// How long it may hold them.
pub const HOLD: Duration = Duration::from_millis(20);
/// How many batches may wait for the disk before calls are refused as `overloaded`.
const QUEUE: usize = 512;

/// The one writer, and what every worker needs to reach it.
pub struct Recorder {
    queue: SyncSender<Vec<Event>>,
    writer: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    pub lost: Arc<AtomicU64>,
}

impl Recorder {
    pub fn start(spool: Arc<Spool>) -> std::io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let closing = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU64::new(0));
        let writer = std::thread::Builder::new().name("tidegate-record".into()).spawn({
            let (closing, lost) = (Arc::clone(&closing), Arc::clone(&lost));
            move || write(&batches, &spool, &closing, &lost)
        })?;
        Ok(Self { queue, writer: Some(writer), closing, lost })
    }

    pub fn sender(&self) -> SyncSender<Vec<Event>> {
        self.queue.clone()
    }

    /// Write all that was handed over, and mark the spool as closed.
    pub fn close(mut self) {
        self.closing.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(batches: &Receiver<Vec<Event>>, spool: &Spool, closing: &AtomicBool, lost: &AtomicU64) {
    let mut learner = Learner::default();
    loop {
        match batches.recv_timeout(Duration::from_millis(100)) {
            Ok(mut batch) => {
                for event in &mut batch {
                    learner.learn(event);
                }
                if spool.append(&batch).is_err() {
                    lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                }
            }
            Err(RecvTimeoutError::Timeout) if !closing.load(Ordering::Acquire) => {}
            Err(_) => break,
        }
    }
    spool.close();
}

/// A worker's end: holds events until a batch is full or the tick comes.
pub struct WorkerRecord {
    held: RefCell<Vec<Event>>,
    queue: SyncSender<Vec<Event>>,
    full: Cell<bool>,
}

impl WorkerRecord {
    pub fn new(queue: SyncSender<Vec<Event>>) -> Self {
        Self { held: RefCell::new(Vec::with_capacity(BATCH)), queue, full: Cell::new(false) }
    }

    pub fn record(&self, event: Event) {
        let mut held = self.held.borrow_mut();
        held.push(event);
        if held.len() >= BATCH {
            drop(held);
            self.flush();
        }
    }

    /// Hand over what is held. When the disk does not keep up it is held longer and new calls are refused.
    pub fn flush(&self) {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut *held, Vec::with_capacity(BATCH));
        match self.queue.try_send(batch) {
            Ok(()) => self.full.set(false),
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                *held = batch;
                self.full.set(true);
            }
        }
    }

    /// Whether records pile up: no new call is taken then, since none goes unrecorded.
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Hand over the rest and wait for room: the end of a worker.
    pub fn finish(&self) {
        let batch = std::mem::take(&mut *self.held.borrow_mut());
        if !batch.is_empty() {
            let _ = self.queue.send(batch);
        }
    }
}
