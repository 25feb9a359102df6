//! Accept consumers' connections and read requests off them, strictly.
//!
//! HTTP/1.1 goes through the guard before hyper sees a byte; HTTP/2 is told by its preface, or by ALPN on a
//! TLS listener. Each worker has its own listening sockets (`SO_REUSEPORT`): a connection stays where it
//! was accepted.

pub mod guard;
pub mod lint;
pub mod local;
pub mod secured;

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::call::serve;
use crate::engine::{Config, EngineError};
use crate::error::{Code, Refusal};
use crate::identity::names_of;
use crate::worker::{Phase, Worker};
use guard::{BegunCall, ConnectionState, RequestGuard, TimeLimits};
use lint::{Violation, ViolationCode};
use secured::{Renewed, Secured};

/// RFC 9112 §3 asks for at least 8000 bytes of request line.
pub const TARGET_MAX: usize = 8 << 10;
const HEAD_MAX: u32 = 32 << 10;
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HANDSHAKE: Duration = Duration::from_secs(10);

/// One listening socket of one worker.
pub struct Bound {
    socket: std::net::TcpListener,
    tls: Option<Arc<Secured>>,
}

/// Every listener, bound once for each worker.
pub struct Listeners {
    pub by_worker: Vec<Vec<Bound>>,
    pub addresses: Vec<(String, SocketAddr)>,
    pub secured: HashMap<String, Arc<Secured>>,
}

pub fn bind(config: &Config) -> Result<Listeners, EngineError> {
    let mut by_worker: Vec<Vec<Bound>> = (0..config.workers).map(|_| Vec::new()).collect();
    let (mut addresses, mut secured) = (Vec::new(), HashMap::new());
    for listener in &config.listeners {
        let tls =
            listener.tls.as_ref().map(|tls| Secured::new(&listener.name, tls)).transpose()?.map(Arc::new);
        if let Some(tls) = &tls {
            secured.insert(listener.name.clone(), Arc::clone(tls));
        }
        let mut address = listener.bind;
        for worker in &mut by_worker {
            let socket = listening(address).map_err(|source| EngineError::Io {
                what: format!("listener `{}` cannot bind {address}", listener.name),
                source,
            })?;
            // Port 0 is chosen by the first bind; the others share it.
            address = socket.local_addr().map_err(|source| EngineError::Io {
                what: format!("listener `{}`", listener.name),
                source,
            })?;
            worker.push(Bound { socket, tls: tls.clone() });
        }
        addresses.push((listener.name.clone(), address));
    }
    Ok(Listeners { by_worker, addresses, secured })
}

fn listening(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// A consumer's connection, as its calls see it.
pub struct Consumer {
    pub scheme: &'static str,
    /// The names in the certificate that it showed, if it showed one.
    pub names: Vec<String>,
    /// What the HTTP/1.1 guard knows; HTTP/2 is judged by its own library.
    state: Option<Rc<ConnectionState>>,
}

impl Consumer {
    /// Take up the next request; kept until its call has ended.
    pub fn begin(&self) -> Option<BegunCall> {
        self.state.as_ref().map(ConnectionState::begin)
    }

    /// Why reading the body failed, if a rule of framing is the reason.
    pub fn body_violation(&self) -> Option<Refusal> {
        self.state.as_ref()?.take_violation().map(|violation| refusal(&violation))
    }
}

/// The problem to answer with when the bytes broke a rule of HTTP.
pub fn refusal(violation: &Violation) -> Refusal {
    let code = match violation.code {
        ViolationCode::UriTooLong => Code::UriTooLong,
        ViolationCode::HeadTooLarge => Code::HeadTooLarge,
        ViolationCode::MethodNotAllowed => Code::MethodNotAllowed,
        ViolationCode::Timeout => Code::Timeout,
        ViolationCode::MalformedRequest | ViolationCode::MalformedResponse => Code::MalformedRequest,
    };
    Refusal::new(code, violation.to_string()).by(Arc::from(violation.rule))
}

/// How many connections live, and a bell for the last one.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    none: Notify,
}

struct OpenGuard(Rc<Open>, Rc<Worker>);

impl OpenGuard {
    fn new(open: &Rc<Open>, worker: &Rc<Worker>) -> Self {
        open.count.set(open.count.get() + 1);
        worker.shared.connections.fetch_add(1, Ordering::Relaxed);
        Self(Rc::clone(open), Rc::clone(worker))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.1.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none.notify_waiters();
        }
    }
}

/// Accept until told to drain, then wait for the calls that run; true when none was cut.
pub async fn run(worker: Rc<Worker>, listeners: Vec<Bound>, mut phase: watch::Receiver<Phase>) -> bool {
    let open = Rc::new(Open::default());
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|bound| {
            tokio::task::spawn_local(accept(Rc::clone(&worker), bound, Rc::clone(&open), phase.clone()))
        })
        .collect();
    let deadline = loop {
        match *phase.borrow_and_update() {
            Phase::Draining(deadline) => break deadline,
            Phase::Serving => {}
        }
        if phase.changed().await.is_err() {
            break std::time::Instant::now();
        }
    };
    for task in accepting {
        task.abort();
    }
    let none_left = async {
        while open.count.get() > 0 {
            open.none.notified().await;
        }
    };
    tokio::time::timeout_at(Instant::from_std(deadline), none_left).await.is_ok()
}

async fn accept(worker: Rc<Worker>, bound: Bound, open: Rc<Open>, phase: watch::Receiver<Phase>) {
    let Ok(listener) = TcpListener::from_std(bound.socket) else { return };
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let full =
                    worker.shared.connections.load(Ordering::Relaxed) >= worker.shared.config.connections_max;
                if full || socket.set_nodelay(true).is_err() {
                    continue;
                }
                let guard = OpenGuard::new(&open, &worker);
                let (worker, phase) = (Rc::clone(&worker), phase.clone());
                let tls = bound.tls.as_ref().map(|tls| tls.begin());
                tokio::task::spawn_local(async move {
                    let _guard = guard;
                    match tls {
                        None => plain(worker, socket, phase).await,
                        Some((acceptor, renewed)) => {
                            Box::pin(secure(worker, socket, acceptor, renewed, phase)).await;
                        }
                    }
                });
            }
            // Out of descriptors: a pause, or accepting would spin.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn plain(worker: Rc<Worker>, socket: TcpStream, phase: watch::Receiver<Phase>) {
    let idle = Duration::from_millis(worker.shared.config.idle_timeout_ms);
    match timeout(idle, starts_h2(&socket)).await {
        Ok(true) => serve_h2(worker, socket, Caller::default(), End { phase, renewed: None }).await,
        Ok(false) => serve_h1(worker, socket, Caller::default(), End { phase, renewed: None }).await,
        Err(_) => {}
    }
}

async fn secure(
    worker: Rc<Worker>,
    socket: TcpStream,
    acceptor: TlsAcceptor,
    renewed: Renewed,
    phase: watch::Receiver<Phase>,
) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(socket)).await else { return };
    let session = stream.get_ref().1;
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let end = End { phase, renewed: shown.map(|_| renewed) };
    let caller = Caller { scheme: "https", names: shown.map(names_of).unwrap_or_default() };
    if session.alpn_protocol() == Some(b"h2") {
        serve_h2(worker, stream, caller, end).await;
    } else {
        serve_h1(worker, stream, caller, end).await;
    }
}

/// What the handshake, if there was one, says of who calls.
struct Caller {
    scheme: &'static str,
    names: Vec<String>,
}

impl Default for Caller {
    fn default() -> Self {
        Self { scheme: "http", names: Vec::new() }
    }
}

/// Whether the first bytes are HTTP/2's preface (RFC 9113 §3.4); none is taken from the socket.
async fn starts_h2(socket: &TcpStream) -> bool {
    let mut first = [0; H2_PREFACE.len()];
    loop {
        let Ok(seen) = socket.peek(&mut first).await else { return false };
        if seen == 0 || first[..seen] != H2_PREFACE[..seen] {
            return false;
        }
        if seen == H2_PREFACE.len() {
            return true;
        }
        // A preface in pieces stays readable: peeking again at once would spin.
        sleep(Duration::from_millis(5)).await;
    }
}

// Neither is an `async fn`: such a future would keep room for its arguments besides the connection that is
// made of them, and each of many idle connections would pay for it.
fn serve_h1<IO>(worker: Rc<Worker>, io: IO, caller: Caller, end: End) -> impl Future<Output = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let config = &worker.shared.config;
    let limits = TimeLimits {
        head: Duration::from_millis(config.head_timeout_ms),
        idle: Duration::from_millis(config.idle_timeout_ms),
        body: Duration::from_millis(config.body_idle_timeout_ms),
    };
    let state = ConnectionState::new();
    let guard = TokioIo::new(RequestGuard::new(io, Rc::clone(&state), limits));
    let consumer = Rc::new(Consumer { scheme: caller.scheme, names: caller.names, state: Some(state) });
    let service = service_fn(move |request| {
        let (worker, consumer) = (Rc::clone(&worker), Rc::clone(&consumer));
        // Boxed: hyper keeps room for a call in every connection, and most connections are idle.
        Box::pin(async move { Ok::<_, Infallible>(serve(worker, consumer, request).await) })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard keeps the time of heads, and answers when one is late.
        .header_read_timeout(None)
        .max_buf_size(128 << 10)
        .serve_connection(guard, service);
    serve_until_ended(Box::pin(connection), end, http1::Connection::graceful_shutdown)
}

fn serve_h2<IO>(worker: Rc<Worker>, io: IO, caller: Caller, end: End) -> impl Future<Output = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let idle = Duration::from_millis(worker.shared.config.idle_timeout_ms);
    let consumer = Rc::new(Consumer { scheme: caller.scheme, names: caller.names, state: None });
    let service = service_fn(move |request| {
        let (worker, consumer) = (Rc::clone(&worker), Rc::clone(&consumer));
        async move { Ok::<_, Infallible>(serve(worker, consumer, request).await) }
    });
    let connection = http2::Builder::new(local::LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(HEAD_MAX)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(256 << 10)
        .keep_alive_interval(idle)
        .serve_connection(TokioIo::new(io), service);
    serve_until_ended(Box::pin(connection), end, http2::Connection::graceful_shutdown)
}

/// What ends a connection after the call under way: the gateway stops, or the certificate that the consumer
/// showed was judged by what has been replaced.
struct End {
    phase: watch::Receiver<Phase>,
    renewed: Option<Renewed>,
}

async fn serve_until_ended<C: Future>(mut connection: Pin<Box<C>>, end: End, shut_down: fn(Pin<&mut C>)) {
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ended(end) => shut_down(connection.as_mut()),
    }
    let _ = connection.await;
}

async fn ended(End { mut phase, renewed }: End) {
    // An error means that the engine is gone, which is a stop as well.
    let draining = phase.wait_for(|phase| matches!(phase, Phase::Draining(_)));
    let Some(renewed) = renewed else {
        let _ = draining.await;
        return;
    };
    tokio::select! {
        _ = draining => {}
        () = renewed.wait() => {}
    }
}
