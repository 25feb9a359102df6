//! Read what a provider says of its limits, in whichever way it says it.
//!
//! Part of `respond`. A dialect is data in the snapshot: where an answer has how much there is, how much is
//! left and until when, and by what it shows that a call was refused for a limit. What cannot be read says
//! nothing; a provider's word can slow calls down and never let more through.

mod ietf;
mod listening;
mod place;
mod value;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

pub use listening::Listening;
use place::Place;
use value::{Form, count, pair, wait};

use crate::reserve::signal::Signal;

/// A body is read up to this size, decoded: what says more is not read.
pub const BODY_MAX: usize = 64 << 10;
/// An answer speaks of at most so many quotas.
const SIGNALS_MAX: usize = 32;

/// How one provider speaks of its limits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Dialect {
    budgets: Vec<Budget>,
    /// Where an answer says when to come again; the first that does counts.
    waits: Vec<Timed>,
    /// Any one of these: the call was refused for a limit.
    throttled: Vec<Sign>,
    /// Any one of these: it was not, whatever the others say.
    unless: Vec<Sign>,
    /// `RateLimit` and `RateLimit-Policy` as structured fields.
    ietf: bool,
    /// Fields that tell of others' calls: they go no further.
    #[serde(deserialize_with = "header_names")]
    hidden: Vec<HeaderName>,
}

/// One quota that answers speak of. What is absent is not said.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Budget {
    scope: Option<Arc<str>>,
    scope_at: Option<Place>,
    limit: Option<Place>,
    remaining: Option<Place>,
    used: Option<Place>,
    /// `used/limit` in one text.
    used_of_limit: Option<Place>,
    /// Percent of it that is used; the highest of these counts.
    percent: Vec<Place>,
    reset: Option<Timed>,
    cost: Option<Place>,
}

/// A place that says a time, in one of these forms.
#[derive(Debug, Deserialize)]
struct Timed {
    at: Place,
    forms: Vec<Form>,
}

/// What an answer looks like; all that is given must be so.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sign {
    /// One of these; empty: any.
    status: Vec<u16>,
    /// Something stands there.
    at: Option<Place>,
    /// What stands there is one of these.
    equals: Vec<String>,
    /// What stands there, or without a place the body, has one of these in it. Small letters.
    has: Vec<String>,
    /// How long to stay away where the answer does not say. Milliseconds.
    wait_ms: Option<u64>,
    scope: Option<Arc<str>>,
    scope_at: Option<Place>,
}

/// What is known of an answer: its head, and later its body.
#[derive(Clone, Copy)]
pub struct Heard<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub body: Option<&'a [u8]>,
    /// When the head came.
    pub now: SystemTime,
}

/// The same with its body parsed.
struct Read<'a> {
    heard: Heard<'a>,
    json: Option<Value>,
    /// What times count from: the provider's own clock where it shows it.
    now: SystemTime,
}

impl Dialect {
    pub fn hidden(&self) -> &[HeaderName] {
        &self.hidden
    }

    /// Whether the body may say more than the head of this answer does.
    pub fn listens(&self, status: StatusCode) -> bool {
        let signs = self.throttled.iter().chain(&self.unless);
        signs.filter(|sign| sign.fits(status)).any(Sign::needs_body)
            || self.budgets.iter().any(Budget::needs_body)
            || self.waits.iter().any(|wait| wait.at.is_body()) && !status.is_success()
    }

    pub fn read(&self, heard: Heard<'_>) -> Vec<Signal> {
        let read = Read::of(heard);
        let mut signals: Vec<Signal> = self.budgets.iter().filter_map(|budget| budget.read(&read)).collect();
        if self.ietf {
            signals.extend(ietf::read(heard.headers));
        }
        signals.truncate(SIGNALS_MAX);
        if let Some(sign) = self.sign_of_refusal(&read) {
            let signal = self.refusal(sign, &read, &signals);
            signals.push(signal);
        }
        signals
    }

    /// Whether the call was refused for a limit, whichever, as far as the head tells.
    fn refuses_by_head(&self, head: Heard<'_>) -> bool {
        let read = Read::of(head);
        let taken_back = |sign: &Sign| sign.fits(head.status) && sign.needs_body() || sign.is_seen(&read);
        !self.unless.iter().any(taken_back) && self.throttled.iter().any(|sign| sign.is_seen(&read))
    }

    fn sign_of_refusal(&self, read: &Read<'_>) -> Option<&Sign> {
        let unread =
            |sign: &Sign| read.heard.body.is_none() && sign.fits(read.heard.status) && sign.needs_body();
        // What the body may yet take back is not said before it is there.
        if self.unless.iter().any(|sign| unread(sign) || sign.is_seen(read)) {
            return None;
        }
        // The first sign counts, which the body may yet show.
        self.throttled.iter().find(|sign| unread(sign) || sign.is_seen(read)).filter(|sign| !unread(sign))
    }

    /// When to come again: what the answer says, else the reset of what is used up, else the rule of thumb.
    fn refusal(&self, sign: &Sign, read: &Read<'_>, signals: &[Signal]) -> Signal {
        let mut used_up = signals.iter().filter(|signal| signal.remaining == Some(0));
        let (first, others) = (used_up.next(), used_up.next());
        let said = self.waits.iter().find_map(|timed| timed.read(read));
        let reset =
            || signals.iter().filter(|signal| signal.remaining == Some(0)).filter_map(|s| s.reset).max();
        let scope = scope(sign.scope.as_ref(), sign.scope_at.as_ref(), read);
        Signal {
            // One quota that is used up is the one that was meant.
            scope: scope.or_else(|| first.filter(|_| others.is_none())?.scope.clone()),
            retry_after: said.or_else(reset).or_else(|| sign.wait_ms.map(Duration::from_millis)),
            throttled: true,
            ..Signal::default()
        }
    }
}

impl<'a> Read<'a> {
    fn of(heard: Heard<'a>) -> Self {
        let own_clock =
            heard.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let json = heard
            .body
            .filter(|body| body.len() <= BODY_MAX)
            .and_then(|body| serde_json::from_slice(body).ok());
        Self { heard, json, now: own_clock.unwrap_or(heard.now) }
    }
}

impl Budget {
    fn needs_body(&self) -> bool {
        let places = [&self.limit, &self.remaining, &self.used, &self.used_of_limit, &self.cost];
        places.into_iter().flatten().chain(&self.percent).any(Place::is_body)
    }

    fn read(&self, read: &Read<'_>) -> Option<Signal> {
        let at = |place: &Option<Place>| count(&place.as_ref()?.text(read)?);
        let (mut limit, mut used) = (at(&self.limit), at(&self.used));
        let mut remaining = at(&self.remaining);
        if let Some((first, second)) = self.used_of_limit.as_ref().and_then(|place| pair(&place.text(read)?))
        {
            (used, limit) = (Some(first), Some(second));
        }
        if let Some(percent) = self.percent.iter().filter_map(|place| place.numbers(read).max()).max() {
            (used, limit) = (Some(percent), Some(100));
        }
        // A limit of nothing, or a remainder of less, is what some say where they count nothing.
        if limit == Some(0) {
            return None;
        }
        remaining = remaining.or_else(|| Some(limit?.saturating_sub(used?)));
        let cost = at(&self.cost);
        let reset = self.reset.as_ref().and_then(|timed| timed.read(read));
        if remaining.is_none() && limit.is_none() && cost.is_none() {
            return None;
        }
        let scope = scope(self.scope.as_ref(), self.scope_at.as_ref(), read);
        let percent = !self.percent.is_empty();
        Some(Signal { scope, limit, remaining, reset, percent, cost, ..Signal::default() })
    }
}

impl Timed {
    fn read(&self, read: &Read<'_>) -> Option<Duration> {
        let text = self.at.text(read)?;
        self.forms.iter().find_map(|form| wait(&text, *form, read.now))
    }
}

impl Sign {
    fn fits(&self, status: StatusCode) -> bool {
        self.status.is_empty() || self.status.contains(&status.as_u16())
    }

    fn needs_body(&self) -> bool {
        let by_text = self.at.is_none() && !self.has.is_empty();
        by_text
            || self.at.as_ref().is_some_and(Place::is_body)
            || self.scope_at.as_ref().is_some_and(Place::is_body)
    }

    fn is_seen(&self, read: &Read<'_>) -> bool {
        if !self.fits(read.heard.status) {
            return false;
        }
        let Some(place) = &self.at else {
            return self.has.is_empty() || read.heard.body.is_some_and(|body| self.is_within(body));
        };
        let mut texts = place.texts(read).peekable();
        if self.equals.is_empty() && self.has.is_empty() {
            return texts.peek().is_some();
        }
        texts.any(|text| self.equals.iter().any(|wanted| *wanted == *text) || self.is_within(text.as_bytes()))
    }

    fn is_within(&self, text: &[u8]) -> bool {
        let text = &text[..text.len().min(BODY_MAX)].to_ascii_lowercase();
        self.has.iter().any(|wanted| memchr::memmem::find(text, wanted.as_bytes()).is_some())
    }
}

/// So long is the name of a quota, in bytes.
const NAME_MAX: usize = 64;

/// A name for a quota, of a length that is one.
fn scope(fixed: Option<&Arc<str>>, place: Option<&Place>, read: &Read<'_>) -> Option<Arc<str>> {
    let told = place.and_then(|place| place.text(read));
    let told = told.filter(|name| !name.is_empty() && name.len() <= NAME_MAX && name.is_ascii());
    told.map(|name| Arc::from(&*name)).or_else(|| fixed.cloned())
}

/// What an answer says of its provider's limits: by its dialect, or where it has none by the standard.
pub fn hear(dialect: Option<&Dialect>, heard: Heard<'_>) -> Vec<Signal> {
    match dialect {
        Some(dialect) => dialect.read(heard),
        None => Signal::standard(heard.status, heard.headers, heard.now).into_iter().collect(),
    }
}

/// Whether an answer is a refusal for a limit, as far as its head tells.
pub fn refuses(dialect: Option<&Dialect>, head: Heard<'_>) -> bool {
    match dialect {
        Some(dialect) => dialect.refuses_by_head(head),
        None => head.status == StatusCode::TOO_MANY_REQUESTS,
    }
}

/// What a dialect makes of an answer, as JSON: what is not said is left out; times are in milliseconds.
pub fn heard_as_json(
    dialect: &str,
    status: u16,
    headers: &[(String, String)],
    body: Option<&[u8]>,
    now: SystemTime,
) -> Result<String, serde_json::Error> {
    let dialect: Dialect = serde_json::from_str(dialect)?;
    let status = StatusCode::from_u16(status).map_err(serde::de::Error::custom)?;
    let field = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    let fields = headers.iter().map(field).collect::<Option<HeaderMap>>();
    let headers = fields.ok_or_else(|| serde::de::Error::custom("a field is none of HTTP"))?;
    let signals = dialect.read(Heard { status, headers: &headers, body, now });
    let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
    let told = signals.iter().map(|signal| {
        let mut told = serde_json::json!({
            "scope": signal.scope.as_deref(),
            "limit": signal.limit,
            "remaining": signal.remaining,
            "reset_ms": millis(signal.reset),
            "retry_after_ms": millis(signal.retry_after),
            "percent": signal.percent.then_some(true),
            "cost": signal.cost,
            "throttled": signal.throttled.then_some(true),
        });
        if let Value::Object(members) = &mut told {
            members.retain(|_, value| !value.is_null());
        }
        told
    });
    serde_json::to_string(&told.collect::<Vec<_>>())
}

fn header_names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let read = |name: String| HeaderName::from_bytes(name.as_bytes()).map_err(serde::de::Error::custom);
    names.into_iter().map(read).collect()
}
