//! Say a value less exactly: a date by its month or year, an address by its network, a number with few decimals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::act::{Fresh, Unfit, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generality {
    Month,
    Year,
    /// An IPv4 address's /24, an IPv6 address's /48.
    Ip,
    /// A coordinate with so many decimals.
    Geo(u8),
}

pub fn generalise(to: Generality, value: Value<'_>) -> Result<Fresh, Unfit> {
    let unfit = match to {
        Generality::Month | Generality::Year => "is for dates like `2027-01-31` (RFC 3339)",
        Generality::Ip => "is for IP addresses",
        Generality::Geo(_) => "is for plain decimal numbers",
    };
    let fresh = match (to, value) {
        (Generality::Month, Value::Text(text)) => date(text, "2027-01".len()).map(Fresh::Text),
        (Generality::Year, Value::Text(text)) => date(text, "2027".len()).map(Fresh::Text),
        (Generality::Ip, Value::Text(text)) => network(text).map(Fresh::Text),
        (Generality::Geo(decimals), Value::Text(text)) => cut(text, decimals).map(Fresh::Text),
        (Generality::Geo(decimals), Value::Number(text)) => cut(text, decimals).map(Fresh::Number),
        _ => None,
    };
    fresh.ok_or(Unfit::Cannot(unfit))
}

/// Whether a text is a date of a day, with a time or not.
pub fn is_day(text: &str) -> bool {
    date(text, "2027-01-31".len()).is_some()
}

/// The first `kept` bytes of a date, which is one in whole: `2027`, `2027-01`, `2027-01-31`, with a time or not.
fn date(text: &str, kept: usize) -> Option<String> {
    let (day, time) = match text.split_once(['T', 't', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    if time.is_some_and(|time| !is_time(time) || day.len() != "2027-01-31".len()) {
        return None;
    }
    let mut parts = day.split('-');
    let number = |part: Option<&str>, digits: usize, most: u32| match part {
        None => Some(()),
        Some(part) if part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()) => {
            (1..=most).contains(&part.parse().ok()?).then_some(())
        }
        Some(_) => None,
    };
    parts.clone().next()?;
    number(parts.next(), 4, 9_999)?;
    number(parts.next(), 2, 12)?;
    number(parts.next(), 2, 31)?;
    (parts.next().is_none() && day.len() >= kept).then(|| day[..kept].to_owned())
}

fn is_time(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b":.,+-Zz".contains(&byte))
}

fn network(text: &str) -> Option<String> {
    Some(match text.parse().ok()? {
        IpAddr::V4(address) => v4(address).to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            let network = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
            address.to_ipv4_mapped().map_or(network, |inner| v4(inner).to_ipv6_mapped()).to_string()
        }
    })
}

fn v4(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 0)
}

/// A decimal number without the decimals beyond; not rounded, so that what is cut off cannot show.
fn cut(text: &str, decimals: u8) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || fraction.is_some_and(|fraction| !all_digits(fraction)) {
        return None;
    }
    let kept = fraction.unwrap_or_default();
    let kept = &kept[..kept.len().min(usize::from(decimals))];
    let sign = &text[..text.len() - digits.len()];
    Some(if kept.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{kept}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(to: Generality, text: &str) -> Option<String> {
        match generalise(to, Value::Text(text)) {
            Ok(Fresh::Text(text)) => Some(text),
            Ok(Fresh::Number(_)) => panic!("a number of a text"),
            Err(_) => None,
        }
    }

    #[test]
    fn a_date_is_cut_to_its_month_or_year() {
        for (text, month, year) in [
            ("1987-05-23", Some("1987-05"), Some("1987")),
            ("1987-05-23T10:00:00Z", Some("1987-05"), Some("1987")),
            ("1987-05-23 10:00:00.5+02:00", Some("1987-05"), Some("1987")),
            ("1987-05", Some("1987-05"), Some("1987")),
            ("1987", None, Some("1987")),
            ("23.05.1987", None, None),
            ("1987-13-01", None, None),
            ("1987-05-32", None, None),
            ("1987-05-23-01", None, None),
            ("1987-05-23T Jane Doe", None, None),
            ("1987T10:00", None, None),
            ("19870523", None, None),
            ("1987-5-23", None, None),
            ("", None, None),
            ("+987-05-23", None, None),
        ] {
            assert_eq!(of(Generality::Month, text).as_deref(), month, "{text}");
            assert_eq!(of(Generality::Year, text).as_deref(), year, "{text}");
        }
    }

    #[test]
    fn an_address_is_cut_to_its_network() {
        for (text, network) in [
            ("203.0.113.77", Some("203.0.113.0")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            ("::ffff:203.0.113.77", Some("::ffff:203.0.113.0")),
            ("::1", Some("::")),
            ("203.0.113.77:80", None),
            ("203.0.113", None),
            ("0313.0.113.77", None),
            ("example.com", None),
        ] {
            assert_eq!(of(Generality::Ip, text).as_deref(), network, "{text}");
        }
    }

    #[test]
    fn a_coordinate_keeps_few_decimals() {
        for (text, cut) in [
            ("52.520008", Some("52.52")),
            ("-0.1278", Some("-0.12")),
            ("13", Some("13")),
            ("13.4", Some("13.4")),
            ("1e3", None),
            ("52,5", None),
            ("52.", None),
            (".5", None),
            ("--1", None),
        ] {
            assert_eq!(of(Generality::Geo(2), text).as_deref(), cut, "{text}");
        }
        assert_eq!(generalise(Generality::Geo(0), Value::Number("-7.9")), Ok(Fresh::Number("-7".into())));
        assert!(generalise(Generality::Year, Value::Number("1987")).is_err());
    }
}
