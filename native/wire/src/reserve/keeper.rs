//! The thread that looks after waiting calls: it lets them in when their time comes.

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::desk::Desk;
use super::model::{Nanos, until};

/// Started when a first call waits.
#[derive(Debug)]
pub struct Keeper {
    origin: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When to look after which desk; the desk's number tells two of one moment apart.
    due: BTreeMap<(Nanos, usize), Weak<Desk>>,
    runs: bool,
    closing: bool,
}

impl Keeper {
    /// `origin` is the moment from which times count.
    pub fn new(origin: Instant) -> Self {
        Self { origin, state: Mutex::default(), changed: Condvar::new() }
    }

    /// One without a thread: it is told when to look.
    pub fn simulated(origin: Instant) -> Self {
        let keeper = Self::new(origin);
        keeper.state().closing = true;
        keeper
    }

    pub fn due(&self) -> Option<Nanos> {
        self.state().due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Look after the desk that is due at a moment.
    pub fn look_after(&self, at: Nanos) {
        let due = self.state().due.first_entry().filter(|due| due.key().0 <= at).map(OccupiedEntry::remove);
        if let Some(desk) = due.and_then(|desk| desk.upgrade()) {
            desk.look();
        }
    }

    /// Look after a desk at a moment.
    pub fn look(self: &Arc<Self>, at: Nanos, desk: &Arc<Desk>) {
        let mut state = self.state();
        let earlier = state.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
        state.due.insert((at, Arc::as_ptr(desk) as usize), Arc::downgrade(desk));
        if !state.runs && !state.closing {
            let keeper = Arc::clone(self);
            let thread = std::thread::Builder::new().name("tidegate-reserve".into());
            state.runs = thread.spawn(move || keeper.run()).is_ok();
        } else if earlier {
            self.changed.notify_one();
        }
    }

    pub fn close(&self) {
        self.state().closing = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut state = self.state();
        while !state.closing {
            let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let Some((at, _)) = state.due.first_key_value().map(|(due, _)| *due) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if at > now {
                let waited = self.changed.wait_timeout(state, until(now, at));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let desk = state.due.pop_first().and_then(|(_, desk)| desk.upgrade());
            drop(state);
            if let Some(desk) = desk {
                desk.look();
            }
            state = self.state();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
