//! How providers count: each model is one provider's algorithm, kept on our side so that we stop before it does.
//!
//! Pure: the time is passed in, nothing waits here. A call *takes* its cost before it is sent, and gives it
//! back if it never left. Where it matters when the provider counted, that is somewhere between the sending
//! and the answer: what is in flight counts all the while, and ages from its answer on.

mod calendar;
mod concurrency;
mod gcra;
mod log;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use calendar::{Calendar, Period};
pub use concurrency::Concurrency;
pub use gcra::Gcra;
pub use log::Log;
pub use window::{Anchor, Window};

/// Nanoseconds on the clock that limits run by, which never goes back.
pub type Nanos = u64;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub at: Nanos,
    /// Unix time, for what follows the calendar.
    pub unix: Duration,
}

impl Now {
    /// The same moment so much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { at: self.at.saturating_add(nanos(wait)), unix: self.unix + wait }
    }
}

/// When a cost could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Now,
    /// Not before this, by what is known now.
    At(Nanos),
    /// When calls in flight come back; nobody knows when that is.
    Released,
    /// When it is on disk that so much is used, which will be soon.
    Written,
    /// When the store that nodes share has answered, which will be soon.
    Leased,
    /// It is more than there ever is.
    Never,
}

impl When {
    /// When both would let it go, as far as can be told before the first of them does.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
            (Self::At(at), _) | (_, Self::At(at)) => Self::At(at),
            (Self::Released, _) | (_, Self::Released) => Self::Released,
            (Self::Leased, _) | (_, Self::Leased) => Self::Leased,
            (Self::Written, _) | (_, Self::Written) => Self::Written,
            (Self::Now, Self::Now) => Self::Now,
        }
    }
}

/// One quota's count.
#[derive(Debug)]
pub enum Model {
    Gcra(Gcra),
    Log(Log),
    Window(Window),
    Concurrency(Concurrency),
    Calendar(Calendar),
}

/// Hand a call on to whichever model it is.
macro_rules! each {
    ($self:expr, $model:ident => $call:expr) => {
        match $self {
            Model::Gcra($model) => $call,
            Model::Log($model) => $call,
            Model::Window($model) => $call,
            Model::Concurrency($model) => $call,
            Model::Calendar($model) => $call,
        }
    };
}

impl Model {
    /// When `cost` can be taken if nobody else takes anything.
    pub fn when(&mut self, now: Now, cost: u64) -> When {
        each!(self, model => model.when(now, cost))
    }

    /// Take it, whether or not it is there.
    pub fn take(&mut self, now: Now, cost: u64) {
        each!(self, model => model.take(now, cost));
    }

    /// A call that took it at `taken` never left.
    pub fn give_back(&mut self, now: Now, taken: Nanos, cost: u64) {
        match self {
            Self::Gcra(model) => model.give_back(now, taken, cost),
            Self::Log(model) => model.give_back(now, cost),
            Self::Window(model) => model.give_back(now, cost),
            Self::Concurrency(model) => model.give_back(now, cost),
            Self::Calendar(model) => model.give_back(now, cost),
        }
    }

    /// The provider has answered a call: it took `estimated` at `taken`, and came to `actual`.
    pub fn answered(&mut self, now: Now, taken: Nanos, estimated: u64, actual: u64) {
        match self {
            Self::Gcra(model) => model.answered(now, taken, estimated, actual),
            Self::Log(model) => model.answered(now, estimated, actual),
            Self::Window(model) => model.answered(now, estimated, actual),
            Self::Concurrency(model) => model.answered(now, estimated, actual),
            Self::Calendar(model) => model.answered(now, estimated, actual),
        }
    }

    /// A call is over, its answer's last byte with it.
    pub fn ended(&mut self, cost: u64) {
        if let Self::Concurrency(model) = self {
            model.ended(cost);
        }
    }

    /// The provider says how much there is of what it counts in a window.
    pub fn becomes(&mut self, quota: u64) {
        match self {
            Self::Log(model) => model.quota = quota,
            Self::Window(model) => model.quota = quota,
            Self::Gcra(_) | Self::Concurrency(_) | Self::Calendar(_) => {}
        }
    }

    /// The provider says with the answer to a call that left at `sent` when its window ends.
    pub fn resets(&mut self, now: Now, sent: Nanos, reset: Duration) {
        if let Self::Window(model) = self {
            model.ends(now, sent, reset);
        }
    }

    /// What counts now; nothing where it restores itself.
    pub fn taken(&mut self, now: Now) -> u64 {
        match self {
            Self::Gcra(_) => 0,
            Self::Log(model) => model.taken(now),
            Self::Window(model) => model.taken(now),
            Self::Concurrency(model) => model.taken(),
            Self::Calendar(model) => model.count(now).used,
        }
    }

    /// When `cost` can be taken if no more than `most` may count.
    pub fn within(&mut self, now: Now, cost: u64, most: u64) -> When {
        let when = match self {
            Self::Log(model) => {
                let quota = std::mem::replace(&mut model.quota, most);
                let when = model.when(now, cost);
                model.quota = quota;
                when
            }
            Self::Window(model) => {
                let quota = std::mem::replace(&mut model.quota, most);
                let when = model.when(now, cost);
                model.quota = quota;
                when
            }
            Self::Gcra(_) | Self::Concurrency(_) | Self::Calendar(_) => When::Released,
        };
        if when == When::Never { When::Released } else { when }
    }

    /// How long one unit takes to be restored, where that follows a pace.
    pub fn interval(&self) -> Option<Nanos> {
        if let Self::Gcra(model) = self { Some(model.interval()) } else { None }
    }

    /// How much can be taken at once, now.
    pub fn left(&mut self, now: Now) -> u64 {
        each!(self, model => model.left(now))
    }

    /// When there is more than now; None where nothing is used, or nobody can tell.
    pub fn resets_at(&mut self, now: Now) -> Option<Nanos> {
        each!(self, model => model.resets_at(now))
    }

    /// How much there is at most.
    pub fn most(&self) -> u64 {
        each!(self, model => model.most())
    }

    /// In how long `amount` would have been taken by calls that stand in a line; None where nobody can tell.
    pub fn line(&mut self, now: Now, amount: u64) -> Option<Duration> {
        each!(self, model => model.line(now, amount))
    }
}

pub fn nanos(wait: Duration) -> Nanos {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
}

/// How long it is from one moment to another; nothing where that one has passed.
pub fn until(now: Nanos, at: Nanos) -> Duration {
    Duration::from_nanos(at.saturating_sub(now))
}
