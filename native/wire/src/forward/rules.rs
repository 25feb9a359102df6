//! What is declared of a provider about faults: part of the snapshot, compiled once.

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;

/// Everything about a provider that a call asks for when something goes wrong. All of it absent: one try.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resilience {
    pub retry: Option<RetryRule>,
    pub idempotency: Option<Idempotency>,
    pub breaker: Option<BreakerRule>,
    pub bulkhead: Option<BulkheadRule>,
    pub hedge: Option<HedgeRule>,
    /// Numbers of origins that stand for one another.
    pub failover: Vec<usize>,
}

impl Resilience {
    /// Whether the numbers lead somewhere; a sentence where they do not.
    pub fn check(&self, origins: usize, operations: usize) -> Result<(), String> {
        if let Some(number) = self.failover.iter().find(|number| **number >= origins) {
            return Err(format!("`failover` names origin {number}, which does not exist"));
        }
        let keyed = self.idempotency.iter().flat_map(|convention| &convention.operations);
        let hedged = self.hedge.iter().flat_map(|rule| &rule.operations);
        match keyed.chain(hedged).find(|number| **number as usize >= operations) {
            Some(number) => Err(format!("resilience names operation {number}, which does not exist")),
            None => Ok(()),
        }
    }
}

/// When a call goes out again, and how soon.
#[derive(Debug, Deserialize)]
pub struct RetryRule {
    /// Tries after the first.
    pub tries: u32,
    /// Answers that are as good as none.
    pub statuses: Vec<u16>,
    backoff_ms: u64,
    wait_ms: u64,
}

impl RetryRule {
    /// The longest pause before the second try; each further one may be twice as long.
    pub fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }

    /// The longest pause that is made at all, whoever asks for it.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

/// How the provider knows that two requests are one.
#[derive(Debug, Deserialize)]
pub struct Idempotency {
    #[serde(flatten)]
    pub place: KeyPlace,
    /// Numbers of the operations that take a key, in order.
    pub operations: Vec<u32>,
    /// Make a key where the consumer gives none.
    pub generate: bool,
    /// A key counts at all of the provider's origins.
    pub across_origins: bool,
    /// A field of the answer in which the provider says whether trying again makes sense.
    #[serde(default)]
    pub hint: Option<FieldName>,
}

/// A header field's name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct FieldName(#[serde(with = "header_name")] pub HeaderName);

impl Idempotency {
    pub fn takes(&self, operation: u32) -> bool {
        self.operations.binary_search(&operation).is_ok()
    }
}

/// Where the key stands in a request.
#[derive(Debug, Deserialize)]
#[serde(tag = "in", content = "name", rename_all = "snake_case")]
pub enum KeyPlace {
    Header(FieldName),
    /// A member of the JSON object that is the body.
    Body(String),
    Query(String),
}

/// When no call is sent to an origin for a while.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct BreakerRule {
    /// Fewer calls than this within the window say nothing.
    pub calls: u32,
    /// The share of them that fails, in percent.
    pub failed_percent: u32,
    window_ms: u64,
    open_ms: u64,
}

impl BreakerRule {
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms)
    }
}

/// How many calls a provider has at once, and how many of them one client.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct BulkheadRule {
    pub calls: u32,
    pub client_calls: u32,
}

/// Which operations are asked a second time when the first answer is late.
#[derive(Debug, Deserialize)]
pub struct HedgeRule {
    /// Their numbers, in order.
    pub operations: Vec<u32>,
}

impl HedgeRule {
    pub fn covers(&self, operation: u32) -> bool {
        self.operations.binary_search(&operation).is_ok()
    }
}

mod header_name {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
        let name = String::deserialize(deserializer)?;
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| D::Error::custom("not a header name"))
    }
}
