//! Dates as HTTP writes them, read strictly: what is not one of the three forms is no date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const DAY_S: i64 = 86_400;

/// Unix seconds of an HTTP-date (RFC 9110 §5.6.7) in any of its forms; letters in any case. `now` tells which
/// century a year of two digits is in.
pub fn read(value: &HeaderValue, now: SystemTime) -> Option<i64> {
    let text = value.to_str().ok()?.to_ascii_lowercase();
    let (day, rest) = text.split_once(' ')?;
    match day.strip_suffix(',') {
        Some(day) if DAYS.contains(&day) => imf(rest),
        Some(day) if LONG_DAYS.contains(&day) => rfc850(rest, now),
        None if DAYS.contains(&day) => asctime(rest),
        _ => None,
    }
}

/// `06 Nov 1994 08:49:37 gmt`
fn imf(rest: &str) -> Option<i64> {
    let [day, month, year, time, "gmt"] = fields(rest, ' ')? else { return None };
    seconds(number(year, 4)?, month, number(day, 2)?, time)
}

/// `06-nov-94 08:49:37 gmt`
fn rfc850(rest: &str, now: SystemTime) -> Option<i64> {
    let [date, time, "gmt"] = fields(rest, ' ')? else { return None };
    let [day, month, year] = fields(date, '-')?;
    let this_year = 1970 + unix(now) / (365 * DAY_S + DAY_S / 4);
    let mut year = this_year / 100 * 100 + number(year, 2)?;
    // More than 50 years ahead means the last one with these digits.
    if year > this_year + 50 {
        year -= 100;
    }
    seconds(year, month, number(day, 2)?, time)
}

/// `nov  6 08:49:37 1994`
fn asctime(rest: &str) -> Option<i64> {
    let (month, rest) = rest.split_once(' ')?;
    let (day, rest) = match rest.strip_prefix(' ') {
        Some(rest) => rest.split_once(' ').filter(|(day, _)| day.len() == 1)?,
        None => rest.split_once(' ').filter(|(day, _)| day.len() == 2)?,
    };
    let (time, year) = rest.split_once(' ')?;
    seconds(number(year, 4)?, month, number(day, day.len())?, time)
}

fn fields<const N: usize>(text: &str, between: char) -> Option<[&str; N]> {
    let mut parts = text.split(between);
    let mut found = [""; N];
    for place in &mut found {
        *place = parts.next().filter(|part| !part.is_empty())?;
    }
    parts.next().is_none().then_some(found)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn seconds(year: i64, month: &str, day: i64, time: &str) -> Option<i64> {
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let [hour, minute, second] = fields(time, ':')?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    // A leap second counts as the one before it.
    (day >= 1 && day <= days_in(year, month) && hour < 24 && minute < 60 && second <= 60)
        .then(|| days_since_epoch(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second.min(59))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar from 1970-01-01; the year is counted from March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The time between two dates; none where the second is not later.
pub fn between(from: i64, to: i64) -> Duration {
    Duration::from_secs(u64::try_from(to.saturating_sub(from)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_2026(text: &str) -> Option<i64> {
        read(&HeaderValue::from_str(text).expect("value"), UNIX_EPOCH + Duration::from_secs(1_795_000_000))
    }

    #[test]
    fn the_three_forms_of_a_date_are_read_in_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gMT",
        ] {
            assert_eq!(read_in_2026(text), Some(784_111_777), "{text}");
        }
        assert_eq!(read_in_2026("Thursday, 18-Aug-50 02:01:18 GMT"), Some(2_544_400_878));
        assert_eq!(read_in_2026("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 30 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 2050 02:01:18 GMT x",
        ] {
            assert_eq!(read_in_2026(text), None, "{text}");
        }
    }
}
