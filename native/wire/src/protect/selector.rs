//! Where in a request a field is, as `docs/guides/protection.md` says it: `body $.a[*].b`, `form name[*]`.
//!
//! A `JSONPath` (RFC 9535) of names, indexes and wildcards, a JSON Pointer (RFC 6901) and a form's name are one
//! thing: steps down a tree. Any other `JSONPath` is followed by `serde_json_path`.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use serde_json_path::JsonPath;

use crate::json::DEPTH_MAX;
use crate::xml::is_qualified;

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Name(Box<str>),
    Index(usize),
    /// A pointer's digits: an index of a list, or a member's name.
    Either(Box<str>, usize),
    Every,
}

#[derive(Debug)]
pub enum Target {
    Body(Path),
    Form(Vec<Step>),
    Query(Vec<Step>),
    Header(HeaderName),
    /// A parameter of the operation's path.
    Parameter(Box<str>),
    /// A part of a `multipart/form-data` body, with its file's name.
    Part(Vec<Step>),
    /// In the JSON that the part of this name is.
    InPart(Box<str>, Path),
    /// The file's name of the part of this name.
    FileName(Box<str>),
    /// Below the variables of a GraphQL request.
    Graphql(Path),
    /// A column of a table.
    Csv(Step),
    /// Elements from the root on, by the policy's prefixes; the last may be an attribute, `@name`.
    Xml(Vec<Step>),
    /// A body of any type that no other rule reads, as one.
    File,
    /// What a GraphQL query itself gives the argument, or the variable, of this name.
    Literal(Box<str>),
}

/// What a body can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Json,
    /// JSON in lines.
    Lines,
    Graphql,
    Form,
    Parts,
    Table,
    Xml,
    File,
}

impl BodyKind {
    pub const ALL: [(Self, &str); 7] = [
        (Self::Json, "JSON"),
        (Self::Graphql, "GraphQL"),
        (Self::Form, "forms"),
        (Self::Parts, "`multipart/form-data`"),
        (Self::Table, "`text/csv`"),
        (Self::Xml, "XML"),
        (Self::File, "files"),
    ];
}

impl Target {
    /// In which bodies it is; None where it is in none.
    pub fn body_kind(&self) -> Option<BodyKind> {
        match self {
            Self::Body(_) => Some(BodyKind::Json),
            Self::Graphql(_) | Self::Literal(_) => Some(BodyKind::Graphql),
            Self::Form(_) => Some(BodyKind::Form),
            Self::Part(_) | Self::InPart(..) | Self::FileName(_) => Some(BodyKind::Parts),
            Self::Csv(_) => Some(BodyKind::Table),
            Self::Xml(_) => Some(BodyKind::Xml),
            Self::File => Some(BodyKind::File),
            Self::Query(_) | Self::Header(_) | Self::Parameter(_) => None,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Body(Path::Steps(steps))
            | Self::InPart(_, Path::Steps(steps))
            | Self::Graphql(Path::Steps(steps))
            | Self::Form(steps)
            | Self::Query(steps)
            | Self::Part(steps)
            | Self::Xml(steps) => steps.len(),
            _ => 0,
        }
    }
}

/// The way to places in a document.
#[derive(Debug)]
pub enum Path {
    Steps(Vec<Step>),
    Any(Box<JsonPath>),
}

impl Path {
    /// Whether it ends at members of one name.
    pub fn is_of_a_member(&self) -> bool {
        matches!(self, Self::Steps(steps) if matches!(steps.last(), Some(Step::Name(_))))
    }
}

#[derive(Debug)]
pub struct Selector {
    /// As it is written; the record names fields by it.
    pub text: Box<str>,
    pub target: Target,
}

/// How much a rule says of the places it selects: a deeper one says more, then one with fewer wildcards, and
/// what only a query found says least of its depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub depth: usize,
    pub named: usize,
}

impl Step {
    pub fn takes_name(&self, name: &str) -> bool {
        match self {
            Self::Name(own) | Self::Either(own, _) => **own == *name,
            Self::Index(_) => false,
            Self::Every => true,
        }
    }

    pub fn takes_index(&self, index: usize) -> bool {
        match self {
            Self::Index(own) | Self::Either(_, own) => *own == index,
            Self::Name(_) => false,
            Self::Every => true,
        }
    }
}

/// How specific steps are that have been taken to their end.
pub fn rank(steps: &[Step]) -> Rank {
    let named = steps.iter().filter(|step| **step != Step::Every).count();
    Rank { depth: steps.len(), named: named + 1 }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nothing = || format!("`{text}` selects nothing");
        let (kind, place) = text.split_once(' ').ok_or_else(nothing)?;
        if place.is_empty() || text.len() > 1_000 {
            return Err(nothing());
        }
        let target = match kind {
            "body" => Target::Body(body(place).map_err(|why| format!("`{text}`: {why}"))?),
            "form" => Target::Form(named(place)),
            "query" => Target::Query(named(place)),
            "header" => Target::Header(
                HeaderName::from_bytes(place.as_bytes())
                    .map_err(|_| format!("`{text}` names no header field"))?,
            ),
            "path" => Target::Parameter(place.into()),
            "file" if place == "*" => Target::File,
            "csv" if place == "*" => Target::Csv(Step::Every),
            "csv" => Target::Csv(Step::Name(place.into())),
            "xml" => Target::Xml(xml(place).ok_or_else(|| format!("`{text}`: it is no path of elements"))?),
            "graphql" => graphql(place).map_err(|why| format!("`{text}`: {why}"))?,
            "part" => part(place).map_err(|why| format!("`{text}`: {why}"))?,
            _ => return Err(format!("`{text}`: there is no `{kind}` to select in")),
        };
        if target.depth() > DEPTH_MAX {
            return Err(format!("`{text}` goes deeper than any body may"));
        }
        Ok(Self { text: text.into(), target })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn body(place: &str) -> Result<Path, String> {
    if let Some(pointer) = place.strip_prefix('/') {
        return Ok(Path::Steps(pointer.split('/').map(token).collect()));
    }
    let path = JsonPath::parse(place).map_err(|error| format!("it is no JSONPath of RFC 9535: {error}"))?;
    Ok(steps(place).map_or_else(|| Path::Any(Box::new(path)), Path::Steps))
}

/// `NAME`, `$.a`, `/a` or `(NAME)`.
fn graphql(place: &str) -> Result<Target, String> {
    if place.starts_with(['$', '/']) {
        return body(place).map(Target::Graphql);
    }
    let literal = place.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let name = literal.unwrap_or(place);
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("it is no name of GraphQL".into());
    }
    Ok(match literal {
        Some(name) => Target::Literal(name.into()),
        None => Target::Graphql(Path::Steps(vec![Step::Name(name.into())])),
    })
}

/// `/a/b`, `/a/*`, `/a/@b`; None where it is none of these.
fn xml(place: &str) -> Option<Vec<Step>> {
    let (path, attribute) = match place.rsplit_once("/@") {
        Some((path, name)) => (path, Some(name)),
        None => (place, None),
    };
    let mut steps = Vec::new();
    for name in path.strip_prefix('/')?.split('/') {
        steps.push(match name {
            "*" => Step::Every,
            name if is_qualified(name) => Step::Name(name.into()),
            _ => return None,
        });
    }
    match attribute {
        Some(name) if !is_qualified(name) => return None,
        Some(name) => steps.push(Step::Name(format!("@{name}").into())),
        None => {}
    }
    Some(steps)
}

/// `NAME`, `NAME filename`, `NAME $.a` or `NAME /a`.
fn part(place: &str) -> Result<Target, String> {
    let Some((name, inside)) = place.split_once(' ') else { return Ok(Target::Part(named(place))) };
    if name.is_empty() || named(name).contains(&Step::Every) {
        return Err("it is in no part of one name".into());
    }
    Ok(match inside {
        "filename" => Target::FileName(name.into()),
        inside => Target::InPart(name.into(), body(inside)?),
    })
}

fn token(token: &str) -> Step {
    let name: Box<str> = token.replace("~1", "/").replace("~0", "~").into();
    match plain_index(token) {
        Some(index) => Step::Either(name, index),
        None => Step::Name(name),
    }
}

fn plain_index(digits: &str) -> Option<usize> {
    let is_plain = digits == "0" || !digits.starts_with('0');
    (is_plain && digits.len() < 10 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// The steps of a path, which is known to be well formed; None where it has anything but steps.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = step(rest)?;
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix(".*").or_else(|| text.strip_prefix("[*]")) {
        return Some((Step::Every, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        // `..` descends.
        return (end > 0).then(|| (Step::Name(rest[..end].into()), &rest[end..]));
    }
    let rest = text.strip_prefix('[')?;
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let (name, after) = rest[1..].split_once(quote)?;
        let after = after.strip_prefix(']')?;
        return (!name.contains('\\')).then(|| (Step::Name(name.into()), after));
    }
    let (digits, after) = rest.split_once(']')?;
    Some((Step::Index(plain_index(digits)?), after))
}

/// A form's name in its steps, `a[b][*]`. One that is not of this shape is one step, whatever its brackets mean
/// to others.
pub fn named(place: &str) -> Vec<Step> {
    let step = |part: &str| if part == "*" { Step::Every } else { Step::Name(part.into()) };
    match parts(place) {
        Some(parts) => parts.into_iter().map(step).collect(),
        None => vec![Step::Name(place.into())],
    }
}

/// `a[b][c]` as `a`, `b`, `c`; None where the brackets do not pair after a name.
pub fn parts(name: &str) -> Option<Vec<&str>> {
    let Some(open) = name.find(['[', ']']) else { return Some(vec![name]) };
    let (base, mut rest) = name.split_at(open);
    if base.is_empty() {
        return None;
    }
    let mut parts = vec![base];
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('[')?.split_once(']')?;
        if key.contains('[') {
            return None;
        }
        parts.push(key);
        rest = after;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse::<Selector>().expect(text).target
    }

    fn steps_of(text: &str) -> Option<Vec<Step>> {
        match target(text) {
            Target::Body(Path::Steps(steps)) | Target::Form(steps) | Target::Query(steps) => Some(steps),
            Target::Body(Path::Any(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    fn name(text: &str) -> Step {
        Step::Name(text.into())
    }

    #[test]
    fn paths_of_plain_steps_are_taken_to_pieces() {
        let expected = vec![name("a"), Step::Every, name("b c"), Step::Index(3), name("d")];
        assert_eq!(steps_of("body $.a[*]['b c'][3][\"d\"]"), Some(expected));
        assert_eq!(steps_of("body $"), Some(vec![]));
        assert_eq!(steps_of("body $.ü.*"), Some(vec![name("ü"), Step::Every]));
        assert_eq!(
            steps_of("body /a~1b/0/x~0"),
            Some(vec![name("a/b"), Step::Either("0".into(), 0), name("x~")])
        );
        assert_eq!(steps_of("form metadata[*][x]"), Some(vec![name("metadata"), Step::Every, name("x")]));
        assert_eq!(steps_of("query items[]"), Some(vec![name("items"), name("")]));
        assert_eq!(steps_of("query a]b"), Some(vec![name("a]b")]));
    }

    #[test]
    fn a_part_its_file_name_and_what_is_in_it_are_told_apart() {
        assert!(matches!(target("part a[b]"), Target::Part(steps) if steps == [name("a"), name("b")]));
        assert!(matches!(target("part *"), Target::Part(steps) if steps == [Step::Every]));
        assert!(matches!(target("part a.filename"), Target::Part(steps) if steps == [name("a.filename")]));
        assert!(matches!(target("part a[b] filename"), Target::FileName(of) if &*of == "a[b]"));
        let inside = |text| match target(text) {
            Target::InPart(of, Path::Steps(steps)) => (of, steps),
            other => panic!("{other:?}"),
        };
        assert_eq!(inside("part a $.b"), ("a".into(), vec![name("b")]));
        assert_eq!(inside("part a /b"), ("a".into(), vec![name("b")]));
        assert_eq!(inside("part a $"), ("a".into(), vec![]));
    }

    #[test]
    fn variables_and_arguments_are_told_apart() {
        let steps = |text| match target(text) {
            Target::Graphql(Path::Steps(steps)) => steps,
            other => panic!("{other:?}"),
        };
        assert_eq!(steps("graphql input"), vec![name("input")]);
        assert_eq!(steps("graphql $.input[*]"), vec![name("input"), Step::Every]);
        assert_eq!(steps("graphql /input"), vec![name("input")]);
        assert!(matches!(target("graphql (first)"), Target::Literal(argument) if &*argument == "first"));
    }

    #[test]
    fn elements_and_attributes_are_told_apart() {
        let steps = |text| match target(text) {
            Target::Xml(steps) => steps,
            other => panic!("{other:?}"),
        };
        assert_eq!(steps("xml /s:Body/*/@o:id"), vec![name("s:Body"), Step::Every, name("@o:id")]);
        assert_eq!(steps("xml /straße"), vec![name("straße")]);
    }

    #[test]
    fn other_paths_are_followed_by_the_library() {
        for path in ["$..a", "$.a[?@.b > 1]", "$[-1]", "$[0:2]", "$['a','b']", "$['a\\u0062']", "$ .a"] {
            assert_eq!(steps_of(&format!("body {path}")), None, "{path}");
        }
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for text in [
            "",
            "body",
            "body ",
            "body a",
            "body $.",
            "body $[",
            "body $[01]",
            "bdy $.a",
            "header a b",
            "part ",
            "graphql a.b",
            "graphql (a b)",
            "graphql (a",
            "part a b",
            "part * filename",
            "part a[*] $.b",
            "part  $.a",
            "xml a",
            "xml /",
            "xml //a",
            "xml /a/",
            "xml /@a",
            "xml /a/@*",
            "xml /a/@b/c",
            "xml /a/@b/@c",
            "xml /a b",
            "xml /a:b:c",
            "xml /a[1]",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
        let deep = format!("body ${}", ".a".repeat(DEPTH_MAX + 1));
        assert!(deep.parse::<Selector>().is_err());
    }
}
