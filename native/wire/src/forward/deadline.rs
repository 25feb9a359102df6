//! How long a call may take: what is declared, and less where the consumer asks for less.

use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::error::{Code, Refusal};
use crate::snapshot::Deadlines;

/// The field by which a consumer says after how many seconds it is of no use to go on.
pub const TIMEOUT: &str = "tidegate-timeout";

/// Time limits of one call, counted from its start.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub deadline: Instant,
    /// The deadline is the consumer's own: that it passed says nothing of the provider.
    pub consumers: bool,
    pub connect: Duration,
    pub first_byte: Duration,
    pub body_idle: Duration,
}

impl Limits {
    pub fn new(
        started: Instant,
        deadlines: &Deadlines,
        body_idle: Duration,
        asked: Option<Duration>,
    ) -> Self {
        let total = deadlines.total();
        let consumers = asked.is_some_and(|asked| asked < total);
        Self {
            deadline: started + asked.map_or(total, |asked| asked.min(total)),
            consumers,
            connect: deadlines.connect(),
            first_byte: deadlines.first_byte(),
            body_idle,
        }
    }

    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}

/// What the consumer asks for: seconds, as an integer or decimal of RFC 9651 §3.3.
pub fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let mut values = headers.get_all(TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let seconds = (values.next().is_none()).then(|| value.to_str().ok().and_then(seconds)).flatten();
    seconds.map(Some).ok_or_else(|| {
        Refusal::new(
            Code::MalformedRequest,
            "`Tidegate-Timeout` is a number of seconds above zero with at most three decimals, like `2.5`.",
        )
    })
}

/// At most twelve digits, and three after the point.
pub fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str, most| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 12) || !fraction.is_none_or(|fraction| digits(fraction, 3)) {
        return None;
    }
    let millis = fraction.map_or(Some(0), |fraction| format!("{fraction:0<3}").parse().ok())?;
    let asked = Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(millis);
    (!asked.is_zero()).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_structured_number_above_zero() {
        assert_eq!(seconds("2"), Some(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(seconds("10.5"), Some(Duration::from_millis(10_500)));
        for text in ["", "0", "0.000", "-1", "+1", "1e3", "1.", ".5", "1.0000", "1;a", " 1", "1234567890123"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_consumer_can_ask_for_less_and_not_for_more() {
        let (now, declared) = (Instant::now(), Deadlines::default());
        let idle = Duration::from_secs(30);
        let less = Limits::new(now, &declared, idle, Some(Duration::from_secs(2)));
        assert_eq!((less.deadline, less.consumers), (now + Duration::from_secs(2), true));
        let more = Limits::new(now, &declared, idle, Some(Duration::from_secs(9_999)));
        assert_eq!((more.deadline, more.consumers), (now + declared.total(), false));
    }
}
