//! Credentials on loan: held apart from the snapshot, bound to origins, with an end, wiped when replaced.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::detect::live::Live;
use crate::dial::tls::{ClientIdentity, TlsInputError};
use crate::echo::Needles;
use crate::origin::Origin;
use crate::sign::dpop::{Nonces, Prover};
use crate::sign::{AskedBefore, SigningKey};

/// A credential's stay in the engine. No `Debug`: it is the one place where secrets are in clear.
pub struct Lease {
    pub version: u32,
    /// Which of the tokens that were issued for the connection this is; 0 for a credential that is none.
    serial: u64,
    pub origins: Vec<Origin>,
    fields: HashMap<Box<str>, Zeroizing<Vec<u8>>>,
    /// For mutual TLS, from the fields `tls_certificate` and `tls_key`.
    pub identity: Option<ClientIdentity>,
    needles: Option<Needles>,
    signing_key: OnceLock<Option<SigningKey>>,
    asked_before: AskedBefore,
    prover: OnceLock<Option<Prover>>,
    nonces: Arc<Nonces>,
    fingerprint: OnceLock<[u8; 32]>,
    until: u64,
}

impl Lease {
    pub fn new(
        version: u32,
        serial: u64,
        origins: Vec<Origin>,
        fields: HashMap<Box<str>, Zeroizing<Vec<u8>>>,
        until: u64,
    ) -> Result<Self, TlsInputError> {
        let identity = match (fields.get("tls_certificate"), fields.get("tls_key")) {
            (Some(certificate), Some(key)) => Some(ClientIdentity::from_pem(certificate, key)?),
            _ => None,
        };
        let needles = Needles::new(fields.iter().map(|(name, value)| (&**name, value.as_slice())));
        Ok(Self {
            version,
            serial,
            origins,
            fields,
            identity,
            needles,
            signing_key: OnceLock::new(),
            asked_before: AskedBefore::default(),
            prover: OnceLock::new(),
            nonces: Arc::default(),
            fingerprint: OnceLock::new(),
            until,
        })
    }

    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.get(name).map(|value| value.as_slice())
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (&**name, value.as_slice()))
    }

    /// The key that calls are signed with, read from its field once.
    pub fn signing_key(&self, read: impl FnOnce() -> Option<SigningKey>) -> Option<&SigningKey> {
        self.signing_key.get_or_init(read).as_ref()
    }

    /// What the provider asked by Digest, for later calls; it goes with the lease.
    pub fn asked_before(&self) -> &AskedBefore {
        &self.asked_before
    }

    /// What its token's proofs are made with, read from its fields once.
    pub fn prover(&self, read: impl FnOnce() -> Option<Prover>) -> Option<&Prover> {
        self.prover.get_or_init(read).as_ref()
    }

    /// What providers want in those proofs.
    pub fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Equal for equal credentials; it says nothing else of them, and nothing outside this process.
    pub fn fingerprint(&self) -> &[u8; 32] {
        static KEY: OnceLock<Option<hmac::Key>> = OnceLock::new();
        self.fingerprint.get_or_init(|| {
            let key = KEY.get_or_init(|| {
                let mut bytes = Zeroizing::new([0; 32]);
                aws_lc_rs::rand::fill(&mut *bytes).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &*bytes))
            });
            let mut print = [0; 32];
            match key {
                Some(key) => {
                    let mut fields: Vec<_> = self.fields.iter().collect();
                    fields.sort_unstable_by_key(|(name, _)| *name);
                    let mut context = hmac::Context::with_key(key);
                    for part in fields.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_slice()]) {
                        context.update(&(part.len() as u64).to_be_bytes());
                        context.update(part);
                    }
                    print.copy_from_slice(context.sign().as_ref());
                }
                // Without chance no two credentials count as equal.
                None => print[..8].copy_from_slice(&(std::ptr::from_ref(self).addr() as u64).to_be_bytes()),
            }
            print
        })
    }

    /// By what its fields are found in an answer.
    pub fn needles(&self) -> Option<&Needles> {
        self.needles.as_ref()
    }

    /// Whether another one can be issued when the provider does not take it.
    pub fn is_issued(&self) -> bool {
        self.serial > 0
    }

    pub fn is_live(&self, now: u64) -> bool {
        now < self.until
    }
}

/// At most one token of a connection is asked for in this time because one was not taken: a provider that
/// refuses every token would have one issued for each call.
const FORCED_EVERY: Duration = Duration::from_secs(30);

/// All leases, by connection id.
#[derive(Default)]
pub struct Leases {
    held: RwLock<HashMap<Box<str>, Arc<Lease>>>,
    /// What connections without a lease had been given by their origins: the next lease goes on with it.
    parted: Mutex<HashMap<Box<str>, Arc<Nonces>>>,
    /// Connections whose consent is gone: no lease will come before somebody acts.
    ended: RwLock<HashSet<Box<str>>>,
    changed: Notify,
    refused: Mutex<HashMap<Box<str>, Refused>>,
    any_refused: Condvar,
    changes: AtomicU64,
    /// What is known of all fields, as of which change.
    live: Mutex<(u64, Arc<Live>)>,
}

/// The newest token that a provider did not take.
struct Refused {
    serial: u64,
    since: Instant,
    told: bool,
}

impl Leases {
    pub fn put(&self, connection: &str, mut lease: Lease) {
        self.ended.write().unwrap_or_else(PoisonError::into_inner).remove(connection);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // Nonces are the origin's, and outlive the token.
        let parted = self.parted().remove(connection);
        if let Some(nonces) = held.get(connection).map(|before| Arc::clone(&before.nonces)).or(parted) {
            lease.nonces = nonces;
        }
        held.insert(connection.into(), Arc::new(lease));
        drop(held);
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// `ended`: there will be no other one until somebody gives their consent anew.
    pub fn take(&self, connection: &str, ended: bool) {
        {
            let mut all = self.ended.write().unwrap_or_else(PoisonError::into_inner);
            if ended {
                all.insert(connection.into());
            } else {
                all.remove(connection);
            }
        }
        let taken = self.held.write().unwrap_or_else(PoisonError::into_inner).remove(connection);
        self.changes.fetch_add(1, Ordering::Release);
        if let Some(lease) = taken.filter(|_| !ended) {
            self.part(connection, &lease);
        }
        self.changed.notify_waiters();
    }

    fn part(&self, connection: &str, lease: &Lease) {
        if lease.nonces.any() {
            self.parted().insert(connection.into(), Arc::clone(&lease.nonces));
        }
    }

    fn parted(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Nonces>>> {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what a credential on loan is known where it should not be; made anew when leases have changed.
    pub fn live(&self) -> Arc<Live> {
        let changes = self.changes.load(Ordering::Acquire);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.0 != changes {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            *live = (changes, Arc::new(Live::of(held.values().flat_map(|lease| lease.fields()))));
        }
        Arc::clone(&live.1)
    }

    pub fn get(&self, connection: &str) -> Option<Arc<Lease>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(connection).cloned()
    }

    pub fn has_ended(&self, connection: &str) -> bool {
        self.ended.read().unwrap_or_else(PoisonError::into_inner).contains(connection)
    }

    /// Wipe what has ended, so that a secret does not outlive its lease in memory.
    pub fn sweep(&self, now: u64) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).retain(|connection, lease| {
            if !lease.is_live(now) {
                self.part(connection, lease);
            }
            lease.is_live(now)
        });
    }

    /// The provider did not take `old`: wait until the connection has another lease, or none any more.
    /// False where there is no hope of it, or none came in time.
    pub async fn renewed(&self, connection: &str, old: &Lease, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // What comes between the look and the wait is not missed.
            changed.as_mut().enable();
            if self.get(connection).is_none_or(|lease| lease.serial != old.serial) {
                return true;
            }
            if !self.refuse(connection, old.serial, patience) {
                return false;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return false;
            }
        }
    }

    /// Note that a token was not taken; false where its successor is not to be waited for.
    fn refuse(&self, connection: &str, serial: u64, patience: Duration) -> bool {
        let mut refused = self.refused();
        if let Some(known) = refused.get(connection)
            && known.since.elapsed() < FORCED_EVERY
        {
            return known.serial == serial && known.since.elapsed() < patience;
        }
        refused.insert(connection.into(), Refused { serial, since: Instant::now(), told: false });
        self.any_refused.notify_all();
        true
    }

    /// Wait for tokens that providers did not take; each is told once, by connection and serial.
    pub fn take_refused(&self, patience: Duration) -> Vec<(Box<str>, u64)> {
        let waiting = self.any_refused.wait_timeout_while(self.refused(), patience, |refused| {
            refused.values().all(|refused| refused.told)
        });
        let (mut refused, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, known| known.since.elapsed() < FORCED_EVERY || !known.told);
        let mut untold = Vec::new();
        for (connection, known) in refused.iter_mut().filter(|(_, known)| !known.told) {
            known.told = true;
            untold.push((connection.clone(), known.serial));
        }
        untold
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Box<str>, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn lease(serial: u64) -> Lease {
        Lease::new(1, serial, Vec::new(), HashMap::new(), u64::MAX).expect("lease")
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_with_the_next_token() {
        let leases = Arc::new(Leases::default());
        leases.put("con", lease(1));
        let old = leases.get("con").expect("lease");
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (leases, old) = (Arc::clone(&leases), Arc::clone(&old));
                tokio::spawn(async move { leases.renewed("con", &old, PATIENCE).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(leases.take_refused(PATIENCE), [("con".into(), 1)]);
        assert!(leases.take_refused(Duration::ZERO).is_empty());
        leases.put("con", lease(2));
        for one in waiting {
            assert!(one.await.expect("joined"));
        }
    }

    #[tokio::test]
    async fn a_provider_that_takes_no_token_has_one_issued_and_no_more() {
        let leases = Leases::default();
        leases.put("con", lease(2));
        let old = leases.get("con").expect("lease");
        // Too late for the first one: the next is there.
        assert!(leases.renewed("con", &lease(1), PATIENCE).await);
        assert!(!leases.renewed("con", &old, Duration::ZERO).await);
        assert_eq!(leases.take_refused(Duration::ZERO), [("con".into(), 2)]);
        leases.put("con", lease(3));
        let next = leases.get("con").expect("lease");
        assert!(!leases.renewed("con", &next, PATIENCE).await);
        assert!(leases.take_refused(Duration::ZERO).is_empty());
    }

    #[tokio::test]
    async fn a_consent_that_is_gone_ends_the_wait() {
        let leases = Leases::default();
        leases.put("con", lease(1));
        let old = leases.get("con").expect("lease");
        let (renewed, ()) = tokio::join!(leases.renewed("con", &old, PATIENCE), async {
            leases.take("con", true);
        });
        assert!(renewed && leases.has_ended("con"));
        leases.put("con", lease(2));
        assert!(!leases.has_ended("con"));
    }

    #[test]
    fn what_an_origin_gave_outlives_the_gap_between_two_tokens() {
        let leases = Leases::default();
        let origin = crate::origin::Origin::parse("https://api.example").expect("origin");
        let mut headers = http::HeaderMap::new();
        headers.insert("dpop-nonce", http::HeaderValue::from_static("n1"));
        leases.put("con", lease(1));
        assert!(leases.get("con").expect("lease").nonces().learn(&origin, &headers));
        leases.take("con", false);
        leases.put("con", lease(2));
        assert!(leases.get("con").expect("lease").nonces().any());
        leases.sweep(u64::MAX);
        leases.put("con", lease(3));
        assert!(leases.get("con").expect("lease").nonces().any());
        // Another consent has another key.
        leases.take("con", true);
        leases.put("con", lease(4));
        assert!(!leases.get("con").expect("lease").nonces().any());
    }
}
