//! What is to be done with the provider's answer to one call: confirm what was stored, store it, stand in for
//! it, or note that something has changed.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_LOCATION, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version, response};
use url::Url;

use crate::cache::asked::{
    Asked, Keying, Principal, is_safe, place_of_connection, place_of_group, place_of_uri,
};
use crate::cache::directives::Directives;
use crate::cache::entry::{Entry, Exchange, Label, Terms, date_it, groups};
use crate::cache::flight::{Landing, Lead, Watch};
use crate::cache::key::Key;
use crate::cache::rules::{Rules, Sharing};
use crate::cache::search::SearchRule;
use crate::cache::status::{Forward, Said, Way};
use crate::cache::storable::{Seen, judge};
use crate::cache::{Answer, Cache, is_failure, say, stands_in, stored, vary};
use crate::error::{Code, Refusal};
use crate::origin::Origin;
use crate::snapshot::Provider;

/// A call on its way to the provider, as the cache sees it.
pub struct Storing {
    rules: Arc<Rules>,
    /// None where nothing is looked up or stored for the call.
    keyed: Option<Keyed>,
    method: Method,
    origin: Origin,
    path: String,
    query: Option<String>,
    /// As it went out, without the credential.
    headers: HeaderMap,
    whose: Principal,
    operation: Arc<str>,
    forward: Forward,
    seen: Seen,
    references: Vec<HeaderValue>,
    sent: Instant,
    received: Option<(Instant, SystemTime)>,
}

struct Keyed {
    /// Where the provider may rule over its queries.
    keying: Option<Keying>,
    key: Key,
    /// What is stored and cannot be given without asking.
    before: Option<Arc<Entry>>,
    /// The provider was asked whether that still holds.
    asked_after: bool,
    lead: Option<Lead>,
}

/// What came of it.
pub enum Settled {
    /// Give this instead of the provider's answer.
    Answer(Box<Answer>),
    /// Pass the provider's answer on, and store it as it passes.
    Keep(Box<Keeping>, Way),
    Pass(Way),
}

/// An answer that is to be stored, or handed to those who wait, when it is whole.
pub struct Keeping {
    cache: Arc<Cache>,
    primary: Key,
    search: Option<(Key, SearchRule)>,
    head: Option<Head>,
    lead: Option<Lead>,
    /// For those who wait alone.
    unstored: bool,
    /// It may be found by other gateways.
    shares: bool,
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    vary: Box<[http::HeaderName]>,
    terms: Terms,
    label: Label,
}

impl Storing {
    /// A call for which nothing is looked up or stored.
    pub fn passing(asked: &Asked<'_>, forward: Forward) -> Self {
        Self {
            rules: Arc::clone(asked.rules),
            keyed: None,
            method: asked.method.clone(),
            origin: asked.origin.clone(),
            path: asked.path.to_owned(),
            query: asked.query.map(str::to_owned),
            headers: asked.headers.clone(),
            whose: asked.whose.clone(),
            operation: Arc::clone(asked.operation),
            forward,
            seen: Seen { authorised: asked.whose.credential.is_some(), ..Seen::default() },
            references: Vec::new(),
            sent: Instant::now(),
            received: None,
        }
    }

    pub fn new(
        asked: &Asked<'_>,
        keying: &Keying,
        key: Key,
        before: Option<Arc<Entry>>,
        forward: Forward,
        lead: Option<Lead>,
    ) -> Self {
        let keying = asked.rules.no_vary_search.then(|| keying.clone());
        let keyed = Keyed { keying, key, before, asked_after: false, lead };
        Self { keyed: Some(keyed), ..Self::passing(asked, forward) }
    }

    pub fn awaited(&self) -> Option<Watch> {
        self.keyed.as_ref().and_then(|keyed| keyed.lead.as_ref()).map(Lead::watch)
    }

    /// Asks for the whole answer, whatever of it a consumer has.
    #[must_use]
    pub fn unconditional(mut self) -> Self {
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
            self.headers.remove(name);
        }
        self
    }

    /// Whether others wait for the answer.
    fn is_awaited(&self) -> bool {
        self.keyed.as_ref().and_then(|keyed| keyed.lead.as_ref()).is_some_and(Lead::has_followers)
    }

    /// The request is about to go: ask whether what is stored still holds (RFC 9111 §4.3.1).
    pub fn ask(&mut self, headers: &mut HeaderMap) {
        self.sent = Instant::now();
        let Some(keyed) = &mut self.keyed else { return };
        let Some(before) = &keyed.before else { return };
        if self.headers.contains_key(RANGE) || !before.has_validator() || self.method == Method::POST {
            return;
        }
        if self.method == Method::HEAD {
            return;
        }
        keyed.asked_after = true;
        if let Some(tag) = before.etag() {
            // The consumer's own stay: the provider may know one of them.
            let own = self.headers.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
            let all: Vec<&[u8]> = std::iter::once(tag.as_bytes())
                .chain(own.filter(|line| *line != b"*" && *line != tag.as_bytes()))
                .collect();
            if let Ok(value) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
                headers.insert(IF_NONE_MATCH, value);
            }
        } else {
            headers.remove(IF_NONE_MATCH);
        }
        match before.last_modified() {
            Some(date) => headers.insert(IF_MODIFIED_SINCE, date.clone()),
            None => headers.remove(IF_MODIFIED_SINCE),
        };
    }

    /// The head of the answer is here, as the provider sent it.
    pub fn see(&mut self, parts: &response::Parts) {
        self.received = Some((Instant::now(), SystemTime::now()));
        self.seen.cookie = parts.headers.contains_key(SET_COOKIE);
        let bodyless = self.method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.seen.endless = parts.version != Version::HTTP_2
            && !bodyless
            && !parts.headers.contains_key(CONTENT_LENGTH)
            && !parts.headers.contains_key(TRANSFER_ENCODING);
        self.references = [LOCATION, CONTENT_LOCATION]
            .iter()
            .flat_map(|name| parts.headers.get_all(name).iter().cloned())
            .collect();
    }

    /// The provider could not be asked: what is stored may stand in for it.
    pub fn fail(mut self, refusal: &Refusal) -> Option<Box<Answer>> {
        let stands = self.keyed.as_ref().and_then(|keyed| keyed.before.clone()).filter(|before| {
            let allowed = match refusal.code {
                Code::ProviderUnreachable
                | Code::ProviderTimeout
                | Code::CircuitOpen
                | Code::ResponseRejected => before.terms.if_error,
                Code::QuotaExceeded | Code::QueueTimeout => before.terms.on_throttle,
                _ => return false,
            };
            stands_in(before, allowed)
        });
        if let Some(before) = stands {
            let detail = match refusal.code {
                Code::ProviderTimeout | Code::ProviderUnreachable | Code::ResponseRejected => "stale-error",
                Code::QuotaExceeded | Code::QueueTimeout => "stale-throttled",
                _ => "stale-unavailable",
            };
            self.land(|| Landing::Answer(Arc::clone(&before)));
            return Some(Box::new(self.stale(&before, None, detail)));
        }
        self.land(|| {
            if holds_for_all(refusal.code) { Landing::Refused(refusal.clone()) } else { Landing::Gone }
        });
        None
    }

    /// Decide, from the cleaned head of the answer.
    pub fn settle(mut self, cache: &Arc<Cache>, provider: &Provider, parts: &mut response::Parts) -> Settled {
        let status = parts.status;
        if status == StatusCode::UNAUTHORIZED
            && let Some((connection, _)) = &self.whose.connection
        {
            cache.connection_refused(connection);
        }
        if !is_safe(&self.rules, &self.method) && (200..400).contains(&status.as_u16()) {
            self.invalidate(cache, provider, &parts.headers);
        }
        let Some(keyed) = &self.keyed else {
            say(&mut parts.headers, &self.said(status));
            return Settled::Pass(Way::Pass);
        };
        if let Some(before) = keyed.before.clone() {
            if status == StatusCode::NOT_MODIFIED && keyed.asked_after && confirms(&parts.headers, &before) {
                return self.confirm(cache, &before, &parts.headers);
            }
            if is_failure(status) && stands_in(&before, before.terms.if_error) {
                self.land(|| Landing::Answer(Arc::clone(&before)));
                return Settled::Answer(Box::new(self.stale(&before, Some(status), "stale-error")));
            }
            if status == StatusCode::TOO_MANY_REQUESTS && stands_in(&before, before.terms.on_throttle) {
                self.land(|| Landing::Answer(Arc::clone(&before)));
                return Settled::Answer(Box::new(self.stale(&before, Some(status), "stale-throttled")));
            }
            if self.method == Method::HEAD && status == StatusCode::OK {
                self.note_head(cache, &before, &parts.headers);
            }
        }
        self.keep(cache, provider, parts)
    }

    fn keep(mut self, cache: &Arc<Cache>, provider: &Provider, parts: &mut response::Parts) -> Settled {
        let status = parts.status;
        let mut said = self.said(status);
        let exchange = self.exchange();
        let judged = if self.method == Method::HEAD || self.headers.contains_key(RANGE) {
            Err("partial")
        } else if Directives::read(&self.headers).no_store {
            Err("no-store")
        } else {
            judge(status, &parts.headers, self.seen, &self.rules)
        };
        let length =
            parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let judged = match judged {
            Ok(_) if length.is_some_and(|length| length > cache.store.bounds.answer_bytes) => {
                Err("too-large")
            }
            judged => judged,
        };
        let failed = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let (vary, unstored) = match judged {
            Ok(vary) => (vary, false),
            // One refusal is enough for all who wait: asked again by each, the provider would not recover.
            Err(reason) if failed && self.is_awaited() && !self.seen.endless && !self.seen.cookie => {
                said.detail = Some(reason);
                (vary::names(&parts.headers).unwrap_or_default(), true)
            }
            Err(reason) => {
                said.detail = Some(reason);
                self.land(|| Landing::Pass);
                say(&mut parts.headers, &said);
                return Settled::Pass(Way::Pass);
            }
        };
        date_it(parts, exchange.received_at);
        let mut terms = Terms::read(status, &parts.headers, &self.rules, exchange);
        let Some(mut keyed) = self.keyed.take() else { return Settled::Pass(Way::Pass) };
        let mut headers = parts.headers.clone();
        headers.remove(AGE);
        for name in Directives::of_answer(&headers, &self.rules.targeted).0.withheld {
            headers.remove(name);
        }
        let stale_already = terms.no_cache || terms.lifetime <= terms.initial_age;
        let useful = !stale_already
            || headers.contains_key(ETAG)
            || headers.contains_key(LAST_MODIFIED)
            || terms.outlives_its_end();
        if !unstored && !useful {
            said.detail = Some("no-lifetime");
            if let Some(lead) = keyed.lead.take() {
                lead.land(Landing::Pass);
            }
            say(&mut parts.headers, &said);
            return Settled::Pass(Way::Pass);
        }
        // What must be asked after each time is not for those who wait: they ask by themselves, at once.
        if !unstored
            && stale_already
            && let Some(lead) = keyed.lead.take()
        {
            lead.land(Landing::Pass);
        }
        if unstored {
            terms.lifetime = terms.initial_age;
        }
        let search = keyed.keying.as_ref().and_then(|keying| Some((keying, SearchRule::said(&headers)?)));
        let primary = search.as_ref().map_or(keyed.key, |(keying, rule)| keying.key_by(rule));
        let key = if vary.is_empty() { primary } else { vary::variant(&primary, &vary, &self.headers) };
        let label = Label {
            key,
            primary,
            client: (!self.rules.is_shared()).then(|| Arc::clone(&self.whose.client)),
            provider: Arc::clone(&self.whose.provider),
            operation: Arc::clone(&self.operation),
            places: self.places(provider, &headers),
        };
        said.stored = !unstored;
        say(&mut parts.headers, &said);
        let keeping = Keeping {
            cache: Arc::clone(cache),
            primary,
            search: search.map(|(keying, rule)| (keying.search_key(), rule)),
            head: Some(Head { status, headers, vary, terms, label }),
            lead: keyed.lead.take(),
            unstored,
            shares: self.rules.mode != Sharing::Credential,
        };
        Settled::Keep(Box::new(keeping), if unstored { Way::Pass } else { Way::Miss })
    }

    /// What was stored holds: it gets the newer fields and is given (RFC 9111 §4.3.3, §4.3.4).
    fn confirm(mut self, cache: &Arc<Cache>, before: &Arc<Entry>, newer: &HeaderMap) -> Settled {
        let entry = Arc::new(before.freshened(newer, &self.rules, self.exchange()));
        let mut said = self.said(StatusCode::NOT_MODIFIED);
        if judge(entry.status, &entry.headers, Seen { cookie: false, ..self.seen }, &self.rules).is_ok() {
            self.put(cache, &entry);
            said.stored = true;
        } else {
            cache.remove(&entry);
        }
        let reusable = !entry.terms.no_cache && entry.terms.lifetime > entry.terms.initial_age;
        self.land(|| if reusable { Landing::Answer(Arc::clone(&entry)) } else { Landing::Pass });
        Settled::Answer(Box::new(stored(&entry, &self.method, &self.headers, Way::Revalidated, &said)))
    }

    /// A HEAD says what a GET would have said: the stored answer is the newer for it, or the older (§4.3.5).
    fn note_head(&self, cache: &Arc<Cache>, before: &Arc<Entry>, newer: &HeaderMap) {
        let same = |name| newer.get(&name).is_none_or(|value| before.headers.get(&name) == Some(value));
        if same(ETAG) && same(LAST_MODIFIED) && same(CONTENT_LENGTH) {
            self.put(cache, &Arc::new(before.freshened(newer, &self.rules, self.exchange())));
        } else {
            cache.remove(before);
        }
    }

    fn put(&self, cache: &Arc<Cache>, entry: &Arc<Entry>) {
        let Some(keyed) = &self.keyed else { return };
        cache.keep(keyed.key, Arc::clone(entry), self.rules.mode != Sharing::Credential);
    }

    /// RFC 9111 §4.4: the URI, and those that the answer names on the same origin; RFC 9875: groups.
    fn invalidate(&self, cache: &Cache, provider: &Provider, answer: &HeaderMap) {
        let now = Instant::now();
        let place = |path: &str, query: Option<&str>| {
            place_of_uri(provider, &self.whose, &self.headers, &self.origin, path, query)
        };
        let here = place(&self.path, self.query.as_deref());
        let base = Url::parse(&format!("{}{}", self.origin, self.path)).ok();
        let named = self.references.iter().filter_map(|reference| {
            let url = base.as_ref()?.join(reference.to_str().ok()?).ok()?;
            let origin: Origin = url.origin().ascii_serialization().parse().ok()?;
            (origin == self.origin).then(|| place(url.path(), url.query())).flatten()
        });
        for place in here.into_iter().chain(named) {
            cache.changed(place, now);
        }
        for group in groups(answer, "cache-group-invalidation") {
            for rules in provider.operations.iter().filter_map(|operation| operation.cache.as_ref()) {
                let place = place_of_group(rules, &self.whose, &self.headers, &self.origin, &group);
                if let Some(place) = place {
                    cache.changed(place, now);
                }
            }
        }
    }

    fn places(&self, provider: &Provider, headers: &HeaderMap) -> Box<[u64]> {
        let uri = place_of_uri(
            provider,
            &self.whose,
            &self.headers,
            &self.origin,
            &self.path,
            self.query.as_deref(),
        );
        let connection = self.whose.connection.as_ref().filter(|_| !self.rules.is_shared());
        let groups = groups(headers, "cache-groups");
        let groups = groups
            .iter()
            .filter_map(|group| place_of_group(&self.rules, &self.whose, &self.headers, &self.origin, group));
        uri.into_iter().chain(connection.map(|(id, _)| place_of_connection(id))).chain(groups).collect()
    }

    fn stale(&self, before: &Entry, status: Option<StatusCode>, detail: &'static str) -> Answer {
        let said = Said { hit: true, status, detail: Some(detail), ..Said::default() };
        stored(before, &self.method, &self.headers, Way::Stale, &said)
    }

    fn said(&self, status: StatusCode) -> Said {
        Said { forward: Some(self.forward), status: Some(status), ..Said::default() }
    }

    fn exchange(&self) -> Exchange {
        let (received, received_at) = self.received.unwrap_or_else(|| (Instant::now(), SystemTime::now()));
        Exchange { sent: self.sent, received, received_at }
    }

    fn land(&mut self, landing: impl FnOnce() -> Landing) {
        if let Some(lead) = self.keyed.as_mut().and_then(|keyed| keyed.lead.take()) {
            lead.land(landing());
        }
    }
}

/// Whether those who wait would be refused as well. Deadlines, places in a queue and bodies are each call's own.
fn holds_for_all(code: Code) -> bool {
    matches!(
        code,
        Code::ProviderUnreachable
            | Code::TlsFailed
            | Code::DestinationProhibited
            | Code::CircuitOpen
            | Code::NeedsReconsent
            | Code::CredentialUnavailable
            | Code::ResponseRejected
    )
}

/// Whether a 304 speaks of this stored answer, and not of one that the consumer has.
fn confirms(newer: &HeaderMap, before: &Entry) -> bool {
    fn weak(tag: &HeaderValue) -> &[u8] {
        tag.as_bytes().strip_prefix(b"W/").unwrap_or(tag.as_bytes())
    }
    match (newer.get(ETAG), before.etag()) {
        (Some(said), Some(known)) => weak(said) == weak(known),
        _ => newer
            .get(LAST_MODIFIED)
            .is_none_or(|said| before.last_modified().is_none_or(|known| said == known)),
    }
}

impl Keeping {
    pub fn bound(&self) -> usize {
        usize::try_from(self.cache.store.bounds.answer_bytes).unwrap_or(usize::MAX)
    }

    pub fn is_awaited(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::has_followers)
    }

    /// The answer is whole.
    pub fn commit(mut self, body: Bytes) {
        let Some(head) = self.head.take() else { return };
        let account = self.cache.store.account(head.label.client.as_ref());
        let entry =
            Arc::new(Entry::new(head.status, head.headers, body, head.vary, head.terms, head.label, account));
        if !self.unstored {
            if let Some((key, rule)) = self.search.take() {
                self.cache.store.put_search(key, rule);
            }
            self.cache.keep(self.primary, Arc::clone(&entry), self.shares);
        }
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Answer(entry));
        }
    }

    /// It is not passed on, and would not be to those who wait.
    pub fn refuse(mut self, refusal: &Refusal) {
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Refused(refusal.clone()));
        }
    }

    /// It is larger than what is kept, or has what cannot be: those who wait go by themselves.
    pub fn give_up(mut self) {
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Pass);
        }
    }
}
