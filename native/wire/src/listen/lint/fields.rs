//! Field lines: heads and trailers share one grammar (RFC 9112 §5), and one reader.

use memchr::memchr;

use super::violation::{self as rules, Place, Rule, Side, Violation};

/// Which block of lines is read; it decides limits, and how a place is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    RequestHead,
    ResponseHead,
    Trailers(Side),
}

impl Block {
    pub(super) fn side(self) -> Side {
        match self {
            Self::RequestHead => Side::Request,
            Self::ResponseHead => Side::Response,
            Self::Trailers(side) => side,
        }
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::RequestHead => 32 * 1024,
            Self::ResponseHead => 64 * 1024,
            Self::Trailers(_) => 8 * 1024,
        }
    }

    fn fields_max(self) -> usize {
        match self {
            Self::RequestHead => 100,
            Self::ResponseHead => 200,
            Self::Trailers(_) => 32,
        }
    }

    fn too_large(self) -> Violation {
        match self {
            Self::Trailers(side) => rules::TRAILER_SIZE.broken(side, Place::Body),
            _ => rules::HEAD_SIZE.broken(self.side(), Place::Head),
        }
    }

    fn too_many(self) -> Violation {
        match self {
            Self::Trailers(side) => rules::TRAILER_COUNT.broken(side, Place::Body),
            _ => rules::FIELD_COUNT.broken(self.side(), Place::Head),
        }
    }
}

/// Reads a block line by line, each line once, as its bytes come.
///
/// The reader's owner presents the block from its first byte each time; `at` says how much of it
/// is settled. Only whole lines are judged, so that the verdict does not depend on how the bytes
/// were cut into reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    block: Block,
    at: usize,
    fields: usize,
}

/// What a line of a block can be.
pub(super) enum Line<'a> {
    Field(Field<'a>),
    /// The empty line that ends the block.
    End,
}

/// One field, its name known to be a token and its value free of controls.
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Lines {
    pub(super) fn new(block: Block) -> Self {
        Self { block, at: 0, fields: 0 }
    }

    /// How many bytes of the block are settled.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next whole line without its CRLF, or `None` until more bytes come.
    pub(super) fn next<'a>(&mut self, block: &'a [u8], place: Place) -> Result<Option<&'a [u8]>, Violation> {
        let Some(length) = memchr(b'\n', &block[self.at..]) else {
            return if block.len() > self.block.bytes_max() { Err(self.block.too_large()) } else { Ok(None) };
        };
        let end = self.at + length;
        if end >= self.block.bytes_max() {
            return Err(self.block.too_large());
        }
        let Some((b'\r', line)) = block[self.at..end].split_last() else {
            return Err(rules::BARE_LF.broken(self.block.side(), place));
        };
        self.at = end + 1;
        Ok(Some(line))
    }

    /// The next whole line of the block after its first, or `None` until more bytes come.
    pub(super) fn next_field<'a>(&mut self, block: &'a [u8]) -> Result<Option<Line<'a>>, Violation> {
        let place = self.place(self.fields + 1, None);
        let Some(line) = self.next(block, place)? else {
            return Ok(None);
        };
        if line.is_empty() {
            return Ok(Some(Line::End));
        }
        self.fields += 1;
        if self.fields > self.block.fields_max() {
            return Err(self.block.too_many());
        }
        match split_field(line) {
            Ok(field) => Ok(Some(Line::Field(field))),
            Err((rule, name)) => Err(self.broken(rule, name)),
        }
    }

    /// `rule`, broken by the field read last.
    pub(super) fn broken(&self, rule: Rule, name: Option<&[u8]>) -> Violation {
        rule.broken(self.block.side(), self.place(self.fields, name))
    }

    fn place(&self, number: usize, name: Option<&[u8]>) -> Place {
        // A name longer than any in use is left out: a place is for reading.
        let name = name
            .filter(|name| name.len() <= 64)
            .and_then(|name| std::str::from_utf8(name).ok())
            .map(Box::from);
        match self.block {
            Block::Trailers(_) => Place::Trailer(number, name),
            _ => Place::Field(number, name),
        }
    }
}

fn split_field(line: &[u8]) -> Result<Field<'_>, (Rule, Option<&[u8]>)> {
    if matches!(line[0], b' ' | b'\t') {
        return Err((rules::FIELD_FOLD, None));
    }
    let Some(colon) = memchr(b':', line) else {
        return Err((rules::FIELD_COLON, None));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        let rule = match name {
            [token @ .., b' ' | b'\t'] if is_token(token.trim_ascii_end()) => rules::FIELD_NAME_SPACE,
            _ => rules::FIELD_NAME,
        };
        return Err((rule, None));
    }
    if has_control(value) {
        let rule = if memchr(b'\r', value).is_some() { rules::BARE_CR } else { rules::FIELD_VALUE };
        return Err((rule, Some(name)));
    }
    Ok(Field { name, value: value.trim_ascii() })
}

/// What a head says about the length of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
}

impl Framing {
    /// Takes in one field if it is about framing.
    pub(super) fn read(&mut self, field: &Field<'_>) -> Result<(), Rule> {
        // The length of the name settles nearly every field without a comparison.
        match field.name.len() {
            14 if is_name(field.name, b"content-length") => {
                if self.content_length.is_some() {
                    return Err(rules::LENGTH_REPEATED);
                }
                self.content_length = Some(content_length(field.value).ok_or(rules::LENGTH_VALUE)?);
            }
            17 if is_name(field.name, b"transfer-encoding") => {
                if self.chunked {
                    return Err(rules::CODING_REPEATED);
                }
                if !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(rules::CODING_VALUE);
                }
                self.chunked = true;
            }
            // Some origins read `_` as `-`; to them these would be framing too.
            14 if field.name.eq_ignore_ascii_case(b"content_length") => {
                return Err(rules::FIELD_LOOKALIKE);
            }
            17 if field.name.eq_ignore_ascii_case(b"transfer_encoding") => {
                return Err(rules::FIELD_LOOKALIKE);
            }
            _ => {}
        }
        Ok(())
    }

    /// The checks that need the whole head.
    pub(super) fn settle(self, http_10: bool) -> Result<(), Rule> {
        if self.chunked && self.content_length.is_some() {
            return Err(rules::CODING_AND_LENGTH);
        }
        if self.chunked && http_10 {
            return Err(rules::CODING_VERSION);
        }
        Ok(())
    }
}

fn content_length(value: &[u8]) -> Option<u64> {
    // Nineteen digits hold every number below 2^63.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number <= super::LENGTH_MAX).then_some(number)
}

/// Names that no trailer may carry (RFC 9110 §6.5.1): each is read before the trailers come.
const NOT_IN_TRAILERS: &[&[u8]] = &[
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"set-cookie",
    b"te",
    b"tidegate-client",
    b"tidegate-connection",
    b"tidegate-token",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"www-authenticate",
];

pub(super) fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    NOT_IN_TRAILERS.iter().any(|forbidden| is_name(name, forbidden))
}

/// Whether `name` is `lower`, in any case.
pub(super) fn is_name(name: &[u8], lower: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower)
}

/// Whether `value` names a host, with or without a port, and nothing else.
pub(super) fn is_host(value: &[u8]) -> bool {
    if value.is_empty() || value.len() > 255 {
        return false;
    }
    let (host, port) = if value[0] == b'[' {
        let Some(end) = memchr(b']', value) else {
            return false;
        };
        let address = std::str::from_utf8(&value[1..end]).unwrap_or_default();
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        (&value[..=end], &value[end + 1..])
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        let (host, port) = value.split_at(end);
        if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
            return false;
        }
        (host, port)
    };
    !host.is_empty() && is_port(port)
}

fn is_port(suffix: &[u8]) -> bool {
    match suffix {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|text| text.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |good, &byte| good & TOKEN[usize::from(byte)])
}

/// Whether any byte is a control other than TAB. Without branches, so that it runs in SIMD.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let bad = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    bytes.iter().fold(0, |found, &byte| found | bad(byte)) != 0
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};
