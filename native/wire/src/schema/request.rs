//! Hold a request against what the provider's document says of its parameters and its body.

use std::borrow::Cow;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::check::{check, fits};
use super::compile::Schemas;
use super::document::{Body, Content, Described, Parameter, Split, Where};
use super::media::{MediaType, is_coded};
use super::number::Number;
use super::place::Violation;
use super::{VALUES_MAX, unreadable};
use crate::headers::is_never_forwarded;
use crate::json::Node;
use crate::snapshot::{AttachPart, Provider};

/// A query or a form of more pairs is none of an API's.
const PAIRS_MAX: usize = 1_000;

/// The parts of a request that parameters are in. The query is without the credential.
pub struct Parts<'r> {
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub headers: &'r HeaderMap,
    pub provider: &'r Provider,
}

impl Parts<'_> {
    /// Whether a parameter is where the credential will be, or the gateway's own affair.
    fn is_ours(&self, parameter: &Parameter) -> bool {
        let provider = self.provider;
        let attached = provider.attach.iter().any(|part| match part {
            AttachPart::Header { name, .. } => {
                parameter.place == Where::Header && *name.as_str() == *parameter.name
            }
            AttachPart::Query { name, .. } => parameter.place == Where::Query && **name == *parameter.name,
            AttachPart::Basic { .. } | AttachPart::Cookie { .. } => false,
        });
        if attached || parameter.place != Where::Header {
            return attached;
        }
        let Ok(name) = HeaderName::from_bytes(parameter.name.as_bytes()) else { return true };
        is_never_forwarded(&name)
            || provider.sign.as_ref().is_some_and(|signer| signer.owns(&name))
            || provider.hook.as_ref().is_some_and(|hook| hook.owns(&name))
    }

    /// The lines of a field, or what the provider is sent where the consumer sends none.
    fn lines(&self, name: &str) -> Vec<Cow<'_, str>> {
        let own = self.headers.get_all(name).iter();
        let fixed = self.provider.headers.iter().filter(|(known, _)| *known.as_str() == *name);
        let mut lines: Vec<&HeaderValue> = own.collect();
        if lines.is_empty() {
            lines.extend(fixed.map(|(_, value)| value));
        }
        lines.into_iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
    }
}

/// The first parameter that does not fit, if one does not. `closed`: the query has no others.
pub fn parameters(
    schemas: &Schemas,
    described: &Described,
    parts: &Parts<'_>,
    closed: bool,
) -> Result<(), Violation> {
    let Some(parameters) = &described.parameters else { return Ok(()) };
    let of = |place| parameters.iter().filter(move |one| one.place == place && !parts.is_ours(one));
    let pairs = pairs(parts.query.unwrap_or_default().as_bytes(), "query")?;
    fields(schemas, of(Where::Query), &pairs, "query", closed)?;
    for parameter in of(Where::Header) {
        one(schemas, parameter, &parts.lines(&parameter.name), "header")?;
    }
    let in_path = in_path(&described.path, parts.path);
    for parameter in of(Where::Path) {
        // One that stands beside others in a segment has no value of its own.
        if let Some(value) = in_path.get(&*parameter.name) {
            one(schemas, parameter, std::slice::from_ref(value), "path")?;
        }
    }
    Ok(())
}

/// Whether the body must be read to be judged: by its head alone it may be out of place already.
pub fn reads_body(described: &Described, headers: &HeaderMap, has_body: bool) -> Result<bool, Violation> {
    let Some(body) = &described.body else {
        if has_body {
            return Err(Violation::new("body", "requestBody", "no body"));
        }
        return Ok(false);
    };
    if !has_body {
        return if body.required { Err(Violation::new("body", "required", "a body")) } else { Ok(false) };
    }
    if body.types.is_empty() {
        return Ok(false);
    }
    let (media_type, content) = content(body, headers)?;
    let is_read = match content {
        Content::Any => false,
        Content::Json(_) => media_type.is_json(),
        Content::Form { .. } => true,
    };
    if is_read && is_coded(headers) {
        return Err(Violation::new("body", "content-encoding", "a body that is not compressed"));
    }
    if is_read && !media_type.is_utf8() {
        return Err(Violation::new("body", "charset", "UTF-8"));
    }
    Ok(is_read)
}

/// What does not fit in a body that `reads_body` asked for.
pub fn body(
    schemas: &Schemas,
    described: &Described,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<(), Violation> {
    let Some(body) = &described.body else { return Ok(()) };
    match content(body, headers)?.1 {
        Content::Any => Ok(()),
        Content::Json(id) => {
            let node = Node::read_within(bytes, VALUES_MAX).map_err(|fault| unreadable("body", fault))?;
            check(schemas, *id, &node, "body")
        }
        Content::Form { fields: declared, closed } => {
            fields(schemas, declared.iter(), &pairs(bytes, "body")?, "body", *closed)
        }
    }
}

fn content<'b>(body: &'b Body, headers: &HeaderMap) -> Result<(MediaType, &'b Content), Violation> {
    let wrong = || Violation::new("body", "content-type", "one of the declared media types");
    let media_type = MediaType::of(headers).ok_or_else(wrong)?;
    let content = body.types.find(&media_type.name).ok_or_else(wrong)?;
    Ok((media_type, content))
}

type Pair<'r> = (Cow<'r, str>, Cow<'r, str>);

fn pairs<'r>(bytes: &'r [u8], part: &'static str) -> Result<Vec<Pair<'r>>, Violation> {
    let pairs: Vec<Pair<'r>> = url::form_urlencoded::parse(bytes).take(PAIRS_MAX + 1).collect();
    if pairs.len() > PAIRS_MAX {
        return Err(Violation::new(part, "bounds", "1,000 parameters at most"));
    }
    Ok(pairs)
}

/// The fields of a query or a form, each by its own schema.
fn fields<'d>(
    schemas: &Schemas,
    declared: impl Iterator<Item = &'d Parameter>,
    pairs: &[Pair<'_>],
    part: &'static str,
    closed: bool,
) -> Result<(), Violation> {
    let mut known = vec![false; pairs.len()];
    for parameter in declared {
        let mut values = Vec::new();
        let mut has_members = false;
        for (number, (name, value)) in pairs.iter().enumerate() {
            match standing(parameter, name) {
                Some(Standing::Whole) => values.push(value.clone()),
                Some(Standing::Member) => has_members = true,
                None => continue,
            }
            known[number] = true;
        }
        if !has_members {
            one(schemas, parameter, &values, part)?;
        }
    }
    match known.iter().position(|known| !known).filter(|_| closed) {
        // What it is called is the consumer's own word.
        Some(number) => {
            let at = format!("parameter {}", number + 1);
            Err(Violation::new(part, "unknown", "declared parameters and no others").at(&at))
        }
        None => Ok(()),
    }
}

enum Standing {
    Whole,
    /// `name[member]`, which is not looked into.
    Member,
}

fn standing(parameter: &Parameter, name: &str) -> Option<Standing> {
    if *name == *parameter.name {
        return Some(Standing::Whole);
    }
    let rest = name.strip_prefix(&*parameter.name)?.strip_prefix('[')?.strip_suffix(']')?;
    if parameter.split == Some(Split::Repeat) && (rest.is_empty() || rest.parse::<u16>().is_ok()) {
        return Some(Standing::Whole);
    }
    (parameter.object || parameter.split.is_some()).then_some(Standing::Member)
}

/// One parameter, by all that stands for it. It is a text on the wire: it fits if it fits as one of the values
/// that the text may mean.
fn one(
    schemas: &Schemas,
    parameter: &Parameter,
    values: &[Cow<'_, str>],
    part: &'static str,
) -> Result<(), Violation> {
    let at = |violation: Violation| {
        let within = violation.at.clone();
        violation.at(&format!("{}{within}", parameter.name))
    };
    let Some(first) = values.first() else {
        return if parameter.required {
            Err(at(Violation::new(part, "required", "a value")))
        } else {
            Ok(())
        };
    };
    if values.len() > 1 && parameter.split != Some(Split::Repeat) && part != "header" {
        // Which of them counts, two readers may see differently.
        return Err(at(Violation::new(part, "duplicate", "one value")));
    }
    let Some(id) = parameter.schema else { return Ok(()) };
    let mut readings = Vec::new();
    if let Some(split) = parameter.split {
        let items: Vec<&str> = match split {
            Split::Repeat => values.iter().map(|value| &**value).collect(),
            Split::At(character) => first.split(character).collect(),
        };
        readings.push(Node::List(items.iter().map(|text| Node::Text((*text).into())).collect()));
        readings.push(Node::List(items.iter().map(|text| meant(text)).collect()));
    }
    if values.len() == 1 {
        readings.push(Node::Text((**first).into()));
        readings.push(meant(first));
    }
    if readings.iter().any(|reading| fits(schemas, id, reading)) {
        return Ok(());
    }
    let told = readings.last().map_or(Ok(()), |reading| check(schemas, id, reading, part));
    told.map_err(at)
}

/// A text as the value it spells.
fn meant(text: &str) -> Node<'_> {
    let is_number = text.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit())
        && matches!(Node::read(text.as_bytes()), Ok(Node::Number(_)))
        && Number::read(text).is_some();
    match text {
        "true" => Node::Bool(true),
        "false" => Node::Bool(false),
        "" | "null" => Node::Null,
        _ if is_number => Node::Number(text.into()),
        _ => Node::Text(text.into()),
    }
}

/// The values of a template's variables; of those that share a segment, none.
fn in_path<'p>(template: &'p str, path: &'p str) -> HashMap<&'p str, Cow<'p, str>> {
    let mut found = HashMap::new();
    for (pattern, segment) in template.split('/').zip(path.split('/')) {
        let Some((before, rest)) = pattern.split_once('{') else { continue };
        let Some((name, after)) = rest.split_once('}') else { continue };
        if after.contains('{') {
            continue;
        }
        let value = percent_decode_str(segment).decode_utf8_lossy();
        let inner = value.strip_prefix(before).and_then(|value| value.strip_suffix(after));
        if let Some(inner) = inner {
            found.insert(name, Cow::Owned(inner.to_owned()));
        }
    }
    found
}
