//! Bodies: how far one reaches, and that its chunks say so in only one way (RFC 9112 §6, §7).

use memchr::memchr;

use super::fields::{Block, Line, Lines, is_forbidden_in_trailers};
use super::violation::{self as rules, Place, Rule, Side, Violation};

const EXTENSION_BYTES_MAX: usize = 256;
const DIGITS_MAX: usize = 16;
/// Below hyper's own limit, so that an excess is refused here, by a rule with a name.
const EXTENSIONS_BYTES_MAX: usize = 8 * 1024;

/// What is left of a body.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What comes next in a chunked body.
#[derive(Clone, Debug)]
pub(super) struct Chunked {
    side: Side,
    next: Next,
    extension_bytes: usize,
}

#[derive(Clone, Debug)]
enum Next {
    Size,
    Data(u64),
    DataEnd,
    Trailers(Lines),
    Nothing,
}

/// How far a body was settled by the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) bytes: usize,
    pub(super) ended: bool,
}

impl Body {
    pub(super) fn chunked(side: Side) -> Self {
        Self::Chunked(Chunked { side, next: Next::Size, extension_bytes: 0 })
    }

    /// Settles as much of `bytes` as is sound. A violation is reported only when it stands first,
    /// so that what precedes it is settled whatever the cut of the reads.
    pub(super) fn reach(&mut self, bytes: &[u8]) -> Result<Reach, Violation> {
        match self {
            Self::Length(left) => {
                let taken = within(*left, bytes.len());
                *left -= taken as u64;
                Ok(Reach { bytes: taken, ended: *left == 0 })
            }
            Self::Chunked(chunked) => chunked.reach(bytes),
            Self::UntilClose => Ok(Reach { bytes: bytes.len(), ended: false }),
        }
    }
}

impl Chunked {
    fn reach(&mut self, bytes: &[u8]) -> Result<Reach, Violation> {
        let mut at = 0;
        while !matches!(self.next, Next::Nothing) {
            match self.part(&bytes[at..]) {
                Ok(Some(length)) => at += length,
                Ok(None) => {
                    return Ok(Reach { bytes: at, ended: false });
                }
                Err(_) if at > 0 => {
                    return Ok(Reach { bytes: at, ended: false });
                }
                Err(violation) => return Err(violation),
            }
        }
        Ok(Reach { bytes: at, ended: true })
    }

    /// Settles one part of the body; `None` until enough bytes of it are there.
    fn part(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        let (length, next) = match &mut self.next {
            Next::Size => {
                let Some((length, size, extension)) = size_line(bytes, self.side)? else {
                    return Ok(None);
                };
                if self.extension_bytes + extension > EXTENSIONS_BYTES_MAX {
                    return Err(rules::CHUNK_EXTENSION_LENGTH.broken(self.side, Place::Chunk));
                }
                self.extension_bytes += extension;
                let next = match size {
                    0 => Next::Trailers(Lines::new(Block::Trailers(self.side))),
                    size => Next::Data(size),
                };
                (length, next)
            }
            Next::Data(left) => {
                let taken = within(*left, bytes.len());
                if taken == 0 {
                    return Ok(None);
                }
                *left -= taken as u64;
                if *left > 0 {
                    return Ok(Some(taken));
                }
                (taken, Next::DataEnd)
            }
            Next::DataEnd => match bytes {
                [] | [b'\r'] => return Ok(None),
                [b'\r', b'\n', ..] => (2, Next::Size),
                _ => return Err(rules::CHUNK_END.broken(self.side, Place::Chunk)),
            },
            Next::Trailers(lines) => {
                // A violation must be met again where it stands, so a failed reading leaves no mark.
                let mut reading = *lines;
                let ended = read_trailers(&mut reading, bytes)?;
                *lines = reading;
                if !ended {
                    return Ok(None);
                }
                (lines.at(), Next::Nothing)
            }
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some(length))
    }
}

/// The length of the size line with its CRLF, the size, and the length of the extension.
fn size_line(line: &[u8], side: Side) -> Result<Option<(usize, u64, usize)>, Violation> {
    let broken = |rule: Rule| Err(rule.broken(side, Place::Chunk));
    let digits = line.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, rest) = line.split_at(digits);
    // What follows the digits settles the line before it is whole, where it can.
    if digits > DIGITS_MAX || (digits == 0 && !rest.is_empty()) {
        return broken(rules::CHUNK_SIZE);
    }
    let extension = match rest {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => 0,
        [b'\r', ..] => return broken(rules::BARE_CR),
        [b'\n', ..] => return broken(rules::BARE_LF),
        [b';', ..] => match extension(rest) {
            Ok(Some(length)) => length,
            Ok(None) => return Ok(None),
            Err(rule) => return broken(rule),
        },
        _ => return broken(rules::CHUNK_SIZE),
    };
    let length = number.iter().fold(0_u64, |sum, digit| sum << 4 | u64::from(hex_value(*digit)));
    if length > super::LENGTH_MAX {
        return broken(rules::CHUNK_SIZE);
    }
    Ok(Some((digits + extension + 2, length, extension)))
}

/// The length of the extension that starts `bytes`, its semicolon included.
fn extension(bytes: &[u8]) -> Result<Option<usize>, Rule> {
    let window = &bytes[..bytes.len().min(1 + EXTENSION_BYTES_MAX + 2)];
    let Some(end) = memchr(b'\n', window) else {
        let whole = window.len() == 1 + EXTENSION_BYTES_MAX + 2;
        return if whole { Err(rules::CHUNK_EXTENSION_LENGTH) } else { Ok(None) };
    };
    let Some((b'\r', text)) = window[..end].split_last() else {
        return Err(rules::BARE_LF);
    };
    if memchr(b'\r', text).is_some() {
        return Err(rules::BARE_CR);
    }
    if text.len() == 1 || !text.iter().all(u8::is_ascii_graphic) {
        return Err(rules::CHUNK_EXTENSION);
    }
    Ok(Some(text.len()))
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Whether the trailers were read to their end.
fn read_trailers(lines: &mut Lines, bytes: &[u8]) -> Result<bool, Violation> {
    while let Some(line) = lines.next_field(bytes)? {
        match line {
            Line::Field(field) if is_forbidden_in_trailers(field.name) => {
                return Err(lines.broken(rules::TRAILER_NAME, Some(field.name)));
            }
            Line::Field(_) => {}
            Line::End => return Ok(true),
        }
    }
    Ok(false)
}

fn within(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}
