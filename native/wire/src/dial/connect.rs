//! Open a TCP connection to one of the addresses that were cleared, whichever answers first.
//!
//! Addresses are tried in turn, IPv6 and IPv4 alternating; the next one starts when the one before has
//! failed or stayed silent for a moment (RFC 8305, without its history of past results).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// RFC 8305 §5: connection attempt delay.
const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(250);
const ATTEMPTS_MAX: usize = 8;

const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// An address that passed every check of this dial. Only such a one is connected to.
#[derive(Clone, Copy, Debug)]
pub struct Cleared(pub(super) SocketAddr);

#[derive(Debug)]
pub enum NotConnected {
    TimedOut,
    Failed(io::Error),
}

pub async fn connect(cleared: &[Cleared], deadline: Instant) -> Result<TcpStream, NotConnected> {
    let mut waiting = in_turn(cleared).into_iter().take(ATTEMPTS_MAX);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(Cleared(address)) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let patience =
            if waiting.len() == 0 { deadline } else { deadline.min(Instant::now() + NEXT_ATTEMPT_AFTER) };
        match timeout_at(patience, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return prepared(stream).map_err(NotConnected::Failed),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(aborted))) => failure = io::Error::other(aborted),
            Ok(None) => return Err(NotConnected::Failed(failure)),
            Err(_elapsed) if Instant::now() >= deadline => return Err(NotConnected::TimedOut),
            Err(_elapsed) => {}
        }
    }
}

/// Alternate the families, IPv6 first; within one, keep the order of the answer.
fn in_turn(cleared: &[Cleared]) -> Vec<Cleared> {
    let (v6, v4): (Vec<Cleared>, Vec<Cleared>) =
        cleared.iter().partition(|Cleared(address)| address.is_ipv6());
    let mut order = Vec::with_capacity(cleared.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    while order.len() < cleared.len() {
        order.extend(v6.next());
        order.extend(v4.next());
    }
    order
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}
