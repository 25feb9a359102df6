//! Answer a call from what was stored for its like, or say what is to be stored of its answer.
//!
//! Runs after `decide`, before anything is spent at the provider: a hit goes through every check of a call and
//! costs none of the provider's quota. What is judged is the request as it will be sent (RFC 9111 on the
//! outbound side): with a credential that Tidegate puts on, it is an authorised one. Nothing is shared between
//! principals unless that is declared; whatever goes wrong in here is a miss.

pub mod asked;
pub mod body;
pub mod date;
pub mod directives;
pub mod disk;
pub mod entry;
pub mod fill;
pub mod flight;
pub mod graphql;
pub mod key;
pub mod purge;
pub mod rules;
pub mod search;
pub mod served;
pub mod stamps;
pub mod status;
pub mod storable;
pub mod store;
pub mod storing;
pub mod tier;
pub mod vary;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HeaderMap, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{Method, StatusCode};
use zeroize::Zeroizing;

use crate::cache::asked::{Asked, Keying, place_of_connection};
use crate::cache::directives::Directives;
use crate::cache::disk::Disk;
use crate::cache::entry::{Entry, Left};
use crate::cache::flight::{Flights, Joined, Landing};
use crate::cache::key::Key;
use crate::cache::served::{Served, serve};
use crate::cache::stamps::Stamps;
use crate::cache::status::{Forward, Said, Way};
use crate::cache::store::{Bounds, Slot, Store};
use crate::cache::storing::Storing;
use crate::cache::tier::{Change, Others, Tier};
use crate::error::{Code, Refusal};
use crate::shared;

/// After so many flights that were for another variant, or whose leader went, a call goes by itself.
const FLIGHTS_MAX: u32 = 4;

/// The one cache of an engine, shared by its workers.
pub struct Cache {
    pub store: Store,
    pub stamps: Arc<Stamps>,
    pub flights: Arc<Flights>,
    /// Where more is kept than memory holds.
    pub disk: Option<Disk>,
    /// Where several gateways share answers.
    tier: Option<Arc<Tier>>,
}

/// What becomes of a call at the cache.
pub enum Found {
    Answer(Box<Answer>),
    /// The provider is to be asked; this knows what to do with what it says.
    Onward(Box<Storing>),
}

/// An answer for which the provider was not asked, or that it confirmed.
pub struct Answer {
    pub served: Served,
    pub way: Way,
    /// By whom its successor is to be fetched meanwhile.
    pub refresh: Option<Box<Storing>>,
}

impl Cache {
    pub fn new(bounds: Bounds) -> Self {
        let (stamps, flights) = (Arc::default(), Arc::default());
        Self { store: Store::new(bounds), stamps, flights, disk: None, tier: None }
    }

    /// The same, on disk and with what gateways share where that is declared.
    pub fn start(bounds: Bounds, shared: Option<&Arc<shared::Config>>) -> std::io::Result<Arc<Self>> {
        let mut failed = None;
        let stamps = Arc::<Stamps>::default();
        let disk = bounds.disk.as_ref().map(|disk| Disk::open(disk, Arc::clone(&stamps))).transpose()?;
        let cache = Arc::new_cyclic(|own| {
            let started =
                shared.map(|config| Tier::start(config, bounds.answer_bytes, own.clone())).transpose();
            let tier = started.unwrap_or_else(|error| {
                failed = Some(error);
                None
            });
            let tier = tier.flatten();
            if let (Some(_), Some(disk)) = (&tier, &disk) {
                // What others changed while this one was not there is not known here.
                disk.clear();
            }
            Self { stamps, disk, tier, ..Self::new(bounds) }
        });
        failed.map_or(Ok(cache), Err)
    }

    /// The keys by which clients' answers are sealed outside memory (None: all clients').
    pub fn put_keys(&self, secrets: &HashMap<Option<Arc<str>>, Zeroizing<Vec<u8>>>) {
        if let Some(disk) = &self.disk {
            disk.put_keys(secrets);
        }
        if let Some(tier) = &self.tier {
            tier.put_keys(secrets);
        }
    }

    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
        if let Some(tier) = &self.tier {
            tier.close();
        }
    }

    /// Store an answer that was fetched, here, on disk, and where gateways share them.
    fn keep(&self, primary: Key, entry: Arc<Entry>, shares: bool) {
        if let Some(disk) = &self.disk {
            disk.keep(primary, &entry);
        }
        if let Some(tier) = self.tier.as_ref().filter(|_| shares) {
            tier.keep(primary, &entry);
        }
        self.put(primary, entry);
    }

    fn put(&self, primary: Key, entry: Arc<Entry>) {
        let variant = (!entry.vary.is_empty()).then_some(entry.label.key);
        self.store.put(primary, variant, entry);
    }

    /// An answer is none any more.
    fn remove(&self, entry: &Entry) {
        self.store.remove(&entry.label.key);
        if let Some(disk) = &self.disk {
            disk.remove(entry);
        }
    }

    /// What stands at a place has changed, in this gateway alone.
    fn changed_here(&self, place: u64, at: Instant) {
        self.stamps.stamp(place, at);
        if let Some(disk) = &self.disk {
            disk.changed(place);
        }
    }

    /// The same, for the other gateways as well.
    fn changed(&self, place: u64, at: Instant) {
        self.changed_here(place, at);
        if let Some(tier) = &self.tier {
            tier.tell(Change::Place(place));
        }
    }

    /// Everything may have changed.
    fn all_changed(&self, at: Instant) {
        self.stamps.stamp_all(at);
        if let Some(disk) = &self.disk {
            disk.clear();
        }
    }

    /// No answer that this connection was given until now is given again: its credential was refused or is gone.
    pub fn forget_connection(&self, connection: &str) {
        self.changed_here(place_of_connection(connection), Instant::now());
    }

    /// The same, because its provider refused its credential: for the other gateways as well.
    pub fn connection_refused(&self, connection: &str) {
        self.changed(place_of_connection(connection), Instant::now());
    }

    /// Look a request up. Where its like is under way it waits, at most until the call's own deadline.
    pub async fn look(&self, asked: &Asked<'_>, deadline: Instant) -> Result<Found, Refusal> {
        let wish = Directives::read(asked.headers);
        let onward = |storing: Storing| {
            if wish.only_if_cached { Err(nothing_stored()) } else { Ok(Found::Onward(Box::new(storing))) }
        };
        let Some(keying) = asked.keying() else {
            return onward(Storing::passing(asked, asked.passes_because()));
        };
        // Conditions that only the provider can judge, and what is not to be stored, go to it.
        if wish.no_store
            || asked.headers.contains_key(IF_MATCH)
            || asked.headers.contains_key(IF_UNMODIFIED_SINCE)
        {
            return onward(Storing::passing(asked, Forward::Request));
        }
        let mut disk = self.disk.as_ref();
        for _ in 0..FLIGHTS_MAX {
            let key = self.key(asked, &keying);
            let mut looked = self.find(asked, key, &wish);
            if looked.entry.is_none()
                && let Some(disk) = disk.take()
                && disk.fetch(&self.store, key, asked, deadline).await
            {
                looked = self.find(asked, key, &wish);
            }
            let forward = match looked.suits {
                Suits::Yes(way, detail) => return Ok(found(answer(&looked, asked, way, detail))),
                Suits::WhileRevalidating => {
                    let mut answer = answer(&looked, asked, Way::Stale, None);
                    answer.refresh = self.flights.lead(looked.flight).map(|lead| {
                        let entry = looked.entry.clone();
                        Box::new(
                            Storing::new(asked, &keying, key, entry, Forward::Stale, Some(lead))
                                .unconditional(),
                        )
                    });
                    return Ok(found(answer));
                }
                Suits::Not(forward) => forward,
            };
            let alone = |lead| Storing::new(asked, &keying, key, looked.entry.clone(), forward, lead);
            // What asks for less than the whole, or for what is newest, is no one else's.
            if wish.only_if_cached
                || forward == Forward::Request
                || *asked.method == Method::HEAD
                || asked.headers.contains_key(RANGE)
            {
                return onward(alone(None));
            }
            match self.flights.join(looked.flight) {
                Joined::Lead(mut lead) => {
                    match self.ask_others(asked, (key, looked.flight), &wish, deadline).await {
                        Others::Answer(entry, waited) => {
                            self.put(key, Arc::clone(&entry));
                            lead.land(Landing::Answer(Arc::clone(&entry)));
                            return Ok(found(fetched_elsewhere(&entry, asked, forward, waited)));
                        }
                        Others::Claim(claim) => lead.claims(claim),
                        Others::Nothing => {}
                    }
                    return onward(alone(Some(lead)));
                }
                Joined::Alone => return onward(alone(None)),
                Joined::Follow(following) => {
                    let landing = tokio::time::timeout_at(deadline.into(), following.landing());
                    match landing.await.map_err(|_elapsed| late())? {
                        Landing::Answer(entry) if suits_variant(&entry, key, asked.headers) => {
                            return Ok(found(collapsed(&entry, asked, forward)));
                        }
                        Landing::Refused(refusal) => return Err(refusal),
                        Landing::Pass => return onward(alone(None)),
                        Landing::Answer(_) | Landing::Gone => {}
                    }
                }
            }
        }
        onward(Storing::new(asked, &keying, self.key(asked, &keying), None, Forward::UriMiss, None))
    }

    /// The request's key, by what the provider said of its query where that counts.
    fn key(&self, asked: &Asked<'_>, keying: &Keying) -> Key {
        if asked.rules.no_vary_search
            && let Some(Slot::Search(rule)) = self.store.get(&keying.search_key())
        {
            return keying.key_by(&rule);
        }
        keying.key()
    }

    fn find(&self, asked: &Asked<'_>, key: Key, wish: &Directives) -> Looked {
        let (slot, flight, missing) = match self.store.get(&key) {
            Some(Slot::Varies(varies)) => {
                let variant = vary::variant(&key, &varies.names, asked.headers);
                (self.store.get(&variant), variant, Forward::VaryMiss)
            }
            slot => (slot, key, Forward::UriMiss),
        };
        let Some(Slot::Entry(entry)) = slot else {
            return Looked { suits: Suits::Not(missing), entry: None, flight };
        };
        if self.stamps.outdates(&entry.label.places, entry.terms.sent) {
            self.store.remove(&flight);
            return Looked { suits: Suits::Not(missing), entry: None, flight };
        }
        let suits = Suits::judge(&entry, wish, asked.method);
        Looked { suits, entry: Some(entry), flight }
    }
}

/// What the store has for a request.
struct Looked {
    suits: Suits,
    entry: Option<Arc<Entry>>,
    /// Under which calls of its like meet.
    flight: Key,
}

/// Whether what is stored may be given (RFC 9111 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suits {
    Yes(Way, Option<&'static str>),
    WhileRevalidating,
    Not(Forward),
}

impl Suits {
    fn judge(entry: &Entry, wish: &Directives, method: &Method) -> Self {
        let now = Instant::now();
        if wish.no_cache || wish.max_age.is_some_and(|most| entry.age(now) > most) {
            return Self::Not(Forward::Request);
        }
        if entry.terms.no_cache {
            return Self::Not(Forward::Stale);
        }
        match entry.left(now) {
            Left::Fresh(left) if wish.min_fresh.is_none_or(|least| left >= least) => {
                Self::Yes(Way::Hit, None)
            }
            Left::Fresh(_) => Self::Not(Forward::Request),
            Left::Stale(by) => {
                if wish.max_stale.is_some_and(|most| by <= most.min(entry.terms.max_stale)) {
                    return Self::Yes(Way::Stale, Some("max-stale"));
                }
                // A HEAD does not bring the body's successor.
                let asks_for_newer = wish.max_age.is_some() || wish.min_fresh.is_some();
                if by < entry.terms.while_revalidate && !asks_for_newer && *method != Method::HEAD {
                    return Self::WhileRevalidating;
                }
                Self::Not(Forward::Stale)
            }
        }
    }
}

fn found(answer: Answer) -> Found {
    Found::Answer(Box::new(answer))
}

fn answer(looked: &Looked, asked: &Asked<'_>, way: Way, detail: Option<&'static str>) -> Answer {
    let entry = looked.entry.as_deref();
    // There is an entry wherever one suits.
    let Some(entry) = entry else { unreachable!("an answer without an entry") };
    stored(entry, asked.method, asked.headers, way, &Said { detail, hit: true, ..Said::default() })
}

/// An answer of a stored one, saying how much of its time is left.
pub fn stored(entry: &Entry, method: &Method, request: &HeaderMap, way: Way, said: &Said) -> Answer {
    let now = Instant::now();
    let ttl = match entry.left(now) {
        Left::Fresh(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        Left::Stale(by) => -i64::try_from(by.as_secs()).unwrap_or(i64::MAX),
    };
    let mut served = serve(entry, method, request, now);
    say(&mut served.parts.headers, &Said { ttl: Some(ttl), ..said.clone() });
    Answer { served, way, refresh: None }
}

/// Ours comes last: those before it are of caches nearer to the origin (RFC 9211 §2).
pub fn say(headers: &mut HeaderMap, said: &Said) {
    headers.append("cache-status", said.field());
}

fn collapsed(entry: &Entry, asked: &Asked<'_>, forward: Forward) -> Answer {
    let said = Said { forward: Some(forward), collapsed: true, ..Said::default() };
    stored(entry, asked.method, asked.headers, Way::Collapsed, &said)
}

/// An answer that another gateway fetched, now or before.
fn fetched_elsewhere(entry: &Entry, asked: &Asked<'_>, forward: Forward, waited: bool) -> Answer {
    if waited {
        return collapsed(entry, asked, forward);
    }
    let said = Said { detail: Some("shared"), hit: true, ..Said::default() };
    stored(entry, asked.method, asked.headers, Way::Hit, &said)
}

/// Whether an answer that was fetched for another call is this one's as well.
fn suits_variant(entry: &Entry, key: Key, request: &HeaderMap) -> bool {
    let own = if entry.vary.is_empty() { key } else { vary::variant(&key, &entry.vary, request) };
    entry.label.key == own
}

fn nothing_stored() -> Refusal {
    Refusal::new(
        Code::NotCached,
        "The call asks for a stored answer only (`only-if-cached`), and none that may be given is stored.",
    )
}

fn late() -> Refusal {
    Refusal::new(
        Code::ProviderTimeout,
        "The call of the same kind that this one waited for was not answered in time.",
    )
}

/// Whether an answer of a failed provider, and what was stored before, make the latter the better one.
pub fn stands_in(entry: &Entry, allowed: Duration) -> bool {
    if entry.status.is_server_error() {
        return false;
    }
    match entry.left(Instant::now()) {
        Left::Fresh(_) => !allowed.is_zero(),
        Left::Stale(by) => by < allowed,
    }
}

/// Statuses for which `stale-if-error` is meant (RFC 5861 §4).
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests;
