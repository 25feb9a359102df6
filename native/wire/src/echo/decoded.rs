//! Look into an encoded body without touching it: what is decoded is searched and thrown away.

use std::io::{self, Write};
use std::sync::Arc;

use brotli_decompressor::DecompressorWriter;
use flate2::write::MultiGzDecoder;

use crate::echo::Echoed;
use crate::lease::Lease;

const BROTLI_BUFFER: usize = 16 << 10;

/// The content codings (RFC 9110 §8.4.1) that can be looked into; no other is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Brotli,
}

impl Coding {
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }
}

pub enum Decoded {
    Gzip(Box<MultiGzDecoder<Search>>),
    Brotli(Box<DecompressorWriter<Search>>),
}

impl Decoded {
    /// `bound` is how many bytes may come out: what is small on the way may be large inside.
    pub fn new(coding: Coding, lease: Arc<Lease>, wanted: Arc<[Box<str>]>, bound: u64) -> Self {
        let search = Search { lease, wanted, held: Vec::new(), left: bound, echoed: None };
        match coding {
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(search))),
            Coding::Brotli => Self::Brotli(Box::new(DecompressorWriter::new(search, BROTLI_BUFFER))),
        }
    }

    /// Look into the next piece before it is passed on.
    pub fn pass(&mut self, piece: &[u8]) -> Result<(), Echoed> {
        let written = match self {
            Self::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Self::Brotli(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
        };
        let search = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
        };
        match search.echoed.take() {
            Some(field) => Err(Echoed::Field(field)),
            None if search.left == 0 => Err(Echoed::TooLarge),
            None => written.map_err(|_| Echoed::Unreadable),
        }
    }
}

/// Where decoded bytes end. Errors stop the decoder; what it was is kept here.
pub struct Search {
    lease: Arc<Lease>,
    wanted: Arc<[Box<str>]>,
    /// The end of what came before: as much as may be the beginning of what is looked for.
    held: Vec<u8>,
    left: u64,
    echoed: Option<Box<str>>,
}

impl Write for Search {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let stop = || io::Error::other("stopped");
        self.left = self.left.checked_sub(piece.len() as u64).filter(|left| *left > 0).ok_or_else(|| {
            self.left = 0;
            stop()
        })?;
        let Some(needles) = self.lease.needles() else { return Ok(piece.len()) };
        self.held.extend_from_slice(piece);
        if let Some(found) = needles.find(&self.held, 0, &self.wanted) {
            self.echoed = Some(found.field.into());
            return Err(stop());
        }
        let begun = needles.begun(&self.held, 0);
        self.held.drain(..self.held.len() - begun);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
