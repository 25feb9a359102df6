//! Which namespaces a reader knows, and by which prefixes.

use std::collections::HashSet;

use super::{is_character, is_name};

/// What the prefix `xml` always means (Namespaces in XML 1.0 §3).
const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Which namespaces may stand in a document, by the prefixes that they are known by; the one without a prefix is
/// that of elements which have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<(Box<str>, Box<str>)>);

impl Namespaces {
    /// None where a prefix is no name or is taken by XML itself, an address has what none has, or two prefixes have one.
    pub fn new(declared: impl IntoIterator<Item = (Box<str>, Box<str>)>) -> Option<Self> {
        let declared: Vec<(Box<str>, Box<str>)> = declared.into_iter().collect();
        let is_sound = |(prefix, uri): &(Box<str>, Box<str>)| {
            (prefix.is_empty() || is_name(prefix) && !is_kept(prefix))
                && !uri.is_empty()
                && uri.chars().all(|c| !c.is_control() && !c.is_whitespace() && is_character(c))
                && ![XML, XMLNS].contains(&&**uri)
        };
        let mut seen = HashSet::new();
        let is_once = declared.iter().all(|(_, uri)| seen.insert(uri));
        (is_once && declared.iter().all(is_sound)).then_some(Self(declared))
    }

    /// Whether a name with a prefix, or without, can be told.
    pub fn knows(&self, name: &str) -> bool {
        let prefix = name.split_once(':').map(|(prefix, _)| prefix);
        prefix.is_none_or(|prefix| prefix == "xml" || self.address(prefix).is_some())
    }

    /// Prefixes and addresses, in the order that they are written in.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(prefix, uri)| (&**prefix, &**uri))
    }

    pub fn address(&self, prefix: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| **known == *prefix).map(|(_, uri)| &**uri)
    }

    pub fn prefix(&self, uri: &str) -> Option<&str> {
        self.0.iter().find(|(_, known)| **known == *uri).map(|(prefix, _)| &**prefix)
    }
}

/// Whether XML keeps a prefix to itself (Namespaces in XML 1.0 §3).
pub fn is_kept(prefix: &str) -> bool {
    prefix.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("xml"))
}
