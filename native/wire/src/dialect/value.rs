//! The numbers and times that providers write, each form by its own name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::reserve::signal::{WAIT_MAX, retry_after};

/// September 2001: no wait is so long.
const EPOCH_FROM: Duration = Duration::from_secs(1_000_000_000);

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `Retry-After`: seconds, or an HTTP date.
    RetryAfter,
    Seconds,
    Milliseconds,
    Minutes,
    /// Unix seconds, perhaps with decimals.
    EpochS,
    EpochMs,
    /// What is too long to be a wait is Unix seconds.
    SecondsOrEpoch,
    Rfc3339,
    HttpDate,
    /// `6m0s`, `12ms`, `1h2m3.5s`.
    Duration,
}

/// A count: whole, not negative. Decimals are cut off; what follows a `,` or `;` is something else.
pub fn count(text: &str) -> Option<u64> {
    let text = text.split([',', ';']).next().unwrap_or_default().trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(decimals)).then(|| whole.parse().ok())?
}

/// `used/limit`, also behind a name: `api-usage=18/5000`.
pub fn pair(text: &str) -> Option<(u64, u64)> {
    let text = text.split([',', ';']).next().unwrap_or_default();
    let text = text.rsplit_once('=').map_or(text, |(_, after)| after);
    let (used, limit) = text.split_once('/')?;
    Some((count(used)?, count(limit)?))
}

/// How long from `now`; a time that has passed is no wait, and a long one is cut.
pub fn wait(text: &str, form: Form, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let until = |moment: Duration| moment.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let wait = match form {
        Form::RetryAfter => retry_after(text, now)?,
        Form::Seconds => scaled(text, 1.0)?,
        Form::Milliseconds => scaled(text, 0.001)?,
        Form::Minutes => scaled(text, 60.0)?,
        Form::EpochS => until(scaled(text, 1.0)?),
        Form::EpochMs => until(scaled(text, 0.001)?),
        Form::SecondsOrEpoch => match scaled(text, 1.0)? {
            seconds if seconds >= EPOCH_FROM => until(seconds),
            seconds => seconds,
        },
        Form::Rfc3339 => until(rfc3339(text)?),
        Form::HttpDate => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
        Form::Duration => duration(text)?,
    };
    Some(wait.min(WAIT_MAX))
}

/// A decimal number of some unit, as seconds. No sign, no exponent, no name of a number.
fn scaled(text: &str, unit: f64) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if !plain || !starts {
        return None;
    }
    Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit).ok()
}

/// Go's way of writing durations, which others write too. Each unit once, the largest first, nothing else.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6)];
    let (mut rest, mut total, mut next) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let after = &rest[number..];
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let place = UNITS.iter().skip(next).position(|(name, _)| *name == &after[..unit])? + next;
        total = total.checked_add(scaled(&rest[..number], UNITS[place].1)?)?;
        next = place + 1;
        rest = &after[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// Seconds since 1970 (RFC 3339 §5.6), to the millisecond.
fn rfc3339(text: &str) -> Option<Duration> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    let in_range =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !marks || !in_range {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        let padded = format!("{:0<3}", fraction.get(..digits.min(3))?);
        nanos = (digits > 0).then(|| padded.parse::<u32>().ok())?? * 1_000_000;
        rest = &fraction[digits..];
    }
    let offset = match rest.as_bytes() {
        // What is written without a zone is UTC wherever it was seen.
        [b'Z' | b'z'] | [] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let minutes = number(at, at + 2)? * 60 + number(at + 3, at + 5)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-27T08:00:00Z
    const NOW_S: u64 = 1_795_766_400;

    fn millis(text: &str, form: Form) -> Option<u128> {
        wait(text, form, UNIX_EPOCH + Duration::from_secs(NOW_S)).map(|wait| wait.as_millis())
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        for (text, number) in
            [("0", 0), ("5000", 5000), (" 12 ", 12), ("99.5", 99), ("100, 100;w=60", 100), ("60;w=60", 60)]
        {
            assert_eq!(count(text), Some(number), "{text}");
        }
        for text in ["", "-1", "+1", "1e3", "x", "NaN", "1.", ".5", "99999999999999999999999", "0x10"] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn pairs_are_used_and_limit() {
        assert_eq!(pair("32/40"), Some((32, 40)));
        assert_eq!(pair("api-usage=18/5000"), Some((18, 5000)));
        assert_eq!(pair("api-usage=25/5000; per-app-api-usage=17/250(appName=sample)"), Some((25, 5000)));
        assert_eq!(pair("32"), None);
        assert_eq!(pair("a/b"), None);
    }

    #[test]
    fn each_form_of_a_time_is_read_as_what_it_is() {
        for (text, form, wanted) in [
            ("30", Form::Seconds, 30_000),
            ("0.5", Form::Seconds, 500),
            ("1500", Form::Milliseconds, 1_500),
            ("5", Form::Minutes, 300_000),
            ("1795766430", Form::EpochS, 30_000),
            ("1795766430.25", Form::EpochS, 30_250),
            ("1795766400500", Form::EpochMs, 500),
            ("1795766399", Form::EpochS, 0),
            ("1795766430", Form::SecondsOrEpoch, 30_000),
            ("30", Form::SecondsOrEpoch, 30_000),
            ("2026-11-27T08:00:10Z", Form::Rfc3339, 10_000),
            ("2026-11-27T09:00:10+01:00", Form::Rfc3339, 10_000),
            ("2026-11-27T08:00:10.25Z", Form::Rfc3339, 10_250),
            ("2026-11-27T08:00Z", Form::Seconds, u128::MAX),
            ("Fri, 27 Nov 2026 08:00:10 GMT", Form::HttpDate, 10_000),
            ("7", Form::RetryAfter, 7_000),
            ("6m0s", Form::Duration, 360_000),
            ("12ms", Form::Duration, 12),
            ("1h2m3.5s", Form::Duration, 3_723_500),
            ("7.66s", Form::Duration, 7_660),
            ("1d", Form::Duration, 86_400_000),
        ] {
            let wanted = (wanted != u128::MAX).then_some(wanted);
            assert_eq!(millis(text, form), wanted, "{text} as {form:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_form_says_nothing() {
        let forms = [
            Form::RetryAfter,
            Form::Seconds,
            Form::Milliseconds,
            Form::Minutes,
            Form::EpochS,
            Form::EpochMs,
            Form::Rfc3339,
            Form::HttpDate,
            Form::Duration,
        ];
        for text in
            ["", "-1", "soon", "1e9", "inf", "0x1", "1..2", "s", "m5", "5s5s", "5s6m", "2026-13-01T00:00:00Z"]
        {
            for form in forms {
                assert_eq!(millis(text, form), None, "{text} as {form:?}");
            }
        }
    }

    #[test]
    fn a_long_wait_is_cut() {
        assert_eq!(millis("99999999999", Form::Seconds), Some(WAIT_MAX.as_millis()));
        assert_eq!(millis("9999-12-31T23:59:59Z", Form::Rfc3339), Some(WAIT_MAX.as_millis()));
    }
}
