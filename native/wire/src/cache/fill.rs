//! Take in an answer that is to be stored, at the provider's pace, while its first consumer reads along.
//!
//! Whoever waits for the answer does not wait for that consumer: it may read slowly, or go. What grows beyond
//! the bound is not stored, and from there on comes at the consumer's pace.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use crate::body::{ProviderStream, StreamError};
use crate::cache::storing::Keeping;

/// What the two sides share: the one that takes in, and the one that reads along.
struct Fill {
    stream: Box<ProviderStream>,
    keeping: Option<Box<Keeping>>,
    kept: Vec<Bytes>,
    size: usize,
    /// What has not been read along yet.
    unread: VecDeque<Frame<Bytes>>,
    ended: Option<Result<(), StreamError>>,
    reader: Option<Waker>,
    pump: Option<Waker>,
    reader_gone: bool,
}

/// The body as its first consumer reads it.
pub struct Reading(Rc<RefCell<Fill>>);

/// Begin. Small answers are often there whole: then nothing is left to do in the background.
pub fn begin(stream: Box<ProviderStream>, keeping: Box<Keeping>) -> Reading {
    let fill = Rc::new(RefCell::new(Fill {
        stream,
        keeping: Some(keeping),
        kept: Vec::new(),
        size: 0,
        unread: VecDeque::new(),
        ended: None,
        reader: None,
        pump: None,
        reader_gone: false,
    }));
    let mut context = Context::from_waker(Waker::noop());
    if fill.borrow_mut().take_in(&mut context).is_pending() {
        let pumped = Rc::clone(&fill);
        tokio::task::spawn_local(std::future::poll_fn(move |context| pumped.borrow_mut().take_in(context)));
    }
    Reading(fill)
}

impl Fill {
    /// Ready when the answer is whole, broken, or not to be stored any more.
    fn take_in(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.keeping.is_some() {
            if self.reader_gone && !self.keeping.as_ref().is_some_and(|keeping| keeping.is_awaited()) {
                self.keeping = None;
                break;
            }
            match self.stream.poll(context) {
                Poll::Pending => {
                    self.pump = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                Poll::Ready(Some(Err(error))) => {
                    // Truncated: those who wait begin anew.
                    self.keeping = None;
                    self.ended = Some(Err(error));
                }
                Poll::Ready(None) => {
                    self.ended = Some(Ok(()));
                    self.commit();
                }
            }
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let bound = self.keeping.as_ref().map_or(0, |keeping| keeping.bound());
        match frame.data_ref() {
            Some(data) if self.size + data.len() <= bound => {
                self.size += data.len();
                self.kept.push(data.clone());
            }
            _ => {
                self.kept.clear();
                if let Some(keeping) = self.keeping.take() {
                    keeping.give_up();
                }
            }
        }
        if !self.reader_gone {
            self.unread.push_back(frame);
        }
        if self.keeping.is_some() && self.stream.is_end_stream() {
            self.ended = Some(Ok(()));
            self.commit();
        }
    }

    fn commit(&mut self) {
        let Some(keeping) = self.keeping.take() else { return };
        let body = match self.kept.as_slice() {
            [] => Bytes::new(),
            // A small piece may hold on to a large buffer of the connection: a copy holds itself alone.
            pieces => {
                let mut whole = BytesMut::with_capacity(self.size);
                for piece in pieces {
                    whole.extend_from_slice(piece);
                }
                whole.freeze()
            }
        };
        self.kept.clear();
        keeping.commit(body);
    }
}

impl Reading {
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let mut fill = self.0.borrow_mut();
        if let Some(frame) = fill.unread.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match fill.ended.take() {
            Some(Ok(())) => {
                fill.ended = Some(Ok(()));
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        if fill.keeping.is_none() {
            return fill.stream.poll(context);
        }
        fill.reader = Some(context.waker().clone());
        Poll::Pending
    }

    pub fn is_end_stream(&self) -> bool {
        let fill = self.0.borrow();
        fill.unread.is_empty()
            && match &fill.ended {
                Some(ended) => ended.is_ok(),
                None => fill.keeping.is_none() && fill.stream.is_end_stream(),
            }
    }

    /// How long it is, where that is known.
    pub fn size_hint(&self) -> http_body::SizeHint {
        let fill = self.0.borrow();
        let unread: u64 = fill.unread.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        if matches!(fill.ended, Some(Ok(()))) {
            return http_body::SizeHint::with_exact(unread);
        }
        let mut hint = fill.stream.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + unread);
        }
        hint.set_lower(hint.lower() + unread);
        hint
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut fill = self.0.borrow_mut();
        fill.reader_gone = true;
        fill.unread.clear();
        if fill.ended.is_none() {
            fill.stream.consumer_left();
        }
        if let Some(pump) = fill.pump.take() {
            pump.wake();
        }
    }
}

/// Read an answer that nobody reads along, to its end: it is stored meanwhile.
pub async fn drain(mut body: crate::body::AnswerBody) {
    while let Some(frame) =
        std::future::poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
    {
        if frame.is_err() {
            return;
        }
    }
}
