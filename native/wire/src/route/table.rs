//! Find the operation that a method and a path name, the way `OpenAPI` says: concrete before templated.
//!
//! A tree of segments. At each level a literal child wins over a pattern (`{base}...{head}`), which wins
//! over a bare `{parameter}`; when the better branch leads nowhere the next one is tried. A visit costs
//! the depth of the path, not the number of operations.

use std::borrow::Cow;
use std::collections::HashMap;

use http::Method;

/// An operation's number: its place in the provider's list.
pub type OperationNumber = u32;

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    patterns: Vec<(Pattern, Node)>,
    parameter: Option<Box<Node>>,
    operations: Vec<(Method, OperationNumber)>,
}

/// A segment that mixes text and parameters: the texts between them, in order.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    texts: Vec<Box<str>>,
}

#[derive(Debug, Default)]
pub struct OperationTable {
    root: Node,
}

/// What a path's match came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Operation(OperationNumber),
    /// The path exists, with these methods.
    OtherMethods(Vec<Method>),
    Nothing,
}

impl OperationTable {
    /// Add `template` (`/v1/customers/{id}`); Err names what is wrong with it.
    pub fn insert(&mut self, method: Method, template: &str, number: OperationNumber) -> Result<(), String> {
        let rest = template
            .strip_prefix('/')
            .ok_or_else(|| format!("path template `{template}` does not start with `/`"))?;
        let mut node = &mut self.root;
        if !rest.is_empty() {
            for segment in rest.split('/') {
                node = node.child(segment).map_err(|why| format!("path template `{template}`: {why}"))?;
            }
        }
        if node.operations.iter().any(|(known, _)| *known == method) {
            return Err(format!("`{method} {template}` overlaps an operation before it"));
        }
        node.operations.push((method, number));
        Ok(())
    }

    pub fn find(&self, method: &Method, segments: &[Cow<'_, str>]) -> Found {
        let mut others = Vec::new();
        if let Some(number) = self.root.find(method, segments, &mut others) {
            return Found::Operation(number);
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> Result<&mut Node, String> {
        match parse_segment(segment)? {
            Segment::Literal(text) => Ok(self.literals.entry(text.into()).or_default()),
            Segment::Parameter => Ok(self.parameter.get_or_insert_default()),
            Segment::Pattern(pattern) => {
                let at = self.patterns.iter().position(|(known, _)| *known == pattern);
                let at = at.unwrap_or_else(|| {
                    self.patterns.push((pattern, Node::default()));
                    self.patterns.len() - 1
                });
                Ok(&mut self.patterns[at].1)
            }
        }
    }

    fn find(
        &self,
        method: &Method,
        segments: &[Cow<'_, str>],
        others: &mut Vec<Method>,
    ) -> Option<OperationNumber> {
        let Some((first, rest)) = segments.split_first() else {
            return self.operation(method, others);
        };
        if let Some(node) = self.literals.get(&**first)
            && let Some(found) = node.find(method, rest, others)
        {
            return Some(found);
        }
        for (pattern, node) in &self.patterns {
            if pattern.matches(first)
                && let Some(found) = node.find(method, rest, others)
            {
                return Some(found);
            }
        }
        // A parameter is never empty (OpenAPI 3.1 §4.8.8.1: its value stands in place of the braces).
        if first.is_empty() {
            return None;
        }
        self.parameter.as_ref().and_then(|node| node.find(method, rest, others))
    }

    fn operation(&self, method: &Method, others: &mut Vec<Method>) -> Option<OperationNumber> {
        let named = |wanted: &Method| self.operations.iter().find(|(m, _)| m == wanted).map(|(_, n)| *n);
        let found = named(method).or_else(|| {
            // HEAD asks for what GET would say (RFC 9110 §9.3.2).
            if *method == Method::HEAD { named(&Method::GET) } else { None }
        });
        if found.is_none() {
            others.extend(self.operations.iter().map(|(m, _)| m.clone()));
        }
        found
    }
}

enum Segment<'a> {
    Literal(Cow<'a, str>),
    Parameter,
    Pattern(Pattern),
}

fn parse_segment(segment: &str) -> Result<Segment<'_>, String> {
    if !segment.contains(['{', '}']) {
        let text = percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| "a segment is not UTF-8".to_owned())?;
        return Ok(Segment::Literal(text));
    }
    let mut texts: Vec<Box<str>> = Vec::new();
    let mut rest = segment;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').ok_or("a `{` is not closed")? + open;
        if rest[..open].contains('}') || close == open + 1 {
            return Err("a `}` stands alone or a parameter has no name".to_owned());
        }
        // Two parameters that touch match like one.
        if texts.is_empty() || open > 0 {
            texts.push(rest[..open].into());
        }
        rest = &rest[close + 1..];
    }
    if rest.contains('}') {
        return Err("a `}` stands alone".to_owned());
    }
    texts.push(rest.into());
    if texts.len() == 2 && texts.iter().all(|t| t.is_empty()) {
        return Ok(Segment::Parameter);
    }
    Ok(Segment::Pattern(Pattern { texts }))
}

impl Pattern {
    /// Each parameter takes at least one character; texts are found from the left, the last at the end.
    fn matches(&self, segment: &str) -> bool {
        let (Some((first, middle)), Some(last)) = (self.texts.split_first(), self.texts.last()) else {
            return false;
        };
        let middle = &middle[..middle.len() - 1];
        let Some(mut rest) = segment.strip_prefix(&**first) else { return false };
        for text in middle {
            let Some(start) = next_character(rest) else { return false };
            match rest[start..].find(&**text) {
                Some(at) => rest = &rest[start + at + text.len()..],
                None => return false,
            }
        }
        rest.strip_suffix(&**last).is_some_and(|parameter| !parameter.is_empty())
    }
}

fn next_character(text: &str) -> Option<usize> {
    text.chars().next().map(char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::path::segments;

    fn table(templates: &[(&str, &str)]) -> OperationTable {
        let mut table = OperationTable::default();
        for (number, (method, template)) in (0u32..).zip(templates) {
            table.insert(method.parse().expect("method"), template, number).expect(template);
        }
        table
    }

    fn find(table: &OperationTable, method: &str, path: &str) -> Found {
        table.find(&method.parse().expect("method"), segments(path, false).expect(path).as_slice())
    }

    #[test]
    fn concrete_comes_before_templated_and_branches_are_retried() {
        let table = table(&[
            ("GET", "/users/{id}"),
            ("GET", "/users/me"),
            ("GET", "/users/{id}/repos"),
            ("POST", "/users/me/keys"),
            ("GET", "/repos/{o}/{r}/compare/{base}...{head}"),
            ("GET", "/repos/{o}/{r}/compare/{ref}"),
            ("GET", "/files/{name}.json"),
            ("GET", "/"),
        ]);
        assert_eq!(find(&table, "GET", "/users/me"), Found::Operation(1));
        assert_eq!(find(&table, "GET", "/users/you"), Found::Operation(0));
        assert_eq!(find(&table, "GET", "/users/me/repos"), Found::Operation(2));
        assert_eq!(find(&table, "HEAD", "/users/me"), Found::Operation(1));
        assert_eq!(find(&table, "GET", "/repos/a/b/compare/main...dev"), Found::Operation(4));
        assert_eq!(find(&table, "GET", "/repos/a/b/compare/main"), Found::Operation(5));
        assert_eq!(find(&table, "GET", "/files/a.json"), Found::Operation(6));
        assert_eq!(find(&table, "GET", "/files/.json"), Found::Nothing);
        assert_eq!(find(&table, "GET", "/"), Found::Operation(7));
        assert_eq!(find(&table, "DELETE", "/users/you"), Found::OtherMethods(vec![Method::GET]));
        assert_eq!(find(&table, "GET", "/users/"), Found::Nothing);
        assert_eq!(find(&table, "GET", "/Users/me"), Found::Nothing);
    }

    #[test]
    fn overlapping_and_broken_templates_are_refused() {
        let mut table = table(&[("GET", "/a/{x}")]);
        assert!(table.insert(Method::GET, "/a/{y}", 1).is_err());
        for template in ["/a/{", "/a/}", "/a/{}", "a"] {
            assert!(table.insert(Method::POST, template, 2).is_err(), "{template}");
        }
    }
}
