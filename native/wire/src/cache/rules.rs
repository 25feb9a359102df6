//! What is declared of an operation's answers: who may share them, and how far they may be trusted.

use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Deserializer, de::Error};

/// Who may be answered with what was stored for somebody else. Nobody, unless it is declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Nothing is stored or answered; changes made through the operation still invalidate.
    #[default]
    Off,
    /// One client's connection: to its provider all of its calls come from one principal.
    Principal,
    /// Clients whose connections hold the very same credential.
    Credential,
    /// Everybody, where the provider says that the answer is for everybody.
    Public,
}

/// How the body of a request becomes part of its key; a body without a form is never keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// Byte for byte.
    Exact,
    /// JSON as RFC 8785 writes it.
    Json,
    /// `application/x-www-form-urlencoded`, its pairs in order of their names.
    Form,
    /// GraphQL over JSON (`query` operations only).
    Graphql,
    /// A language model asked for its one most likely answer: temperature 0.
    Llm,
}

/// The rules of one operation. Absent fields are the strict ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // as they are declared
pub struct Rules {
    pub mode: Sharing,
    /// How long an answer counts as fresh that does not say so itself.
    #[serde(rename = "ttl_ms", deserialize_with = "milliseconds")]
    pub ttl: Duration,
    /// How long after its end an answer stands in for a provider that fails.
    #[serde(rename = "stale_if_error_ms", deserialize_with = "milliseconds")]
    pub stale_if_error: Duration,
    /// How long after its end an answer is given while its successor is fetched.
    #[serde(rename = "stale_while_revalidate_ms", deserialize_with = "milliseconds")]
    pub stale_while_revalidate: Duration,
    /// How long after its end an answer stands in where a quota is used up.
    #[serde(rename = "stale_on_throttle_ms", deserialize_with = "milliseconds")]
    pub stale_on_throttle: Duration,
    /// How far a consumer's `max-stale` is honoured.
    #[serde(rename = "max_stale_ms", deserialize_with = "milliseconds")]
    pub max_stale: Duration,
    /// Guess a lifetime from `Last-Modified` (RFC 9111 §4.2.2).
    pub heuristic: bool,
    /// Store what is marked `private`, for its principal alone.
    pub private: bool,
    /// Store answers from 400 on that the provider itself calls fresh.
    pub errors: bool,
    /// Query parameters that part no answers.
    pub ignore: Vec<Box<str>>,
    /// The order of query parameters parts no answers.
    pub sort: bool,
    /// Believe the provider's `No-Vary-Search`.
    pub no_vary_search: bool,
    pub body: Option<BodyForm>,
    /// A POST of this operation changes nothing: its answers may be stored.
    pub read_only: bool,
    /// Targeted fields that win over `Cache-Control` (RFC 9213), the first first.
    #[serde(deserialize_with = "header_names")]
    pub targeted: Vec<HeaderName>,
    /// Request fields that say for whom a call acts (`Stripe-Account`): they part principals.
    #[serde(deserialize_with = "header_names")]
    pub actors: Vec<HeaderName>,
    /// Request fields that part no answers where these are shared; `*` is all of them.
    pub unkeyed: Vec<Box<str>>,
}

impl Rules {
    /// Whether an answer may reach somebody else's calls, so that a shared cache's rules hold.
    pub fn is_shared(&self) -> bool {
        matches!(self.mode, Sharing::Credential | Sharing::Public)
    }

    /// Whether a request field of this name is a part of the key by itself, and not by `Vary` alone.
    pub fn keys_field(&self, name: &HeaderName) -> bool {
        self.is_shared()
            && !is_harmless(name.as_str())
            && !self.unkeyed.iter().any(|known| **known == *"*" || known.eq_ignore_ascii_case(name.as_str()))
    }
}

/// Fields with which HTTP itself says how an answer depends on them, or that describe the call alone.
fn is_harmless(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "content-length"
            | "content-type"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "pragma"
            | "range"
            | "traceparent"
            | "tracestate"
            | "user-agent"
    )
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn header_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|name| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| D::Error::custom("not a header name"))
        })
        .collect()
}
