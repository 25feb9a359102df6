//! The two streams of a call, each bounded, timed and counted as it passes; nothing is gathered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::cache::fill::Reading;
use crate::dial::pool::Borrowed;
use crate::echo::{Echo, Echoed};
use crate::error::{Code, Refusal};
use crate::forward::deadline::Limits;
use crate::protect::held::Held;
use crate::schema::Told;
use crate::trace::Trace;
use crate::worker::Shared;

/// Why a stream was cut. What reaches the wire is an abort; what it was goes to the record.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the request body is larger than the provider's bound")]
    RequestTooLarge,
    #[error("the agreement by which the request body went has ended")]
    NoAgreement,
    #[error("the response body is larger than the provider's bound")]
    ResponseTooLarge,
    #[error("{}", .0.as_text())]
    Echoed(Echoed),
    #[error("the provider sent nothing for too long")]
    Idle,
    #[error("the call took longer than its deadline")]
    Deadline,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl StreamError {
    /// While it can still be told.
    fn refusal(&self) -> Refusal {
        match self {
            Self::Echoed(echoed) => echoed.refusal(),
            Self::Idle | Self::Deadline => {
                Refusal::new(Code::ProviderTimeout, "The rest of the provider's answer did not come in time.")
            }
            other => Refusal::new(
                Code::ResponseRejected,
                "The provider's answer broke off or is larger than its bound.",
            )
            .because(other.to_string()),
        }
    }
}

/// How far the consumer's body has come; shared by the body and by who waits for the answer.
#[derive(Debug)]
pub struct Progress {
    pub sent: Cell<u64>,
    pub done: Cell<bool>,
    pub too_large: Cell<bool>,
    pub broken: Cell<bool>,
    pub touched: Cell<Instant>,
    /// From this instant on nothing of it goes out any more.
    pub ends: Cell<Option<Instant>>,
    /// What has passed, so that it can be sent again; None where that is not wanted or was too much.
    kept: RefCell<Option<Vec<Bytes>>>,
}

/// A body is kept up to this size: what is larger goes out once.
pub const KEPT_MAX: u64 = 64 << 10;

/// The consumer's request body on its way to the provider.
pub struct RequestBody {
    inner: Option<Incoming>,
    again: VecDeque<Bytes>,
    progress: Rc<Progress>,
    left: u64,
}

impl Progress {
    /// Whether what let the body go is over; one look at an Option where nothing can be.
    pub fn has_ended(&self) -> bool {
        self.ends.get().is_some_and(|ends| Instant::now() >= ends)
    }

    /// What has passed of a body that is whole; None where it was not kept.
    pub fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.borrow();
        match kept.as_ref()?.as_slice() {
            [whole] => Some(whole.clone()),
            pieces => Some(pieces.concat().into()),
        }
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept.borrow_mut();
        match (kept.as_mut(), frame.data_ref()) {
            (Some(pieces), Some(data)) if self.sent.get() <= KEPT_MAX => pieces.push(data.clone()),
            (Some(_), _) => *kept = None,
            (None, _) => {}
        }
    }
}

impl RequestBody {
    /// `keep`: what passes may have to be sent again.
    pub fn new(incoming: Option<Incoming>, bound: u64, keep: bool) -> (Self, Rc<Progress>) {
        let inner = incoming.filter(|incoming| !incoming.is_end_stream());
        let progress = Rc::new(Progress {
            sent: Cell::new(0),
            done: Cell::new(inner.is_none()),
            too_large: Cell::new(false),
            broken: Cell::new(false),
            touched: Cell::new(Instant::now()),
            ends: Cell::new(None),
            kept: RefCell::new(keep.then(Vec::new)),
        });
        (Self { inner, again: VecDeque::new(), progress: Rc::clone(&progress), left: bound }, progress)
    }

    /// A body that is not the consumer's stream; held anyway, it may go out again.
    pub fn held(bytes: Option<Bytes>) -> (Self, Rc<Progress>) {
        let (mut body, progress) = Self::new(None, 0, true);
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        progress.sent.set(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
        *progress.kept.borrow_mut() = Some(bytes.iter().cloned().collect());
        body.again.extend(bytes);
        (body, progress)
    }

    /// A body of nothing, for a second try of a call that had none.
    pub fn empty(progress: Rc<Progress>) -> Self {
        Self { inner: None, again: VecDeque::new(), progress, left: 0 }
    }

    /// The whole body that went out before, to go out again; None where it is not whole or was not kept.
    pub fn again(progress: &Rc<Progress>) -> Option<Self> {
        if !progress.done.get() {
            return None;
        }
        let again = progress.kept.borrow().as_ref()?.iter().cloned().collect();
        Some(Self { inner: None, again, progress: Rc::clone(progress), left: 0 })
    }

    /// A body that is held whole, to go out again.
    pub fn whole(bytes: Bytes, progress: &Rc<Progress>) -> Self {
        let again = (!bytes.is_empty()).then_some(bytes).into_iter().collect();
        Self { inner: None, again, progress: Rc::clone(progress), left: 0 }
    }

    /// Read all of it, so that it can be signed; it goes out from memory.
    pub async fn gather(&mut self, max: usize, limits: &Limits) -> Result<Bytes, Refusal> {
        let mut whole = BytesMut::new();
        while let Some(data) = self.next_piece(limits).await? {
            if whole.len() + data.len() > max {
                let detail = format!("A request body that is to be signed may have {} MiB.", max >> 20);
                return Err(Refusal::new(Code::TooLarge, detail));
            }
            whole.extend_from_slice(&data);
        }
        let whole = whole.freeze();
        self.inner = None;
        self.progress.done.set(true);
        if !whole.is_empty() {
            self.again.push_back(whole.clone());
        }
        Ok(whole)
    }

    /// Let other bytes go out than those that were gathered.
    pub fn replace(&mut self, whole: Bytes) {
        *self.progress.kept.borrow_mut() = Some(vec![whole.clone()]);
        self.inner = None;
        self.again = VecDeque::from([whole]);
    }

    /// How many bytes will come, where that is known beforehand.
    pub fn exact_bytes(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Read it, if it is no larger than `max`, to know it before it goes; it goes out as it came.
    pub async fn look_ahead(&mut self, max: usize, limits: &Limits) -> Result<Option<Bytes>, Refusal> {
        let mut whole = BytesMut::new();
        let mut seen = VecDeque::new();
        let mut fits = true;
        while fits && let Some(data) = self.next_piece(limits).await? {
            whole.extend_from_slice(&data);
            seen.push_back(data);
            fits = whole.len() <= max;
        }
        seen.append(&mut self.again);
        self.again = seen;
        Ok(fits.then(|| whole.freeze()))
    }

    async fn next_piece(&mut self, limits: &Limits) -> Result<Option<Bytes>, Refusal> {
        if self.is_end_stream() {
            return Ok(None);
        }
        let until = limits.deadline.min(Instant::now() + limits.body_idle);
        let next = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context));
        let Some(frame) = tokio::time::timeout_at(until.into(), next).await.map_err(|_elapsed| {
            Refusal::new(Code::Timeout, "The rest of the request body did not arrive in time.")
        })?
        else {
            return Ok(None);
        };
        let frame = frame.map_err(|error| match error {
            StreamError::RequestTooLarge => {
                Refusal::new(Code::TooLarge, "The request body is larger than this provider's bound.")
            }
            _ => {
                Refusal::new(Code::MalformedRequest, "The request body is not well formed or was cut short.")
            }
        })?;
        let trailed =
            |_| Refusal::new(Code::Unsupported, "A body that is signed, keyed or checked has no trailers.");
        frame.into_data().map(Some).map_err(trailed)
    }

    pub fn is_empty(&self) -> bool {
        self.inner.is_none() && self.again.is_empty()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if this.progress.has_ended() {
            return Poll::Ready(Some(Err(StreamError::NoAgreement)));
        }
        if let Some(bytes) = this.again.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(context));
        let progress = &this.progress;
        progress.touched.set(Instant::now());
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let bytes = data.len() as u64;
                    progress.sent.set(progress.sent.get() + bytes);
                    let Some(left) = this.left.checked_sub(bytes) else {
                        progress.too_large.set(true);
                        return Poll::Ready(Some(Err(StreamError::RequestTooLarge)));
                    };
                    this.left = left;
                }
                progress.keep(&frame);
                Poll::Ready(Some(Ok(clean_trailers(frame))))
            }
            Some(Err(error)) => {
                progress.broken.set(true);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                progress.done.set(true);
                this.inner = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let again = self.again.iter().map(Bytes::len).sum::<usize>() as u64;
        let mut hint = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + again);
        }
        hint.set_lower(hint.lower() + again);
        hint
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // hyper drops a body of known length as soon as its last byte is taken.
        if self.inner.as_ref().is_none_or(Body::is_end_stream) {
            self.progress.done.set(true);
        }
    }
}

/// What answers a consumer: a few bytes of ours, or the provider's stream.
pub enum AnswerBody {
    Own(Option<Bytes>),
    Provider(Box<ProviderStream>),
    /// From the cache, with the call's record.
    Stored(Option<Bytes>, Box<Trace>),
    /// The provider's, on its way into the cache.
    Reading(Reading),
    /// What broke off, told once all that came before has gone: hyper drops what it has not yet
    /// written, the head too, as soon as it hears of an error.
    Broken(Option<StreamError>),
    /// A stream of events that gets its values back.
    Restored(Box<RestoredStream>),
    /// What was read ahead, and then the rest.
    Ahead(VecDeque<Frame<Bytes>>, Box<AnswerBody>),
}

impl AnswerBody {
    /// All of it; Err is a body that goes as it would have, where it is larger, breaks off or has trailers.
    pub async fn gather(&mut self, bytes_max: usize) -> Result<Bytes, Self> {
        let mut taken = VecDeque::new();
        let mut size = 0;
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await;
            let rest = match frame {
                None => break,
                Some(Ok(frame)) => {
                    let more = frame.data_ref().map(Bytes::len);
                    taken.push_back(frame);
                    size += more.unwrap_or_default();
                    if more.is_some() && size <= bytes_max {
                        continue;
                    }
                    std::mem::replace(self, Self::Own(None))
                }
                Some(Err(error)) => Self::Broken(Some(error)),
            };
            return Err(Self::Ahead(taken, Box::new(rest)));
        }
        let mut whole = BytesMut::with_capacity(size);
        for data in taken.iter().filter_map(Frame::data_ref) {
            whole.extend_from_slice(data);
        }
        Ok(whole.freeze())
    }
}

/// A stream of events on its way to the consumer, with the values of whoever asks.
pub struct RestoredStream {
    /// None after its end.
    inner: Option<AnswerBody>,
    held: Held,
    shared: Arc<Shared>,
    /// What comes after the bytes that went last.
    rest: VecDeque<Result<Frame<Bytes>, StreamError>>,
}

impl RestoredStream {
    pub fn new(inner: AnswerBody, held: Held, shared: Arc<Shared>) -> Self {
        Self { inner: Some(inner), held, shared, rest: VecDeque::new() }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        loop {
            if let Some(frame) = self.rest.pop_front() {
                return Poll::Ready(Some(frame));
            }
            let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
            let frame = ready!(Pin::new(inner).poll_frame(context));
            let goes = match frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                Some(Ok(Some(data))) => self.held.push(data, &self.shared.persons),
                // Nothing follows that could make a token of what is held.
                _ => self.held.end(),
            };
            if !goes.is_empty() {
                self.rest.push_back(Ok(Frame::data(goes.into())));
            }
            match frame {
                Some(Ok(frame)) if frame.is_data() => {}
                Some(other) => self.rest.push_back(other),
                None => self.inner = None,
            }
        }
    }
}

/// The provider's body on its way to the consumer, with the call's record and connection in its keeping.
pub struct ProviderStream {
    inner: Incoming,
    left: u64,
    idle: Duration,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
    borrowed: Option<Borrowed>,
    echo: Option<Echo>,
    /// What came before the head went.
    ahead: VecDeque<Frame<Bytes>>,
    /// The provider has sent all of it.
    ended: bool,
    /// What came after bytes that had to go first.
    next: Option<Frame<Bytes>>,
    trace: Trace,
}

/// How much may come, and how long it may take.
pub struct StreamLimits {
    pub bound: u64,
    pub idle: Duration,
    pub deadline: Instant,
}

impl ProviderStream {
    pub fn new(
        inner: Incoming,
        limits: &StreamLimits,
        borrowed: Borrowed,
        echo: Option<Echo>,
        trace: Trace,
    ) -> Self {
        Self {
            inner,
            left: limits.bound,
            idle: limits.idle,
            deadline: limits.deadline,
            timer: None,
            moved: true,
            borrowed: Some(borrowed),
            echo,
            ahead: VecDeque::new(),
            ended: false,
            next: None,
            trace,
        }
    }

    /// Take the first piece, if it comes at once, so that an answer may be refused by its first bytes.
    pub async fn prime(&mut self, patience: Duration) -> Result<(), Refusal> {
        let first = std::future::poll_fn(|context| self.poll(context));
        match tokio::time::timeout(patience, first).await {
            Ok(Some(Err(error))) => Err(error.refusal()),
            Ok(Some(Ok(frame))) => {
                // A frame that is there already comes after this one.
                self.ahead.push_back(frame);
                Ok(())
            }
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Take all of it in before any of it is passed on; None where it is larger than `max` bytes. It goes on as it
    /// came, unless it is replaced.
    pub async fn gather(&mut self, max: usize) -> Result<Option<Bytes>, Refusal> {
        let mut whole = BytesMut::new();
        let mut seen = VecDeque::new();
        while whole.len() <= max
            && let Some(frame) = std::future::poll_fn(|context| self.poll(context)).await
        {
            let frame = frame.map_err(|error| error.refusal())?;
            if let Some(data) = frame.data_ref() {
                whole.extend_from_slice(data);
            }
            seen.push_back(frame);
        }
        seen.append(&mut self.ahead);
        self.ahead = seen;
        if !self.ahead.is_empty() {
            self.trace.is_to_go_on();
        }
        Ok((whole.len() <= max).then(|| whole.freeze()))
    }

    /// Pass other bytes on than those that were gathered. Trailers would speak of what came.
    pub fn replace(&mut self, whole: Bytes) {
        self.next = None;
        self.ahead = VecDeque::from([Frame::data(whole)]);
    }

    pub fn told(&mut self) -> &mut Told {
        &mut self.trace.told
    }

    /// Nobody reads along any more; what is still taken in is for the cache.
    pub fn consumer_left(&mut self) {
        self.trace.consumer_left();
    }

    pub fn into_trace(self) -> Trace {
        self.trace
    }

    /// The last byte has passed: the connection goes back, the call is recorded as it ended.
    fn finish(&mut self) {
        self.ended = true;
        if let Some(borrowed) = self.borrowed.take() {
            borrowed.give_back();
        }
        if let Some(field) = self.echo.as_ref().and_then(Echo::struck) {
            self.trace.echoed(field);
        }
        self.trace.complete();
    }

    fn fail(&mut self, error: StreamError) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let code = match &error {
            StreamError::Idle | StreamError::Deadline => Code::ProviderTimeout,
            _ => Code::ResponseRejected,
        };
        let violation = self.borrowed.take().and_then(|borrowed| borrowed.violation());
        self.trace.fail(code, violation.unwrap_or_else(|| error.to_string()));
        Poll::Ready(Some(Err(error)))
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if let Some(frame) = self.ahead.pop_front().or_else(|| self.next.take()) {
            if self.ended && self.ahead.is_empty() {
                self.trace.complete();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(error))) => self.fail(error.into()),
            Poll::Ready(None) => {
                let rest = self.echo.as_mut().map(Echo::rest).unwrap_or_default();
                self.finish();
                Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
            }
            Poll::Pending => self.wait(context),
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.moved = true;
        if let Some(data) = frame.data_ref() {
            self.trace.passes(data);
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.trace.received(bytes);
        let Some(left) = self.left.checked_sub(bytes) else {
            return self.fail(StreamError::ResponseTooLarge);
        };
        self.left = left;
        let last = self.inner.is_end_stream();
        let frame = match &mut self.echo {
            Some(echo) => match searched(echo, frame, last) {
                Ok((frame, next)) => {
                    self.next = next;
                    frame
                }
                Err(echoed) => return self.fail(StreamError::Echoed(echoed)),
            },
            None => frame,
        };
        // hyper does not poll a body again that says it has ended.
        if last {
            self.finish();
        }
        Poll::Ready(Some(Ok(clean_trailers(frame))))
    }

    pub fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.next.is_none() && self.held() == 0 && self.inner.is_end_stream()
    }

    fn held(&self) -> usize {
        let ahead: usize = self.ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        ahead + self.echo.as_ref().map_or(0, Echo::held)
    }

    /// What was held is still to come, and nobody is told another length for it.
    pub fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = self.held() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(hint.lower() + held);
        hint
    }

    /// Armed only when there is nothing to pass on, so that a flowing stream pays for no timer.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let until = || (Instant::now() + self.idle).min(self.deadline);
        match &mut self.timer {
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(until().into()))),
            Some(timer) if self.moved => {
                let until = until();
                timer.as_mut().reset(until.into());
            }
            Some(_) => {}
        }
        self.moved = false;
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(context));
        }
        let late = Instant::now() >= self.deadline;
        self.fail(if late { StreamError::Deadline } else { StreamError::Idle })
    }
}

/// Search one frame. Trailers come after the bytes that were held, which are then no credential.
fn searched(
    echo: &mut Echo,
    frame: Frame<Bytes>,
    last: bool,
) -> Result<(Frame<Bytes>, Option<Frame<Bytes>>), Echoed> {
    match frame.into_data() {
        Ok(data) => Ok((Frame::data(echo.pass(data, last)?), None)),
        Err(frame) => {
            let mut trailers = frame.into_trailers().unwrap_or_default();
            echo.strike_headers(&mut trailers)?;
            let (rest, trailers) = (echo.rest(), clean_trailers(Frame::trailers(trailers)));
            Ok(if rest.is_empty() { (trailers, None) } else { (Frame::data(rest), Some(trailers)) })
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let frame = match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Provider(stream) => stream.poll(context),
            Self::Stored(bytes, trace) => {
                trace.complete();
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Reading(reading) => reading.poll(context),
            Self::Broken(error) => return Poll::Ready(error.take().map(Err)),
            Self::Restored(stream) => stream.poll(context),
            Self::Ahead(taken, rest) => match taken.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => return Pin::new(&mut **rest).poll_frame(context),
            },
        };
        match frame {
            Poll::Ready(Some(Err(error))) => {
                *self = Self::Broken(Some(error));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) | Self::Stored(bytes, _) => bytes.is_none(),
            Self::Provider(stream) => stream.is_end_stream(),
            Self::Reading(reading) => reading.is_end_stream(),
            Self::Broken(error) => error.is_none(),
            Self::Ahead(taken, rest) => taken.is_empty() && rest.is_end_stream(),
            Self::Restored(stream) => stream.rest.is_empty() && stream.inner.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) | Self::Stored(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Provider(stream) => stream.size_hint(),
            Self::Reading(reading) => reading.size_hint(),
            Self::Broken(_) | Self::Ahead(..) | Self::Restored(_) => SizeHint::default(),
        }
    }
}

/// Trailers pass, except those that would frame, route or authenticate (RFC 9110 §6.5.1).
fn clean_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            remove_unfit_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

fn remove_unfit_trailers(trailers: &mut HeaderMap) {
    let unfit: Vec<_> = trailers
        .keys()
        .filter(|name| crate::headers::is_never_forwarded(name) || crate::headers::frames_or_routes(name))
        .cloned()
        .collect();
    for name in unfit {
        trailers.remove(name);
    }
}
