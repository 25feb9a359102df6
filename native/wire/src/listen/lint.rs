//! The strict reading of HTTP/1 that comes before hyper's own.
//!
//! A message passes only if every reader of it, hyper and whoever stands behind Tidegate, must see
//! the same end of it. Pure: bytes in, a verdict out; no sockets, no clock, no allocation while
//! nothing is wrong. Whoever owns the bytes asks how many of them may pass, and presents the rest
//! again when more have come. The verdict does not depend on how the bytes were cut into reads.

mod body;
mod fields;
mod violation;

#[cfg(test)]
mod tests;

use body::Body;
use fields::{Block, Field, Framing, Line, Lines};
use violation::{self as rules, Rule, Side};

pub use violation::{Place, Violation, ViolationCode};

/// The greatest length of a body that any reader can hold in a signed 64-bit number.
const LENGTH_MAX: u64 = i64::MAX as u64;
const METHOD_BYTES_MAX: usize = 32;
const TARGET_BYTES_MAX: usize = 8 * 1024;
const INFORMATIONAL_MAX: u8 = 8;

/// How much of the bytes presented may pass, and what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub bytes: usize,
    /// Set when the bytes complete a request's head.
    pub head: Option<RequestFacts>,
}

/// What the head of a request said that its reader may not find in hyper's form of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub http_10: bool,
    pub expects_continue: bool,
}

/// Judges the requests of one connection, one after the other.
#[derive(Debug)]
pub struct RequestLint {
    stage: RequestStage,
}

#[derive(Debug)]
enum RequestStage {
    Head(RequestHead),
    Body(Body),
}

impl Default for RequestLint {
    fn default() -> Self {
        Self { stage: RequestStage::Head(RequestHead::new()) }
    }
}

impl RequestLint {
    /// Whether the next byte belongs to a head, and not to the body of a request.
    pub fn in_head(&self) -> bool {
        matches!(self.stage, RequestStage::Head(_))
    }

    /// The violation of whoever let the time for this part of a message run out.
    pub fn too_slow(&self) -> Violation {
        match self.stage {
            RequestStage::Head(_) => rules::HEAD_TIME.broken(Side::Request, Place::Head),
            RequestStage::Body(_) => rules::BODY_TIME.broken(Side::Request, Place::Body),
        }
    }

    /// Lets pass what is sound at the start of `bytes`, of one message at the most.
    ///
    /// A violation is reported only when it stands first: the sound bytes before it pass, and the
    /// call that they began is the one to fail.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<Passed, Violation> {
        let mut passed = Passed::default();
        if let RequestStage::Head(head) = &mut self.stage {
            let Some(next) = head.read(bytes)? else {
                return Ok(passed);
            };
            passed.bytes = head.lines.at();
            passed.head = Some(head.facts);
            self.stage = next;
        }
        if let RequestStage::Body(body) = &mut self.stage {
            match body.reach(&bytes[passed.bytes..]) {
                Ok(reach) => {
                    passed.bytes += reach.bytes;
                    if reach.ended {
                        self.stage = RequestStage::Head(RequestHead::new());
                    }
                }
                Err(violation) if passed.head.is_none() => return Err(violation),
                Err(_) => {}
            }
        }
        Ok(passed)
    }
}

/// The head of a request, as far as it was read.
#[derive(Debug)]
struct RequestHead {
    lines: Lines,
    framing: Framing,
    has_host: bool,
    facts: RequestFacts,
}

impl RequestHead {
    fn new() -> Self {
        Self {
            lines: Lines::new(Block::RequestHead),
            framing: Framing::default(),
            has_host: false,
            facts: RequestFacts::default(),
        }
    }

    /// Reads on in the head that `bytes` starts with; once it is whole, says what follows it.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<RequestStage>, Violation> {
        if self.lines.at() == 0 {
            check_start(bytes)?;
            let Some(line) = self.lines.next(bytes, Place::RequestLine)? else {
                return Ok(None);
            };
            self.facts.http_10 = request_line(line)?;
        }
        while let Some(line) = self.lines.next_field(bytes)? {
            match line {
                Line::Field(field) => {
                    self.field(&field).map_err(|rule| self.lines.broken(rule, Some(field.name)))?;
                }
                Line::End => {
                    return self.settle().map(Some).map_err(|rule| rule.broken(Side::Request, Place::Head));
                }
            }
        }
        Ok(None)
    }

    fn field(&mut self, field: &Field<'_>) -> Result<(), Rule> {
        match field.name.len() {
            4 if fields::is_name(field.name, b"host") => {
                if std::mem::replace(&mut self.has_host, true) {
                    return Err(rules::HOST_REPEATED);
                }
                if !fields::is_host(field.value) {
                    return Err(rules::HOST_VALUE);
                }
                Ok(())
            }
            6 if fields::is_name(field.name, b"expect") => {
                let repeated = std::mem::replace(&mut self.facts.expects_continue, true);
                if repeated || !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(rules::EXPECT_VALUE);
                }
                Ok(())
            }
            _ => self.framing.read(field),
        }
    }

    fn settle(&self) -> Result<RequestStage, Rule> {
        let Framing { content_length, chunked } = self.framing;
        self.framing.settle(self.facts.http_10)?;
        if !self.has_host {
            return Err(rules::HOST_MISSING);
        }
        Ok(match content_length {
            _ if chunked => RequestStage::Body(Body::chunked(Side::Request)),
            None | Some(0) => RequestStage::Head(Self::new()),
            Some(length) => RequestStage::Body(Body::Length(length)),
        })
    }
}

/// Refuses as early as the bytes allow what cannot become a request line.
fn check_start(bytes: &[u8]) -> Result<(), Violation> {
    let broken = |rule: Rule| Err(rule.broken(Side::Request, Place::RequestLine));
    match bytes.first() {
        Some(b'\r' | b'\n') => broken(rules::LEADING_BLANK_LINE),
        Some(byte) if !fields::is_token_byte(*byte) => broken(rules::METHOD),
        _ if bytes.len() > REQUEST_LINE_BYTES_MAX
            && memchr::memchr(b'\n', &bytes[..REQUEST_LINE_BYTES_MAX]).is_none() =>
        {
            broken(rules::TARGET_LENGTH)
        }
        _ => Ok(()),
    }
}

/// The longest method and target, two spaces, the version, CRLF.
const REQUEST_LINE_BYTES_MAX: usize = METHOD_BYTES_MAX + 1 + TARGET_BYTES_MAX + 1 + 8 + 2;

/// Checks the request line, and says whether its version is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Violation> {
    let broken = |rule: Rule| rule.broken(Side::Request, Place::RequestLine);
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (
        parts.next().unwrap_or_default(),
        parts.next().ok_or_else(|| broken(rules::REQUEST_LINE))?,
        parts.next().ok_or_else(|| broken(rules::REQUEST_LINE))?,
    );
    if method.len() > METHOD_BYTES_MAX || !fields::is_token(method) {
        return Err(broken(rules::METHOD));
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(broken(rules::METHOD_NOT_PASSED));
    }
    check_target(target).map_err(broken)?;
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(broken(rules::VERSION)),
    }
}

fn check_target(target: &[u8]) -> Result<(), Rule> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(rules::TARGET_LENGTH);
    }
    let path = match target {
        [b'/', ..] => target,
        b"*" => return Err(rules::TARGET_ASTERISK),
        _ => path_of_absolute(target)?,
    };
    let (path, query) = path.split_at(memchr::memchr(b'?', path).unwrap_or(path.len()));
    let fits =
        |part: &[u8], set: u8| part.iter().fold(set, |fits, &byte| fits & TARGET[usize::from(byte)]) == set;
    if fits(path, IN_PATH) && fits(query, IN_QUERY) { Ok(()) } else { Err(rules::TARGET_CHARACTER) }
}

/// What follows the authority of an absolute http or https URL.
fn path_of_absolute(target: &[u8]) -> Result<&[u8], Rule> {
    let scheme_end = memchr::memmem::find(target, b"://").ok_or(rules::TARGET_FORM)?;
    let (scheme, rest) = (&target[..scheme_end], &target[scheme_end + 3..]);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(rules::TARGET_FORM);
    }
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    if !fields::is_host(&rest[..end]) {
        return Err(rules::HOST_VALUE);
    }
    Ok(&rest[end..])
}

const IN_PATH: u8 = 1;
const IN_QUERY: u8 = 2;

/// What a target may hold: visible ASCII without what URL libraries always encode. `#` would cut
/// the target, `\` is a slash to some readers, and hyper's URI takes none of the others.
static TARGET: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = match byte {
            b'"' | b'#' | b'<' | b'>' => 0,
            b'\\' | b'`' => IN_QUERY,
            _ => IN_PATH | IN_QUERY,
        };
        byte += 1;
    }
    table
};

/// Judges the responses of one connection, each to the request announced before it.
#[derive(Debug, Default)]
pub struct ResponseLint {
    stage: ResponseStage,
}

#[derive(Debug, Default)]
enum ResponseStage {
    /// No request is outstanding, so no byte may come.
    #[default]
    Idle,
    Head(ResponseHead),
    Body(Body),
}

impl ResponseLint {
    /// A request goes out: one final response may come, without a body if it was `HEAD`.
    pub fn expect(&mut self, to_head: bool) {
        self.stage = ResponseStage::Head(ResponseHead::new(to_head, 0));
    }

    /// Whether every response announced has come whole.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, ResponseStage::Idle)
    }

    /// Says how many of `bytes` may pass. A violation anywhere in them refuses them all: nothing
    /// else can be waiting on this connection, and doubt about a provider ends it.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match &mut self.stage {
                ResponseStage::Idle if rest.is_empty() => return Ok(at),
                ResponseStage::Idle => {
                    return Err(rules::SURPLUS.broken(Side::Response, Place::Between));
                }
                ResponseStage::Head(head) => {
                    let Some(next) = head.read(rest)? else {
                        return Ok(at);
                    };
                    at += head.lines.at();
                    self.stage = next;
                }
                ResponseStage::Body(body) => {
                    let reach = body.reach(rest)?;
                    at += reach.bytes;
                    if reach.ended {
                        self.stage = ResponseStage::Idle;
                    } else if reach.bytes == 0 {
                        return Ok(at);
                    }
                }
            }
        }
    }
}

/// The head of a response, as far as it was read.
#[derive(Debug)]
struct ResponseHead {
    lines: Lines,
    framing: Framing,
    status: u16,
    http_10: bool,
    to_head: bool,
    /// How many informational responses came before.
    informational: u8,
}

impl ResponseHead {
    fn new(to_head: bool, informational: u8) -> Self {
        Self {
            lines: Lines::new(Block::ResponseHead),
            framing: Framing::default(),
            status: 0,
            http_10: false,
            to_head,
            informational,
        }
    }

    /// Reads on in the head that `bytes` starts with; once it is whole, says what follows it.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<ResponseStage>, Violation> {
        if self.lines.at() == 0 {
            let Some(line) = self.lines.next(bytes, Place::StatusLine)? else {
                return Ok(None);
            };
            (self.status, self.http_10) = status_line(line)?;
        }
        while let Some(line) = self.lines.next_field(bytes)? {
            match line {
                Line::Field(field) => {
                    self.framing.read(&field).map_err(|rule| self.lines.broken(rule, Some(field.name)))?;
                }
                Line::End => {
                    return self.settle().map(Some).map_err(|rule| rule.broken(Side::Response, Place::Head));
                }
            }
        }
        Ok(None)
    }

    fn settle(&self) -> Result<ResponseStage, Rule> {
        let Framing { content_length, chunked } = self.framing;
        self.framing.settle(self.http_10)?;
        match self.status {
            101 => Err(rules::SWITCHING),
            100..200 if chunked || content_length.is_some() => Err(rules::INFORMATIONAL_BODY),
            100..200 if self.informational == INFORMATIONAL_MAX => Err(rules::INFORMATIONAL_COUNT),
            100..200 => Ok(ResponseStage::Head(Self::new(self.to_head, self.informational + 1))),
            204 | 304 => Ok(ResponseStage::Idle),
            _ if self.to_head => Ok(ResponseStage::Idle),
            _ => Ok(match content_length {
                _ if chunked => ResponseStage::Body(Body::chunked(Side::Response)),
                Some(0) => ResponseStage::Idle,
                Some(length) => ResponseStage::Body(Body::Length(length)),
                None => ResponseStage::Body(Body::UntilClose),
            }),
        }
    }
}

/// The status, and whether the version is HTTP/1.0.
fn status_line(line: &[u8]) -> Result<(u16, bool), Violation> {
    let broken = || rules::STATUS_LINE.broken(Side::Response, Place::StatusLine);
    let (http_10, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', rest @ ..] => {
            (*minor == b'0', rest)
        }
        _ => return Err(broken()),
    };
    // Many servers leave out the space when they have no reason; nothing can be misread by that.
    let (digits, reason) = match rest {
        [a, b, c] => ([*a, *b, *c], &[][..]),
        [a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
        _ => return Err(broken()),
    };
    if !matches!(digits[0], b'1'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(broken());
    }
    if fields::has_control(reason) {
        return Err(broken());
    }
    Ok((digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')), http_10))
}
