//! Tell a consumer of limits: in `RateLimit` and `RateLimit-Policy`, and in a refusal.
//!
//! The fields are structured fields (RFC 9651) as in draft-ietf-httpapi-ratelimit-headers-11: a list of
//! policies by name, each with its parameters. Whoever knows a limit makes an `Allowance` of it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

/// One limit and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// What the limit is called where it is declared.
    pub name: Arc<str>,
    /// How much there is in a window, or at once.
    pub quota: u64,
    pub unit: Unit,
    pub remaining: u64,
    /// In how long there is more of it.
    pub reset: Option<Duration>,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests, or what they cost, in a window of this length.
    Window(Duration),
    /// Requests at once.
    Concurrent,
}

/// Why a call was refused for a limit: all that hold for it, and which of them it would have broken.
#[derive(Debug, Clone)]
pub struct Throttled {
    pub limits: Vec<Allowance>,
    pub violated: Vec<Arc<str>>,
    /// When it may be tried again; None: it never fits.
    pub retry_after: Option<Duration>,
    /// Whose limit it is: `consumer`, `client`, `grant`, or `quota` for one of the provider's.
    pub scope: &'static str,
}

/// `RateLimit-Policy`: what holds.
pub fn policy_field(limits: &[Allowance]) -> HeaderValue {
    field(policies(limits))
}

/// `RateLimit`: what is left.
pub fn limit_field(limits: &[Allowance]) -> HeaderValue {
    let mut text = String::with_capacity(limits.len() * 32);
    for limit in limits {
        add_left(&mut text, limit);
    }
    field(text)
}

/// The members of `RateLimit-Policy`.
pub fn policies(limits: &[Allowance]) -> String {
    let mut text = String::with_capacity(limits.len() * 32);
    for limit in limits {
        begin_member(&mut text);
        quote(&mut text, &limit.name);
        let _ = write!(text, ";q={}", limit.quota);
        match limit.unit {
            Unit::Window(window) => {
                let _ = write!(text, ";w={}", seconds_up(window));
            }
            Unit::Concurrent => text.push_str(";qu=\"concurrent-requests\""),
        }
    }
    text
}

/// One more member of `RateLimit`.
pub fn add_left(text: &mut String, limit: &Allowance) {
    begin_member(text);
    quote(text, &limit.name);
    let _ = write!(text, ";r={}", limit.remaining);
    if let Some(reset) = limit.reset {
        let _ = write!(text, ";t={}", seconds_up(reset));
    }
}

/// One more member, or several, as they were written before.
pub fn add_member(text: &mut String, member: &str) {
    if !member.is_empty() {
        begin_member(text);
        text.push_str(member);
    }
}

fn begin_member(text: &mut String) {
    if !text.is_empty() {
        text.push_str(", ");
    }
}

/// A field of members that were written here.
pub fn field(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whole seconds, never too few: who comes back after them is not too early.
pub fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A string of RFC 9651 §3.3.3; a character that none can hold is left out.
fn quote(text: &mut String, name: &str) {
    text.push('"');
    for character in name.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let limits = [
            Allowance {
                name: "app".into(),
                quota: 600,
                unit: Unit::Window(Duration::from_secs(60)),
                remaining: 12,
                reset: Some(Duration::from_millis(6_001)),
            },
            Allowance {
                name: "in \"flight\"\u{e9}".into(),
                quota: 20,
                unit: Unit::Concurrent,
                remaining: 0,
                reset: None,
            },
        ];
        assert_eq!(
            policy_field(&limits),
            r#""app";q=600;w=60, "in \"flight\"";q=20;qu="concurrent-requests""#
        );
        assert_eq!(limit_field(&limits), r#""app";r=12;t=7, "in \"flight\"";r=0"#);
    }
}
