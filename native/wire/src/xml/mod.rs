//! XML, read strictly: what two parsers could read differently is refused, and names are told by their namespaces.
//!
//! XML 1.0 (fifth edition) with Namespaces in XML 1.0, and of these what carries data: no document type, so that
//! nothing is defined, fetched or grows; no comments and processing instructions; no text beside elements. A document
//! is written anew from what was read, with the prefixes that its reader was given, so that neither a prefix nor
//! the address of a namespace can carry anything.

mod namespaces;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use namespaces::Namespaces;

/// An element. Names have the prefixes of [`Namespaces`], whatever the document called them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'d> {
    pub name: Cow<'d, str>,
    pub attributes: Vec<(Cow<'d, str>, Cow<'d, str>)>,
    pub content: Content<'d>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'d> {
    Nothing,
    Text(Cow<'d, str>),
    /// Without the space between them.
    Elements(Vec<Element<'d>>),
}

impl Element<'_> {
    /// The document with this root.
    pub fn written(&self, namespaces: &Namespaces) -> Vec<u8> {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned();
        self.write(Some(namespaces), &mut out);
        out.into_bytes()
    }

    fn write(&self, declared: Option<&Namespaces>, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (prefix, uri) in declared.into_iter().flat_map(Namespaces::iter) {
            out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            out.push_str(prefix);
            out.push_str("=\"");
            write_value(uri, out);
            out.push('"');
        }
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            write_value(value, out);
            out.push('"');
        }
        match &self.content {
            Content::Nothing => return out.push_str("/>"),
            Content::Text(text) => {
                out.push('>');
                write_text(text, out);
            }
            Content::Elements(elements) => {
                out.push('>');
                for element in elements {
                    element.write(None, out);
                }
            }
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

/// A text as it stands between tags.
pub fn write_text(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reader would make a line feed of it.
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// A text as it stands in an attribute.
pub fn write_value(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\t', '\n']) {
        write_text(&rest[..at], out);
        out.push_str(match rest.as_bytes()[at] {
            b'"' => "&quot;",
            b'\t' => "&#9;",
            _ => "&#10;",
        });
        rest = &rest[at + 1..];
    }
    write_text(rest, out);
}

/// XML 1.0 §2.2.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A name without a colon (Namespaces in XML 1.0 §3).
pub fn is_name(text: &str) -> bool {
    text.starts_with(begins_name) && text.chars().all(is_of_name)
}

/// A name that may have a prefix.
pub fn is_qualified(text: &str) -> bool {
    text.split_once(':').map_or_else(|| is_name(text), |(prefix, name)| is_name(prefix) && is_name(name))
}

fn begins_name(c: char) -> bool {
    c == '_'
        || c.is_ascii_alphabetic()
        || matches!(c, '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
        | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

fn is_of_name(c: char) -> bool {
    begins_name(c)
        || c.is_ascii_digit()
        || matches!(c, '-' | '.' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
