//! Reach a provider's origin, or say why not: the one place from which Tidegate connects to anything.
//!
//! Runs after `reserve`, before `attach`. What it yields is proven: the address was checked by class and is
//! the one connected to, and the certificate is the origin's. It reads no environment variable, follows no
//! proxy setting, and sends nothing of the call.

mod classify;
mod connect;
pub mod pool;
pub mod resolve;
mod stream;
pub mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use classify::{Class, classify, permitted};
pub use stream::Stream;

use crate::origin::{Origin, Scheme};
use connect::{Cleared, NotConnected};
use resolve::{Resolver, Unresolved};
use tls::{ClientConfigs, ClientIdentity, HttpVersions, TlsPolicy};

/// Shared by all workers; what it keeps belongs to no runtime.
pub struct Dialler {
    resolver: Resolver,
    configs: ClientConfigs,
    own_listeners: Vec<SocketAddr>,
}

/// On whose behalf a connection is made. Nothing that the other end could tell callers apart by, be it the
/// connection or its TLS session, goes from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Of a connection's id, with the version of its credential.
    Connection(Arc<str>, u32),
    /// Of a client at a provider that wants no credential.
    Client { provider: Arc<str>, client: Arc<str> },
    /// Tidegate's own, for whomever: never gone on with.
    Once,
}

/// Where to, and what must hold there.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub origin: &'a Origin,
    pub whose: &'a Whose,
    /// Ranges in which an address may lie although it is not public.
    pub allow_private: &'a [IpNet],
    pub tls: &'a TlsPolicy,
    pub identity: Option<&'a ClientIdentity>,
    /// For resolving, connecting and the TLS handshake together.
    pub timeout: Duration,
}

#[derive(Debug)]
pub struct Dialled {
    pub stream: Stream,
    pub facts: Facts,
}

/// What the record says of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub address: SocketAddr,
    pub tls_version: Option<&'static str>,
    pub tls_group: Option<&'static str>,
    /// Whether HTTP/2 is to be spoken.
    pub h2: bool,
    pub resolve_us: u64,
    pub connect_us: u64,
    pub tls_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialCode {
    DestinationProhibited,
    TlsFailed,
    ProviderUnreachable,
    Timeout,
}

/// Why an origin was not reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct DialError {
    pub code: DialCode,
    /// One word: `private`, `expired`, `name_mismatch`, `dns_timeout` …
    pub reason: &'static str,
    /// For the record: the reason, host, port and address, and nothing of the call.
    pub detail: String,
}

impl Dialler {
    /// `own_listeners` are the addresses at which Tidegate itself listens: no call comes back to them.
    pub fn new(resolver: resolve::Settings, own_listeners: Vec<SocketAddr>) -> Self {
        Self { resolver: Resolver::new(resolver), configs: ClientConfigs::new(), own_listeners }
    }

    pub async fn dial(&self, target: &Target<'_>) -> Result<Dialled, DialError> {
        let started = Instant::now();
        let deadline = started + target.timeout;

        // 1. Resolve. 2. Clear every address of the answer, before any is used.
        let addresses = self.resolve(target, deadline).await?;
        let cleared = self.clear(target, &addresses)?;
        let resolved = Instant::now();

        // 3. Connect to the very addresses that were cleared: the name is not looked up again.
        let stream = self.connect(target, &cleared, deadline).await?;
        let address = stream
            .peer_addr()
            .map_err(|_| failed(target, DialCode::ProviderUnreachable, "connection_reset", None))?;
        let connected = Instant::now();

        let mut facts = Facts {
            address,
            tls_version: None,
            tls_group: None,
            h2: target.tls.http == HttpVersions::Http2,
            resolve_us: micros(resolved - started),
            connect_us: micros(connected - resolved),
            tls_us: 0,
        };
        if target.origin.scheme() == Scheme::Http {
            return Ok(Dialled { stream: Stream::Plain(stream), facts });
        }

        // 4. Have the other end prove that it is the origin.
        let stream = self.prove(target, stream, address.ip(), deadline).await?;
        let (_, session) = stream.get_ref();
        facts.tls_version = session.protocol_version().map(tls::version_name);
        facts.tls_group = session.negotiated_key_exchange_group().map(|group| tls::group_name(group.name()));
        facts.h2 = session.alpn_protocol() == Some(b"h2");
        facts.tls_us = micros(connected.elapsed());
        Ok(Dialled { stream: Stream::Tls(Box::new(stream)), facts })
    }

    /// Drop a connection's TLS sessions and client key: its lease was replaced or taken back.
    pub fn forget(&self, connection: &str) {
        self.configs.forget(connection);
    }

    async fn resolve(&self, target: &Target<'_>, deadline: Instant) -> Result<Arc<[IpAddr]>, DialError> {
        if let Some(literal) = target.origin.address() {
            return Ok(Arc::new([literal]));
        }
        let found = timeout_at(deadline, self.resolver.resolve(target.origin.host())).await;
        found
            .unwrap_or(Err(Unresolved::TimedOut))
            .map_err(|why| failed(target, DialCode::ProviderUnreachable, why.as_str(), None))
    }

    /// One prohibited address condemns the host: an answer that mixes them is an attack or a mistake.
    fn clear(&self, target: &Target<'_>, addresses: &[IpAddr]) -> Result<Vec<Cleared>, DialError> {
        addresses.iter().map(|address| self.clear_one(target, *address)).collect()
    }

    fn clear_one(&self, target: &Target<'_>, address: IpAddr) -> Result<Cleared, DialError> {
        let prohibited = |reason| failed(target, DialCode::DestinationProhibited, reason, Some(address));
        permitted(address, target.allow_private).map_err(|class| prohibited(class.as_str()))?;
        // What is connected to is what was judged: a mapped address is the IPv4 address inside.
        let address = address.to_canonical();
        let declared = || target.allow_private.iter().any(|range| range.contains(&address));
        if target.origin.scheme() == Scheme::Http && !declared() {
            return Err(prohibited("plaintext"));
        }
        let address = SocketAddr::new(address, target.origin.port());
        if self.own_listeners.iter().any(|own| listens_at(*own, address)) {
            return Err(prohibited("own_listener"));
        }
        Ok(Cleared(address))
    }

    async fn connect(
        &self,
        target: &Target<'_>,
        cleared: &[Cleared],
        deadline: Instant,
    ) -> Result<TcpStream, DialError> {
        connect::connect(cleared, deadline).await.map_err(|not_connected| {
            // The host may have moved: the next dial asks anew.
            self.resolver.forget(target.origin.host());
            let first = cleared.first().map(|Cleared(address)| address.ip());
            match not_connected {
                NotConnected::TimedOut => failed(target, DialCode::Timeout, "connect_timeout", first),
                NotConnected::Failed(error) => {
                    failed(target, DialCode::ProviderUnreachable, connect_reason(&error), first)
                }
            }
        })
    }

    async fn prove(
        &self,
        target: &Target<'_>,
        stream: TcpStream,
        address: IpAddr,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let refused = |reason| failed(target, DialCode::TlsFailed, reason, Some(address));
        let name = tls::server_name(target.origin.host()).ok_or_else(|| refused("name_mismatch"))?;
        let config = self
            .configs
            .get(target.tls, target.whose, target.identity)
            .map_err(|_| refused("configuration"))?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = timeout_at(deadline, handshake)
            .await
            .map_err(|_elapsed| failed(target, DialCode::Timeout, "tls_timeout", Some(address)))?
            .map_err(|error| refused(tls::reason(&error)))?;
        let (_, session) = stream.get_ref();
        // A server may ignore what is offered; without this, HTTP/2 would be spoken to one that has not agreed.
        if target.tls.http == HttpVersions::Http2 && session.alpn_protocol() != Some(b"h2") {
            return Err(refused("no_application_protocol"));
        }
        Ok(stream)
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("own_listeners", &self.own_listeners).finish_non_exhaustive()
    }
}

/// Whether a connection to `address` would arrive at the listener `own`.
fn listens_at(own: SocketAddr, address: SocketAddr) -> bool {
    let own_ip = own.ip().to_canonical();
    own.port() == address.port()
        && (own_ip == address.ip() || own_ip.is_unspecified() && is_this_host(address.ip()))
}

/// Whether the address is one of this host's own: then the kernel sends from it as well. Connecting a
/// datagram socket only asks the routing table; nothing is sent.
fn is_this_host(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

fn connect_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset => "connection_reset",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "network_unreachable",
        io::ErrorKind::TimedOut => "connect_timeout",
        _ => "connect_error",
    }
}

fn failed(target: &Target<'_>, code: DialCode, reason: &'static str, address: Option<IpAddr>) -> DialError {
    let (host, port) = (target.origin.host(), target.origin.port());
    let detail = match address {
        Some(address) => format!("{reason}: `{host}` port {port} at {address}"),
        None => format!("{reason}: `{host}` port {port}"),
    };
    DialError { code, reason, detail }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
