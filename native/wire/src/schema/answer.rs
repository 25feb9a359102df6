//! Hold an answer against what is declared of it: its head at once, its body when all of it is there.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, StatusCode};

use super::check::check;
use super::compile::Id;
use super::decoded::decoded;
use super::document::{Content, Described};
use super::hygiene::{Html, Prototype, escaped, refused, without_prototypes};
use super::media::MediaType;
use super::place::Violation;
use super::{Checks, Mode, Told, VALUES_MAX, unreadable};
use crate::error::{Code, Refusal};
use crate::json::Node;

const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// An answer whose body is to be judged before any of it is passed on.
#[derive(Debug)]
pub struct Looking {
    checks: Arc<Checks>,
    schema: Option<Id>,
    /// As it came, to be decoded by.
    headers: HeaderMap,
    /// It goes on in another form than it came in.
    changes: bool,
    minimises: bool,
    /// What becomes of a body that cannot be read.
    unread: Mode,
}

/// What comes of a body.
pub enum Judged {
    AsItCame,
    Changed(Bytes),
}

impl Checks {
    /// Judge an answer by its head. None: its body is not looked into.
    pub fn look(
        self: &Arc<Self>,
        method: &Method,
        parts: &mut Parts,
        is_empty: bool,
        told: &mut Told,
    ) -> Result<Option<Box<Looking>>, Refusal> {
        let answers = if self.looks_at_answers() { self.rules.answers } else { Mode::Off };
        let described = self.described().filter(|_| self.rules.responses != Mode::Off);
        let by_document = if described.is_some() { self.rules.responses } else { Mode::Off };
        let strictest = answers.max(by_document);
        if strictest == Mode::Off {
            return Ok(None);
        }
        if strictest == Mode::Enforce {
            parts.headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        }
        let status = parts.status;
        let is_bodyless = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let enforces = answers == Mode::Enforce;
        let minimises = enforces && !self.minimum.is_all() && status.is_success();
        let rewrites = minimises
            || enforces && (self.rules.html == Html::Escape || self.rules.prototype == Prototype::Drop);
        if is_bodyless {
            if rewrites {
                // What a GET would be answered with has another length.
                parts.headers.remove(CONTENT_LENGTH);
            }
            return Ok(None);
        }
        let media_type = MediaType::of(&parts.headers);
        if !self.rules.types.is_empty() && answers != Mode::Off && !is_empty {
            self.lock(media_type.as_ref(), answers, told)?;
        }
        let mut schema = None;
        if let Some((_, described)) = described {
            let is_locked = self.rules.types.is_empty();
            match declared(described, status, media_type.as_ref(), is_empty, is_locked) {
                Ok(found) => schema = found,
                Err(violation) => self.answer_misfit(by_document, &violation, told)?,
            }
        }
        let is_json = media_type.as_ref().is_some_and(MediaType::is_json);
        if is_empty && schema.is_none() {
            return Ok(None);
        }
        if !is_json {
            if minimises || !self.minimum.is_all() && status.is_success() && answers == Mode::Report {
                let violation = Violation::new("body", "content-type", "JSON, of which parts can be kept");
                self.answers_misfit(answers, &violation, told)?;
            }
            return Ok(None);
        }
        let unread = if schema.is_some() || by_document == Mode::Enforce { strictest } else { answers };
        if unread == Mode::Off {
            return Ok(None);
        }
        let headers = std::iter::once(CONTENT_ENCODING)
            .flat_map(|name| {
                parts.headers.get_all(name).iter().cloned().map(move |value| (CONTENT_ENCODING, value))
            })
            .collect();
        if status == StatusCode::PARTIAL_CONTENT {
            let violation =
                Violation::new("body", "content-range", "the whole, of which a part cannot be judged");
            self.misfit(unread, &violation, told)?;
            return Ok(None);
        }
        if media_type.is_some_and(|one| !one.is_utf8()) {
            self.misfit(unread, &Violation::new("body", "charset", "UTF-8"), told)?;
            return Ok(None);
        }
        if rewrites {
            for name in [CONTENT_ENCODING, CONTENT_LENGTH, ACCEPT_RANGES].iter().chain(&DIGESTS) {
                parts.headers.remove(name);
            }
        }
        let checks = Arc::clone(self);
        Ok(Some(Box::new(Looking { checks, schema, headers, changes: rewrites, minimises, unread })))
    }

    fn lock(&self, media_type: Option<&MediaType>, mode: Mode, told: &mut Told) -> Result<(), Refusal> {
        let is_named =
            media_type.is_some_and(|one| self.rules.types.iter().any(|pattern| one.is_named_by(pattern)));
        if is_named {
            return Ok(());
        }
        let violation = Violation::new("head", "content-type", "one of the declared media types");
        self.answers_misfit(mode, &violation, told)
    }

    fn answer_misfit(&self, mode: Mode, violation: &Violation, told: &mut Told) -> Result<(), Refusal> {
        refuse(mode, violation, "the provider's document", &self.names.responses, told)
    }

    fn answers_misfit(&self, mode: Mode, violation: &Violation, told: &mut Told) -> Result<(), Refusal> {
        refuse(mode, violation, "what is declared of answers", &self.names.answers, told)
    }

    /// By whichever of the two asked for it to be read.
    fn misfit(&self, mode: Mode, violation: &Violation, told: &mut Told) -> Result<(), Refusal> {
        if self.rules.responses == mode {
            self.answer_misfit(mode, violation, told)
        } else {
            self.answers_misfit(mode, violation, told)
        }
    }
}

fn refuse(
    mode: Mode,
    violation: &Violation,
    by: &str,
    rule: &Arc<str>,
    told: &mut Told,
) -> Result<(), Refusal> {
    if mode != Mode::Enforce {
        told.note("answer", violation);
        return Ok(());
    }
    let detail = format!("The provider's answer does not fit {by}: {violation}.");
    Err(Refusal::new(Code::ResponseRejected, detail).by(Arc::clone(rule)))
}

/// The schema of an answer of this status and type, or that the document has no such answer.
///
/// Errors are often left undeclared: one may be JSON, or what other answers of the operation are.
fn declared(
    described: &Described,
    status: StatusCode,
    media_type: Option<&MediaType>,
    is_empty: bool,
    is_locked: bool,
) -> Result<Option<Id>, Violation> {
    let types = described.answer(status.as_u16());
    let is_error = status.is_client_error() || status.is_server_error();
    let Some(types) = types.filter(|types| !(is_error && types.is_empty())) else {
        if !is_error {
            return Err(Violation::new("head", "status", "one of the declared statuses"));
        }
        let fits = media_type.is_some_and(|one| {
            one.is_json()
                || described.answers.iter().flatten().any(|(_, types)| types.find(&one.name).is_some())
        });
        return if fits || is_empty || !is_locked {
            Ok(None)
        } else {
            Err(Violation::new(
                "head",
                "content-type",
                "JSON, or a media type that the operation answers with",
            ))
        };
    };
    if types.is_empty() {
        return if is_empty || !is_locked {
            Ok(None)
        } else {
            Err(Violation::new("body", "content", "no body"))
        };
    }
    match media_type.and_then(|one| types.find(&one.name)) {
        Some(Content::Json(id)) if media_type.is_some_and(MediaType::is_json) => Ok(Some(*id)),
        Some(_) => Ok(None),
        None if is_empty || !is_locked => Ok(None),
        None => Err(Violation::new("head", "content-type", "one of the declared media types")),
    }
}

impl Looking {
    /// How much of the body is held, in bytes.
    pub fn body_max(&self) -> usize {
        self.checks.body_max()
    }

    /// Judge the body; None is one that is too large.
    pub fn judge(&self, body: Option<&Bytes>, told: &mut Told) -> Result<Judged, Refusal> {
        let checks = &self.checks;
        let read = match body {
            Some(body) if body.is_empty() => return self.empty(told),
            Some(body) => self.read(body),
            None => Err(checks.too_large()),
        };
        let node = match read {
            Ok(node) => node,
            Err(violation) => {
                checks.misfit(self.unread, &violation, told)?;
                return Ok(Judged::AsItCame);
            }
        };
        if let (Some(id), Some((document, _))) = (self.schema, checks.described())
            && let Err(violation) = check(&document.answers, id, &node, "body")
        {
            checks.answer_misfit(checks.rules.responses, &violation, told)?;
        }
        if checks.rules.answers != Mode::Off
            && let Err(violation) = refused(&node, checks.rules.html, checks.rules.prototype)
        {
            checks.answers_misfit(checks.rules.answers, &violation, told)?;
        }
        Ok(if self.changes { Judged::Changed(self.changed(node)) } else { Judged::AsItCame })
    }

    fn empty(&self, told: &mut Told) -> Result<Judged, Refusal> {
        if self.schema.is_some() {
            let violation = Violation::new("body", "required", "a body");
            self.checks.answer_misfit(self.checks.rules.responses, &violation, told)?;
        }
        Ok(Judged::AsItCame)
    }

    fn read(&self, body: &Bytes) -> Result<Node<'static>, Violation> {
        let content = decoded(&self.headers, body, self.body_max())?;
        let node = Node::read_within(&content, VALUES_MAX).map_err(|fault| unreadable("body", fault))?;
        Ok(node.into_owned())
    }

    fn changed(&self, node: Node<'_>) -> Bytes {
        let rules = &self.checks.rules;
        let node = if self.minimises { self.checks.minimum.of(node) } else { node };
        let node = if rules.prototype == Prototype::Drop { without_prototypes(node) } else { node };
        let written = node.written();
        if rules.html == Html::Escape { escaped(&written).into() } else { written.into() }
    }
}
