//! JSON, read strictly: what two parsers could read differently is refused, and numbers stay as they are written.
//!
//! RFC 8259, and of what it leaves open: UTF-8 without a byte order mark, no name twice in an object however it
//! is spelt (§4), no lone surrogate (§8.2). A document is written anew from what was read, never patched, so that
//! the provider reads what was judged here.

use std::borrow::Cow;
use std::collections::HashSet;

/// Deeper documents are no API's.
pub const DEPTH_MAX: usize = 64;
/// Values in a document, those inside others counted too.
pub const VALUES_MAX: usize = 10_000;
/// A number of more characters is none of an API's.
const NUMBER_MAX: usize = 1_024;
/// Up to here names are compared one by one.
const FEW_NAMES: usize = 16;

/// A value, with its numbers as they are written and its members in their order. Texts without an escape are those of
/// the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'d> {
    Null,
    Bool(bool),
    Number(Cow<'d, str>),
    Text(Cow<'d, str>),
    List(Vec<Node<'d>>),
    Map(Vec<(Cow<'d, str>, Node<'d>)>),
}

/// Why a document is refused, as the end of a sentence. Never what stands in it.
pub type Fault = &'static str;

impl<'d> Node<'d> {
    pub fn read(document: &'d [u8]) -> Result<Self, Fault> {
        Self::read_within(document, VALUES_MAX)
    }

    /// With so many values at most.
    pub fn read_within(document: &'d [u8], values_max: usize) -> Result<Self, Fault> {
        let text = std::str::from_utf8(document).map_err(|_| "is not UTF-8")?;
        if text.starts_with('\u{feff}') {
            return Err("begins with a byte order mark");
        }
        let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, left: values_max };
        reader.skip_space();
        let node = reader.value(DEPTH_MAX)?;
        reader.skip_space();
        if reader.at < text.len() { Err("goes on after its value") } else { Ok(node) }
    }

    /// The document, without a space that does not stand in a text.
    pub fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Map(members) => {
                out.push(b'{');
                for (number, (name, member)) in members.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    member.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// One that does without the document.
    pub fn into_owned(self) -> Node<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Node::Null,
            Self::Bool(value) => Node::Bool(value),
            Self::Number(digits) => Node::Number(owned(digits)),
            Self::Text(text) => Node::Text(owned(text)),
            Self::List(items) => Node::List(items.into_iter().map(Node::into_owned).collect()),
            Self::Map(members) => Node::Map(
                members.into_iter().map(|(name, member)| (owned(name), member.into_owned())).collect(),
            ),
        }
    }

    /// Whether something stands in it that can be looked at apart.
    pub fn has_children(&self) -> bool {
        match self {
            Self::List(items) => !items.is_empty(),
            Self::Map(members) => !members.is_empty(),
            _ => false,
        }
    }
}

/// A text in its quotes (RFC 8259 §7).
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..plain]);
        let byte = rest[plain];
        rest = &rest[plain + 1..];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

struct Reader<'d> {
    bytes: &'d [u8],
    text: &'d str,
    at: usize,
    left: usize,
}

impl<'d> Reader<'d> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// `depth` is how many levels may still begin.
    fn value(&mut self, depth: usize) -> Result<Node<'d>, Fault> {
        self.left = self.left.checked_sub(1).ok_or("has too many values")?;
        match self.peek() {
            Some(b'{') => self.map(depth.checked_sub(1).ok_or("is nested deeper than 64 levels")?),
            Some(b'[') => self.list(depth.checked_sub(1).ok_or("is nested deeper than 64 levels")?),
            Some(b'"') => Ok(Node::Text(self.quoted()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            Some(_) => Err("has a character where a value should be"),
            None => Err("ends where a value should be"),
        }
    }

    fn word(&mut self, word: &str, node: Node<'d>) -> Result<Node<'d>, Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err("has a word that is not `true`, `false` or `null`");
        }
        self.at += word.len();
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Node<'d>, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.takes(b']') {
            return Ok(Node::List(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            if self.takes(b']') {
                return Ok(Node::List(items));
            }
            if !self.takes(b',') {
                return Err("has a list without a comma or an end where one should be");
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Node<'d>, Fault> {
        self.at += 1;
        let mut members: Vec<(Cow<'d, str>, Node<'d>)> = Vec::new();
        let mut seen: Option<HashSet<Cow<'d, str>>> = None;
        self.skip_space();
        if self.takes(b'}') {
            return Ok(Node::Map(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err("has an object with no name where one should be");
            }
            let name = self.quoted()?;
            if members.len() == FEW_NAMES {
                seen = Some(members.iter().map(|(name, _)| name.clone()).collect());
            }
            let is_new = match &mut seen {
                Some(seen) => seen.insert(name.clone()),
                None => members.iter().all(|(known, _)| *known != name),
            };
            if !is_new {
                return Err("has an object with one name twice");
            }
            self.skip_space();
            if !self.takes(b':') {
                return Err("has a name without a colon");
            }
            self.skip_space();
            let member = self.value(depth)?;
            members.push((name, member));
            self.skip_space();
            if self.takes(b'}') {
                return Ok(Node::Map(members));
            }
            if !self.takes(b',') {
                return Err("has an object without a comma or an end where one should be");
            }
        }
    }

    fn number(&mut self) -> Result<Node<'d>, Fault> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        // `01` and `1x` are two values, or none.
        if matches!(self.peek(), Some(b'0'..=b'9' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-')) {
            return Err("has a number that is not written as JSON has it");
        }
        if self.at - start > NUMBER_MAX {
            return Err("has a number of more than 1,024 characters");
        }
        Ok(Node::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err("has a number that is not written as JSON has it") } else { Ok(()) }
    }

    fn quoted(&mut self) -> Result<Cow<'d, str>, Fault> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let start = self.at;
            self.at += plain.unwrap_or(rest.len());
            text += &self.text[start..self.at];
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.to_mut().push(self.escaped()?),
                Some(_) => return Err("has a control character in a text"),
                None => return Err("ends in a text"),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let letter = self.peek().ok_or("ends in a text")?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("has an escape that JSON does not have"),
        })
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        const LONE: Fault = "has half of a surrogate pair";
        let first = self.hex()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(LONE);
        }
        if first >= 0xdc00 || !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(LONE);
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(LONE);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(LONE)
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        const WRONG: Fault = "has an escape that JSON does not have";
        let digits = self.bytes.get(self.at..self.at + 4).ok_or("ends in a text")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(WRONG);
        }
        let value = u32::from_str_radix(&self.text[self.at..self.at + 4], 16).map_err(|_| WRONG)?;
        self.at += 4;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node() -> impl Strategy<Value = Node<'static>> {
        let leaf = prop_oneof![
            Just(Node::Null),
            any::<bool>().prop_map(Node::Bool),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?"
                .prop_map(|digits| Node::Number(digits.into())),
            any::<String>().prop_map(|text| Node::Text(text.into())),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Node::List),
                prop::collection::btree_map(any::<String>(), inner, 0..24).prop_map(|map| Node::Map(
                    map.into_iter().map(|(name, member)| (name.into(), member)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(node in node()) {
            let written = node.written();
            prop_assert_eq!(Node::read(&written), Ok(node));
        }

        #[test]
        fn what_is_read_is_what_others_read(node in node()) {
            let written = node.written();
            // Numbers too large for it are the one thing that serde_json refuses here.
            if let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(&written) {
                let mine: serde_json::Value =
                    serde_json::from_slice(&Node::read(&written).expect("ours").written()).expect("ours again");
                prop_assert_eq!(mine, theirs);
            }
        }

        #[test]
        fn nothing_is_read_that_serde_json_refuses(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(node) = Node::read(&bytes) {
                let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
                let huge = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
                prop_assert!(theirs.is_ok() || huge, "{:?}", node);
            }
        }
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        for document in [
            &b"\xef\xbb\xbf{}"[..],
            b"\xff\xfe{\0}\0",
            b"{\"a\":1,\"a\":2}",
            br#"{"email":1,"\u0065mail":2}"#,
            br#"{"a":{"b":1,"\u0062":2}}"#,
            br#""\ud800""#,
            br#""\udc00\ud800""#,
            br#""\ud800\u0041""#,
            br#""\uD83D""#,
            b"NaN",
            b"Infinity",
            b"-Infinity",
            b"[1,]",
            b"{\"a\":1,}",
            b"[01]",
            b"[1.]",
            b"[.5]",
            b"[+1]",
            b"[0x10]",
            b"[1e]",
            b"[-]",
            b"{'a':1}",
            b"{a:1}",
            b"// \n1",
            b"/* */1",
            b"1 2",
            b"",
            b" ",
            b"\"\n\"",
            b"\"\\x\"",
            b"\"\\u12\"",
            b"\"\\u+123\"",
            b"\"\xc0\xaf\"",
            b"\x0c1",
            b"{\"a\" 1}",
            b"[1 2]",
            b"tru",
            b"[1",
            b"{\"a\":1",
            b"\"a",
            b"\xc2\xa01",
        ] {
            assert!(Node::read(document).is_err(), "{}", String::from_utf8_lossy(document));
        }
    }

    #[test]
    fn names_are_told_apart_beyond_the_few_that_are_compared_one_by_one() {
        let names: Vec<String> = (0..40).map(|number| format!("\"n{number}\":0")).collect();
        assert!(Node::read(format!("{{{}}}", names.join(",")).as_bytes()).is_ok());
        for twice in [0, 15, 16, 39] {
            let document = format!("{{{},\"n{twice}\":1}}", names.join(","));
            assert_eq!(Node::read(document.as_bytes()), Err("has an object with one name twice"));
        }
    }

    #[test]
    fn a_document_is_read_up_to_its_bounds_and_not_beyond() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Node::read(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(Node::read(nested(DEPTH_MAX + 1).as_bytes()), Err("is nested deeper than 64 levels"));
        assert!(Node::read(nested(1 << 20).as_bytes()).is_err());
        let wide = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
        assert!(Node::read(wide(VALUES_MAX).as_bytes()).is_ok());
        assert_eq!(Node::read(wide(VALUES_MAX + 1).as_bytes()), Err("has too many values"));
        assert!(Node::read("1".repeat(NUMBER_MAX).as_bytes()).is_ok());
        assert!(Node::read("1".repeat(NUMBER_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn numbers_go_out_as_they_came() {
        let document = b"[123456789012345678901234567890,1e400,-0,1.10,1E+2]";
        assert_eq!(Node::read(document).expect("numbers").written(), document);
    }
}
