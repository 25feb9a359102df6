//! What the lint found wrong: a rule, the place, and the words for the person who can mend it.
//!
//! A violation names rules, places and field names. It never holds a value that was sent.

use std::fmt;

/// The first thing in a message that the lint would not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: ViolationCode,
    /// The rule's stable name, for records and tests.
    pub rule: &'static str,
    /// The rule itself, as a sentence.
    pub sentence: &'static str,
    pub place: Place,
}

/// The kind of problem to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViolationCode {
    MalformedRequest,
    UriTooLong,
    HeadTooLarge,
    MethodNotAllowed,
    Timeout,
    MalformedResponse,
}

/// Where in the message a rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    RequestLine,
    StatusLine,
    /// The head as a whole.
    Head,
    /// The field by its number from 1, and by name where the name is a valid one.
    Field(usize, Option<Box<str>>),
    Body,
    Chunk,
    Trailer(usize, Option<Box<str>>),
    /// Where no message should be.
    Between,
}

/// A rule, before it is known which side broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    code: Option<ViolationCode>,
    name: &'static str,
    sentence: &'static str,
}

/// The side that a message comes from decides the code of the rules common to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Rule {
    pub(super) fn broken(self, side: Side, place: Place) -> Violation {
        let code = match (side, self.code) {
            (Side::Response, _) => ViolationCode::MalformedResponse,
            (Side::Request, Some(code)) => code,
            (Side::Request, None) => ViolationCode::MalformedRequest,
        };
        Violation { code, rule: self.name, sentence: self.sentence, place }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rule `{}`, at {})", self.sentence, self.rule, self.place)
    }
}

impl std::error::Error for Violation {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number, name) = match self {
            Self::RequestLine => return f.write_str("the request line"),
            Self::StatusLine => return f.write_str("the status line"),
            Self::Head => return f.write_str("the head"),
            Self::Body => return f.write_str("the body"),
            Self::Chunk => return f.write_str("a chunk of the body"),
            Self::Between => return f.write_str("the end of the message"),
            Self::Field(number, name) => ("field", number, name),
            Self::Trailer(number, name) => ("trailer", number, name),
        };
        match name {
            Some(name) => write!(f, "{what} {number} `{name}`"),
            None => write!(f, "{what} {number}"),
        }
    }
}

macro_rules! rules {
    ($($constant:ident = $name:literal $(=> $code:ident)?, $sentence:literal;)+) => {
        $(pub(super) const $constant: Rule =
            Rule { code: rules!(@code $($code)?), name: $name, sentence: $sentence };)+
    };
    (@code) => { None };
    (@code $code:ident) => { Some(ViolationCode::$code) };
}

rules! {
    // Lines.
    BARE_LF = "bare-lf", "Lines end with CRLF, not with LF alone.";
    BARE_CR = "bare-cr", "CR stands only before LF.";
    LEADING_BLANK_LINE = "leading-blank-line", "Nothing stands before the first line of a message.";

    // Request line.
    METHOD = "method", "The method is a token of at most 32 characters.";
    METHOD_NOT_PASSED = "method-not-passed" => MethodNotAllowed,
        "CONNECT and TRACE are never passed on.";
    TARGET_FORM = "target-form", "The target is a path, or an absolute http or https URL.";
    TARGET_ASTERISK = "target-asterisk" => MethodNotAllowed, "The target `*` is never passed on.";
    TARGET_CHARACTER = "target-character",
        "The target has only visible ASCII characters that a URL allows; encode the others.";
    TARGET_LENGTH = "target-length" => UriTooLong, "The target has at most 8192 characters.";
    REQUEST_LINE = "request-line",
        "The request line is a method, a target and a version with one space between.";
    VERSION = "version", "The version is HTTP/1.1 or HTTP/1.0.";

    // Status line.
    STATUS_LINE = "status-line", "The status line is a version, a status from 100 to 599 and a reason.";
    SWITCHING = "switching-protocols", "A provider may not switch protocols.";
    INFORMATIONAL_COUNT = "informational-count",
        "At most 8 informational responses come before the final one.";
    INFORMATIONAL_BODY = "informational-body",
        "An informational response has no Content-Length and no Transfer-Encoding.";
    SURPLUS = "surplus-bytes", "Nothing follows a response until the next request was sent.";

    // Fields.
    HEAD_SIZE = "head-size" => HeadTooLarge, "The head has at most 32 KiB, a response's 64 KiB.";
    FIELD_COUNT = "field-count" => HeadTooLarge,
        "The head has at most 100 fields, a response's 200.";
    FIELD_COLON = "field-colon", "Each field has a colon after its name.";
    FIELD_NAME = "field-name", "A field's name is a token.";
    FIELD_NAME_SPACE = "field-name-space", "No space stands between a field's name and the colon.";
    FIELD_FOLD = "field-fold", "A field's value stays on one line.";
    FIELD_VALUE = "field-value", "A field's value has no control characters but TAB.";
    FIELD_LOOKALIKE = "field-lookalike",
        "No field's name differs from a framing field's by underscores alone.";

    // Fields that decide about the message.
    HOST_MISSING = "host-missing", "A request has a Host field.";
    HOST_REPEATED = "host-repeated", "A request has one Host field.";
    HOST_VALUE = "host-value", "A host is a name or an address, with or without a port.";
    EXPECT_VALUE = "expect-value", "The one expectation is `100-continue`, once.";
    LENGTH_REPEATED = "length-repeated", "Content-Length stands once.";
    LENGTH_VALUE = "length-value", "Content-Length is one decimal number below 2^63.";
    CODING_REPEATED = "coding-repeated", "Transfer-Encoding stands once.";
    CODING_VALUE = "coding-value", "The one transfer coding is `chunked`.";
    CODING_VERSION = "coding-version", "HTTP/1.0 has no transfer coding.";
    CODING_AND_LENGTH = "coding-and-length",
        "A message has Transfer-Encoding or Content-Length, not both.";

    // Chunks and trailers.
    CHUNK_SIZE = "chunk-size", "A chunk's size is 1 to 16 hexadecimal digits, and below 2^63.";
    CHUNK_EXTENSION = "chunk-extension", "A chunk's extension has visible ASCII characters only.";
    CHUNK_EXTENSION_LENGTH = "chunk-extension-length",
        "A chunk's extension has at most 256 characters, a body's together 8192.";
    CHUNK_END = "chunk-end", "A chunk's data ends with CRLF where its size says.";
    TRAILER_SIZE = "trailer-size", "The trailer section has at most 8 KiB.";
    TRAILER_COUNT = "trailer-count", "The trailer section has at most 32 fields.";
    TRAILER_NAME = "trailer-name",
        "Fields that decide about framing, routing or access stand in the head, not in a trailer.";

    // Time.
    HEAD_TIME = "head-time" => Timeout, "The head of a request arrives within its time limit.";
    BODY_TIME = "body-time" => Timeout, "The body of a request keeps arriving.";
}
