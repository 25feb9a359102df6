//! Whether a call goes out once more, and when.
//!
//! At most as often as is declared, within its deadline, and only while its client's budget at the provider
//! lasts. Pauses grow and are drawn by lot, so that calls which failed together do not come back together.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::forward::budget::Budget;
use crate::forward::rules::RetryRule;

/// What a second arrival of the call would do at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing that the first did not do (RFC 9110 §9.2.2).
    Idempotent,
    /// The same, since the provider knows both by their key.
    Keyed,
    /// Nobody knows: once a byte may have reached the provider, the call is not sent again.
    Never,
}

impl Repeat {
    pub fn of(method: &Method) -> Self {
        let safe = is_safe(method);
        if safe || matches!(*method, Method::PUT | Method::DELETE) { Self::Idempotent } else { Self::Never }
    }
}

/// Asks for nothing but reading (RFC 9110 §9.2.1, RFC 10008).
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || method.as_str() == "QUERY"
}

/// When the next try is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once, since it goes to an origin that has nothing of the call; `counted`, where another may have it.
    Elsewhere { counted: bool },
    /// After a pause that grows from try to try.
    Later,
    /// Not before so long: the provider asks for it.
    After(Duration),
}

/// What is left to one call.
#[derive(Debug, Default)]
pub struct Tries<'c> {
    rule: Option<&'c RetryRule>,
    budget: Option<Arc<Budget>>,
    made: u32,
}

impl<'c> Tries<'c> {
    pub fn new(rule: &'c RetryRule, budget: Arc<Budget>) -> Self {
        budget.earn();
        Self { rule: Some(rule), budget: Some(budget), made: 0 }
    }

    /// Whether there can be another one at all.
    pub fn any_left(&self) -> bool {
        self.rule.is_some_and(|rule| self.made < rule.tries)
    }

    /// Whether an answer is as good as none. The provider's own word on it counts before its status.
    pub fn wants(&self, status: StatusCode, headers: &HeaderMap, hint: Option<&HeaderName>) -> bool {
        let Some(rule) = self.rule else { return false };
        match hint.and_then(|hint| headers.get(hint)).map(http::HeaderValue::as_bytes) {
            Some(b"true") => status.is_client_error() || status.is_server_error(),
            Some(b"false") => false,
            _ => rule.statuses.contains(&status.as_u16()),
        }
    }

    /// Take one: how long to wait for it, or None where there is none. `lot` is any number.
    pub fn take(&mut self, when: When, now: Instant, deadline: Instant, lot: u16) -> Option<Duration> {
        let rule = self.rule.filter(|rule| self.made < rule.tries)?;
        let lot = u32::from(lot);
        let pause = match when {
            When::Elsewhere { .. } => Duration::ZERO,
            When::Later => {
                let most = rule.backoff().saturating_mul(1 << self.made.min(16)).min(rule.wait());
                most / 2 + most / 2 * lot / u32::from(u16::MAX)
            }
            // Only added to: at most a tenth.
            When::After(asked) => asked + asked / 10 * lot / u32::from(u16::MAX),
        };
        let asked_too_much = matches!(when, When::After(asked) if asked > rule.wait());
        if asked_too_much || now + pause >= deadline {
            return None;
        }
        // What reached nobody and goes elsewhere is no more load than the call itself.
        let free = matches!(when, When::Elsewhere { counted: false });
        if !free && !self.budget.as_ref()?.spend(now) {
            return None;
        }
        self.made += 1;
        Some(pause)
    }
}

/// How long the provider asks to be left alone (RFC 9110 §10.2.3); None where it does not, or not legibly.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::budget::RETRIES;

    fn rule() -> RetryRule {
        serde_json::from_str(
            r#"{"tries": 2, "statuses": [502, 503, 504], "backoff_ms": 100, "wait_ms": 5000}"#,
        )
        .expect("rule")
    }

    fn budget(now: Instant) -> Arc<Budget> {
        Arc::new(Budget::new(RETRIES, now))
    }

    #[test]
    fn pauses_grow_and_end_with_the_tries() {
        let (rule, now) = (rule(), Instant::now());
        let deadline = now + Duration::from_secs(60);
        for lot in [0, 1, 32_767, u16::MAX] {
            let mut tries = Tries::new(&rule, budget(now));
            let first = tries.take(When::Later, now, deadline, lot).expect("a try");
            assert!((50..=100).contains(&first.as_millis()), "{first:?}");
            let second = tries.take(When::Later, now, deadline, lot).expect("a try");
            assert!((100..=200).contains(&second.as_millis()), "{second:?}");
            assert_eq!(tries.take(When::Later, now, deadline, lot), None);
            assert!(!tries.any_left());
        }
    }

    #[test]
    fn what_the_provider_asks_for_is_a_minimum() {
        let (rule, now) = (rule(), Instant::now());
        let deadline = now + Duration::from_secs(60);
        let mut tries = Tries::new(&rule, budget(now));
        let asked = Duration::from_secs(4);
        let pause = tries.take(When::After(asked), now, deadline, u16::MAX).expect("a try");
        assert!(pause >= asked && pause <= asked * 11 / 10, "{pause:?}");
        // More than is waited for at all, or than the call has left: the answer goes to the consumer.
        assert_eq!(tries.take(When::After(Duration::from_secs(6)), now, deadline, 0), None);
        let soon = now + Duration::from_secs(4);
        assert_eq!(tries.take(When::After(asked), now, soon, 0), None);
    }

    #[test]
    fn an_empty_budget_ends_it() {
        let (rule, now) = (rule(), Instant::now());
        let deadline = now + Duration::from_secs(60);
        let budget = budget(now);
        while budget.spend(now) {}
        let mut tries = Tries::new(&rule, budget);
        assert_eq!(tries.take(When::Elsewhere { counted: true }, now, deadline, 0), None);
        let free = When::Elsewhere { counted: false };
        assert_eq!(tries.take(free, now, deadline, 0), Some(Duration::ZERO));
    }

    #[test]
    fn the_provider_s_word_counts_before_its_status() {
        let (rule, now) = (rule(), Instant::now());
        let tries = Tries::new(&rule, budget(now));
        let hint = HeaderName::from_static("stripe-should-retry");
        let mut headers = HeaderMap::new();
        assert!(tries.wants(StatusCode::BAD_GATEWAY, &headers, Some(&hint)));
        assert!(!tries.wants(StatusCode::CONFLICT, &headers, Some(&hint)));
        headers.insert(hint.clone(), "true".parse().expect("value"));
        assert!(tries.wants(StatusCode::CONFLICT, &headers, Some(&hint)));
        assert!(!tries.wants(StatusCode::OK, &headers, Some(&hint)));
        headers.insert(hint.clone(), "false".parse().expect("value"));
        assert!(!tries.wants(StatusCode::BAD_GATEWAY, &headers, Some(&hint)));
    }

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("value"));
            retry_after(&headers, now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        for text in ["", "-1", "1.5", "+7", "soon", "9999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
