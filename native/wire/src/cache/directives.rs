//! Read `Cache-Control` and the targeted fields that stand in for it.
//!
//! A directive that cannot be read counts as its strictest: a lifetime that is no number is none, and of
//! several the shortest holds (RFC 9111 §4.2.1, §5.2).

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// RFC 9111 §1.2.2: what is larger than can be held counts as this.
const SECONDS_MAX: u64 = 1 << 31;

/// The directives of one request or answer, as far as a cache acts on them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // as the RFC has them
pub struct Directives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// How stale an answer may be; the longest there is where the request names no time.
    pub max_stale: Option<Duration>,
    /// The fields that `no-cache` and `private` name: they are not kept.
    pub withheld: Vec<HeaderName>,
}

impl Directives {
    /// Those of `Cache-Control`.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in split(value.as_bytes()) {
                found.take(directive);
            }
        }
        found
    }

    /// Those of an answer: the first targeted field that is there and well formed wins over all else, `Expires`
    /// included (RFC 9213 §2.2). True where one did.
    pub fn of_answer(headers: &HeaderMap, targets: &[HeaderName]) -> (Self, bool) {
        for target in targets {
            if let Some(found) = Self::targeted(headers, target) {
                return (found, true);
            }
        }
        (Self::read(headers), false)
    }

    fn targeted(headers: &HeaderMap, target: &HeaderName) -> Option<Self> {
        let lines: Vec<&str> =
            headers.get_all(target).iter().map(|value| value.to_str().ok()).collect::<Option<_>>()?;
        let dictionary: Dictionary = Parser::new(&lines.join(", ")).parse().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut found = Self::default();
        for (key, entry) in &dictionary {
            // A directive of another type than its own is passed over (RFC 9213 §2.1).
            match entry {
                ListEntry::Item(item) => match &item.bare_item {
                    BareItem::Boolean(true) => found.set(key.as_str(), None),
                    BareItem::Integer(number) => {
                        if let Ok(seconds) = u64::try_from(i64::from(*number)) {
                            found.set_seconds(key.as_str(), Some(capped(seconds)));
                        }
                    }
                    _ => {}
                },
                ListEntry::InnerList(_) => {}
            }
        }
        Some(found)
    }

    fn take(&mut self, directive: &[u8]) {
        let text = String::from_utf8_lossy(directive);
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*text, None),
        };
        let bare = name.trim().to_ascii_lowercase();
        // Whitespace around `=` is no part of the grammar: such a number is not one.
        let spaced = name.trim_start().len() != bare.len() && value.is_some();
        let value = value.map(|value| if spaced { "" } else { unquoted(value.trim_end()) });
        self.set(&bare, value);
        let seconds = value.and_then(delta_seconds);
        self.set_seconds(&bare, seconds);
        if bare == "max-stale" && value.is_none() {
            self.max_stale = Some(Duration::from_secs(SECONDS_MAX));
        }
    }

    /// What is on or off. `no-cache` and `private` may name fields instead.
    fn set(&mut self, name: &str, value: Option<&str>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" | "private" => {
                let named = value.and_then(field_names).filter(|names| !names.is_empty());
                match (named, name) {
                    (Some(names), _) => self.withheld.extend(names),
                    (None, "private") => self.private = true,
                    (None, _) => self.no_cache = true,
                }
            }
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "no-transform" => self.no_transform = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }

    /// What is a time: a number that is none counts as no time at all.
    fn set_seconds(&mut self, name: &str, seconds: Option<Duration>) {
        let place = match name {
            "max-age" => &mut self.max_age,
            "s-maxage" => &mut self.s_maxage,
            "stale-while-revalidate" => &mut self.stale_while_revalidate,
            "stale-if-error" => &mut self.stale_if_error,
            "max-stale" => &mut self.max_stale,
            "min-fresh" => {
                self.min_fresh = self.min_fresh.max(seconds);
                return;
            }
            _ => return,
        };
        let seconds = seconds.unwrap_or_default();
        *place = Some(place.map_or(seconds, |before| before.min(seconds)));
    }
}

/// The members between commas that stand in no quoted string.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}

/// RFC 9111 §1.2.2.
pub fn delta_seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(capped(text.parse().unwrap_or(SECONDS_MAX)))
}

fn capped(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(SECONDS_MAX))
}

fn field_names(value: &str) -> Option<Vec<HeaderName>> {
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).expect("value"));
        }
        Directives::read(&headers)
    }

    fn seconds(directives: &Directives) -> Option<u64> {
        directives.max_age.map(|age| age.as_secs())
    }

    #[test]
    fn a_lifetime_is_a_number_and_nothing_near_it() {
        for (line, expected) in [
            ("max-age=3600", Some(3600)),
            ("MaX-aGe=3600", Some(3600)),
            ("max-age=003600", Some(3600)),
            ("max-age=\"3600\"", Some(3600)),
            ("foobar, max-age=3600", Some(3600)),
            ("max-age=99999999999", Some(1 << 31)),
            ("max-age=99999999999999999999999", Some(1 << 31)),
            ("max-age=-3600", Some(0)),
            ("max-age='3600'", Some(0)),
            ("max-age=3600.0", Some(0)),
            ("max-age=a3600", Some(0)),
            ("max-age =3600", Some(0)),
            ("max-age= 3600", Some(0)),
            ("max-age", Some(0)),
            ("max-age=1800, max-age=1", Some(1)),
            ("extension=\"max-age=3600\", max-age=1", Some(1)),
            ("max-age=1, extension=\"max-age=3600\"", Some(1)),
            ("extension=\"a\\\", max-age=3600\"", None),
            ("x-max-age=3600", None),
        ] {
            assert_eq!(seconds(&read(&[line])), expected, "{line}");
        }
        assert_eq!(seconds(&read(&["max-age=1800", "max-age=1"])), Some(1));
    }

    #[test]
    fn no_cache_with_names_withholds_these_fields_alone() {
        let found = read(&["no-cache=\"a, b\", max-age=5"]);
        assert!(!found.no_cache);
        assert_eq!(found.withheld, ["a", "b"]);
        assert!(read(&["no-cache=\"a b\""]).no_cache, "what cannot be read is the strict one");
        assert!(read(&["No-CaChE"]).no_cache);
        assert!(read(&["private=\"\""]).private);
    }

    #[test]
    fn a_targeted_field_counts_only_where_it_is_well_formed() {
        let target = [HeaderName::from_static("cdn-cache-control")];
        let answer = |targeted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(&target[0], HeaderValue::from_str(targeted).expect("value"));
            Directives::of_answer(&headers, &target)
        };
        assert_eq!(seconds(&answer("max-age=10").0), Some(10));
        assert!(answer("max-age=10").1 && !answer("max-age=10").0.no_store);
        for ill in ["max-age=10, &&&&&", "MaX-aGe=10", "max-age =10", ""] {
            assert!(!answer(ill).1 && answer(ill).0.no_store, "{ill}");
        }
        assert_eq!(answer("max-age=\"10\"").0.max_age, None);
        assert!(answer("private").0.private);
    }
}
