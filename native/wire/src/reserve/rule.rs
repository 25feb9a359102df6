//! A provider's quotas as they are declared: what is counted, how, and for whom.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::desk::Desk;
use super::model::{Anchor, Calendar, Concurrency, Gcra, Log, Model, Period, Window};
use crate::ratelimit::Unit;

/// A provider's quotas, and what each of its operations draws on them.
#[derive(Debug)]
pub struct Plan {
    pub quotas: Vec<Arc<Quota>>,
    /// By an operation's number.
    draws: Vec<Box<[Draw]>>,
    /// The most that one call costs: a client's turn is worth as much.
    pub turn: u64,
    /// Where they are counted; bound when the snapshot comes into force.
    pub desk: OnceLock<Arc<Desk>>,
}

/// What one operation costs by one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    pub quota: usize,
    pub cost: u64,
}

#[derive(Debug)]
pub struct Quota {
    pub name: Arc<str>,
    pub kind: Kind,
    pub whose: Whose,
    pub settle: Option<Settle>,
    /// Answers that cost nothing.
    pub free: Vec<StatusCode>,
    pub queue: Option<Queue>,
    /// Percent that are left unused.
    headroom: u8,
    zone: Option<TimeZone>,
    fingerprint: u64,
}

/// The provider's own algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Kind {
    /// An even rate with a burst, which stays within `amount` in any window.
    Gcra { amount: u64, window_ms: u64, burst: u64 },
    /// `amount` in any window.
    Log { amount: u64, window_ms: u64 },
    /// `amount` until the provider's reset, or the end of the clock's window.
    Window { amount: u64, window_ms: u64, anchor: RawAnchor },
    /// `amount` at most, of which `restored` come back in each window.
    Bucket { amount: u64, restored: u64, window_ms: u64 },
    /// `amount` at once.
    Concurrency {
        amount: u64,
        #[serde(default)]
        adaptive: bool,
    },
    /// `amount` in a day or month.
    Calendar { amount: u64, period: Period },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawAnchor {
    Reset,
    Clock,
}

/// Who has a count of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Each connection: one client's account, by its credential.
    #[default]
    Connection,
    /// Each connection at each of the provider's origins.
    Origin,
    /// Each operation of each connection.
    Operation,
    /// All connections together.
    Provider,
}

/// Where an answer says what the call came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    Header(String),
    /// A JSON Pointer (RFC 6901) into the body.
    Body(String),
}

/// Wait for a quota instead of being refused: so long at most, and so many at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub struct Queue {
    pub wait_ms: u64,
    pub length: usize,
}

impl Queue {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

/// How much of a quota may be left unused, in percent.
const HEADROOM_MAX: u8 = 90;

/// How many quotas a provider may have.
pub const QUOTAS_MAX: usize = 32;

/// One quota as it stands in the snapshot; operations are given by the numbers of their sets.
#[derive(Debug, Deserialize)]
pub struct RawQuota {
    name: String,
    #[serde(flatten)]
    kind: Kind,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    headroom: u8,
    #[serde(default)]
    whose: Whose,
    /// Sets of operations with what each costs; the first that holds an operation counts.
    pub costs: Vec<(usize, u64)>,
    #[serde(default)]
    settle: Option<Settle>,
    #[serde(default)]
    free: Vec<u16>,
    #[serde(default)]
    queue: Option<Queue>,
}

impl RawQuota {
    /// Err says what is wrong, after the quota's name.
    pub fn compile(self) -> Result<Quota, String> {
        let wrong = |what: &str| format!("quota `{}` {what}", self.name);
        if self.kind.amount() == 0 || self.kind.window().is_zero() {
            return Err(wrong("allows nothing"));
        }
        if self.headroom > HEADROOM_MAX {
            return Err(wrong("leaves too much unused"));
        }
        let zone = match (&self.kind, &self.zone) {
            (Kind::Calendar { .. }, name) => {
                let name = name.as_deref().unwrap_or("UTC");
                Some(TimeZone::get(name).map_err(|_| wrong(&format!("names no time zone `{name}`")))?)
            }
            _ => None,
        };
        if let Some(Settle::Header(name)) = &self.settle
            && HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            return Err(wrong("is settled by a header that has no valid name"));
        }
        let free = self.free.iter().map(|status| StatusCode::from_u16(*status));
        let free = free.collect::<Result<_, _>>().map_err(|_| wrong("names no status"))?;
        let mut fingerprint = DefaultHasher::new();
        (&self.kind, &self.zone, &self.whose, self.headroom).hash(&mut fingerprint);
        Ok(Quota {
            name: self.name.into(),
            kind: self.kind,
            whose: self.whose,
            settle: self.settle,
            free,
            queue: self.queue,
            headroom: self.headroom,
            zone,
            fingerprint: fingerprint.finish(),
        })
    }
}

impl Plan {
    /// `draws`: by operation, in the order of the quotas.
    pub fn new(quotas: Vec<Quota>, draws: Vec<Box<[Draw]>>) -> Self {
        let turn = draws.iter().flatten().map(|draw| draw.cost).max().unwrap_or(1);
        Self { quotas: quotas.into_iter().map(Arc::new).collect(), draws, turn, desk: OnceLock::new() }
    }

    pub fn draws(&self, operation: u32) -> &[Draw] {
        self.draws.get(operation as usize).map_or(&[], |draws| draws)
    }
}

impl Quota {
    pub fn model(&self) -> Model {
        let amount = self.within(self.kind.amount());
        match self.kind {
            Kind::Gcra { burst, .. } => Model::Gcra(Gcra::new(amount, self.kind.window(), burst)),
            Kind::Log { .. } => Model::Log(Log::new(amount, self.kind.window())),
            Kind::Window { anchor, .. } => {
                let anchor = if anchor == RawAnchor::Reset { Anchor::Reset } else { Anchor::Clock };
                Model::Window(Window::new(amount, self.kind.window(), anchor))
            }
            Kind::Bucket { restored, .. } => Model::Gcra(Gcra::bucket(amount, restored, self.kind.window())),
            Kind::Concurrency { adaptive, .. } => Model::Concurrency(Concurrency::new(amount, adaptive)),
            Kind::Calendar { period, .. } => {
                let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
                Model::Calendar(Calendar::new(amount, period, zone))
            }
        }
    }

    /// What of an amount is used: the headroom is not.
    pub fn within(&self, amount: u64) -> u64 {
        let kept = u128::from(amount) * u128::from(100 - self.headroom) / 100;
        u64::try_from(kept).unwrap_or(u64::MAX).max(1)
    }

    /// How much the provider allows in so long; of what is counted at once, for how many milliseconds.
    pub fn allows_in(&self, length: Duration) -> u64 {
        let amount = u128::from(self.kind.amount());
        let (length, window) = (length.as_millis(), self.kind.window().as_millis().max(1));
        let allowed = match self.kind {
            Kind::Concurrency { .. } => amount * length,
            Kind::Bucket { restored, .. } => amount + u128::from(restored) * length / window,
            _ => amount * length.max(window) / window,
        };
        u64::try_from(allowed).unwrap_or(u64::MAX)
    }

    /// Whether what is left may be told: not of a count in which all clients have a part.
    pub fn is_told(&self) -> bool {
        self.whose != Whose::Provider
    }

    pub fn is_settled_by_body(&self) -> bool {
        matches!(self.settle, Some(Settle::Body(_)))
    }

    /// Whether a count by `other` goes on under this one.
    pub fn counts_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// What the quota is, for whoever asks: `5000 in 1h`.
    pub fn describe(&self) -> String {
        let (amount, window) = (self.kind.amount(), spelled(self.kind.window()));
        match self.kind {
            Kind::Gcra { .. } | Kind::Log { .. } | Kind::Window { .. } => format!("{amount} in {window}"),
            Kind::Bucket { restored, .. } => format!("{amount} at most, {restored} back in {window}"),
            Kind::Concurrency { .. } => format!("{amount} at once"),
            Kind::Calendar { period: Period::Day, .. } => format!("{amount} a day"),
            Kind::Calendar { period: Period::Month, .. } => format!("{amount} a month"),
        }
    }
}

impl Kind {
    pub fn amount(&self) -> u64 {
        match self {
            Self::Gcra { amount, .. }
            | Self::Log { amount, .. }
            | Self::Window { amount, .. }
            | Self::Bucket { amount, .. }
            | Self::Concurrency { amount, .. }
            | Self::Calendar { amount, .. } => *amount,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Gcra { .. } => "gcra",
            Self::Log { .. } => "log",
            Self::Window { .. } => "window",
            Self::Bucket { .. } => "bucket",
            Self::Concurrency { .. } => "concurrency",
            Self::Calendar { .. } => "calendar",
        }
    }

    pub fn is_concurrency(&self) -> bool {
        matches!(self, Self::Concurrency { .. })
    }

    /// Whether the count outlives the engine.
    pub fn is_durable(&self) -> bool {
        matches!(self, Self::Calendar { .. })
    }

    /// For how long a call counts. Of a calendar's period, the shortest that there is.
    pub fn window(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        match self {
            Self::Gcra { window_ms, .. }
            | Self::Log { window_ms, .. }
            | Self::Window { window_ms, .. }
            | Self::Bucket { window_ms, .. } => Duration::from_millis(*window_ms),
            Self::Concurrency { .. } => Duration::from_secs(1),
            Self::Calendar { period: Period::Day, .. } => DAY,
            Self::Calendar { period: Period::Month, .. } => DAY * 28,
        }
    }

    /// How much comes back in how long, at the even rate.
    pub fn rate(&self) -> (u64, Duration) {
        match self {
            Self::Bucket { restored, .. } => (*restored, self.window()),
            _ => (self.amount(), self.window()),
        }
    }

    pub fn unit(&self) -> Unit {
        match self {
            Self::Concurrency { .. } => Unit::Concurrent,
            Self::Bucket { amount, restored, window_ms } => {
                // So long as an empty bucket takes to be full.
                let full = u128::from(*window_ms) * u128::from(*amount) / u128::from((*restored).max(1));
                Unit::Window(Duration::from_millis(u64::try_from(full).unwrap_or(u64::MAX)))
            }
            _ => Unit::Window(self.window()),
        }
    }
}

fn spelled(window: Duration) -> String {
    let ms = window.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= length && ms.is_multiple_of(length) {
            return format!("{}{unit}", ms / length);
        }
    }
    format!("{ms}ms")
}
