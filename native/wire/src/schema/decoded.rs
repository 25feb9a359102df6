//! Decode an answer's content, no further than its bounds: what is small on the way may be large inside.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::place::Violation;
use crate::echo::decoded::Coding;

/// So many times its size content may have when it is decoded; JSON comes to ten or twenty.
const RATIO_MAX: usize = 100;
/// Below this, the ratio says nothing.
const SMALL: usize = 64 << 10;
const BROTLI_BUFFER: usize = 16 << 10;

/// The content itself. `max` is in bytes.
pub fn decoded(headers: &HeaderMap, body: &Bytes, max: usize) -> Result<Bytes, Violation> {
    let unreadable = || Violation::new("body", "content-encoding", "content that is coded as it says");
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    let Some(line) = lines.next() else { return Ok(body.clone()) };
    let name = line.to_str().map_err(|_| unreadable())?.trim();
    if lines.next().is_some() {
        return Err(unreadable());
    }
    if name.is_empty() || name.eq_ignore_ascii_case("identity") {
        return Ok(body.clone());
    }
    let coding = Coding::named(name).ok_or_else(unreadable)?;
    let by_ratio = body.len().saturating_mul(RATIO_MAX).max(SMALL);
    let out = Bounded { bytes: Vec::new(), left: max.min(by_ratio), is_full: false };
    let (written, out) = match coding {
        Coding::Gzip => {
            let mut decoder = MultiGzDecoder::new(out);
            let written = decoder.write_all(body).and_then(|()| decoder.try_finish());
            (written, std::mem::take(decoder.get_mut()))
        }
        Coding::Brotli => {
            let mut decoder = DecompressorWriter::new(out, BROTLI_BUFFER);
            let written = decoder.write_all(body).and_then(|()| decoder.close());
            (written, std::mem::take(decoder.get_mut()))
        }
    };
    if out.is_full {
        return Err(Violation::new("body", "bounds", "content within its bounds when decoded"));
    }
    written.map_err(|_| unreadable())?;
    Ok(out.bytes.into())
}

#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(piece.len()) else {
            self.is_full = true;
            return Err(io::Error::other("stopped"));
        };
        self.left = left;
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(content: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn of(coding: &str, body: &Bytes, max: usize) -> Result<Bytes, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, coding.parse().expect("a value"));
        decoded(&headers, body, max).map_err(|violation| violation.keyword)
    }

    #[test]
    fn content_is_decoded_within_its_bounds() {
        let content = Bytes::from_static(b"{\"a\":1}");
        assert_eq!(of("gzip", &gzip(&content), 7), Ok(content.clone()));
        assert_eq!(of("gzip", &gzip(&content), 6), Err("bounds"));
        assert_eq!(of("identity", &content, 7), Ok(content.clone()));
        assert_eq!(of("deflate", &content, 7), Err("content-encoding"));
        assert_eq!(of("gzip, gzip", &content, 7), Err("content-encoding"));
        assert_eq!(of("gzip", &content, 7), Err("content-encoding"));
        let cut = gzip(&content);
        assert_eq!(of("gzip", &cut.slice(..cut.len() - 4), 7), Err("content-encoding"));
    }

    #[test]
    fn a_bomb_is_not_decoded() {
        let bomb = gzip(&vec![b' '; 8 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(of("gzip", &bomb, 16 << 20), Err("bounds"));
    }
}
