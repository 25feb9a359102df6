//! The policy of some operations, as the snapshot has it: rules for fields, and what becomes of the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::act::{Act, How};
use super::selector::{BodyKind, Path, Selector, Step, Target};
use super::signals::Signals;
use crate::detect::Detector;
use crate::subject::consent::Asked;
use crate::xml::Namespaces;

/// What a policy's rules are for is kept by their numbers; there are no more than this.
const RULES_MAX: usize = 1_000;
/// What is read of a body at most, whatever is declared.
const BODY_BYTES_MAX: usize = 10 << 20;

#[derive(Debug)]
pub struct Policy {
    pub name: Arc<str>,
    pub purpose: Arc<str>,
    pub unknown: Unknown,
    /// Until then (Unix seconds) calls go as they are, and what would become of them is recorded.
    pub enforce_from: Option<u64>,
    pub body_bytes: usize,
    /// Of XML, by the prefixes that rules have.
    pub namespaces: Namespaces,
    /// What must not stand in fields that go out in clear and were declared for something else.
    pub assert_absent: Box<[Detector]>,
    /// What it asks for of whom a call is about; None: nothing.
    pub consent: Option<Asked>,
    /// Whether a rule seals by the key of whom a call is about.
    pub needs_person: bool,
    pub rules: Vec<Rule>,
    /// By operation: the path's segments that rules are for, with those rules.
    pub parameters: HashMap<u32, Vec<(usize, usize)>>,
}

/// What becomes of a field that no rule claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    Reject,
    Drop,
}

impl Unknown {
    pub fn word(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Drop => "drop",
        }
    }
}

#[derive(Debug)]
pub struct Rule {
    pub at: Arc<str>,
    pub target: Target,
    pub category: Option<Arc<str>>,
    pub personal: bool,
    pub act: Act,
    pub repeated: bool,
}

impl Rule {
    /// Whether a value that does not go out is one that must not be found elsewhere in what does.
    pub fn guards(&self) -> bool {
        self.act.changes() || self.act == Act::Drop && self.personal
    }

    /// Whether it is for what may be personal: of a field without a category nobody knows that it is not.
    pub fn needs_consent(&self) -> bool {
        self.personal || self.category.is_none()
    }
}

#[derive(Debug, Deserialize)]
pub struct RawPolicy {
    name: String,
    pub operations: Vec<u32>,
    purpose: String,
    unknown_fields: Unknown,
    #[serde(default)]
    enforce_from: Option<u64>,
    body_bytes: usize,
    #[serde(default)]
    namespaces: BTreeMap<Box<str>, Box<str>>,
    #[serde(default)]
    assert_absent: Box<[Detector]>,
    #[serde(default)]
    consent: Option<Asked>,
    #[serde(default)]
    fields: Vec<RawRule>,
}

#[derive(Debug, Deserialize)]
struct RawRule {
    at: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    personal: bool,
    #[serde(rename = "do")]
    act: Act,
    #[serde(default)]
    repeated: bool,
}

impl RawPolicy {
    /// `template`: the path template of an operation, by its number.
    pub fn compile<'t>(self, template: impl Fn(u32) -> Option<&'t str>) -> Result<Policy, String> {
        let place = format!("policy `{}`", self.name);
        if self.fields.len() > RULES_MAX {
            return Err(format!("{place} has more than {RULES_MAX} rules"));
        }
        let rules = self.fields.into_iter().map(RawRule::compile).collect::<Result<Vec<_>, _>>();
        let rules = rules.map_err(|why| format!("{place}: {why}"))?;
        let reads = |kind| rules.iter().any(|rule| rule.target.body_kind() == Some(kind));
        if reads(BodyKind::Json) && reads(BodyKind::Graphql) {
            return Err(format!("{place} has rules for `body` and for `graphql`"));
        }
        if let Some(rule) = rules.iter().find(|rule| {
            matches!(rule.target, Target::Literal(_)) && !matches!(rule.act, Act::Allow | Act::Reject)
        }) {
            return Err(format!("{place}: `{}` would make another query", rule.at));
        }
        for rule in &rules {
            let is_of_files = matches!(rule.target, Target::File | Target::Part(_));
            if rule.act.makes_files() && !is_of_files {
                return Err(format!("{place}: `{}` is no place of files", rule.at));
            }
            let has_act_of_files = rule.act.makes_files() || rule.act == Act::Reject;
            if matches!(rule.target, Target::File) && !has_act_of_files {
                return Err(format!("{place}: `{}` goes encrypted or not at all", rule.at));
            }
            let Some(sealing) = rule.act.seals() else { continue };
            let Target::Body(path) = &rule.target else {
                return Err(format!(
                    "{place}: `{}` is no place in a body of JSON to encrypt as one",
                    rule.at
                ));
            };
            if sealing.into.is_some() && !path.is_of_a_member() {
                return Err(format!("{place}: `{}` is no member that could have another name", rule.at));
            }
            if !sealing.fits() {
                return Err(format!("{place}: `{}` has a shape of pieces that nothing makes", rule.at));
            }
        }
        let namespaces = Namespaces::new(self.namespaces)
            .ok_or_else(|| format!("{place} has `namespaces` that are none, or two of one address"))?;
        let is_known = |step: &Step| match step {
            Step::Name(name) => namespaces.knows(name.trim_start_matches('@')),
            _ => true,
        };
        if let Some(rule) = rules
            .iter()
            .find(|rule| matches!(&rule.target, Target::Xml(steps) if !steps.iter().all(is_known)))
        {
            return Err(format!("{place}: `{}` has a prefix that is not among its `namespaces`", rule.at));
        }
        let mut parameters: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let Target::Parameter(name) = &rule.target else { continue };
            let drops = self.consent.as_ref().is_some_and(Asked::drops);
            if rule.act == Act::Drop || drops && rule.act != Act::Reject && rule.needs_consent() {
                return Err(format!("{place}: `{}` would make another path", rule.at));
            }
            for operation in &self.operations {
                let template = template(*operation)
                    .ok_or_else(|| format!("{place} names operation {operation}, which does not exist"))?;
                let wanted = format!("{{{name}}}");
                let segments = template.strip_prefix('/').unwrap_or(template).split('/');
                let mut found = segments.enumerate().filter(|(_, segment)| *segment == wanted).peekable();
                if found.peek().is_none() {
                    return Err(format!(
                        "{place}: `{template}` has no segment `{wanted}` for `{}` to be about",
                        rule.at
                    ));
                }
                parameters.entry(*operation).or_default().extend(found.map(|(at, _)| (at, number)));
            }
        }
        Ok(Policy {
            name: self.name.into(),
            purpose: self.purpose.into(),
            unknown: self.unknown_fields,
            enforce_from: self.enforce_from,
            body_bytes: self.body_bytes.min(BODY_BYTES_MAX),
            namespaces,
            assert_absent: self.assert_absent,
            consent: self.consent,
            needs_person: rules.iter().any(|rule| rule.act.needs_person()),
            rules,
            parameters,
        })
    }
}

impl RawRule {
    fn compile(self) -> Result<Rule, String> {
        let Selector { text, target } = self.at.parse()?;
        if self.act.needs_person() && !matches!(&self.act, Act::Tokenise(to) if to.how == How::Aead) {
            return Err(format!("`{text}`: no token but `aead` has a person's key"));
        }
        Ok(Rule {
            at: text.into(),
            target,
            category: self.category.map(Into::into),
            personal: self.personal,
            act: self.act,
            repeated: self.repeated,
        })
    }
}

impl Policy {
    /// Whether it enforces; `now` is in Unix seconds.
    pub fn enforces(&self, now: u64) -> bool {
        self.enforce_from.is_none_or(|from| now >= from)
    }

    /// What the provider is told of what a person decided.
    pub fn signals(&self) -> Option<&Signals> {
        self.consent.as_ref().and_then(Asked::signals)
    }

    /// What it does, for whoever runs Tidegate; `now` is in Unix seconds.
    pub fn describe(&self, now: u64) -> String {
        let rest = match self.unknown {
            Unknown::Reject => "calls with any other field are refused",
            Unknown::Drop => "any other field is left out",
        };
        let mode = if self.enforces(now) { "" } else { "; as yet it only reports, and calls go as they are" };
        let consent =
            self.consent.as_ref().map(|asked| format!("; {}", asked.describe())).unwrap_or_default();
        format!("for {}: {} rules, {rest}{mode}{consent}", self.purpose, self.rules.len())
    }

    /// Of what is looked for, that which is refused also where the policy only reports.
    pub fn hard(&self) -> Vec<Detector> {
        self.assert_absent.iter().copied().filter(|detector| detector.is_hard()).collect()
    }

    /// The rules for places in a document that `wanted` knows, with their numbers.
    pub fn rules_in<'p>(&'p self, wanted: impl Fn(&'p Target) -> Option<&'p Path>) -> Vec<(usize, &'p Path)> {
        self.rules.iter().enumerate().filter_map(|(n, rule)| wanted(&rule.target).map(|p| (n, p))).collect()
    }

    /// Whether it has rules for bodies of this kind.
    pub fn reads(&self, kind: BodyKind) -> bool {
        self.rules.iter().any(|rule| rule.target.body_kind() == Some(kind))
    }
}
