//! The guards that stand between a socket and hyper: what the lint refuses, hyper never sees.
//!
//! Each guard is the socket as hyper reads it (inside `TokioIo`). Bytes are read straight into
//! hyper's own buffer and judged there; only what must wait for more (an incomplete head, the
//! start of the next pipelined message) is held here, and an idle guard holds nothing.
//!
//! A request with a bad head reaches hyper as a *poison request* in its place and turn, so that the
//! refusal is answered and recorded in the one way that all calls take, after the calls before it.
//! Connections are not shared between threads, and neither are their states.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::lint::{RequestFacts, RequestLint, ResponseLint, Violation};

#[cfg(test)]
mod tests;

/// What hyper reads in the place of a request whose head was refused.
const POISON: &[u8] = b"GET /-/refused HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// How much is read at once where bytes have to be held.
const HELD_STEP_BYTES: usize = 4096;
/// What is still read, and for how long, from a consumer that was refused. A socket closed over
/// unread bytes resets, and a reset can overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long a consumer may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between calls; the connection then closes quietly.
    pub idle: Duration,
    /// Without progress of a body, either way.
    pub body: Duration,
}

/// What the guard and the service know together about one consumer's connection.
#[derive(Debug)]
pub struct ConnectionState {
    /// The heads that hyper was given and the service has not begun with, in order.
    arrived: RefCell<VecDeque<Arrival>>,
    /// The heads that hyper was given and whose calls have not ended.
    unended: Cell<usize>,
    idle_since: Cell<Instant>,
    body_violation: RefCell<Option<Box<Violation>>>,
}

#[derive(Debug)]
struct Arrival {
    facts: RequestFacts,
    refused: Option<Box<Violation>>,
}

impl ConnectionState {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            arrived: RefCell::default(),
            unended: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            body_violation: RefCell::default(),
        })
    }

    /// To be called once, first, for each request that hyper hands to the service, and kept until
    /// the call has ended: a connection with a call on it is not idle.
    pub fn begin(self: &Rc<Self>) -> BegunCall {
        let arrival = self.arrived.borrow_mut().pop_front();
        let (facts, refused) =
            arrival.map_or((RequestFacts::default(), None), |arrival| (arrival.facts, arrival.refused));
        BegunCall { facts, refused, connection: Rc::clone(self) }
    }

    /// Why reading the body of the call in progress failed, if the lint is the reason.
    pub fn take_violation(&self) -> Option<Box<Violation>> {
        self.body_violation.borrow_mut().take()
    }

    fn arrive(&self, facts: RequestFacts, refused: Option<Box<Violation>>) {
        self.unended.set(self.unended.get() + 1);
        self.arrived.borrow_mut().push_back(Arrival { facts, refused });
    }
}

/// One request in the hands of the service.
#[derive(Debug)]
pub struct BegunCall {
    pub facts: RequestFacts,
    /// Set when the request is a poison one: answer with this, and with nothing else.
    pub refused: Option<Box<Violation>>,
    connection: Rc<ConnectionState>,
}

impl Drop for BegunCall {
    fn drop(&mut self) {
        let unended = &self.connection.unended;
        unended.set(unended.get().saturating_sub(1));
        self.connection.idle_since.set(Instant::now());
    }
}

/// A consumer's socket, of which only well-formed requests are read.
#[derive(Debug)]
pub struct RequestGuard<IO> {
    io: IO,
    state: Rc<ConnectionState>,
    limits: TimeLimits,
    lint: RequestLint,
    intake: Intake,
    phase: Phase,
    /// Since when a head or a body is waited for.
    waiting_since: Option<Instant>,
    read_alarm: Alarm,
    write_blocked_since: Option<Instant>,
    write_alarm: Alarm,
    lingered_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The poison request is on its way; what follows on the wire has no meaning.
    Refused,
    /// A body failed, with this kind of error.
    Failed(io::ErrorKind),
    /// The consumer has closed its side, or idled too long.
    Ended,
    /// Our side is shut, and the consumer's is read until it ends.
    Lingering,
}

/// What a read waits for decides how long it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Idle,
    Call,
    Head,
    Body,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> RequestGuard<IO> {
    pub fn new(io: IO, state: Rc<ConnectionState>, limits: TimeLimits) -> Self {
        Self {
            io,
            state,
            limits,
            lint: RequestLint::default(),
            intake: Intake::default(),
            phase: Phase::Open,
            waiting_since: None,
            read_alarm: Alarm::default(),
            write_blocked_since: None,
            write_alarm: Alarm::default(),
            lingered_bytes: 0,
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (lint, state) = (&mut self.lint, &self.state);
        let judge = |bytes: &[u8]| {
            let passed = lint.pass(bytes)?;
            if let Some(facts) = passed.head {
                state.arrive(facts, None);
            }
            Ok(passed.bytes)
        };
        match self.intake.poll(&mut self.io, cx, buf, judge) {
            Poll::Ready(Ok(Taken::Passed)) => {
                self.waiting_since = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(Taken::Ended)) => {
                self.phase = Phase::Ended;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(Taken::Refused(violation))) => {
                Poll::Ready(self.refuse(violation, io::ErrorKind::InvalidData, buf))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_limit(cx, buf),
        }
    }

    /// A bad head is answered in its turn; a bad body fails the call that reads it. Either way
    /// nothing that follows on this connection is read as a message.
    fn refuse(&mut self, violation: Violation, kind: io::ErrorKind, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        if self.lint.in_head() {
            self.phase = Phase::Refused;
            self.state.arrive(RequestFacts::default(), Some(Box::new(violation)));
            self.intake.replace(POISON);
            self.intake.deliver(buf);
            Ok(())
        } else {
            self.phase = Phase::Failed(kind);
            self.state.body_violation.replace(Some(Box::new(violation)));
            Err(kind.into())
        }
    }

    fn wait(&self) -> Wait {
        if !self.lint.in_head() {
            Wait::Body
        } else if !self.intake.held.is_empty() {
            Wait::Head
        } else if self.state.unended.get() > 0 {
            Wait::Call
        } else {
            Wait::Idle
        }
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wait = self.wait();
        let deadline = match wait {
            Wait::Idle | Wait::Call => self.state.idle_since.get() + self.limits.idle,
            Wait::Head => *self.waiting_since.get_or_insert_with(Instant::now) + self.limits.head,
            Wait::Body => *self.waiting_since.get_or_insert_with(Instant::now) + self.limits.body,
        };
        ready!(self.read_alarm.poll(deadline, cx));
        match wait {
            Wait::Idle => {
                self.phase = Phase::Ended;
                Poll::Ready(Ok(()))
            }
            Wait::Call => {
                // Not idle after all. The alarm is set again, because nothing else may poll this
                // socket between the end of the call and the consumer's next byte.
                let now = Instant::now();
                self.state.idle_since.set(now);
                self.read_alarm.poll(now + self.limits.idle, cx).map(|()| Ok(()))
            }
            Wait::Head | Wait::Body => {
                let violation = self.lint.too_slow();
                Poll::Ready(self.refuse(violation, io::ErrorKind::TimedOut, buf))
            }
        }
    }

    /// Passes on how a write went, unless the consumer has read nothing for too long.
    fn watch_write<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_blocked_since = None;
            return polled;
        }
        let since = *self.write_blocked_since.get_or_insert_with(Instant::now);
        ready!(self.write_alarm.poll(since + self.limits.body, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the consumer may still be sending what nobody will read.
    fn has_unread(&self) -> bool {
        match self.phase {
            Phase::Open => !self.lint.in_head() || !self.intake.held.is_empty(),
            Phase::Refused | Phase::Failed(_) => true,
            Phase::Ended | Phase::Lingering => false,
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let mut scratch = [0; HELD_STEP_BYTES];
        while self.lingered_bytes < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.lingered_bytes += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.read_alarm.poll(since + LINGER, cx),
            }
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for RequestGuard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.phase {
            Phase::Open => this.poll_open(cx, buf),
            Phase::Refused if this.intake.cleared > 0 => {
                this.intake.deliver(buf);
                Poll::Ready(Ok(()))
            }
            // The end of the stream here would read as a consumer that left, and cancel the
            // refusal. Nothing has to wake this read: writing the answer moves the connection on.
            Phase::Refused => Poll::Pending,
            Phase::Failed(kind) => Poll::Ready(Err(kind.into())),
            Phase::Ended | Phase::Lingering => Poll::Ready(Ok(())),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for RequestGuard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch_write(polled, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.watch_write(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.watch_write(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.phase != Phase::Lingering {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.watch_write(polled, cx))?;
            if !this.has_unread() {
                return Poll::Ready(Ok(()));
            }
            this.phase = Phase::Lingering;
            this.waiting_since = None;
        }
        this.poll_linger(cx).map(Ok)
    }
}

/// What the guard and the pool know together about one connection to a provider.
#[derive(Debug)]
pub struct ProviderState {
    /// A request announced whose first byte has not been sent: whether it is a `HEAD`.
    announced: Cell<Option<bool>>,
    whole: Cell<bool>,
    ended: Cell<bool>,
    violation: RefCell<Option<Box<Violation>>>,
}

impl ProviderState {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            announced: Cell::new(None),
            whole: Cell::new(true),
            ended: Cell::new(false),
            violation: RefCell::default(),
        })
    }

    /// To be called right before a request is sent. A response that comes before the request's
    /// first byte has gone answers something else, and taints the connection.
    pub fn expect(&self, method: &Method) {
        self.announced.set(Some(method == Method::HEAD));
        self.whole.set(false);
    }

    /// Whether another request may go on this connection.
    pub fn reusable(&self) -> bool {
        self.whole.get() && !self.ended.get() && self.violation.borrow().is_none()
    }

    /// What tainted the connection, if anything did.
    pub fn violation(&self) -> Option<Box<Violation>> {
        self.violation.borrow().clone()
    }
}

/// A provider's socket, of which only well-formed and expected responses are read.
#[derive(Debug)]
pub struct ResponseGuard<IO> {
    io: IO,
    state: Rc<ProviderState>,
    lint: ResponseLint,
    intake: Intake,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ResponseGuard<IO> {
    pub fn new(io: IO, state: Rc<ProviderState>) -> Self {
        Self { io, state, lint: ResponseLint::default(), intake: Intake::default() }
    }

    fn note_sending(&mut self) {
        if let Some(to_head) = self.state.announced.take() {
            self.lint.expect(to_head);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for ResponseGuard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.violation.borrow().is_some() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let taken = ready!(this.intake.poll(&mut this.io, cx, buf, |bytes| this.lint.pass(bytes)))?;
        match taken {
            Taken::Passed => {
                this.state.whole.set(this.lint.is_idle() && this.state.announced.get().is_none());
                Poll::Ready(Ok(()))
            }
            Taken::Ended => {
                this.state.ended.set(true);
                Poll::Ready(Ok(()))
            }
            Taken::Refused(violation) => {
                this.state.violation.replace(Some(Box::new(violation)));
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ResponseGuard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_sending();
        Pin::new(&mut this.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_sending();
        Pin::new(&mut this.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// The bytes on their way from the socket through the lint.
#[derive(Debug, Default)]
struct Intake {
    held: BytesMut,
    /// How many of the bytes held may be delivered.
    cleared: usize,
    /// Whether bytes are held that the lint has not seen.
    unjudged: bool,
}

enum Taken {
    /// Bytes were delivered.
    Passed,
    /// The peer closed its side.
    Ended,
    Refused(Violation),
}

impl Intake {
    /// Delivers the bytes that come next and that `judge` lets pass.
    fn poll<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        mut judge: impl FnMut(&[u8]) -> Result<usize, Violation>,
    ) -> Poll<io::Result<Taken>> {
        loop {
            if self.cleared > 0 {
                self.deliver(buf);
                return Poll::Ready(Ok(Taken::Passed));
            }
            if std::mem::take(&mut self.unjudged) {
                match judge(&self.held) {
                    Ok(cleared) => self.cleared = cleared,
                    Err(violation) => return Poll::Ready(Ok(Taken::Refused(violation))),
                }
            } else if self.held.is_empty() {
                let start = buf.filled().len();
                ready!(Pin::new(&mut *io).poll_read(cx, buf))?;
                let fresh = &buf.filled()[start..];
                if fresh.is_empty() {
                    return Poll::Ready(Ok(Taken::Ended));
                }
                let judged = judge(fresh);
                let passed = *judged.as_ref().unwrap_or(&0);
                self.held.extend_from_slice(&fresh[passed..]);
                buf.set_filled(start + passed);
                if let Err(violation) = judged {
                    return Poll::Ready(Ok(Taken::Refused(violation)));
                }
                if passed > 0 {
                    self.unjudged = !self.held.is_empty();
                    return Poll::Ready(Ok(Taken::Passed));
                }
            } else {
                if ready!(self.poll_hold_more(io, cx))? == 0 {
                    return Poll::Ready(Ok(Taken::Ended));
                }
                self.unjudged = true;
            }
        }
    }

    fn poll_hold_more<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let start = self.held.len();
        self.held.resize(start + HELD_STEP_BYTES, 0);
        let mut buf = ReadBuf::new(&mut self.held[start..]);
        let polled = Pin::new(io).poll_read(cx, &mut buf);
        let read = buf.filled().len();
        self.held.truncate(start + read);
        polled.map_ok(|()| read)
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let delivered = self.cleared.min(buf.remaining());
        buf.put_slice(&self.held[..delivered]);
        self.held.advance(delivered);
        self.cleared -= delivered;
        if self.held.is_empty() {
            // Gives the memory back: most connections are idle most of the time.
            self.held = BytesMut::new();
        } else if self.cleared == 0 {
            self.unjudged = true;
        }
    }

    /// Puts `bytes`, cleared, in the place of all that is held.
    fn replace(&mut self, bytes: &[u8]) {
        self.held = BytesMut::from(bytes);
        self.cleared = bytes.len();
        self.unjudged = false;
    }
}

/// A timer that is moved as seldom as can be: a deadline put off is noticed when the old one rings.
#[derive(Debug, Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}
