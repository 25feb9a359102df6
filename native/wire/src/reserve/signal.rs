//! What a provider says of its limits with one answer, whichever dialect it said it in.
//!
//! `limits` in a provider's declaration says how it is read (`dialect`); `Reservation` takes it. An answer
//! that speaks of several quotas gives a signal for each.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// How long a provider may tell us to stay away; what is longer is taken for a mistake, and cut.
pub const WAIT_MAX: Duration = Duration::from_secs(31 * 86_400);

/// What is not said is None. Times count from the moment at which the answer came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signal {
    /// Which of the provider's quotas is meant, by the name that it is declared under.
    pub scope: Option<Arc<str>>,
    /// How much there is in a window, in the quota's own units. With a scope it replaces what is declared.
    pub limit: Option<u64>,
    /// How much of it is left.
    pub remaining: Option<u64>,
    /// When there is all of it again.
    pub reset: Option<Duration>,
    /// When the next call may come.
    pub retry_after: Option<Duration>,
    /// Whether `limit` and `remaining` are percent of whatever there is.
    pub percent: bool,
    /// What this call came to.
    pub cost: Option<u64>,
    /// Whether the call was refused because a limit was reached.
    pub throttled: bool,
}

impl Signal {
    /// What any HTTP server says, with no dialect declared: 429 (RFC 6585 §4), and when to come again.
    pub fn standard(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        (status == StatusCode::TOO_MANY_REQUESTS).then(|| Self {
            retry_after: headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now)),
            throttled: true,
            ..Self::default()
        })
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or an HTTP date, which may have passed.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // So many digits that they are no number are a long time all the same.
        text.parse().map_or(WAIT_MAX, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::UNIX_EPOCH;

    fn read(text: &str) -> Option<u64> {
        // Sunday, 6 November 1994, 08:49:07
        let now = UNIX_EPOCH + Duration::from_secs(784_111_747);
        retry_after(text, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(read("30"), Some(30));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    }

    #[test]
    fn what_is_neither_says_nothing_and_what_is_too_long_is_cut() {
        for text in ["", "-1", "1.5", "soon", "0x10", "Sun, 06 Nov"] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["99999999999", "99999999999999999999999999"] {
            assert_eq!(read(text), Some(WAIT_MAX.as_secs()), "{text}");
        }
    }

    #[test]
    fn only_429_is_a_limit_where_no_dialect_is_declared() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let signal = Signal::standard(StatusCode::TOO_MANY_REQUESTS, &headers, UNIX_EPOCH).expect("signal");
        assert!(signal.throttled);
        assert_eq!(signal.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(Signal::standard(StatusCode::SERVICE_UNAVAILABLE, &headers, UNIX_EPOCH), None);
        assert_eq!(Signal::standard(StatusCode::OK, &headers, UNIX_EPOCH), None);
    }
}
