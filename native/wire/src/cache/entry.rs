//! One stored answer: what it says, how old it is, and until when it may be given as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED,
};
use http::{StatusCode, response};

use crate::cache::date;
use crate::cache::directives::{Directives, delta_seconds};
use crate::cache::key::Key;
use crate::cache::rules::Rules;

/// A guessed lifetime is a tenth of the time since the last change, and no more than this (RFC 9111 §4.2.2).
const GUESSED_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Statuses for which a lifetime may be guessed (RFC 9110 §15.1), of those that are stored at all.
const GUESSABLE: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// When a request went out and its answer came: what an age is counted by.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub sent: Instant,
    pub received: Instant,
    pub received_at: SystemTime,
}

/// How an answer may be used, read from its fields and the operation's rules.
#[derive(Debug, Clone)]
pub struct Terms {
    pub lifetime: Duration,
    pub initial_age: Duration,
    pub sent: Instant,
    pub since: Instant,
    /// Never without asking the provider.
    pub no_cache: bool,
    pub no_transform: bool,
    pub while_revalidate: Duration,
    pub if_error: Duration,
    pub on_throttle: Duration,
    pub max_stale: Duration,
}

/// To whom an entry belongs and what it answers: by this it is found again to be purged.
#[derive(Debug, Clone)]
pub struct Label {
    /// Under which it is stored.
    pub key: Key,
    /// The key before `Vary` is looked at.
    pub primary: Key,
    /// None: shared by all clients.
    pub client: Option<Arc<str>>,
    pub provider: Arc<str>,
    pub operation: Arc<str>,
    /// What it can be invalidated by: its URI, its connection, its groups (see `stamps`).
    pub places: Box<[u64]>,
}

/// How much of the store one client has.
#[derive(Debug, Default)]
pub struct Account {
    pub bytes: AtomicU64,
    pub entries: AtomicU64,
}

#[derive(Debug)]
pub struct Entry {
    pub status: StatusCode,
    /// As the provider sent them, cleaned; references are not yet turned round.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub vary: Box<[HeaderName]>,
    pub terms: Terms,
    pub label: Label,
    account: Arc<Account>,
    weight: u64,
}

/// What an entry takes besides its own bytes.
const OVERHEAD: usize = 640;

impl Entry {
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        vary: Box<[HeaderName]>,
        terms: Terms,
        label: Label,
        account: Arc<Account>,
    ) -> Self {
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let weight = (OVERHEAD + fields + body.len()) as u64;
        account.bytes.fetch_add(weight, Ordering::Relaxed);
        account.entries.fetch_add(1, Ordering::Relaxed);
        Self { status, headers, body, vary, terms, label, account, weight }
    }

    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn age(&self, now: Instant) -> Duration {
        self.terms.initial_age + now.saturating_duration_since(self.terms.since)
    }

    /// How long it is still fresh, or by how much it is stale.
    pub fn left(&self, now: Instant) -> Left {
        let age = self.age(now);
        match self.terms.lifetime.checked_sub(age) {
            Some(left) if !left.is_zero() => Left::Fresh(left),
            _ => Left::Stale(age.saturating_sub(self.terms.lifetime)),
        }
    }

    pub fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    pub fn last_modified(&self) -> Option<&HeaderValue> {
        self.headers.get(LAST_MODIFIED)
    }

    pub fn has_validator(&self) -> bool {
        self.etag().is_some() || self.last_modified().is_some()
    }

    /// The same answer with the fields of a newer one about it: of a 304, or of a HEAD (RFC 9111 §3.2, §4.3.4).
    #[must_use]
    pub fn freshened(&self, newer: &HeaderMap, rules: &Rules, exchange: Exchange) -> Self {
        let mut headers = self.headers.clone();
        for name in newer.keys().filter(|name| !describes_the_body(name)) {
            headers.remove(name);
        }
        for (name, value) in newer.iter().filter(|(name, _)| !describes_the_body(name)) {
            headers.append(name.clone(), value.clone());
        }
        let terms = Terms::read(self.status, &headers, rules, exchange);
        headers.remove(AGE);
        Self::new(
            self.status,
            headers,
            self.body.clone(),
            self.vary.clone(),
            terms,
            self.label.clone(),
            Arc::clone(&self.account),
        )
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.weight, Ordering::Relaxed);
        self.account.entries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fields that are of the bytes that are stored, and not of those that a 304 would have had.
fn describes_the_body(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE].contains(name)
}

/// What is left of an answer's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Fresh(Duration),
    Stale(Duration),
}

impl Terms {
    pub fn read(status: StatusCode, headers: &HeaderMap, rules: &Rules, exchange: Exchange) -> Self {
        let (directives, targeted) = Directives::of_answer(headers, &rules.targeted);
        let lifetime = lifetime(status, headers, &directives, targeted, rules, exchange);
        // RFC 5861 yields to what demands validation; for a shared cache `s-maxage` does (RFC 9111 §5.2.2.10).
        let strict = directives.no_cache
            || directives.must_revalidate
            || rules.is_shared() && (directives.proxy_revalidate || directives.s_maxage.is_some());
        let unless_strict = |time: Duration| if strict { Duration::ZERO } else { time };
        Self {
            lifetime,
            initial_age: initial_age(headers, exchange),
            sent: exchange.sent,
            since: exchange.received,
            no_cache: directives.no_cache,
            no_transform: directives.no_transform,
            while_revalidate: unless_strict(
                directives.stale_while_revalidate.unwrap_or_default().max(rules.stale_while_revalidate),
            ),
            if_error: unless_strict(directives.stale_if_error.unwrap_or_default().max(rules.stale_if_error)),
            on_throttle: unless_strict(rules.stale_on_throttle),
            max_stale: unless_strict(rules.max_stale),
        }
    }

    /// Whether it can ever be given once it is stale, and not only be asked after.
    pub fn outlives_its_end(&self) -> bool {
        !(self.while_revalidate.max(self.if_error).max(self.on_throttle).max(self.max_stale)).is_zero()
    }
}

/// Whether the answer says itself how long it is fresh.
pub fn says_its_lifetime(directives: &Directives, headers: &HeaderMap, targeted: bool, shared: bool) -> bool {
    directives.max_age.is_some()
        || shared && directives.s_maxage.is_some()
        || !targeted && headers.contains_key(EXPIRES)
}

/// RFC 9111 §4.2.1.
fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    targeted: bool,
    rules: &Rules,
    exchange: Exchange,
) -> Duration {
    if let Some(lifetime) = directives.s_maxage.filter(|_| rules.is_shared()).or(directives.max_age) {
        return lifetime;
    }
    let now = exchange.received_at;
    let date = headers.get(DATE).and_then(|value| date::read(value, now)).unwrap_or_else(|| date::unix(now));
    if !targeted && headers.contains_key(EXPIRES) {
        let mut lines = headers.get_all(EXPIRES).iter();
        return match (lines.next().and_then(|value| date::read(value, now)), lines.next()) {
            (Some(expires), None) => date::between(date, expires),
            _ => Duration::ZERO,
        };
    }
    if !rules.ttl.is_zero() {
        return rules.ttl;
    }
    let guessable = GUESSABLE.contains(&status.as_u16()) || directives.public;
    if rules.heuristic
        && guessable
        && let Some(changed) = headers.get(LAST_MODIFIED).and_then(|value| date::read(value, now))
    {
        return (date::between(changed, date) / 10).min(GUESSED_MAX);
    }
    Duration::ZERO
}

/// RFC 9111 §4.2.3.
fn initial_age(headers: &HeaderMap, exchange: Exchange) -> Duration {
    // The first member of the first line; what is no number is no age (§5.1).
    let said = headers.get(AGE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|text| delta_seconds(text.split(',').next().unwrap_or_default().trim()));
    let delay = exchange.received.saturating_duration_since(exchange.sent);
    let now = exchange.received_at;
    let date = headers.get(DATE).and_then(|value| date::read(value, now));
    let apparent = date.map(|date| date::between(date, date::unix(now))).unwrap_or_default();
    apparent.max(said.unwrap_or_default() + delay)
}

/// A list of names (RFC 9875): none where it is not well formed; at most 32, of at most 64 characters.
pub fn groups(headers: &HeaderMap, field: &'static str) -> Box<[Box<str>]> {
    let lines: Option<Vec<&str>> = headers.get_all(field).iter().map(|value| value.to_str().ok()).collect();
    let lines = lines.unwrap_or_default();
    if lines.is_empty() {
        return Box::default();
    }
    let parsed = sfv::Parser::new(&lines.join(", ")).parse::<sfv::List>();
    let named = parsed.unwrap_or_default().into_iter().filter_map(|member| match member {
        sfv::ListEntry::Item(item) => match item.bare_item {
            sfv::BareItem::String(name) if name.as_str().len() <= 64 => Some(name.as_str().into()),
            _ => None,
        },
        sfv::ListEntry::InnerList(_) => None,
    });
    named.take(32).collect()
}

/// Put the time of arrival where the provider wrote none (RFC 9110 §6.6.1).
pub fn date_it(parts: &mut response::Parts, received_at: SystemTime) {
    if !parts.headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(received_at);
        if let Ok(value) = HeaderValue::from_str(&now) {
            parts.headers.insert(DATE, value);
        }
    }
}
