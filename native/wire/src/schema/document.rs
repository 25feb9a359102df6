//! What a provider's document says of the operations that are held against it.
//!
//! It is read when a snapshot brings it, once: snapshots follow one another often, and mostly with the same one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compile::{Compiler, Id, Schemas};

#[derive(Debug)]
pub struct Document {
    pub requests: Schemas,
    pub answers: Schemas,
    pub operations: HashMap<u32, Described>,
    pub digest: [u8; 32],
}

/// One operation. A part is None where nothing is asked about it.
#[derive(Debug)]
pub struct Described {
    /// The whole path template.
    pub path: Box<str>,
    pub parameters: Option<Box<[Parameter]>>,
    pub body: Option<Body>,
    /// By status, as `OpenAPI` writes it: `200`, `4XX`, `default`.
    pub answers: Option<HashMap<Box<str>, MediaTypes>>,
}

#[derive(Debug)]
pub struct Body {
    pub required: bool,
    pub types: MediaTypes,
}

/// What may come, by media type.
#[derive(Debug, Default)]
pub struct MediaTypes(Box<[(Box<str>, Content)]>);

#[derive(Debug)]
pub enum Content {
    /// Nothing is known of it but its type.
    Any,
    Json(Id),
    Form {
        fields: Box<[Parameter]>,
        /// There are no others.
        closed: bool,
    },
}

/// A parameter, or a field of a form.
#[derive(Debug)]
pub struct Parameter {
    pub place: Where,
    pub name: Box<str>,
    pub required: bool,
    pub schema: Option<Id>,
    /// It may be a list, whose items are told apart so.
    pub split: Option<Split>,
    /// It may have members, named `name[member]`.
    pub object: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    Query,
    Header,
    Path,
    Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The name stands again for each.
    Repeat,
    At(char),
}

impl MediaTypes {
    /// The most exact that is declared: the type itself, `type/*`, `*/*`.
    pub fn find(&self, media_type: &str) -> Option<&Content> {
        let find =
            |wanted: &str| self.0.iter().find(|(name, _)| **name == *wanted).map(|(_, content)| content);
        let main = media_type.split('/').next().unwrap_or_default();
        find(media_type).or_else(|| find(&format!("{main}/*"))).or_else(|| find("*/*"))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

impl Described {
    /// What is declared of answers of a status.
    pub fn answer(&self, status: u16) -> Option<&MediaTypes> {
        let answers = self.answers.as_ref()?;
        let exact = answers.get(status.to_string().as_str());
        exact
            .or_else(|| answers.get(format!("{}XX", status / 100).as_str()))
            .or_else(|| answers.get("default"))
    }
}

/// Documents that snapshots in use have read.
static KNOWN: Mutex<Vec<Weak<Document>>> = Mutex::new(Vec::new());

impl Document {
    /// Read one, or find it again.
    pub fn read(text: &str) -> Result<Arc<Self>, String> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.strong_count() > 0);
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(|one| one.digest == key) {
            return Ok(found);
        }
        let document = Arc::new(Self::compile(text, key)?);
        known.push(Arc::downgrade(&document));
        Ok(document)
    }

    fn compile(text: &str, digest: [u8; 32]) -> Result<Self, String> {
        let raw: RawDocument =
            serde_json::from_str(text).map_err(|error| format!("the schemas do not parse: {error}"))?;
        let mut requests = Compiler::new(&raw.requests)?;
        let mut answers = Compiler::new(&raw.answers)?;
        let mut operations = HashMap::with_capacity(raw.operations.len());
        for (number, operation) in &raw.operations {
            let described = operation
                .read(&mut requests, &mut answers)
                .map_err(|what| format!("a schema of operation {number} {what}"))?;
            operations.insert(*number, described);
        }
        Ok(Self { requests: requests.finish(), answers: answers.finish(), operations, digest })
    }
}

#[derive(Deserialize)]
struct RawDocument {
    operations: HashMap<u32, RawOperation>,
    requests: Map<String, Value>,
    answers: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawOperation {
    path: Box<str>,
    #[serde(default)]
    parameters: Option<Vec<RawParameter>>,
    #[serde(default)]
    body: Option<RawBody>,
    #[serde(default)]
    answers: Option<HashMap<Box<str>, HashMap<Box<str>, RawContent>>>,
}

#[derive(Deserialize)]
struct RawParameter {
    #[serde(rename = "in")]
    place: Where,
    name: Box<str>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    split: Option<Box<str>>,
    #[serde(default)]
    object: bool,
}

#[derive(Deserialize)]
struct RawBody {
    required: bool,
    types: HashMap<Box<str>, RawContent>,
}

#[derive(Deserialize)]
struct RawContent {
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    form: Option<Vec<RawParameter>>,
    #[serde(default)]
    closed: bool,
}

impl RawOperation {
    fn read<'d>(
        &'d self,
        requests: &mut Compiler<'d>,
        answers: &mut Compiler<'d>,
    ) -> Result<Described, String> {
        let parameters = match &self.parameters {
            Some(parameters) => Some(read_all(parameters, requests)?),
            None => None,
        };
        let body = match &self.body {
            Some(body) => Some(Body { required: body.required, types: media_types(&body.types, requests)? }),
            None => None,
        };
        let read = |by_status: &'d HashMap<Box<str>, HashMap<Box<str>, RawContent>>| {
            let read =
                by_status.iter().map(|(status, types)| Ok((status.clone(), media_types(types, answers)?)));
            read.collect::<Result<HashMap<_, _>, String>>()
        };
        let answers = self.answers.as_ref().map(read).transpose()?;
        Ok(Described { path: self.path.clone(), parameters, body, answers })
    }
}

fn read_all<'d>(raw: &'d [RawParameter], schemas: &mut Compiler<'d>) -> Result<Box<[Parameter]>, String> {
    raw.iter().map(|parameter| parameter.read(schemas)).collect()
}

impl RawParameter {
    fn read<'d>(&'d self, schemas: &mut Compiler<'d>) -> Result<Parameter, String> {
        let split = self.split.as_deref().and_then(|text| match text {
            "repeat" => Some(Split::Repeat),
            text => text.chars().next().map(Split::At),
        });
        Ok(Parameter {
            place: self.place,
            name: self.name.clone(),
            required: self.required,
            schema: self.schema.as_ref().map(|schema| schemas.add(schema)).transpose()?,
            split,
            object: self.object,
        })
    }
}

fn media_types<'d>(
    raw: &'d HashMap<Box<str>, RawContent>,
    schemas: &mut Compiler<'d>,
) -> Result<MediaTypes, String> {
    let mut types = Vec::with_capacity(raw.len());
    for (name, content) in raw {
        let content = match (&content.schema, &content.form) {
            (_, Some(form)) => Content::Form { fields: read_all(form, schemas)?, closed: content.closed },
            (Some(schema), None) => Content::Json(schemas.add(schema)?),
            (None, None) => Content::Any,
        };
        types.push((name.clone(), content));
    }
    types.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(MediaTypes(types.into()))
}
