//! Connections that are proven and at rest, kept apart by all that gives them identity.
//!
//! A connection serves one client's account only: the key holds whose it is, the origin and the
//! fingerprint of the TLS and address rules it was proven under. One pool a worker, no locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::body::RequestBody;
use crate::dial::{DialCode, DialError, Dialler, Facts, Target, Whose};
use crate::listen::guard::{ProviderState, ResponseGuard};
use crate::listen::local::LocalExecutor;
use crate::origin::Origin;

/// Providers close idle connections after 60 s or more; being earlier spares retries.
const IDLE_MAX: Duration = Duration::from_secs(50);
const IDLE_PER_KEY: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub whose: Whose,
    pub origin: Origin,
    pub rules: u64,
}

#[derive(Default)]
struct Shelf {
    h1: Vec<(Instant, Exclusive)>,
    h2: Option<Shared>,
}

/// An HTTP/1.1 connection: one call at a time.
struct Exclusive {
    sender: http1::SendRequest<RequestBody>,
    state: Rc<ProviderState>,
    facts: Rc<Facts>,
}

/// An HTTP/2 connection: many calls at once, all of one key.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    facts: Rc<Facts>,
}

enum Carrier {
    H1(Exclusive),
    H2(Shared),
}

pub struct Pool {
    dialler: Arc<Dialler>,
    shelves: RefCell<HashMap<PoolKey, Shelf>>,
}

/// Proof that bytes sent here reach the origin: its address was checked and its certificate verified.
pub struct Proven {
    carrier: Carrier,
    key: PoolKey,
    pub reused: bool,
}

/// A connection that a response body is still coming from.
pub struct Borrowed {
    carrier: Carrier,
    key: PoolKey,
    pool: Rc<Pool>,
    /// Whether the request had gone out whole when the answer began.
    request_whole: bool,
}

impl Pool {
    pub fn new(dialler: Arc<Dialler>) -> Self {
        Self { dialler, shelves: RefCell::default() }
    }

    /// A connection at rest, or a new one.
    pub async fn take(&self, key: PoolKey, target: &Target<'_>) -> Result<Proven, DialError> {
        while let Some(carrier) = self.at_rest(&key) {
            if let Some(carrier) = carrier.ready().await {
                return Ok(Proven { carrier, key, reused: true });
            }
        }
        let dialled = self.dialler.dial(target).await?;
        let facts = Rc::new(dialled.facts);
        let carrier = if facts.h2 {
            let (sender, connection) = http2::Builder::new(LocalExecutor)
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(30))
                .max_header_list_size(64 << 10)
                .max_concurrent_reset_streams(32)
                .handshake(TokioIo::new(dialled.stream))
                .await
                .map_err(|error| broken(target, &error))?;
            tokio::task::spawn_local(connection);
            let shared = Shared { sender, facts };
            self.shelves.borrow_mut().entry(key.clone()).or_default().h2 = Some(shared.clone());
            Carrier::H2(shared)
        } else {
            let state = ProviderState::new();
            let (sender, connection) = http1::Builder::new()
                .handshake(TokioIo::new(ResponseGuard::new(dialled.stream, Rc::clone(&state))))
                .await
                .map_err(|error| broken(target, &error))?;
            tokio::task::spawn_local(connection);
            Carrier::H1(Exclusive { sender, state, facts })
        };
        Ok(Proven { carrier, key, reused: false })
    }

    fn at_rest(&self, key: &PoolKey) -> Option<Carrier> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(key)?;
        if let Some(shared) = &shelf.h2 {
            if !shared.sender.is_closed() {
                return Some(Carrier::H2(shared.clone()));
            }
            shelf.h2 = None;
        }
        let now = Instant::now();
        while let Some((since, exclusive)) = shelf.h1.pop() {
            if now.duration_since(since) < IDLE_MAX && exclusive.is_fit() {
                return Some(Carrier::H1(exclusive));
            }
        }
        None
    }

    fn rest(&self, key: PoolKey, exclusive: Exclusive) {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.entry(key).or_default();
        if shelf.h1.len() < IDLE_PER_KEY {
            shelf.h1.push((Instant::now(), exclusive));
        }
    }

    /// Close what has rested too long; called from the worker's slow tick.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.shelves.borrow_mut().retain(|_, shelf| {
            shelf.h1.retain(|(since, exclusive)| now.duration_since(*since) < IDLE_MAX && exclusive.is_fit());
            if shelf.h2.as_ref().is_some_and(|shared| shared.sender.is_closed()) {
                shelf.h2 = None;
            }
            !shelf.h1.is_empty() || shelf.h2.is_some()
        });
    }
}

fn broken(target: &Target<'_>, error: &hyper::Error) -> DialError {
    DialError {
        code: DialCode::ProviderUnreachable,
        reason: "http_handshake",
        detail: format!("http_handshake: `{}`: {error}", target.origin),
    }
}

impl Exclusive {
    fn is_fit(&self) -> bool {
        !self.sender.is_closed() && self.state.reusable()
    }
}

impl Carrier {
    async fn ready(self) -> Option<Self> {
        match self {
            Self::H1(mut exclusive) => exclusive.sender.ready().await.ok().map(|()| Self::H1(exclusive)),
            Self::H2(mut shared) => shared.sender.ready().await.ok().map(|()| Self::H2(shared)),
        }
    }
}

impl Proven {
    pub fn origin(&self) -> &Origin {
        &self.key.origin
    }

    pub fn facts(&self) -> &Rc<Facts> {
        match &self.carrier {
            Carrier::H1(exclusive) => &exclusive.facts,
            Carrier::H2(shared) => &shared.facts,
        }
    }

    pub fn is_h2(&self) -> bool {
        matches!(self.carrier, Carrier::H2(_))
    }

    /// Send the request; on failure it comes back when not a byte of it was written.
    pub async fn send(
        &mut self,
        method: &Method,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.carrier {
            Carrier::H1(exclusive) => {
                exclusive.state.expect(method);
                exclusive.sender.try_send_request(request).await
            }
            Carrier::H2(shared) => shared.sender.try_send_request(request).await,
        }
    }

    /// What the guard saw on this connection, for the record.
    pub fn violation(&self) -> Option<String> {
        self.carrier.violation()
    }

    pub fn lend(self, pool: Rc<Pool>, request_whole: bool) -> Borrowed {
        Borrowed { carrier: self.carrier, key: self.key, pool, request_whole }
    }
}

impl Carrier {
    fn violation(&self) -> Option<String> {
        match self {
            Self::H1(exclusive) => exclusive.state.violation().map(|violation| violation.to_string()),
            Self::H2(_) => None,
        }
    }
}

impl Borrowed {
    /// The response is whole. A connection that answered before its request was whole is closed, not reused:
    /// nobody knows how much of the body that provider reads before it looks for the next request.
    pub fn give_back(self) {
        if let Carrier::H1(exclusive) = self.carrier
            && self.request_whole
            && !exclusive.sender.is_closed()
        {
            self.pool.rest(self.key, exclusive);
        }
    }

    pub fn violation(&self) -> Option<String> {
        self.carrier.violation()
    }
}
