//! Where in a document something stands, in names that the provider's document declares, and what is wrong there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Longer pointers are cut: a problem is read by a person.
const POINTER_MAX: usize = 200;

/// A place on the way down a document; nothing is written until somebody asks.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    before: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Name(&'p str),
    Item(usize),
}

impl<'p> Place<'p> {
    pub const ROOT: Place<'static> = Place { before: None, step: Step::Root };

    pub fn name(&'p self, name: &'p str) -> Self {
        Place { before: Some(self), step: Step::Name(name) }
    }

    pub fn item(&'p self, number: usize) -> Self {
        Place { before: Some(self), step: Step::Item(number) }
    }

    /// A JSON Pointer (RFC 6901). A name that nobody declared is data, and `*` stands for it.
    pub fn pointer(&self, declared: &HashSet<Box<str>>) -> String {
        let mut steps = Vec::new();
        let mut place = Some(self);
        while let Some(here) = place {
            steps.push(here.step);
            place = here.before;
        }
        let mut pointer = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => {}
                Step::Item(number) => {
                    pointer.push('/');
                    pointer.push_str(&number.to_string());
                }
                Step::Name(name) if declared.contains(name) => {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Step::Name(_) => pointer.push_str("/*"),
            }
            if pointer.len() > POINTER_MAX {
                let end = (0..=POINTER_MAX).rev().find(|at| pointer.is_char_boundary(*at)).unwrap_or(0);
                pointer.truncate(end);
                pointer.push('…');
                break;
            }
        }
        pointer
    }
}

/// What does not fit: where, by which word of the schema, and what that asks for. Never what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `body`, `query`, …: the part of the message.
    pub part: &'static str,
    /// Where in it: a JSON Pointer or a declared name; empty for the whole.
    pub at: Box<str>,
    pub keyword: &'static str,
    pub asks: Cow<'static, str>,
}

impl Violation {
    pub fn new(part: &'static str, keyword: &'static str, asks: impl Into<Cow<'static, str>>) -> Self {
        Self { part, at: "".into(), keyword, asks: asks.into() }
    }

    #[must_use]
    pub fn at(mut self, at: &str) -> Self {
        self.at = at.into();
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, at, keyword, asks } = self;
        let gap = if at.is_empty() { "" } else { " " };
        write!(formatter, "{part}{gap}{at}: `{keyword}` asks for {asks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_tells_declared_names_and_no_others() {
        let declared: HashSet<Box<str>> = ["items".into(), "a/b~c".into()].into();
        let (root, other) = (Place::ROOT, "anna@example.com");
        let (items, secret) = (root.name("items"), root.name(other));
        assert_eq!(root.pointer(&declared), "");
        assert_eq!(items.item(3).name("a/b~c").pointer(&declared), "/items/3/a~1b~0c");
        assert_eq!(secret.name("items").pointer(&declared), "/*/items");
    }

    #[test]
    fn a_pointer_is_cut() {
        let declared: HashSet<Box<str>> = ["ü".repeat(90).into()].into();
        let name = "ü".repeat(90);
        let (root, first) = (Place::ROOT, Place::ROOT);
        let (first, _) = (first.name(&name), root);
        let pointer = first.name(&name).pointer(&declared);
        assert!(pointer.len() <= POINTER_MAX + 3 && pointer.ends_with('…'), "{pointer}");
    }
}
