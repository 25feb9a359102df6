//! The reader. What it refuses it names as the end of a sentence, never what stands there.

use std::borrow::Cow;
use std::collections::HashSet;

use super::namespaces::{Namespaces, is_kept};
use super::{Content, Element, is_character, is_of_name, is_qualified, is_space};
use crate::json::{DEPTH_MAX, Fault, VALUES_MAX};

/// Declarations in force at one place.
const DECLARED_MAX: usize = 64;
/// Digits of a character's number, leading zeros too.
const DIGITS_MAX: usize = 10;

impl<'d> Element<'d> {
    /// The root of a document, of which every namespace is one of `namespaces`.
    pub fn read(document: &'d [u8], namespaces: &Namespaces) -> Result<Self, Fault> {
        let text = std::str::from_utf8(document).map_err(|_| "is not UTF-8")?;
        if text.starts_with('\u{feff}') {
            return Err("begins with a byte order mark");
        }
        if !text.chars().all(is_character) {
            return Err("has a character that XML does not have");
        }
        let mut reader = Reader { rest: text, left: VALUES_MAX, namespaces, scope: Vec::new() };
        reader.declaration()?;
        reader.skip_space();
        reader.starts("<")?;
        let root = reader.element(DEPTH_MAX)?;
        reader.skip_space();
        if reader.rest.is_empty() { Ok(root) } else { Err(reader.foreign("goes on after its root")) }
    }
}

struct Reader<'d, 'n> {
    rest: &'d str,
    left: usize,
    namespaces: &'n Namespaces,
    /// The document's prefixes with the addresses they stand for, the innermost last.
    scope: Vec<(&'d str, Cow<'d, str>)>,
}

impl<'d> Reader<'d, '_> {
    /// `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`, or nothing (XML 1.0 §2.8).
    fn declaration(&mut self) -> Result<(), Fault> {
        const WRONG: Fault = "has a declaration other than of XML 1.0 in UTF-8";
        let Some(rest) = self.rest.strip_prefix("<?xml").filter(|rest| rest.starts_with(is_space)) else {
            return Ok(());
        };
        let (inner, after) = rest.split_once("?>").ok_or(WRONG)?;
        self.rest = inner;
        let mut expected = ["version", "encoding", "standalone"].into_iter();
        while self.skip_space() && !self.rest.is_empty() {
            let name = self.take_while(|c| c.is_ascii_lowercase());
            let value = self.quoted().map_err(|_| WRONG)?;
            let is_right = match name {
                "version" => value == "1.0",
                "encoding" => value.eq_ignore_ascii_case("utf-8"),
                _ => value == "yes" || value == "no",
            };
            let is_in_order = expected.by_ref().any(|known| known == name);
            if !is_right || !is_in_order {
                return Err(WRONG);
            }
        }
        let says_version = inner.trim_start_matches(is_space).starts_with("version");
        if !says_version || !self.rest.is_empty() {
            return Err(WRONG);
        }
        self.rest = after;
        Ok(())
    }

    /// The element whose `<` was read.
    fn element(&mut self, depth: usize) -> Result<Element<'d>, Fault> {
        let depth = depth.checked_sub(1).ok_or("goes deeper than 64 levels")?;
        self.count()?;
        let declared_before = self.scope.len();
        let written = self.qualified()?;
        let mut attributes = Vec::new();
        let is_empty = loop {
            let is_apart = self.skip_space();
            if self.takes("/>") {
                break true;
            }
            if self.takes(">") {
                break false;
            }
            if !is_apart {
                return Err(self.foreign("has a tag that is not as XML has it"));
            }
            self.count()?;
            let name = self.qualified()?;
            let value = normalised(self.quoted()?)?;
            match name.strip_prefix("xmlns") {
                Some("") => self.declare("", value, declared_before)?,
                Some(prefix) if prefix.starts_with(':') => {
                    self.declare(&prefix[1..], value, declared_before)?;
                }
                _ => attributes.push((name, value)),
            }
        };
        let name = self.known(written, false)?;
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| Ok((self.known(name, true)?, value)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let mut seen = HashSet::new();
        if attributes.len() > 1 && !attributes.iter().all(|(name, _)| seen.insert(name)) {
            return Err("has an attribute twice");
        }
        let content = if is_empty { Content::Nothing } else { self.content(written, depth)? };
        self.scope.truncate(declared_before);
        Ok(Element { name, attributes, content })
    }

    /// What stands between an element's tags, and its end tag.
    fn content(&mut self, written: &str, depth: usize) -> Result<Content<'d>, Fault> {
        let mut text = Cow::Borrowed("");
        let mut elements = Vec::new();
        loop {
            let piece = self.take_while(|c| c != '<');
            if piece.contains("]]>") {
                return Err("has `]]>` in a text");
            }
            append(&mut text, resolved(piece, line_ends)?);
            if self.takes("</") {
                if self.qualified()? != written {
                    return Err("has an end tag of another element");
                }
                self.skip_space();
                self.starts(">")?;
                break;
            }
            if self.takes("<![CDATA[") {
                let (piece, after) = self.rest.split_once("]]>").ok_or("ends within an element")?;
                append(&mut text, line_ends(piece));
                self.rest = after;
            } else {
                self.starts("<")?;
                elements.push(self.element(depth)?);
            }
        }
        match (elements.is_empty(), text.is_empty()) {
            (true, true) => Ok(Content::Nothing),
            (true, false) => self.count().map(|()| Content::Text(text)),
            (false, _) if text.contains(|c| !is_space(c)) => Err("has a text beside an element"),
            (false, _) => Ok(Content::Elements(elements)),
        }
    }

    fn declare(&mut self, prefix: &'d str, uri: Cow<'d, str>, outer: usize) -> Result<(), Fault> {
        if self.scope[outer..].iter().any(|(known, _)| *known == prefix) {
            return Err("has an attribute twice");
        }
        if self.scope.len() == DECLARED_MAX {
            return Err("declares more than 64 namespaces in one place");
        }
        if is_kept(prefix) {
            return Err("declares a prefix that XML keeps to itself");
        }
        let undeclares = prefix.is_empty() && uri.is_empty();
        if !undeclares && self.namespaces.prefix(&uri).is_none() {
            return Err("has a namespace that is not one of the policy's `namespaces`");
        }
        // Values may hold prefixes: those of the policy mean one thing.
        if !prefix.is_empty() && self.namespaces.address(prefix).is_some_and(|known| *known != *uri) {
            return Err("means another namespace by a prefix than the policy's `namespaces` do");
        }
        self.scope.push((prefix, uri));
        Ok(())
    }

    /// A name by the prefix that its namespace is known by.
    fn known(&self, written: &'d str, is_attribute: bool) -> Result<Cow<'d, str>, Fault> {
        let (prefix, local) = written.split_once(':').unwrap_or(("", written));
        if is_attribute && matches!(prefix, "" | "xml") {
            return Ok(Cow::Borrowed(written));
        }
        let uri = self.scope.iter().rev().find(|(known, _)| *known == prefix).map_or("", |(_, uri)| &**uri);
        if uri.is_empty() {
            return match prefix {
                "" if self.namespaces.address("").is_none() => Ok(Cow::Borrowed(written)),
                "" => Err("has an element that is in none of the policy's `namespaces`"),
                _ => Err("has a prefix that it does not declare"),
            };
        }
        match self.namespaces.prefix(uri) {
            Some(own) if own == prefix => Ok(Cow::Borrowed(written)),
            Some("") if is_attribute => {
                Err("has an attribute in a namespace that the policy's `namespaces` give no prefix")
            }
            Some("") => Ok(Cow::Borrowed(local)),
            Some(own) => Ok(Cow::Owned(format!("{own}:{local}"))),
            None => Err("has a namespace that is not one of the policy's `namespaces`"),
        }
    }

    fn qualified(&mut self) -> Result<&'d str, Fault> {
        let name = self.take_while(|c| c == ':' || is_of_name(c));
        if is_qualified(name) { Ok(name) } else { Err(self.foreign("has a tag that is not as XML has it")) }
    }

    /// `="value"`, with its references.
    fn quoted(&mut self) -> Result<&'d str, Fault> {
        const WRONG: Fault = "has an attribute without a value in quotes";
        self.skip_space();
        self.rest = self.rest.strip_prefix('=').ok_or(WRONG)?;
        self.skip_space();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(WRONG)?;
        let (value, after) = self.rest[1..].split_once(quote).ok_or(WRONG)?;
        if value.contains('<') {
            return Err("has `<` in an attribute");
        }
        self.rest = after;
        Ok(value)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or("has more than 10,000 elements, attributes and texts")?;
        Ok(())
    }

    /// Whether there was any.
    fn skip_space(&mut self) -> bool {
        !self.take_while(is_space).is_empty()
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &'d str {
        let end = self.rest.find(|c| !is_taken(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn starts(&mut self, text: &str) -> Result<(), Fault> {
        if self.takes(text) { Ok(()) } else { Err(self.foreign("is no XML, or ends within an element")) }
    }

    /// Why what comes is not read; `otherwise` where it is nothing that has a name of its own.
    fn foreign(&self, otherwise: Fault) -> Fault {
        let named = [
            ("!--", "has a comment"),
            ("!DOCTYPE", "has a document type, or an entity"),
            ("!", "has a document type, or an entity"),
            ("?", "has a processing instruction"),
        ];
        let rest = self.rest.trim_start_matches('<');
        named.iter().find(|(begin, _)| rest.starts_with(begin)).map_or(otherwise, |(_, fault)| fault)
    }
}

fn append<'d>(text: &mut Cow<'d, str>, piece: Cow<'d, str>) {
    if text.is_empty() {
        *text = piece;
    } else if !piece.is_empty() {
        text.to_mut().push_str(&piece);
    }
}

/// XML 1.0 §2.11.
fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// An attribute's value (XML 1.0 §3.3.3).
fn normalised(value: &str) -> Result<Cow<'_, str>, Fault> {
    resolved(value, |text| {
        let text = line_ends(text);
        if text.contains(['\t', '\n']) { Cow::Owned(text.replace(['\t', '\n'], " ")) } else { text }
    })
}

/// A text with what its references stand for (XML 1.0 §4.1, §4.6); `literal` is for what is none.
fn resolved<'d>(text: &'d str, literal: impl Fn(&'d str) -> Cow<'d, str>) -> Result<Cow<'d, str>, Fault> {
    let mut pieces = text.split('&');
    let mut whole = literal(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, after) = piece.split_once(';').ok_or("has `&` in a text")?;
        whole.to_mut().push(reference(name)?);
        append(&mut whole, literal(after));
    }
    Ok(whole)
}

fn reference(name: &str) -> Result<char, Fault> {
    const WRONG: Fault = "has a reference to what is no character of XML";
    let Some(number) = name.strip_prefix('#') else {
        return match name {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            _ => Err("has an entity other than the five of XML"),
        };
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
    if digits.len() > DIGITS_MAX || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(WRONG);
    }
    let character = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    character.filter(|c| is_character(*c)).ok_or(WRONG)
}
