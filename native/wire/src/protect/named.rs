//! Forms and queries under a policy: ordered pairs, written anew (`application/x-www-form-urlencoded`).
//!
//! A name that stands twice is read by one provider as the first and by another as the last; so it needs a rule
//! that says `repeated`. Names with keys in brackets are what they are in forms: `a[b]` stands in `a`.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::act::{Fresh, Outcome, Value};
use super::document::{Claim, most_specific};
use super::policy::Policy;
use super::selector::{Step, Target, parts, rank};
use super::told::{Breach, Place, Told};
use crate::error::Code;
use crate::json::VALUES_MAX;

/// RFC 3986 §2.3: what needs no escape anywhere.
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Form,
    Query,
}

#[derive(Debug)]
pub struct Pair<'r> {
    pub name: Cow<'r, str>,
    /// None where there is no `=`.
    pub value: Option<Cow<'r, str>>,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Query => "query",
        }
    }

    fn rules(self, policy: &Policy) -> impl Iterator<Item = (usize, &[Step])> {
        policy.rules.iter().enumerate().filter_map(move |(number, rule)| match (&rule.target, self) {
            (Target::Form(steps), Self::Form) | (Target::Query(steps), Self::Query) => {
                Some((number, steps.as_slice()))
            }
            _ => None,
        })
    }
}

pub fn rewrite(kind: Kind, raw: &str, told: &mut Told<'_>) -> Result<String, Breach> {
    let pairs = read(kind, raw)?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for pair in &pairs {
        *counts.entry(&pair.name).or_default() += 1;
    }
    let mut written = String::with_capacity(raw.len());
    for pair in &pairs {
        // A bare word may be a value.
        let place = Place::named(kind.word(), if pair.value.is_some() { &pair.name } else { "" });
        let claim = most_claiming(kind.rules(told.policy), &pair.name);
        let is_repeated = counts.get(&*pair.name).is_some_and(|count| *count > 1);
        let rule = rule_of(claim, &pair.name, is_repeated, &place, told)?;
        let value = Value::Text(pair.value.as_deref().unwrap_or_default());
        let fresh = match told.act(rule, value, &place)? {
            Outcome::Gone | Outcome::File(_) => continue,
            Outcome::Same => pair.value.as_deref(),
            Outcome::New(Fresh::Text(ref text) | Fresh::Number(ref text)) => {
                write_pair(&mut written, &pair.name, Some(text));
                continue;
            }
        };
        write_pair(&mut written, &pair.name, fresh);
    }
    Ok(written)
}

/// The rule of a name, if it has one and may stand as often as it does.
pub fn rule_of(
    claim: Option<Claim>,
    name: &str,
    is_repeated: bool,
    place: &Place<'_>,
    told: &mut Told<'_>,
) -> Result<Option<usize>, Breach> {
    let rules = &told.policy.rules;
    if let Some(Claim { rule, rival: Some(rival) }) = claim {
        return Err(Breach::two_rules(&rules[rule], &rules[rival], place));
    }
    let rule = claim.map(|claim| claim.rule);
    told.trip(rule, name, place)?;
    let may_repeat = rule.is_none_or(|rule| rules[rule].repeated) || name.ends_with("[]");
    if is_repeated && !may_repeat { Err(Breach::repeated(place)) } else { Ok(rule) }
}

/// The most specific of the rules for a name, in which names with keys in brackets are steps.
pub fn most_claiming<'p>(rules: impl Iterator<Item = (usize, &'p [Step])>, name: &str) -> Option<Claim> {
    let parts = parts(name).unwrap_or_else(|| vec![name]);
    let taken = |steps: &[Step]| {
        steps.len() <= parts.len() && steps.iter().zip(&parts).all(|(step, part)| step.takes_name(part))
    };
    most_specific(rules.filter(|(_, steps)| taken(steps)).map(|(rule, steps)| (rule, rank(steps))))
}

pub fn read(kind: Kind, raw: &str) -> Result<Vec<Pair<'_>>, Breach> {
    let unparseable = |why: &str| Breach::new(Code::Unparseable, format!("The {} {why}.", kind.word()));
    let mut pairs = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == VALUES_MAX {
            return Err(unparseable("has more than 10,000 parameters"));
        }
        let (name, value) = pair.split_once('=').map_or((pair, None), |(n, v)| (n, Some(v)));
        let name = decoded(name).map_err(unparseable)?;
        let value = value.map(decoded).transpose().map_err(unparseable)?;
        pairs.push(Pair { name, value });
    }
    Ok(pairs)
}

const NOT_UTF8: &str = "has a value that is not UTF-8";

fn decoded(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    let bytes = raw.as_bytes();
    let escapes = memchr::memchr_iter(b'%', bytes);
    for at in escapes {
        if !bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err("has a `%` without two hexadecimal digits");
        }
    }
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        let text = percent_decode_str(&spaced).decode_utf8().map_err(|_| NOT_UTF8)?;
        return Ok(Cow::Owned(text.into_owned()));
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| NOT_UTF8)
}

fn write_pair(out: &mut String, name: &str, value: Option<&str>) {
    if !out.is_empty() {
        out.push('&');
    }
    out.extend(utf8_percent_encode(name, BRACKETED));
    if let Some(value) = value {
        out.push('=');
        out.extend(utf8_percent_encode(value, UNRESERVED));
    }
}

/// Names keep their brackets as consumers write them; some providers look for them before they decode.
const BRACKETED: &AsciiSet = &UNRESERVED.remove(b'[').remove(b']');
