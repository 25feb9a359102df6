//! Find the addresses of a host, in bounded time.
//!
//! Answers are only found here, never judged: the dialler classifies every one of them, on every dial,
//! cached or not. Names are absolute; search domains do not apply.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfigGroup, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::{ProtoError, ProtoErrorKind};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, ResolveError, TokioResolver};
use serde::{Deserialize, Deserializer};

const DNS_PORT: u16 = 53;
/// An answer is kept as long as its records say, and no longer than this.
const KEPT_MAX: Duration = Duration::from_secs(30);
const KEPT_ENTRIES_MAX: usize = 4_096;

/// `resolver` of the engine's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Empty: those of `/etc/resolv.conf`, with `/etc/hosts` ahead of them.
    #[serde(deserialize_with = "name_servers")]
    pub servers: Vec<SocketAddr>,
    /// Addresses that a name has ahead of DNS.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    pub timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: Vec::new(), hosts: HashMap::new(), timeout_ms: 2_000 }
    }
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    TimedOut,
    NoSuchName,
    Failed,
}

impl Unresolved {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "dns_timeout",
            Self::NoSuchName => "dns_no_address",
            Self::Failed => "dns_error",
        }
    }
}

pub struct Resolver {
    hosts: HashMap<Box<str>, Arc<[IpAddr]>>,
    dns: ResolverConfig,
    options: ResolverOpts,
    system_hosts: Arc<Hosts>,
    timeout: Duration,
    kept: Mutex<HashMap<Box<str>, Answer>>,
}

#[derive(Clone)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let (dns, system_hosts) =
            if settings.servers.is_empty() { system() } else { declared(&settings.servers) };
        Self {
            hosts: settings
                .hosts
                .into_iter()
                .map(|(name, addresses)| (name.to_ascii_lowercase().into(), addresses.into()))
                .collect(),
            dns,
            options: options(timeout),
            system_hosts: Arc::new(system_hosts),
            timeout,
            kept: Mutex::default(),
        }
    }

    /// All addresses of a lower-case name, A and AAAA; never none.
    pub async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        if let Some(addresses) = self.hosts.get(host) {
            return some_address(Arc::clone(addresses));
        }
        if let Some(addresses) = self.kept(host) {
            return Ok(addresses);
        }
        let answer = tokio::time::timeout(self.timeout, self.ask(host))
            .await
            .map_err(|_elapsed| Unresolved::TimedOut)??;
        self.keep(host, answer.clone());
        Ok(answer.addresses)
    }

    /// Drop what is kept of a host, since none of its addresses answered.
    pub fn forget(&self, host: &str) {
        self.lock().remove(host);
    }

    async fn ask(&self, host: &str) -> Result<Answer, Unresolved> {
        let mut name = Name::from_ascii(host).map_err(|_| Unresolved::NoSuchName)?;
        name.set_fqdn(true);
        let found = self.resolver().lookup_ip(name).await.map_err(|error| reason(&error))?;
        let addresses = some_address(found.iter().collect())?;
        Ok(Answer { addresses, until: found.valid_until().min(Instant::now() + KEPT_MAX) })
    }

    /// One for each question: its sockets are tasks of the runtime that made it, and a runtime may end
    /// while another still asks. Dialling is rare enough to pay for this.
    fn resolver(&self) -> TokioResolver {
        let mut resolver =
            TokioResolver::builder_with_config(self.dns.clone(), TokioConnectionProvider::default())
                .with_options(self.options.clone())
                .build();
        resolver.set_hosts(Arc::clone(&self.system_hosts));
        resolver
    }

    fn kept(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let kept = self.lock();
        let answer = kept.get(host)?;
        (answer.until > Instant::now()).then(|| Arc::clone(&answer.addresses))
    }

    fn keep(&self, host: &str, answer: Answer) {
        let now = Instant::now();
        if answer.until <= now {
            return;
        }
        let mut kept = self.lock();
        if kept.len() >= KEPT_ENTRIES_MAX {
            kept.retain(|_, answer| answer.until > now);
        }
        if kept.len() < KEPT_ENTRIES_MAX {
            kept.insert(host.into(), answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Answer>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn system() -> (ResolverConfig, Hosts) {
    // A machine without resolv.conf reaches what `hosts` names and address literals; other names fail.
    let dns = read_system_conf().map_or_else(|_| ResolverConfig::new(), |(config, _)| config);
    let without_search = ResolverConfig::from_parts(None, Vec::new(), dns.name_servers().to_vec());
    (without_search, Hosts::from_system().unwrap_or_default())
}

fn declared(servers: &[SocketAddr]) -> (ResolverConfig, Hosts) {
    let mut group = NameServerConfigGroup::with_capacity(2 * servers.len());
    for server in servers {
        group.merge(NameServerConfigGroup::from_ips_clear(&[server.ip()], server.port(), false));
    }
    (ResolverConfig::from_parts(None, Vec::new(), group), Hosts::default())
}

fn options(timeout: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // Two tries fit into the whole, with a rest: a server that drops AAAA questions, as some do, then
    // delays the A answer and does not void it.
    options.timeout = timeout * 2 / 5;
    options.attempts = 1;
    options.edns0 = true;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    // Kept here, for all runtimes, instead.
    options.cache_size = 0;
    options
}

fn some_address(addresses: Arc<[IpAddr]>) -> Result<Arc<[IpAddr]>, Unresolved> {
    if addresses.is_empty() { Err(Unresolved::NoSuchName) } else { Ok(addresses) }
}

fn reason(error: &ResolveError) -> Unresolved {
    if matches!(error.proto().map(ProtoError::kind), Some(ProtoErrorKind::Timeout)) {
        Unresolved::TimedOut
    } else if error.is_nx_domain() || error.is_no_records_found() {
        Unresolved::NoSuchName
    } else {
        Unresolved::Failed
    }
}

fn name_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| name_server(text)).collect()
}

fn name_server<E: serde::de::Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse()
        .or_else(|_| text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT)))
        .map_err(|_| E::custom("a DNS server is an address, or `address:port`"))
}
