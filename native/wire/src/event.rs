//! What is known of one call, gathered as it goes; `record` writes it. Never a value from the call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::observe::{Sample, Shape};
use crate::protect::{FieldTold, Would};

/// The steps that are timed, in the order of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Authenticate,
    Route,
    Decide,
    Admit,
    Check,
    Protect,
    Cache,
    Reserve,
    Dial,
    Attach,
    Forward,
    Respond,
}

const STEPS: [(Step, &str); 12] = [
    (Step::Authenticate, "authenticate"),
    (Step::Route, "route"),
    (Step::Decide, "decide"),
    (Step::Admit, "admit"),
    (Step::Check, "check"),
    (Step::Protect, "protect"),
    (Step::Cache, "cache"),
    (Step::Reserve, "reserve"),
    (Step::Dial, "dial"),
    (Step::Attach, "attach"),
    (Step::Forward, "forward"),
    (Step::Respond, "respond"),
];

/// Microseconds spent in each step; a step that was not reached has none.
#[derive(Debug, Default)]
pub struct StepTimes([Option<u32>; STEPS.len()]);

impl StepTimes {
    pub fn set(&mut self, step: Step, from: Instant, to: Instant) {
        self.0[step as usize] = Some(micros(from, to));
    }

    pub fn has(&self, step: Step) -> bool {
        self.0[step as usize].is_some()
    }
}

pub fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u32::MAX)
}

/// The time since 1970.
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Serialize for StepTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (step, name) in STEPS {
            if let Some(time) = self.0[step as usize] {
                map.serialize_entry(name, &time)?;
            }
        }
        map.end()
    }
}

/// One call's event; the fields are those of `tidegate.domain.call.CallRecord`.
#[derive(Debug, Default, Serialize)]
pub struct Event {
    pub id: CallId,
    pub at_ms: u64,
    pub client: Option<Arc<str>>,
    pub consumer: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    pub operation: Option<Arc<str>>,
    pub method: Box<str>,
    pub decision: Option<&'static str>,
    pub rule: Option<Arc<str>>,
    pub revision: u64,
    pub outcome: &'static str,
    pub detail: Option<Box<str>>,
    pub status: u16,
    pub provider_status: Option<u16>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub total_us: u64,
    pub provider_us: Option<u32>,
    pub steps_us: StepTimes,
    pub tls_version: Option<&'static str>,
    pub tls_group: Option<&'static str>,
    pub address: Option<SocketAddr>,
    pub http: &'static str,
    /// What the cache did, where the operation is declared as cached.
    pub cache: Option<&'static str>,
    pub retries: u32,
    /// What the breaker did, or this call to it: `open`, `opened`, `probe` or `closed`.
    pub breaker: Option<&'static str>,
    /// The origin that stood in for the operation's own.
    pub failover: Option<Box<str>>,
    /// Whether a second request, sent because the first was late, `won` or `lost`.
    pub hedge: Option<&'static str>,
    pub token: Option<Arc<str>>,
    pub connection: Option<Arc<str>>,
    pub query: Vec<Box<str>>,
    /// How the call came by its provider's quotas; with how long it waited for them, and what it cost.
    pub quota: Option<&'static str>,
    pub wait_ms: Option<u32>,
    pub cost: Option<u64>,
    /// What of it does not fit what is declared, and would have been refused.
    pub schema: Option<Box<str>>,
    /// The rules by which fields left, and those by which fields did not; both name places, never what stood there.
    pub sent: Vec<FieldTold>,
    pub withheld: Vec<FieldTold>,
    /// A call that carried something out of an operation that has no policy.
    pub weak: bool,
    /// What its policy would have made of it, where that only reports as yet.
    pub would: Option<Box<Would>>,
    /// What for, by its policy.
    pub purpose: Option<Arc<str>>,
    /// Whom the call is about, by keyed indexes.
    pub subjects: Vec<Box<str>>,
    /// The agreements by which the call's personal data went, with spaces between.
    pub agreements: Option<Arc<str>>,
    /// Which decision of whom the call is about let its personal data go, and when it was made.
    pub subject_consent: Option<Box<str>>,
    /// What went out, until it is looked at; never written.
    #[serde(skip)]
    pub observed: Option<Box<Sample>>,
    /// What was learned of what operations without a policy send, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<Shape>,
}

/// A ULID: 48 bits of time, 80 of chance, in Crockford's base 32. Sorts by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct CallId([u8; 26]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl CallId {
    pub fn new(at_ms: u64, chance: [u8; 10]) -> Self {
        let mut bits = u128::from(at_ms & 0xffff_ffff_ffff) << 80;
        for (place, byte) in chance.iter().enumerate() {
            bits |= u128::from(*byte) << (72 - place * 8);
        }
        let mut text = [0u8; 26];
        for digit in text.iter_mut().rev() {
            *digit = CROCKFORD[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<CallId> for String {
    fn from(id: CallId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_have_26_characters() {
        let early = CallId::new(1_700_000_000_000, [255; 10]);
        let late = CallId::new(1_700_000_000_001, [0; 10]);
        assert!(early.as_str() < late.as_str());
        assert_eq!(late.as_str().len(), 26);
    }
}
