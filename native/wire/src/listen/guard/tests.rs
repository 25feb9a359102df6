//! The guards with hyper behind them, on both sides, over pipes and loopback sockets.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::{ConnectionState, ProviderState, RequestGuard, ResponseGuard, TimeLimits};

const LIMITS: TimeLimits = TimeLimits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    body: Duration::from_secs(30),
};

/// What the service behind the guard did, and what it waits for.
#[derive(Default)]
struct Desk {
    /// `METHOD path body` of each call that was executed.
    executed: RefCell<Vec<String>>,
    /// The rules by which requests, or their bodies, were refused.
    refused: RefCell<Vec<&'static str>>,
    begun: Notify,
    release: Notify,
    cancelled: Cell<usize>,
    closed: Notify,
}

/// Counts a call that was dropped before it was answered.
struct InProgress<'a>(&'a Desk, bool);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.set(self.0.cancelled.get() + 1);
        }
    }
}

/// Answers refusals by their rule, `/slow` when released, `/unread` before the body, and all else
/// with an echo.
async fn answer(
    desk: Rc<Desk>,
    state: Rc<ConnectionState>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let call = state.begin();
    let mut in_progress = InProgress(&desk, false);
    let respond = |status, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        Ok(response)
    };
    let (head, body) = request.into_parts();
    let response = if let Some(violation) = &call.refused {
        desk.refused.borrow_mut().push(violation.rule);
        respond(StatusCode::BAD_REQUEST, violation.rule.to_owned())
    } else if head.uri.path() == "/unread" {
        respond(StatusCode::FORBIDDEN, "no".to_owned())
    } else {
        desk.begun.notify_one();
        if head.uri.path() == "/slow" {
            desk.release.notified().await;
        }
        if let Ok(body) = body.collect().await {
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            let line = format!("{} {} {body}", head.method, head.uri);
            desk.executed.borrow_mut().push(line.clone());
            respond(StatusCode::OK, line)
        } else {
            let rule = state.take_violation().map_or("none", |violation| violation.rule);
            desk.refused.borrow_mut().push(rule);
            respond(StatusCode::BAD_REQUEST, rule.to_owned())
        }
    };
    in_progress.1 = true;
    response
}

/// Serves `io` through a guard until hyper closes it.
fn serve(io: impl AsyncRead + AsyncWrite + Unpin + 'static, limits: TimeLimits) -> Rc<Desk> {
    let desk = Rc::new(Desk::default());
    let state = ConnectionState::new();
    let guard = RequestGuard::new(io, Rc::clone(&state), limits);
    let service = {
        let desk = Rc::clone(&desk);
        service_fn(move |request| answer(Rc::clone(&desk), Rc::clone(&state), request))
    };
    let served = Rc::clone(&desk);
    spawn_local(async move {
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(guard), service).await;
        served.closed.notify_one();
    });
    desk
}

async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// A consumer's end of a pipe with a guard and hyper at the other.
fn consumer() -> (DuplexStream, Rc<Desk>) {
    let (near, far) = duplex(64 * 1024);
    (near, serve(far, LIMITS))
}

async fn read_to_end(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    io.read_to_end(&mut text).await.expect("the connection ends in order");
    String::from_utf8(text).expect("text")
}

/// Reads until `end` was read.
async fn read_until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = io.read_u8().await.expect("more text");
        text.push(char::from(byte));
    }
    text
}

/// The status codes of the responses in `text`, in order.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect()
}

#[tokio::test]
async fn well_formed_requests_are_executed_on_one_connection() {
    local(async {
        let (mut near, desk) = consumer();
        for byte in b"GET /one HTTP/1.1\r\nHost: h\r\n\r\n" {
            near.write_all(&[*byte]).await.expect("written");
            tokio::task::yield_now().await;
        }
        read_until(&mut near, "GET /one ").await;
        near.write_all(
            b"POST /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
              5;x\r\nhello\r\n0\r\nA: b\r\n\r\n\
              PUT /three HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        )
        .await
        .expect("written");
        let text = read_to_end(&mut near).await;
        assert_eq!(statuses(&text), ["200", "200"]);
        assert_eq!(*desk.executed.borrow(), ["GET /one ", "POST /two hello", "PUT /three abc"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_head_is_answered_and_closes() {
    local(async {
        for (rule, request) in [
            ("coding-and-length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("bare-lf", "GET / HTTP/1.1\nHost: h\n\n"),
            ("leading-blank-line", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("length-repeated", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
            ("expect-value", "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx"),
            ("host-missing", "GET / HTTP/1.1\r\n\r\n"),
        ] {
            let (mut near, desk) = consumer();
            near.write_all(request.as_bytes()).await.expect("written");
            near.write_all(b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
            near.shutdown().await.expect("shut");
            let text = read_to_end(&mut near).await;
            assert_eq!(statuses(&text), ["400"], "{rule}");
            assert!(text.contains("connection: close"), "{rule}");
            assert!(text.ends_with(rule), "{text}");
            assert_eq!(*desk.refused.borrow(), [rule]);
            assert!(desk.executed.borrow().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_pipelined_request_waits_for_its_turn() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(
            b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n\
              GET /bad HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n\
              GET /never HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await
        .expect("written");
        desk.begun.notified().await;
        // More of the same while the first call runs changes nothing.
        near.write_all(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        tokio::task::yield_now().await;
        assert!(desk.refused.borrow().is_empty());
        desk.release.notify_one();
        let text = read_to_end(&mut near).await;
        assert_eq!(statuses(&text), ["200", "400"]);
        assert_eq!(*desk.executed.borrow(), ["GET /slow "]);
        assert_eq!(*desk.refused.borrow(), ["host-repeated"]);
        assert_eq!(desk.cancelled.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_pipelined_request_with_a_bad_body_does_not_touch_the_call_before() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(
            b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n\
              POST /bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n\
              GET /never HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await
        .expect("written");
        desk.begun.notified().await;
        tokio::task::yield_now().await;
        desk.release.notify_one();
        let text = read_to_end(&mut near).await;
        assert_eq!(statuses(&text), ["200", "400"]);
        assert_eq!(*desk.executed.borrow(), ["GET /slow "]);
        assert_eq!(*desk.refused.borrow(), ["chunk-size"]);
    })
    .await;
}

#[tokio::test]
async fn a_bad_chunk_fails_the_call_and_closes() {
    local(async {
        for (rule, body) in [
            ("chunk-size", "5 \r\nabcde\r\n0\r\n\r\n"),
            ("bare-lf", "5\r\nabcde\r\n0\n\n"),
            ("chunk-end", "5\r\nabcdef\r\n0\r\n\r\n"),
            ("trailer-name", "0\r\nContent-Length: 5\r\n\r\n"),
        ] {
            let (mut near, desk) = consumer();
            near.write_all(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await
                .expect("written");
            desk.begun.notified().await;
            near.write_all(body.as_bytes()).await.expect("written");
            let text = read_to_end(&mut near).await;
            assert_eq!(statuses(&text), ["400"]);
            assert_eq!(*desk.refused.borrow(), [rule]);
            assert!(desk.executed.borrow().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn continue_is_sent_when_the_body_is_wanted() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            .await
            .expect("written");
        assert_eq!(read_until(&mut near, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        near.write_all(b"okGET /next HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        read_until(&mut near, "GET /next ").await;
        assert_eq!(*desk.executed.borrow(), ["PUT /x ok", "GET /next "]);
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_closes_over_the_unread_body() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(
            b"PUT /unread HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 44\r\n\r\n",
        )
        .await
        .expect("written");
        let head = read_until(&mut near, "\r\n\r\n").await;
        assert_eq!(statuses(&head), ["403"]);
        // Were the connection kept, this body would be read as the next request.
        let body = b"GET /smuggled HTTP/1.1\r\nHost: h\r\nX: 123\r\n\r\n";
        assert_eq!(body.len(), 43);
        let _ = near.write_all(body).await;
        read_to_end(&mut near).await;
        assert!(desk.executed.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_outlives_the_bytes_that_nobody_reads() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut near = TcpStream::connect(address).await.expect("connected");
        let (far, _) = listener.accept().await.expect("accepted");
        serve(far, LIMITS);
        near.write_all(b"PUT /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n")
            .await
            .expect("written");
        for _ in 0..30 {
            near.write_all(&[b'x'; 10_000]).await.expect("read, if only to be dropped");
            tokio::task::yield_now().await;
        }
        near.shutdown().await.expect("shut");
        assert_eq!(statuses(&read_to_end(&mut near).await), ["403"]);
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_leaves_cancels_its_call() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        desk.begun.notified().await;
        drop(near);
        desk.closed.notified().await;
        assert_eq!(desk.cancelled.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_unfinished_head_that_ends_is_no_call() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(b"GET / HTTP/1.1\r\nHost:").await.expect("written");
        near.shutdown().await.expect("shut");
        assert_eq!(read_to_end(&mut near).await, "");
        assert!(desk.executed.borrow().is_empty() && desk.refused.borrow().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_quietly_in_time() {
    local(async {
        let started = tokio::time::Instant::now();
        let (mut near, desk) = consumer();
        assert_eq!(read_to_end(&mut near).await, "");
        assert_eq!(started.elapsed().as_secs(), LIMITS.idle.as_secs());

        let (mut near, slow) = consumer();
        near.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        slow.begun.notified().await;
        // A call that takes longer than the idle time is not cut.
        tokio::time::sleep(LIMITS.idle * 2).await;
        slow.release.notify_one();
        read_until(&mut near, "GET /slow ").await;
        let answered = tokio::time::Instant::now();
        assert_eq!(read_to_end(&mut near).await, "");
        assert_eq!(answered.elapsed().as_secs(), LIMITS.idle.as_secs());
        assert!(desk.refused.borrow().is_empty() && slow.refused.borrow().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_in_time_however_it_trickles() {
    local(async {
        let started = tokio::time::Instant::now();
        let (mut near, desk) = consumer();
        let trickle = async {
            near.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
            while near.write_all(b"A: b\r\n").await.is_ok() {
                if let Ok(byte) = timeout(Duration::from_secs(1), near.read_u8()).await {
                    assert_eq!(byte.expect("an answer"), b'H');
                    break;
                }
            }
            read_to_end(&mut near).await
        };
        assert!(trickle.await.ends_with("head-time"));
        assert_eq!(started.elapsed().as_secs(), LIMITS.head.as_secs());
        assert_eq!(*desk.refused.borrow(), ["head-time"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_fails_its_call() {
    local(async {
        let (mut near, desk) = consumer();
        near.write_all(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").await.expect("written");
        tokio::time::sleep(LIMITS.body / 2).await;
        near.write_all(b"def").await.expect("written");
        let progressed = tokio::time::Instant::now();
        let text = read_until(&mut near, "body-time").await;
        assert_eq!(progressed.elapsed().as_secs(), LIMITS.body.as_secs());
        assert_eq!(statuses(&text), ["400"]);
        assert_eq!(*desk.refused.borrow(), ["body-time"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_never_reads_its_answer_is_dropped() {
    local(async {
        let (mut near, far) = duplex(64);
        let desk = serve(far, LIMITS);
        near.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        let started = tokio::time::Instant::now();
        desk.closed.notified().await;
        assert_eq!(started.elapsed().as_secs(), LIMITS.body.as_secs());
    })
    .await;
}

#[tokio::test]
async fn an_idle_guard_holds_no_memory() {
    assert!(size_of::<RequestGuard<TcpStream>>() <= 512);
    let (mut near, far) = duplex(4096);
    let mut guard = RequestGuard::new(far, ConnectionState::new(), LIMITS);
    for cut in [7, 20] {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        near.write_all(&request[..cut]).await.expect("written");
        let mut read = vec![0; 100];
        assert!(timeout(Duration::from_millis(1), guard.read(&mut read)).await.is_err());
        near.write_all(&request[cut..]).await.expect("written");
        for _ in 0..2 {
            assert!(guard.read(&mut read).await.expect("a request") > 0);
        }
        assert_eq!(guard.intake.held.capacity(), 0);
    }
}

/// A request that a consumer may send, and its body.
fn sound_request() -> impl Strategy<Value = (Vec<u8>, String)> {
    let body = "[ -~\r\n]{0,40}";
    let chunks = proptest::collection::vec("[ -~\r\n]{1,20}", 0..4);
    prop_oneof![
        Just(("GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), String::new())),
        body.prop_map(|body| {
            let length = body.len();
            (format!("PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"), body)
        }),
        (chunks, any::<bool>()).prop_map(|(chunks, trailers)| {
            let mut text = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            for chunk in &chunks {
                text.extend([&format!("{:X};e=1\r\n", chunk.len()), chunk, "\r\n"]);
            }
            text += if trailers { "0\r\nSum: 1\r\n\r\n" } else { "0\r\n\r\n" };
            (text, chunks.concat())
        }),
    ]
    .prop_map(|(text, body)| (text.into_bytes(), body))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn sound_requests_reach_hyper_whole_in_every_cut(
        requests in proptest::collection::vec(sound_request(), 1..6),
        stride in 1..60_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bodies: Vec<String> = requests.iter().map(|(_, body)| body.clone()).collect();
        let stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let seen = runtime.block_on(local(async {
            let (mut near, desk) = consumer();
            for piece in stream.chunks(stride) {
                near.write_all(piece).await.expect("written");
                tokio::task::yield_now().await;
            }
            for body in &bodies {
                read_until(&mut near, &format!(" /x {body}")).await;
            }
            desk.executed.take()
        }));
        prop_assert_eq!(seen.len(), bodies.len());
        for (line, body) in seen.iter().zip(&bodies) {
            prop_assert_eq!(line.split_once(" /x ").map(|(_, seen)| seen), Some(&**body));
        }
    }
}

/// What hyper's client made of an origin that answers each request by the next of `script`.
struct Provider {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    state: Rc<ProviderState>,
}

impl Provider {
    async fn connect(script: Vec<&'static str>) -> Self {
        let (near, mut far) = duplex(256 * 1024);
        spawn_local(async move {
            for response in script {
                read_until(&mut far, "\r\n\r\n").await;
                far.write_all(response.as_bytes()).await.expect("written");
            }
            // The origin keeps the connection open.
            let _ = far.read_u8().await;
        });
        let state = ProviderState::new();
        let guard = ResponseGuard::new(near, Rc::clone(&state));
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(guard)).await.expect("no bytes yet");
        spawn_local(connection);
        Self { sender, state }
    }

    async fn call(&mut self, method: Method) -> Result<(StatusCode, HeaderMap, Bytes), hyper::Error> {
        let request = Request::builder()
            .method(&method)
            .uri("/x")
            .header("host", "api.test")
            .body(Empty::new())
            .expect("a request");
        self.sender.ready().await?;
        self.state.expect(&method);
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok((head.status, head.headers, body.collect().await?.to_bytes()))
    }

    fn rule(&self) -> Option<&'static str> {
        self.state.violation().map(|violation| violation.rule)
    }
}

/// Whether `error` stands on the guard's own.
fn is_invalid_data(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::InvalidData;
        }
        source = error.source();
    }
    false
}

#[tokio::test]
async fn sound_responses_keep_the_connection() {
    local(async {
        let mut provider = Provider::connect(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ])
        .await;
        for (method, status, body) in [
            (Method::GET, 200, "hello"),
            (Method::GET, 200, "hi"),
            (Method::HEAD, 200, ""),
            (Method::GET, 304, ""),
            (Method::DELETE, 204, ""),
        ] {
            assert!(provider.state.reusable());
            let (seen, _, text) = provider.call(method).await.expect("a response");
            assert_eq!((seen.as_u16(), &text[..]), (status, body.as_bytes()));
        }
        assert!(provider.state.reusable());
    })
    .await;
}

#[tokio::test]
async fn bad_responses_fail_the_call_and_taint_the_connection() {
    local(async {
        for (rule, response) in [
            (
                "coding-and-length",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            ("length-repeated", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
            ("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
            ("bare-cr", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n"),
            ("field-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
            (
                "switching-protocols",
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            ),
            ("surplus-bytes", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"),
            ("chunk-size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n"),
        ] {
            let mut provider = Provider::connect(vec![response]).await;
            let error = provider.call(Method::GET).await.expect_err(rule);
            assert!(is_invalid_data(&error), "{error:?}");
            assert_eq!(provider.rule(), Some(rule));
            assert!(!provider.state.reusable());
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_informational_responses_is_cut() {
    local(async {
        let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(9);
        let mut provider = Provider::connect(vec![flood.leak()]).await;
        provider.call(Method::GET).await.expect_err("no final response in time");
        assert_eq!(provider.rule(), Some("informational-count"));
    })
    .await;
}

#[tokio::test]
async fn a_late_surplus_taints_the_idle_connection() {
    local(async {
        let (near, mut far) = duplex(4096);
        let state = ProviderState::new();
        let guard = ResponseGuard::new(near, Rc::clone(&state));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(guard))
                .await
                .expect("no bytes yet");
        let connection = spawn_local(connection);
        state.expect(&Method::GET);
        let request = Request::get("/x").header("host", "api.test").body(Empty::new()).expect("a request");
        let response = sender.send_request(request);
        read_until(&mut far, "\r\n\r\n").await;
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("written");
        response.await.expect("a response");
        assert!(state.reusable());
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("written");
        connection.await.expect("ended").expect_err("tainted");
        assert_eq!(state.violation().expect("tainted").rule, "surplus-bytes");
        assert!(!state.reusable());
    })
    .await;
}

#[tokio::test]
async fn an_answer_before_its_request_is_a_surplus() {
    let (near, mut far) = duplex(4096);
    let state = ProviderState::new();
    let mut guard = ResponseGuard::new(near, Rc::clone(&state));
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("written");
    state.expect(&Method::GET);
    let error = guard.read_u8().await.expect_err("not asked for yet");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(state.violation().expect("tainted").rule, "surplus-bytes");
}
