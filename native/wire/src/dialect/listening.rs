//! Hear an answer's body as it passes, where it may say more of limits than its head did.

use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use brotli_decompressor::Decompressor;
use flate2::read::MultiGzDecoder;
use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::place::Place;
use super::{BODY_MAX, Budget, Dialect, Heard};
use crate::reserve::signal::Signal;

const BROTLI_BUFFER: usize = 4 << 10;

/// What is kept until the body is whole.
#[derive(Debug)]
pub struct Listening {
    dialect: Arc<Dialect>,
    status: StatusCode,
    headers: HeaderMap,
    now: SystemTime,
    /// What the head said.
    head: Vec<Signal>,
    body: Vec<u8>,
    too_much: bool,
}

impl Listening {
    /// None: the body of this answer has nothing to add.
    pub fn begin(dialect: &Arc<Dialect>, parts: &Parts, head: &[Signal], now: SystemTime) -> Option<Self> {
        dialect.listens(parts.status).then(|| Self {
            dialect: Arc::clone(dialect),
            status: parts.status,
            headers: parts.headers.clone(),
            now,
            head: head.to_vec(),
            body: Vec::new(),
            too_much: false,
        })
    }

    /// Whether the body may say what the call came to by a quota.
    pub fn tells_cost(&self, quota: &str) -> bool {
        let of_it = |budget: &Budget| budget.scope.as_deref().is_none_or(|scope| scope == quota);
        self.dialect
            .budgets
            .iter()
            .any(|budget| budget.cost.as_ref().is_some_and(Place::is_body) && of_it(budget))
    }

    pub fn passes(&mut self, piece: &[u8]) {
        self.too_much |= self.body.len() + piece.len() > BODY_MAX;
        if !self.too_much {
            self.body.extend_from_slice(piece);
        }
    }

    /// The body is whole, or as much as there will be of it: what it adds to what the head said.
    pub fn complete(&self) -> Vec<Signal> {
        let body = if self.too_much { None } else { self.decoded() };
        let heard = Heard {
            status: self.status,
            headers: &self.headers,
            body: Some(body.as_deref().unwrap_or_default()),
            now: self.now,
        };
        let mut signals = self.dialect.read(heard);
        signals.retain(|signal| !self.head.contains(signal));
        signals
    }

    /// Without its content coding; None where that cannot be undone, or comes to too much.
    fn decoded(&self) -> Option<Vec<u8>> {
        let Some(coding) = self.headers.get(CONTENT_ENCODING) else {
            return Some(self.body.clone());
        };
        let most = BODY_MAX as u64 + 1;
        let mut decoded = Vec::new();
        let read = match coding.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "identity" => return Some(self.body.clone()),
            "gzip" | "x-gzip" => {
                MultiGzDecoder::new(self.body.as_slice()).take(most).read_to_end(&mut decoded)
            }
            "br" => {
                Decompressor::new(self.body.as_slice(), BROTLI_BUFFER).take(most).read_to_end(&mut decoded)
            }
            _ => return None,
        };
        read.ok().filter(|_| decoded.len() <= BODY_MAX).map(|_| decoded)
    }
}
