//! The one immutable value a call is decided by: read once at its start, swapped whole.
//!
//! Built from the document of docs/reference/snapshot.md. Names are resolved to indexes here, so that
//! the steps compare numbers; a reference to nothing is an error and the running snapshot stays. Holds
//! no secret.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use serde::Deserialize;

use crate::admit::{self, Limit};
use crate::agreement::Gate;
use crate::cache::rules::Rules;
use crate::class::Class;
use crate::dial::tls::TlsPolicy;
use crate::dialect::Dialect;
use crate::echo::EchoPolicy;
use crate::forward::rules::Resilience;
use crate::hooks::HookSigner;
use crate::identity::{Issuer, Proof};
use crate::origin::Origin;
use crate::protect::restore::{RawRestoration, Restoration};
use crate::protect::{Policy, RawPolicy};
use crate::reserve::rule::{Draw, Plan, QUOTAS_MAX, RawQuota};
use crate::route::table::OperationTable;
use crate::schema::{Checks, RawChecks};
use crate::sign::Signer;
use crate::subject::suppressed::Suppressed;

/// The newest snapshot format this engine reads.
pub const FORMAT: u32 = 1;

pub type ClientIndex = u32;
pub type ConsumerIndex = u32;
pub type ProviderIndex = u32;

/// Why a snapshot was refused: a sentence that names the place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SnapshotError(pub String);

#[derive(Debug)]
pub struct Snapshot {
    pub revision: u64,
    pub clients: Vec<Arc<str>>,
    /// By client; empty where none has one.
    client_limits: Vec<Option<Limit>>,
    client_index: HashMap<Arc<str>, ClientIndex>,
    pub consumers: Vec<Consumer>,
    consumer_index: HashMap<Arc<str>, ConsumerIndex>,
    pub tokens: HashMap<[u8; 32], AccessToken>,
    pub issuers: Vec<Issuer>,
    pub identities: Vec<Identity>,
    pub providers: Vec<Provider>,
    provider_index: HashMap<Arc<str>, ProviderIndex>,
    provider_hosts: HashMap<Box<str>, ProviderIndex>,
    pub operation_sets: Vec<OperationSet>,
    grants: HashMap<(ConsumerIndex, ProviderIndex), Grants>,
    denials: HashMap<ProviderIndex, Vec<Denial>>,
    connections: HashMap<(ClientIndex, ProviderIndex), Vec<Arc<Connection>>>,
    suppressed: HashMap<ClientIndex, Suppressed>,
    /// Whether any operation is cached.
    pub caches: bool,
}

#[derive(Debug)]
pub struct Consumer {
    pub name: Arc<str>,
    pub clients: Vec<ClientIndex>,
    pub limit: Option<Limit>,
}

/// What a consumer is known by without an access token; `token` stands for it in what follows.
#[derive(Debug)]
pub struct Identity {
    pub proof: Proof,
    pub token: AccessToken,
}

#[derive(Debug, Clone)]
pub struct AccessToken {
    pub id: Arc<str>,
    pub consumer: ConsumerIndex,
    pub client: Option<ClientIndex>,
    pub providers: Vec<ProviderIndex>,
    /// Unix seconds.
    pub expires: u64,
}

#[derive(Debug)]
pub struct Provider {
    pub name: Arc<str>,
    pub origins: Vec<Option<Origin>>,
    pub attach: Vec<AttachPart>,
    pub sign: Option<Signer>,
    pub hook: Option<HookSigner>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub operations: Vec<Operation>,
    pub table: OperationTable,
    pub allow_private: Arc<[IpNet]>,
    pub tls: Arc<TlsPolicy>,
    pub deadlines: Deadlines,
    pub bounds: Bounds,
    pub encoded_slash: bool,
    /// The credential's fields that no answer may hold, and what becomes of one that does.
    pub secret_fields: Arc<[Box<str>]>,
    pub echo: EchoPolicy,
    /// The statuses by which the provider says that it does not take a token any more.
    pub over: Box<[u16]>,
    pub resilience: Option<Box<Resilience>>,
    pub dialect: Option<Arc<Dialect>>,
    /// How much the provider allows; None where nothing is declared of it.
    pub quotas: Option<Plan>,
    /// Calls of operations that have no policy are refused.
    pub refuses_unprotected: bool,
    /// Of how many calls of operations that have no policy one is looked at, to learn what they send; 0: none.
    pub observe: u32,
    /// A fingerprint of the address and TLS rules: a connection proven under others is not reused.
    pub rules: u64,
}

#[derive(Debug)]
pub struct Operation {
    pub id: Arc<str>,
    pub origin: usize,
    /// Where they are not the provider's.
    pub deadlines: Option<Box<Deadlines>>,
    /// None: the provider's calls have nothing to do with the cache.
    pub cache: Option<Arc<Rules>>,
    /// It asks the provider to forget somebody.
    pub erases: bool,
    /// None: what it sends is observed, or refused where that is declared.
    pub policy: Option<Arc<Policy>>,
    /// None: it sends no personal data, as far as is declared.
    pub gate: Option<Arc<Gate>>,
    /// Where tokens in its answers become values again; None: nowhere.
    pub restore: Option<Arc<[Arc<Restoration>]>>,
    /// None: nothing is declared that its requests and answers are held against.
    pub checks: Option<Arc<Checks>>,
}

/// Where one field of a credential is put.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AttachPart {
    Header {
        #[serde(with = "header_name")]
        name: HeaderName,
        field: String,
        #[serde(default)]
        prefix: String,
    },
    Basic {
        #[serde(default)]
        username_field: Option<String>,
        #[serde(default)]
        password_field: Option<String>,
        #[serde(default)]
        username: String,
        #[serde(default)]
        password: String,
    },
    Query {
        name: String,
        field: String,
    },
    Cookie {
        name: String,
        field: String,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub idle_ms: u64,
    pub total_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 60_000, idle_ms: 60_000, total_ms: 600_000 }
    }
}

impl Deadlines {
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }
    pub fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
    pub fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct Bounds {
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { request_body_bytes: 8 << 30, response_body_bytes: 8 << 30 }
    }
}

/// A set of operation numbers of one provider, shared by the grants that name the same ones.
#[derive(Debug)]
pub enum OperationSet {
    All,
    Some(Vec<u64>),
}

impl OperationSet {
    pub fn contains(&self, number: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(words) => {
                words.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
            }
        }
    }

    /// Its members, when they are at most `max`.
    fn few(&self, max: u32) -> Option<Vec<u32>> {
        let Self::Some(words) = self else { return None };
        if words.iter().map(|word| word.count_ones()).sum::<u32>() > max {
            return None;
        }
        let numbers = (0..).zip(words).filter(|(_, word)| **word != 0);
        Some(
            numbers
                .flat_map(|(at, word)| {
                    (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
                })
                .collect(),
        )
    }
}

/// What one consumer is granted at one provider, in the order of the declaration.
#[derive(Debug, Default)]
pub struct Grants {
    all: Vec<Grant>,
    /// Those that name few operations, by each of them: a call asks none of the others.
    narrow: HashMap<u32, Vec<usize>>,
    wide: Vec<usize>,
}

impl Grants {
    /// A grant of more operations than this is asked at each call.
    const NARROW_MAX: u32 = 16;

    fn push(&mut self, grant: Grant, operations: &OperationSet) {
        let number = self.all.len();
        match operations.few(Self::NARROW_MAX) {
            Some(few) => few.into_iter().for_each(|one| self.narrow.entry(one).or_default().push(number)),
            None => self.wide.push(number),
        }
        self.all.push(grant);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.all.iter()
    }

    /// The first that covers the operation and suits.
    pub fn covering(
        &self,
        sets: &[OperationSet],
        operation: u32,
        suits: impl Fn(&Grant) -> bool,
    ) -> Option<&Grant> {
        let narrow = self.narrow.get(&operation).into_iter().flatten();
        let wide = self.wide.iter().filter(|number| sets[self.all[**number].operations].contains(operation));
        let narrow = narrow.copied().find(|number| suits(&self.all[*number]));
        let wide = wide.copied().find(|number| suits(&self.all[*number]));
        [narrow, wide].into_iter().flatten().min().map(|number| &self.all[number])
    }
}

#[derive(Debug)]
pub struct Grant {
    pub name: Arc<str>,
    /// Empty: all of the consumer's.
    pub clients: Vec<ClientIndex>,
    pub operations: usize,
    pub mode: Mode,
    pub limit: Option<Limit>,
    /// The most urgent that calls by it may be.
    pub class: Class,
    /// Calls of operations that have no policy are refused.
    pub refuses_unprotected: bool,
}

/// Whether a call that no grant covers is refused, or let through and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    /// Enforces by itself from this time (Unix seconds).
    Report {
        enforce_from: Option<u64>,
    },
}

#[derive(Debug)]
pub struct Denial {
    pub name: Arc<str>,
    pub reason: String,
    pub operations: usize,
    pub consumers: Vec<ConsumerIndex>,
    pub clients: Vec<ClientIndex>,
}

/// One client's account at one provider. `origins` run parallel to the provider's.
#[derive(Debug)]
pub struct Connection {
    pub id: Arc<str>,
    pub name: Box<str>,
    pub version: u32,
    pub origins: Vec<Origin>,
}

impl Snapshot {
    pub fn parse(document: &[u8]) -> Result<Self, SnapshotError> {
        let raw: raw::Snapshot = serde_json::from_slice(document)
            .map_err(|e| SnapshotError(format!("the snapshot does not parse: {e}")))?;
        if raw.format > FORMAT || raw.format == 0 {
            return Err(SnapshotError(format!(
                "the snapshot has format {}, this engine reads 1 to {FORMAT}",
                raw.format
            )));
        }
        raw.compile()
    }

    pub fn client(&self, name: &str) -> Option<ClientIndex> {
        self.client_index.get(name).copied()
    }

    pub fn client_name(&self, index: ClientIndex) -> &Arc<str> {
        &self.clients[index as usize]
    }

    pub fn client_limit(&self, client: ClientIndex) -> Option<&Limit> {
        self.client_limits.get(client as usize)?.as_ref()
    }

    /// Every limit on the consumer side.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        let clients = self.client_limits.iter().flatten();
        let consumers = self.consumers.iter().filter_map(|consumer| consumer.limit.as_ref());
        let grants = self.grants.values().flat_map(Grants::iter).filter_map(|grant| grant.limit.as_ref());
        clients.chain(consumers).chain(grants)
    }

    pub fn consumer(&self, index: ConsumerIndex) -> &Consumer {
        &self.consumers[index as usize]
    }

    pub fn consumer_named(&self, name: &str) -> Option<ConsumerIndex> {
        self.consumer_index.get(name).copied()
    }

    pub fn provider(&self, index: ProviderIndex) -> &Provider {
        &self.providers[index as usize]
    }

    pub fn provider_named(&self, name: &str) -> Option<ProviderIndex> {
        self.provider_index.get(name).copied()
    }

    pub fn provider_at_host(&self, host: &str) -> Option<ProviderIndex> {
        if self.provider_hosts.is_empty() {
            return None;
        }
        self.provider_hosts.get(host.to_ascii_lowercase().as_str()).copied()
    }

    pub fn grants(&self, consumer: ConsumerIndex, provider: ProviderIndex) -> Option<&Grants> {
        self.grants.get(&(consumer, provider))
    }

    /// Of whom nothing is sent any more for a client; None where that is nobody.
    pub fn suppressed(&self, client: ClientIndex) -> Option<&Suppressed> {
        self.suppressed.get(&client)
    }

    pub fn denials(&self, provider: ProviderIndex) -> &[Denial] {
        self.denials.get(&provider).map_or(&[], Vec::as_slice)
    }

    /// Whose counts a provider's quotas may have: its connections, and clients that call without one.
    pub fn accounts(&self, provider: ProviderIndex) -> HashSet<&str> {
        let connections = (0..).zip(&self.clients).flat_map(|(client, name)| {
            let connections = self.connections.get(&(client, provider)).into_iter().flatten();
            connections.map(|connection| &*connection.id).chain([&**name])
        });
        connections.collect()
    }

    pub fn connection(
        &self,
        client: ClientIndex,
        provider: ProviderIndex,
        name: &str,
    ) -> Option<&Arc<Connection>> {
        self.connections.get(&(client, provider))?.iter().find(|c| *c.name == *name)
    }
}

mod header_name {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
        let name = String::deserialize(deserializer)?;
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| D::Error::custom("not a header name"))
    }
}

/// The document as it is written, before its references are resolved.
mod raw {
    use super::{
        AccessToken, Arc, AttachPart, Bounds, Class, ClientIndex, Connection, Consumer, ConsumerIndex,
        Deadlines, Denial, Deserialize, Dialect, Draw, EchoPolicy, Gate, Grant, Grants, HashMap, HeaderName,
        HeaderValue, HookSigner, Identity, IpNet, Issuer, Limit, Method, Mode, Operation, OperationSet,
        OperationTable, Origin, Plan, Policy, Proof, Provider, ProviderIndex, QUOTAS_MAX, RawChecks,
        RawPolicy, RawQuota, RawRestoration, Resilience, Restoration, Rules, Signer, SnapshotError,
        Suppressed, TlsPolicy, admit,
    };
    use crate::admit::Scope;
    use crate::agreement::RawGate;
    use crate::subject::suppressed::Way;
    use jsonwebtoken::Algorithm;
    use std::borrow::Cow;
    use std::hash::{DefaultHasher, Hash, Hasher};

    #[derive(Deserialize)]
    pub struct Snapshot<'a> {
        pub format: u32,
        revision: u64,
        clients: Vec<String>,
        #[serde(default)]
        client_limits: Vec<(String, admit::Declared)>,
        #[serde(default)]
        consumers: Vec<RawConsumer>,
        #[serde(default)]
        issuers: Vec<RawIssuer>,
        #[serde(default, borrow)]
        tokens: Vec<RawToken<'a>>,
        #[serde(default, borrow)]
        providers: Vec<RawProvider<'a>>,
        #[serde(default)]
        operation_sets: Vec<RawOperationSet>,
        #[serde(default)]
        grants: Vec<RawGrant>,
        #[serde(default)]
        denials: Vec<RawDenial>,
        #[serde(default, borrow)]
        connections: Vec<RawConnection<'a>>,
        #[serde(default, borrow)]
        suppressed: Vec<RawSuppressed<'a>>,
    }

    #[derive(Deserialize)]
    struct RawConsumer {
        name: String,
        clients: Vec<String>,
        #[serde(default)]
        identities: Vec<RawIdentity>,
        #[serde(default)]
        limit: Option<admit::Declared>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum RawIdentity {
        Certificate(String),
        Token { issuer: String, claims: Vec<(String, String)> },
    }

    #[derive(Deserialize)]
    struct RawIssuer {
        name: String,
        issuer: String,
        audiences: Vec<String>,
        algorithms: Vec<Algorithm>,
    }

    #[derive(Deserialize)]
    struct RawToken<'a> {
        id: String,
        #[serde(borrow)]
        hmac: Cow<'a, str>,
        consumer: String,
        #[serde(default)]
        client: Option<String>,
        #[serde(default)]
        providers: Vec<String>,
        expires: u64,
    }

    #[derive(Deserialize)]
    struct RawProvider<'a> {
        name: String,
        origins: Vec<String>,
        #[serde(default)]
        hosts: Vec<String>,
        #[serde(default)]
        attach: Vec<AttachPart>,
        #[serde(default)]
        sign: Option<Signer>,
        #[serde(default)]
        hook: Option<HookSigner>,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default, borrow)]
        operations: Vec<(Cow<'a, str>, Cow<'a, str>, Cow<'a, str>, usize)>,
        #[serde(default)]
        allow_private: Vec<IpNet>,
        #[serde(default)]
        http: crate::dial::tls::HttpVersions,
        #[serde(default)]
        tls: TlsPolicy,
        #[serde(default)]
        deadlines: Deadlines,
        #[serde(default)]
        bounds: Bounds,
        #[serde(default)]
        encoded_slash: bool,
        #[serde(default)]
        secret_fields: Vec<Box<str>>,
        #[serde(default)]
        echo: EchoPolicy,
        #[serde(default)]
        quotas: Vec<RawQuota>,
        #[serde(default = "unauthorized")]
        over: Box<[u16]>,
        #[serde(default)]
        resilience: Option<Box<Resilience>>,
        #[serde(default)]
        operation_deadlines: Vec<RawOperationDeadlines>,
        #[serde(default)]
        dialect: Option<Dialect>,
        #[serde(default)]
        cache: Option<RawCache>,
        #[serde(default)]
        checks: Option<RawChecks>,
        /// The numbers of the operations that ask it to forget somebody.
        #[serde(default)]
        erases: Vec<u32>,
        #[serde(default)]
        protection: Vec<RawPolicy>,
        #[serde(default)]
        restore: Vec<RawRestoration>,
        #[serde(default)]
        unprotected: Unprotected,
        #[serde(default)]
        observe: u32,
        #[serde(default)]
        gates: Vec<RawGate>,
    }

    /// What becomes of calls of operations that have no policy.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Unprotected {
        #[default]
        Observe,
        Refuse,
    }

    fn unauthorized() -> Box<[u16]> {
        Box::new([401])
    }

    /// Deadlines of some operations, by their numbers.
    #[derive(Deserialize)]
    struct RawOperationDeadlines {
        operations: Vec<u32>,
        #[serde(flatten)]
        deadlines: Deadlines,
    }

    /// The rules that the provider's operations share, and each operation's number among them.
    #[derive(Deserialize)]
    struct RawCache {
        rules: Vec<Arc<Rules>>,
        of: Vec<usize>,
    }

    #[derive(Deserialize)]
    struct RawOperationSet {
        provider: String,
        operations: Members,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Members {
        Word(String),
        Numbers(Vec<u32>),
    }

    #[derive(Deserialize)]
    struct RawGrant {
        name: String,
        consumer: String,
        provider: String,
        #[serde(default)]
        clients: Vec<String>,
        operations: usize,
        mode: RawMode,
        #[serde(default)]
        enforce_from: Option<u64>,
        #[serde(default)]
        limit: Option<admit::Declared>,
        #[serde(default)]
        class: Class,
        #[serde(default)]
        unprotected: Unprotected,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum RawMode {
        Enforce,
        Report,
    }

    #[derive(Deserialize)]
    struct RawDenial {
        name: String,
        provider: String,
        operations: usize,
        #[serde(default)]
        consumers: Vec<String>,
        #[serde(default)]
        clients: Vec<String>,
        #[serde(default)]
        reason: String,
    }

    #[derive(Deserialize)]
    struct RawConnection<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        client: Cow<'a, str>,
        #[serde(borrow)]
        provider: Cow<'a, str>,
        #[serde(borrow)]
        name: Cow<'a, str>,
        version: u32,
        origins: Vec<Origin>,
    }

    /// Of whom nothing is sent any more for a client.
    #[derive(Deserialize)]
    struct RawSuppressed<'a> {
        client: String,
        way: Way,
        #[serde(borrow)]
        indexes: Vec<Cow<'a, str>>,
    }

    /// Names of one kind and the numbers they stand for.
    struct Names<'a> {
        kind: &'static str,
        index: &'a HashMap<Arc<str>, u32>,
    }

    impl Names<'_> {
        fn find(&self, name: &str, place: &str) -> Result<u32, SnapshotError> {
            self.index.get(name).copied().ok_or_else(|| {
                SnapshotError(format!("{place} names {} `{name}`, which does not exist", self.kind))
            })
        }

        fn all(&self, names: &[String], place: &str) -> Result<Vec<u32>, SnapshotError> {
            names.iter().map(|name| self.find(name, place)).collect()
        }
    }

    fn index<'n>(
        kind: &str,
        names: impl Iterator<Item = &'n Arc<str>>,
    ) -> Result<HashMap<Arc<str>, u32>, SnapshotError> {
        let mut found = HashMap::new();
        for (number, name) in (0u32..).zip(names) {
            if found.insert(Arc::clone(name), number).is_some() {
                return Err(SnapshotError(format!("{kind} `{name}` stands twice")));
            }
        }
        Ok(found)
    }

    impl Snapshot<'_> {
        pub fn compile(self) -> Result<super::Snapshot, SnapshotError> {
            let clients: Vec<Arc<str>> = self.clients.iter().map(|c| Arc::from(c.as_str())).collect();
            let client_index = index("client", clients.iter())?;
            let client_names = Names { kind: "client", index: &client_index };
            let limit = |scope, name: &str, declared: Option<admit::Declared>| {
                declared.map(|declared| Limit::new(scope, name.into(), declared, clients.len()))
            };
            let mut client_limits = Vec::new();
            for (name, declared) in self.client_limits {
                let client = client_names.find(&name, "a limit")?;
                client_limits.resize_with(clients.len(), || None);
                client_limits[client as usize] = limit(Scope::Client, &name, Some(declared));
            }

            let consumers = self
                .consumers
                .iter()
                .map(|c| {
                    let clients = client_names.all(&c.clients, &format!("consumer `{}`", c.name))?;
                    let limit = limit(Scope::Consumer, &c.name, c.limit);
                    Ok(Consumer { name: c.name.as_str().into(), clients, limit })
                })
                .collect::<Result<Vec<_>, SnapshotError>>()?;
            let consumer_index = index("consumer", consumers.iter().map(|c| &c.name))?;
            let consumer_names = Names { kind: "consumer", index: &consumer_index };

            let issuers: Vec<Issuer> = self.issuers.into_iter().map(RawIssuer::compile).collect();
            let mut identities = Vec::new();
            for (number, consumer) in (0u32..).zip(&self.consumers) {
                for (place, identity) in consumer.identities.iter().enumerate() {
                    let id = format!("{}#{place}", consumer.name).into();
                    let token = AccessToken {
                        id,
                        consumer: number,
                        client: None,
                        providers: Vec::new(),
                        expires: u64::MAX,
                    };
                    identities.push(Identity { proof: identity.proof(&issuers)?, token });
                }
            }

            let mut provider_hosts = HashMap::new();
            let mut providers = Vec::with_capacity(self.providers.len());
            let mut quotas = Vec::with_capacity(self.providers.len());
            for (number, mut provider) in (0u32..).zip(self.providers) {
                quotas.push(std::mem::take(&mut provider.quotas));
                for host in &provider.hosts {
                    if provider_hosts.insert(host.to_ascii_lowercase().into_boxed_str(), number).is_some() {
                        return Err(SnapshotError(format!("host `{host}` belongs to two providers")));
                    }
                }
                let gates = std::mem::take(&mut provider.gates);
                let mut provider = provider.compile()?;
                put_gates(&mut provider, gates, |name| client_index.get(name).copied())?;
                providers.push(provider);
            }
            let provider_index = index("provider", providers.iter().map(|p| &p.name))?;
            let provider_names = Names { kind: "provider", index: &provider_index };

            let operation_sets = self
                .operation_sets
                .iter()
                .map(|set| set.compile(&provider_names, &providers))
                .collect::<Result<Vec<_>, _>>()?;
            let mut planned = Vec::new();
            let set_exists = |number: usize, provider: u32, place: &str| match self.operation_sets.get(number)
            {
                Some(set) if *set.provider == *providers[provider as usize].name => Ok(number),
                _ => Err(SnapshotError(format!(
                    "{place} names operation set {number}, which is not its provider's"
                ))),
            };

            for (number, quotas) in (0..).zip(quotas).filter(|(_, quotas)| !quotas.is_empty()) {
                let place = format!("provider `{}`", providers[number as usize].name);
                for set in quotas.iter().flat_map(|quota| &quota.costs) {
                    set_exists(set.0, number, &place)?;
                }
                let operations = providers[number as usize].operations.len();
                let plan = plan(quotas, &operation_sets, operations)
                    .map_err(|what| SnapshotError(format!("{place}: {what}")))?;
                planned.push((number, plan));
            }

            let mut grants: HashMap<(ConsumerIndex, ProviderIndex), Grants> = HashMap::new();
            for grant in &self.grants {
                let place = &grant.name;
                let consumer = consumer_names.find(&grant.consumer, place)?;
                let provider = provider_names.find(&grant.provider, place)?;
                let operations = set_exists(grant.operations, provider, place)?;
                let grant = Grant {
                    name: place.as_str().into(),
                    clients: client_names.all(&grant.clients, place)?,
                    operations,
                    mode: match grant.mode {
                        RawMode::Enforce => Mode::Enforce,
                        RawMode::Report => Mode::Report { enforce_from: grant.enforce_from },
                    },
                    limit: limit(Scope::Grant, place, grant.limit),
                    class: grant.class,
                    refuses_unprotected: grant.unprotected == Unprotected::Refuse,
                };
                grants.entry((consumer, provider)).or_default().push(grant, &operation_sets[operations]);
            }

            let mut denials: HashMap<ProviderIndex, Vec<Denial>> = HashMap::new();
            for denial in &self.denials {
                let place = &denial.name;
                let provider = provider_names.find(&denial.provider, place)?;
                denials.entry(provider).or_default().push(Denial {
                    name: place.as_str().into(),
                    reason: denial.reason.clone(),
                    operations: set_exists(denial.operations, provider, place)?,
                    consumers: consumer_names.all(&denial.consumers, place)?,
                    clients: client_names.all(&denial.clients, place)?,
                });
            }

            let mut connections: HashMap<(ClientIndex, ProviderIndex), Vec<Arc<Connection>>> = HashMap::new();
            for connection in self.connections {
                let place = &*connection.id;
                let client = client_names.find(&connection.client, place)?;
                let provider = provider_names.find(&connection.provider, place)?;
                if connection.origins.len() != providers[provider as usize].origins.len() {
                    return Err(SnapshotError(format!(
                        "connection `{place}` has not as many origins as its provider"
                    )));
                }
                connections.entry((client, provider)).or_default().push(Arc::new(Connection {
                    id: place.into(),
                    name: connection.name.into(),
                    version: connection.version,
                    origins: connection.origins,
                }));
            }

            let tokens = self
                .tokens
                .iter()
                .map(|token| {
                    let place = &format!("access token `{}`", token.id);
                    let compiled = AccessToken {
                        id: token.id.as_str().into(),
                        consumer: consumer_names.find(&token.consumer, place)?,
                        client: token.client.as_deref().map(|c| client_names.find(c, place)).transpose()?,
                        providers: provider_names.all(&token.providers, place)?,
                        expires: token.expires,
                    };
                    Ok((digest(&token.hmac, place)?, compiled))
                })
                .collect::<Result<HashMap<_, _>, SnapshotError>>()?;

            let mut suppressed = HashMap::new();
            for one in self.suppressed {
                let client = client_names.find(&one.client, "a suppression")?;
                let place = &format!("a suppression of client `{}`", one.client);
                let indexes = one.indexes.iter().map(|hex| digest(hex, place)).collect::<Result<_, _>>()?;
                suppressed.insert(client, Suppressed::new(one.way, indexes));
            }

            for (number, plan) in planned {
                providers[number as usize].quotas = Some(plan);
            }

            let caches =
                providers.iter().any(|provider| provider.operations.iter().any(|one| one.cache.is_some()));
            Ok(super::Snapshot {
                caches,
                revision: self.revision,
                client_limits,
                clients,
                client_index,
                consumers,
                issuers,
                identities,
                consumer_index,
                tokens,
                providers,
                provider_index,
                provider_hosts,
                operation_sets,
                grants,
                denials,
                connections,
                suppressed,
            })
        }
    }

    impl RawProvider<'_> {
        fn compile(self) -> Result<Provider, SnapshotError> {
            let place = format!("provider `{}`", self.name);
            let wrong = |what: String| SnapshotError(format!("{place}: {what}"));
            let mut table = OperationTable::default();
            let mut operations = Vec::with_capacity(self.operations.len());
            for (number, (id, method, path, origin)) in (0u32..).zip(&self.operations) {
                let method = Method::from_bytes(method.as_bytes())
                    .map_err(|_| wrong(format!("`{method}` is not a method")))?;
                table.insert(method, path, number).map_err(&wrong)?;
                if *origin >= self.origins.len() {
                    return Err(wrong(format!(
                        "operation `{id}` names origin {origin}, which does not exist"
                    )));
                }
                let cache = self
                    .cache
                    .as_ref()
                    .map(|cache| {
                        cache
                            .rules_of(number as usize)
                            .ok_or_else(|| wrong(format!("operation `{id}` has no cache rules")))
                    })
                    .transpose()?;
                let erases = self.erases.contains(&number);
                let id = Arc::from(&**id);
                operations.push(Operation {
                    id,
                    origin: *origin,
                    deadlines: None,
                    cache,
                    erases,
                    policy: None,
                    gate: None,
                    restore: None,
                    checks: None,
                });
            }
            for raw in self.protection {
                let numbers = raw.operations.clone();
                let template =
                    |number: u32| self.operations.get(number as usize).map(|(_, _, path, _)| &**path);
                let policy: Arc<Policy> = Arc::new(raw.compile(template).map_err(&wrong)?);
                for number in numbers {
                    let operation = operations.get_mut(number as usize).ok_or_else(|| {
                        wrong(format!(
                            "policy `{}` names operation {number}, which does not exist",
                            policy.name
                        ))
                    })?;
                    if let Some(other) = operation.policy.replace(Arc::clone(&policy)) {
                        return Err(wrong(format!(
                            "operation `{}` has two policies, `{}` and `{}`",
                            operation.id, other.name, policy.name
                        )));
                    }
                }
            }
            let mut restore: HashMap<u32, Vec<Arc<Restoration>>> = HashMap::new();
            for raw in self.restore {
                let numbers = raw.operations.clone();
                let restoration = Arc::new(raw.compile().map_err(&wrong)?);
                for number in numbers {
                    restore.entry(number).or_default().push(Arc::clone(&restoration));
                }
            }
            for (number, restorations) in restore {
                let operation = operations.get_mut(number as usize).ok_or_else(|| {
                    wrong(format!("`restore` names operation {number}, which does not exist"))
                })?;
                operation.restore = Some(restorations.into());
            }
            if let Some(checks) = self.checks {
                let checks = checks.compile(&self.name, operations.len()).map_err(&wrong)?;
                for (operation, checks) in operations.iter_mut().zip(checks) {
                    operation.checks = checks;
                }
            }
            for some in &self.operation_deadlines {
                for number in &some.operations {
                    let operation = operations.get_mut(*number as usize).ok_or_else(|| {
                        wrong(format!("deadlines name operation {number}, which does not exist"))
                    })?;
                    operation.deadlines = Some(Box::new(some.deadlines));
                }
            }
            if let Some(resilience) = &self.resilience {
                resilience.check(self.origins.len(), operations.len()).map_err(&wrong)?;
            }
            let origins = self
                .origins
                .iter()
                // A template is filled by each connection.
                .map(|text| if text.contains('{') { Ok(None) } else { text.parse().map(Some) })
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| wrong(format!("{e}")))?;
            if origins.is_empty() {
                return Err(wrong("it has no origin".to_owned()));
            }
            let headers = self
                .headers
                .iter()
                .map(|(name, value)| {
                    let name = HeaderName::from_bytes(name.as_bytes())
                        .map_err(|_| wrong("a header has no valid name".to_owned()))?;
                    let value = HeaderValue::from_str(value)
                        .map_err(|_| wrong(format!("header `{name}` has no valid value")))?;
                    Ok((name, value))
                })
                .collect::<Result<Vec<_>, SnapshotError>>()?;
            let mut tls = self.tls;
            tls.http = self.http;
            let mut rules = DefaultHasher::new();
            (tls.fingerprint(), tls.http, &self.allow_private).hash(&mut rules);
            Ok(Provider {
                name: self.name.as_str().into(),
                origins,
                attach: self.attach,
                sign: self.sign,
                hook: self.hook,
                headers,
                operations,
                table,
                allow_private: self.allow_private.into(),
                tls: Arc::new(tls),
                deadlines: self.deadlines,
                bounds: self.bounds,
                encoded_slash: self.encoded_slash,
                secret_fields: self.secret_fields.into(),
                echo: self.echo,
                over: self.over,
                resilience: self.resilience,
                dialect: self.dialect.map(Arc::new),
                quotas: None,
                refuses_unprotected: self.unprotected == Unprotected::Refuse,
                observe: self.observe,
                rules: rules.finish(),
            })
        }
    }

    fn put_gates(
        provider: &mut Provider,
        gates: Vec<RawGate>,
        client: impl Fn(&str) -> Option<ClientIndex>,
    ) -> Result<(), SnapshotError> {
        for gate in gates {
            let wrong = |what: String| SnapshotError(format!("provider `{}`: {what}", provider.name));
            let numbers = gate.operations.clone();
            let gate: Arc<Gate> = gate.compile(&client).map_err(wrong)?.into();
            for number in numbers {
                let operation = provider.operations.get_mut(number as usize).ok_or_else(|| {
                    SnapshotError(format!("a gate names operation {number}, which does not exist"))
                })?;
                if operation.gate.replace(Arc::clone(&gate)).is_some() {
                    return Err(SnapshotError(format!("operation `{}` has two gates", operation.id)));
                }
            }
        }
        Ok(())
    }

    impl RawCache {
        fn rules_of(&self, operation: usize) -> Option<Arc<Rules>> {
            self.rules.get(*self.of.get(operation)?).map(Arc::clone)
        }
    }

    impl RawIssuer {
        fn compile(self) -> Issuer {
            Issuer {
                name: self.name.into(),
                issuer: self.issuer,
                audiences: self.audiences,
                algorithms: self.algorithms,
            }
        }
    }

    impl RawIdentity {
        fn proof(&self, issuers: &[Issuer]) -> Result<Proof, SnapshotError> {
            match self {
                Self::Certificate(name) => Ok(Proof::Certificate(name.clone())),
                Self::Token { issuer, claims } => {
                    let number = issuers.iter().position(|known| *known.name == **issuer);
                    let unknown = || {
                        SnapshotError(format!("an identity names issuer `{issuer}`, which does not exist"))
                    };
                    Ok(Proof::Token(number.ok_or_else(unknown)?, claims.clone()))
                }
            }
        }
    }

    impl RawOperationSet {
        fn compile(&self, names: &Names<'_>, providers: &[Provider]) -> Result<OperationSet, SnapshotError> {
            let provider = &providers[names.find(&self.provider, "an operation set")? as usize];
            match &self.operations {
                Members::Word(word) if word == "all" => Ok(OperationSet::All),
                Members::Word(word) => {
                    Err(SnapshotError(format!("an operation set is `{word}`, not `all` or numbers")))
                }
                Members::Numbers(numbers) => {
                    let mut words = vec![0u64; provider.operations.len().div_ceil(64)];
                    for &number in numbers {
                        if number as usize >= provider.operations.len() {
                            return Err(SnapshotError(format!(
                                "an operation set names operation {number} of provider `{}`, which has {}",
                                provider.name,
                                provider.operations.len()
                            )));
                        }
                        words[number as usize / 64] |= 1 << (number % 64);
                    }
                    Ok(OperationSet::Some(words))
                }
            }
        }
    }

    /// A provider's quotas, with what each of its operations draws on them.
    fn plan(quotas: Vec<RawQuota>, sets: &[OperationSet], operations: usize) -> Result<Plan, String> {
        if quotas.len() > QUOTAS_MAX {
            return Err(format!("it has more than {QUOTAS_MAX} quotas"));
        }
        let draws = (0u32..).take(operations).map(|operation| {
            let drawn = quotas.iter().enumerate().filter_map(|(quota, raw)| {
                let (_, cost) = raw.costs.iter().find(|(set, _)| sets[*set].contains(operation))?;
                (*cost > 0).then_some(Draw { quota, cost: *cost })
            });
            drawn.collect()
        });
        let draws = draws.collect();
        let quotas = quotas.into_iter().map(RawQuota::compile).collect::<Result<Vec<_>, _>>()?;
        Ok(Plan::new(quotas, draws))
    }

    fn digest(hex: &str, place: &str) -> Result<[u8; 32], SnapshotError> {
        let wrong = || SnapshotError(format!("{place} has no HMAC of 64 hexadecimal digits"));
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0u8; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(numbers: &[u32]) -> OperationSet {
        let mut words = vec![0; 4];
        for number in numbers {
            words[*number as usize / 64] |= 1 << (number % 64);
        }
        OperationSet::Some(words)
    }

    proptest! {
        #[test]
        fn the_first_grant_that_covers_is_found_however_wide_it_is(
            sets in prop::collection::vec(prop::collection::vec(0u32..200, 0..40), 1..12),
            all_at in prop::option::of(0usize..12),
            clients in prop::collection::vec(0u32..3, 12),
            operation in 0u32..200,
        ) {
            let mut sets: Vec<_> = sets.iter().map(|numbers| set(numbers)).collect();
            if let Some(set) = all_at.and_then(|at| sets.get_mut(at)) {
                *set = OperationSet::All;
            }
            let mut grants = Grants::default();
            for (number, client) in (0..sets.len()).zip(clients) {
                let name = number.to_string().into();
                let class = Class::default();
                let grant = Grant {
                    refuses_unprotected: false,
                    name,
                    clients: vec![client],
                    operations: number,
                    mode: Mode::Enforce,
                    limit: None,
                    class,
                };
                grants.push(grant, &sets[number]);
            }
            let suits = |grant: &Grant| grant.clients == [1];
            let first = grants.iter().find(|grant| suits(grant) && sets[grant.operations].contains(operation));
            let found = grants.covering(&sets, operation, suits);
            prop_assert_eq!(found.map(|grant| &grant.name), first.map(|grant| &grant.name));
        }
    }
}
