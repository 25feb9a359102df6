//! Hold what goes out and what comes back against what is declared of it: the provider's document, and rules for
//! answers. The defence against code that is injected through APIs.
//!
//! Requests are judged before anything else is done with them (`request`), answers by their head before it is
//! passed on (`answer`) and by their body, which is held until it is judged. An operation of which nothing is
//! declared pays nothing; what is only reported is passed on as it came.

pub mod answer;
mod check;
mod compile;
mod decoded;
mod document;
mod hygiene;
mod media;
mod number;
mod place;
pub mod request;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use http::HeaderMap;
use serde::Deserialize;

use crate::error::{Code, Refusal};
use crate::json::{self, Node};
use compile::Compiler;
use document::{Described, Document};
use hygiene::{Html, Minimum, Prototype};
use place::Violation;

/// Values in a body that is looked into, those inside others counted too.
const VALUES_MAX: usize = 200_000;
/// What would be refused of one call is told up to this length, in bytes.
const TOLD_MAX: usize = 800;

/// What becomes of what does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Off,
    Report,
    Enforce,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Rules {
    requests: Mode,
    responses: Mode,
    unknown: Unknown,
    answers: Mode,
    types: Vec<String>,
    html: Html,
    prototype: Prototype,
    keep: Vec<String>,
    drop: Vec<String>,
    body_max_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            requests: Mode::Off,
            responses: Mode::Off,
            unknown: Unknown::Allow,
            answers: Mode::Off,
            types: Vec::new(),
            html: Html::Allow,
            prototype: Prototype::Allow,
            keep: Vec::new(),
            drop: Vec::new(),
            body_max_bytes: 1 << 20,
        }
    }
}

/// Query parameters that the document does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    #[default]
    Allow,
    Reject,
}

/// The document as it is written in a snapshot.
#[derive(Debug, Deserialize)]
pub struct RawChecks {
    rules: Vec<serde_json::Value>,
    of: Vec<Option<usize>>,
    #[serde(default)]
    schemas: Option<String>,
}

/// What one operation's requests and answers are held against.
#[derive(Debug)]
pub struct Checks {
    rules: Arc<Rules>,
    minimum: Arc<Minimum>,
    document: Option<Arc<Document>>,
    operation: u32,
    /// What decisions call the rules.
    names: Arc<Names>,
    /// Answers that passed other checks are not answers to this call.
    pub fingerprint: u64,
}

#[derive(Debug)]
struct Names {
    requests: Arc<str>,
    responses: Arc<str>,
    answers: Arc<str>,
}

impl RawChecks {
    /// One for each operation that has rules.
    pub fn compile(self, provider: &str, operations: usize) -> Result<Vec<Option<Arc<Checks>>>, String> {
        if self.of.len() != operations {
            return Err("not every operation has its checks".into());
        }
        let document = self.schemas.as_deref().map(Document::read).transpose()?;
        let name = |rule: &str| Arc::from(format!("providers.{provider}.{rule}").as_str());
        let names = Arc::new(Names {
            requests: name("schema.requests"),
            responses: name("schema.responses"),
            answers: name("answers"),
        });
        let mut compiled = Vec::with_capacity(self.rules.len());
        for raw in &self.rules {
            let rules =
                Rules::deserialize(raw).map_err(|error| format!("rules of checks do not parse: {error}"))?;
            let minimum = Minimum::read(&rules.keep, &rules.drop)?;
            let mut fingerprint = DefaultHasher::new();
            raw.to_string().hash(&mut fingerprint);
            if rules.responses != Mode::Off {
                document.as_ref().map(|one| one.digest).hash(&mut fingerprint);
            }
            compiled.push((Arc::new(rules), Arc::new(minimum), fingerprint.finish()));
        }
        (0u32..)
            .zip(&self.of)
            .map(|(operation, number)| {
                let Some(number) = number else { return Ok(None) };
                let (rules, minimum, fingerprint) =
                    compiled.get(*number).ok_or_else(|| format!("there are no checks {number}"))?;
                Ok(Some(Arc::new(Checks {
                    rules: Arc::clone(rules),
                    minimum: Arc::clone(minimum),
                    document: document.clone(),
                    operation,
                    names: Arc::clone(&names),
                    fingerprint: *fingerprint,
                })))
            })
            .collect()
    }
}

impl Checks {
    fn described(&self) -> Option<(&Document, &Described)> {
        let document = self.document.as_deref()?;
        Some((document, document.operations.get(&self.operation)?))
    }

    /// Whether something is said of answers besides the document.
    fn looks_at_answers(&self) -> bool {
        let rules = &self.rules;
        rules.answers != Mode::Off
            && (!rules.types.is_empty()
                || rules.html != Html::Allow
                || rules.prototype != Prototype::Allow
                || !self.minimum.is_all())
    }

    pub fn judges_answers(&self) -> bool {
        self.looks_at_answers() || self.rules.responses != Mode::Off && self.described().is_some()
    }

    /// How much of a body is held to be looked into, in bytes.
    pub fn body_max(&self) -> usize {
        self.rules.body_max_bytes
    }

    /// Judge a request by all but its body; tells whether that is to be read.
    pub fn request(
        &self,
        parts: &request::Parts<'_>,
        has_body: bool,
        told: &mut Told,
    ) -> Result<bool, Refusal> {
        let mode = self.rules.requests;
        let Some((document, described)) = self.described().filter(|_| mode != Mode::Off) else {
            return Ok(false);
        };
        let closed = self.rules.unknown == Unknown::Reject;
        if let Err(violation) = request::parameters(&document.requests, described, parts, closed) {
            self.request_misfit(&violation, told)?;
        }
        match request::reads_body(described, parts.headers, has_body) {
            Ok(reads) => Ok(reads),
            Err(violation) => self.request_misfit(&violation, told).map(|()| false),
        }
    }

    /// Judge its body; None is one that is too large.
    pub fn request_body(
        &self,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        told: &mut Told,
    ) -> Result<(), Refusal> {
        let Some((document, described)) = self.described() else { return Ok(()) };
        let judged = match body {
            Some(body) => request::body(&document.requests, described, headers, body),
            None => Err(self.too_large()),
        };
        judged.or_else(|violation| self.request_misfit(&violation, told))
    }

    fn request_misfit(&self, violation: &Violation, told: &mut Told) -> Result<(), Refusal> {
        if self.rules.requests == Mode::Report {
            told.note("request", violation);
            return Ok(());
        }
        let detail = format!(
            "The request does not fit the provider's document: {violation}. Correct the request; if the \
             document is wrong, `schema: {{requests: report}}` lets it pass."
        );
        Err(Refusal::new(Code::SchemaViolation, detail).by(Arc::clone(&self.names.requests)))
    }

    fn too_large(&self) -> Violation {
        Violation::new("body", "bounds", format!("{} bytes at most", self.rules.body_max_bytes))
    }

    /// For a person: what is held against what.
    pub fn explained(&self) -> Vec<(Arc<str>, String)> {
        let mut lines = Vec::new();
        let mode = |mode: Mode| if mode == Mode::Enforce { "refused" } else { "reported" };
        if let Some((document, described)) = self.described() {
            if self.rules.requests != Mode::Off {
                let parameters = described.parameters.as_ref().map_or(0, |all| all.len());
                let body = described.body.as_ref().map(|body| listed(body.types.names()));
                let told = format!(
                    "{parameters} parameters, {} against the document; what does not fit is {}{}",
                    body.map_or("no body".to_owned(), |types| format!("body {types}")),
                    mode(self.rules.requests),
                    passed_over(document.requests.passed_over),
                );
                lines.push((Arc::clone(&self.names.requests), told));
            }
            if self.rules.responses != Mode::Off {
                let mut statuses: Vec<&str> =
                    described.answers.iter().flatten().map(|(status, _)| &**status).collect();
                statuses.sort_unstable();
                let told = format!(
                    "answers {} against the document; what does not fit is {}{}",
                    listed(statuses.into_iter()),
                    mode(self.rules.responses),
                    passed_over(document.answers.passed_over),
                );
                lines.push((Arc::clone(&self.names.responses), told));
            }
        } else if self.rules.requests.max(self.rules.responses) != Mode::Off {
            let told = "the document does not describe this operation: nothing is held against it";
            lines.push((Arc::clone(&self.names.requests), told.to_owned()));
        }
        if self.looks_at_answers() {
            lines.push((Arc::clone(&self.names.answers), self.answers_explained()));
        }
        lines
    }

    fn answers_explained(&self) -> String {
        let rules = &self.rules;
        let mut said = Vec::new();
        if !rules.types.is_empty() {
            said.push(format!("answers are {}", listed(rules.types.iter().map(String::as_str))));
        }
        match rules.html {
            Html::Allow => {}
            Html::Escape => said.push("`<`, `>` and `&` in JSON are escaped".into()),
            Html::Refuse => said.push("JSON has no markup".into()),
        }
        match rules.prototype {
            Prototype::Allow => {}
            Prototype::Drop => said.push("names that reach into prototypes are left out".into()),
            Prototype::Refuse => said.push("no name reaches into prototypes".into()),
        }
        if !rules.keep.is_empty() {
            said.push(format!("only {} is passed on", listed(rules.keep.iter().map(String::as_str))));
        }
        if !rules.drop.is_empty() {
            said.push(format!("{} is left out", listed(rules.drop.iter().map(String::as_str))));
        }
        let only = if rules.answers == Mode::Report { " (reported only)" } else { "" };
        format!("{}{only}", said.join("; "))
    }
}

/// What of a document does not fit a schema, with its `$defs`; for whoever tries schemas by themselves.
pub fn misfit(schema: &str, document: &[u8]) -> Result<Option<String>, String> {
    let schema: serde_json::Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let none = serde_json::Map::new();
    let defs = schema.get("$defs").and_then(serde_json::Value::as_object).unwrap_or(&none);
    let mut compiler = Compiler::new(defs)?;
    let id = compiler.add(&schema)?;
    let schemas = compiler.finish();
    let judged = Node::read_within(document, VALUES_MAX)
        .map_err(|fault| unreadable("body", fault))
        .and_then(|node| check::check(&schemas, id, &node, "body"));
    Ok(judged.err().map(|violation| violation.to_string()))
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn passed_over(patterns: usize) -> String {
    match patterns {
        0 => String::new(),
        1 => "; one pattern of the document cannot be run in linear time and is not checked by".into(),
        many => {
            format!("; {many} patterns of the document cannot be run in linear time and are not checked by")
        }
    }
}

fn unreadable(part: &'static str, fault: json::Fault) -> Violation {
    Violation::new(part, "json", format!("JSON that reads one way only; it {fault}"))
}

/// What would have been refused of one call, for its record.
#[derive(Debug, Default)]
pub struct Told(String);

impl Told {
    fn note(&mut self, of: &str, violation: &Violation) {
        if self.0.len() < TOLD_MAX {
            if !self.0.is_empty() {
                self.0.push_str("; ");
            }
            self.0.push_str(&[of, " ", &violation.to_string()].concat());
        }
    }

    /// None where all fitted.
    pub fn take(&mut self) -> Option<Box<str>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0).into())
    }
}
