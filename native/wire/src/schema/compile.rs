//! Read schemas into a form that is checked by: every name is a number, every pattern is compiled.
//!
//! What comes is JSON Schema 2020-12 as `tidegate.catalog.openapi.schemas` writes it: references into `$defs`
//! alone, and only words about validity. Schemas that contain themselves do so by number.

use std::collections::{HashMap, HashSet};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::number::Number;
use crate::json::Node;

/// A schema's place among the others.
pub type Id = u32;

/// A document that needs more is none that is checked by.
const SCHEMAS_MAX: usize = 400_000;
/// A compiled pattern may take so many bytes; a larger one would take too long to compile.
const PATTERN_MAX: usize = 256 << 10;

/// The schemas of one side of a provider's document.
#[derive(Debug, Default)]
pub struct Schemas {
    all: Vec<Schema>,
    /// The names that properties are declared by.
    pub names: HashSet<Box<str>>,
    /// How many patterns no engine runs in linear time: they are not checked by.
    pub passed_over: usize,
}

impl Schemas {
    pub fn get(&self, id: Id) -> &Schema {
        &self.all[id as usize]
    }
}

#[derive(Debug, Default)]
pub struct Schema {
    /// Nothing fits.
    pub never: bool,
    pub types: Types,
    pub options: Option<Options>,
    pub number: Option<Box<NumberRules>>,
    pub text: Option<Box<TextRules>>,
    pub list: Option<Box<ListRules>>,
    pub map: Option<Box<MapRules>>,
    pub reference: Option<Id>,
    pub all: Box<[Id]>,
    pub any: Option<Box<[Id]>>,
    pub one: Option<Box<[Id]>>,
    pub not: Option<Id>,
    /// `if`, `then`, `else`.
    pub condition: Option<Box<(Id, Option<Id>, Option<Id>)>>,
}

/// The types that a value may have, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types(u8);

impl Default for Types {
    fn default() -> Self {
        Self::ANY
    }
}

const TYPE_NAMES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

impl Types {
    pub const ANY: Self = Self(0x7f);

    pub fn of(node: &Node) -> Self {
        match node {
            Node::Null => Self(1),
            Node::Bool(_) => Self(2),
            Node::Number(text) if Number::read(text).is_some_and(Number::is_whole) => Self(4 | 8),
            Node::Number(_) => Self(8),
            Node::Text(_) => Self(16),
            Node::List(_) => Self(32),
            Node::Map(_) => Self(64),
        }
    }

    pub fn admit(self, value: Self) -> bool {
        self.0 & value.0 != 0
    }

    pub fn said(self) -> String {
        let named = TYPE_NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let names: Vec<&str> = named.map(|(_, name)| *name).collect();
        names.join(" or ")
    }

    fn read(value: &Value) -> Option<Self> {
        let bit = |name: &Value| {
            let name = name.as_str()?;
            TYPE_NAMES.iter().position(|known| *known == name).map(|bit| 1u8 << bit)
        };
        match value {
            Value::Array(names) => names.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?)).map(Self),
            name => bit(name).map(Self),
        }
    }
}

/// The values of an `enum` or a `const`.
#[derive(Debug)]
pub struct Options {
    pub keyword: &'static str,
    pub texts: HashSet<Box<str>>,
    pub others: Vec<Node<'static>>,
}

#[derive(Debug, Default)]
pub struct NumberRules {
    pub minimum: Option<Number>,
    pub maximum: Option<Number>,
    pub above: Option<Number>,
    pub below: Option<Number>,
    pub multiple_of: Option<Number>,
}

#[derive(Debug, Default)]
pub struct TextRules {
    pub min: Option<usize>,
    pub max: Option<usize>,
    pub pattern: Option<Regex>,
}

#[derive(Debug, Default)]
pub struct ListRules {
    pub min: Option<usize>,
    pub max: Option<usize>,
    pub unique: bool,
    pub first: Box<[Id]>,
    pub rest: Option<Id>,
    /// With how many of them there are to be, at least and at most.
    pub contains: Option<(Id, usize, Option<usize>)>,
}

#[derive(Debug, Default)]
pub struct MapRules {
    pub min: Option<usize>,
    pub max: Option<usize>,
    pub required: Box<[Box<str>]>,
    pub named: HashMap<Box<str>, Id>,
    pub patterned: Vec<(Regex, Id)>,
    pub others: Option<Id>,
    pub names: Option<Id>,
    pub with: Vec<(Box<str>, Box<[Box<str>]>)>,
    pub with_schema: Vec<(Box<str>, Id)>,
}

/// Reads one side of a document.
pub struct Compiler<'d> {
    defs: &'d Map<String, Value>,
    ids: HashMap<&'d str, Id>,
    schemas: Schemas,
    patterns: HashMap<&'d str, Option<Regex>>,
}

impl<'d> Compiler<'d> {
    pub fn new(defs: &'d Map<String, Value>) -> Result<Self, String> {
        let ids = (0..).zip(defs.keys()).map(|(id, name)| (name.as_str(), id)).collect();
        let mut compiler = Self { defs, ids, schemas: Schemas::default(), patterns: HashMap::new() };
        compiler.schemas.all.resize_with(defs.len(), Schema::default);
        for (at, (name, value)) in compiler.defs.iter().enumerate() {
            let schema = compiler.schema(value).map_err(|what| format!("schema `{name}` {what}"))?;
            compiler.schemas.all[at] = schema;
        }
        Ok(compiler)
    }

    pub fn finish(self) -> Schemas {
        self.schemas
    }

    /// Read one more schema.
    pub fn add(&mut self, value: &'d Value) -> Result<Id, String> {
        let schema = self.schema(value)?;
        let id = Id::try_from(self.schemas.all.len()).unwrap_or(Id::MAX);
        self.schemas.all.push(schema);
        if self.schemas.all.len() > SCHEMAS_MAX {
            return Err(format!("is one of more than {SCHEMAS_MAX}"));
        }
        Ok(id)
    }

    fn schema(&mut self, value: &'d Value) -> Result<Schema, String> {
        let words = match value {
            Value::Bool(fits) => return Ok(Schema { never: !fits, ..Schema::default() }),
            Value::Object(words) => words,
            _ => return Err("is neither a mapping nor true or false".into()),
        };
        let types = match words.get("type") {
            Some(value) => Types::read(value).ok_or("has a type that does not exist")?,
            None => Types::ANY,
        };
        Ok(Schema {
            never: false,
            types,
            options: options(words),
            number: number_rules(words).map(Box::new),
            text: self.text_rules(words).map(Box::new),
            list: self.list_rules(words)?.map(Box::new),
            map: self.map_rules(words)?.map(Box::new),
            reference: words.get("$ref").map(|value| self.referred(value)).transpose()?,
            all: self.several(words, "allOf")?.unwrap_or_default(),
            any: self.several(words, "anyOf")?,
            one: self.several(words, "oneOf")?,
            not: self.one(words, "not")?,
            condition: match self.one(words, "if")? {
                Some(condition) => {
                    Some(Box::new((condition, self.one(words, "then")?, self.one(words, "else")?)))
                }
                None => None,
            },
        })
    }

    fn referred(&self, value: &Value) -> Result<Id, String> {
        let name = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        let name = name.map(|name| name.replace("~1", "/").replace("~0", "~"));
        let id = name.as_deref().and_then(|name| self.ids.get(name));
        id.copied().ok_or_else(|| "refers to a schema that is not there".into())
    }

    fn one(&mut self, words: &'d Map<String, Value>, word: &str) -> Result<Option<Id>, String> {
        words.get(word).map(|value| self.add(value)).transpose()
    }

    fn several(&mut self, words: &'d Map<String, Value>, word: &str) -> Result<Option<Box<[Id]>>, String> {
        let Some(values) = words.get(word).and_then(Value::as_array) else { return Ok(None) };
        values.iter().map(|value| self.add(value)).collect::<Result<_, _>>().map(Some)
    }

    fn text_rules(&mut self, words: &'d Map<String, Value>) -> Option<TextRules> {
        let pattern = words.get("pattern").and_then(Value::as_str).and_then(|text| self.pattern(text));
        let (min, max) = (count(words, "minLength"), count(words, "maxLength"));
        (pattern.is_some() || min.is_some() || max.is_some()).then_some(TextRules { min, max, pattern })
    }

    /// An ECMA-262 pattern for an engine of linear time; None where that has no such pattern.
    fn pattern(&mut self, text: &'d str) -> Option<Regex> {
        if let Some(known) = self.patterns.get(text) {
            return known.clone();
        }
        let translated = jsonschema_regex::to_rust_regex(text).ok();
        let compiled = translated.and_then(|text| {
            RegexBuilder::new(&text).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX).build().ok()
        });
        self.schemas.passed_over += usize::from(compiled.is_none());
        self.patterns.insert(text, compiled.clone());
        compiled
    }

    fn list_rules(&mut self, words: &'d Map<String, Value>) -> Result<Option<ListRules>, String> {
        const WORDS: [&str; 6] = ["minItems", "maxItems", "uniqueItems", "prefixItems", "items", "contains"];
        if !WORDS.iter().any(|word| words.contains_key(*word)) {
            return Ok(None);
        }
        let contains = self.one(words, "contains")?;
        let contains =
            contains.map(|id| (id, count(words, "minContains").unwrap_or(1), count(words, "maxContains")));
        Ok(Some(ListRules {
            min: count(words, "minItems"),
            max: count(words, "maxItems"),
            unique: words.get("uniqueItems") == Some(&Value::Bool(true)),
            first: self.several(words, "prefixItems")?.unwrap_or_default(),
            rest: self.one(words, "items")?,
            contains,
        }))
    }

    fn map_rules(&mut self, words: &'d Map<String, Value>) -> Result<Option<MapRules>, String> {
        const WORDS: [&str; 9] = [
            "minProperties",
            "maxProperties",
            "required",
            "properties",
            "patternProperties",
            "additionalProperties",
            "propertyNames",
            "dependentRequired",
            "dependentSchemas",
        ];
        if !WORDS.iter().any(|word| words.contains_key(*word)) {
            return Ok(None);
        }
        let required = names(words.get("required"));
        self.schemas.names.extend(required.iter().cloned());
        let mut rules = MapRules {
            min: count(words, "minProperties"),
            max: count(words, "maxProperties"),
            required,
            others: self.one(words, "additionalProperties")?,
            names: self.one(words, "propertyNames")?,
            ..MapRules::default()
        };
        for (name, value) in members(words, "properties") {
            self.schemas.names.insert(name.as_str().into());
            rules.named.insert(name.as_str().into(), self.add(value)?);
        }
        for (text, value) in members(words, "patternProperties") {
            match self.pattern(text) {
                Some(pattern) => rules.patterned.push((pattern, self.add(value)?)),
                // Which names it speaks of is not known, so nothing is said of any that is not declared.
                None => rules.others = None,
            }
        }
        for (name, value) in members(words, "dependentRequired") {
            rules.with.push((name.as_str().into(), names(Some(value))));
        }
        for (name, value) in members(words, "dependentSchemas") {
            rules.with_schema.push((name.as_str().into(), self.add(value)?));
        }
        Ok(Some(rules))
    }
}

fn members<'d>(
    words: &'d Map<String, Value>,
    word: &str,
) -> impl Iterator<Item = (&'d String, &'d Value)> + use<'d> {
    words.get(word).and_then(Value::as_object).into_iter().flatten()
}

fn names(value: Option<&Value>) -> Box<[Box<str>]> {
    let names = value.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(Into::into).collect()
}

fn count(words: &Map<String, Value>, word: &str) -> Option<usize> {
    words.get(word)?.as_u64().map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn number(words: &Map<String, Value>, word: &str) -> Option<Number> {
    match words.get(word)? {
        Value::Number(number) => Number::read(&number.to_string()),
        _ => None,
    }
}

fn number_rules(words: &Map<String, Value>) -> Option<NumberRules> {
    let rules = NumberRules {
        minimum: number(words, "minimum"),
        maximum: number(words, "maximum"),
        above: number(words, "exclusiveMinimum"),
        below: number(words, "exclusiveMaximum"),
        multiple_of: number(words, "multipleOf"),
    };
    let all = [rules.minimum, rules.maximum, rules.above, rules.below, rules.multiple_of];
    all.iter().any(Option::is_some).then_some(rules)
}

/// `const` is an `enum` of one; with both, the values that are in both.
fn options(words: &Map<String, Value>) -> Option<Options> {
    let single = words.get("const");
    let several = words.get("enum").and_then(Value::as_array);
    let keyword = if single.is_some() { "const" } else { "enum" };
    let values: Vec<&Value> = match (single, several) {
        (None, None) => return None,
        (Some(single), None) => vec![single],
        (None, Some(several)) => several.iter().collect(),
        (Some(single), Some(several)) => several.iter().filter(|value| *value == single).collect(),
    };
    let mut options = Options { keyword, texts: HashSet::new(), others: Vec::new() };
    for value in values {
        match value {
            Value::String(text) => {
                options.texts.insert(text.as_str().into());
            }
            other => options.others.push(node(other)),
        }
    }
    Some(options)
}

fn node(value: &Value) -> Node<'static> {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(*value),
        Value::Number(number) => Node::Number(number.to_string().into()),
        Value::String(text) => Node::Text(text.clone().into()),
        Value::Array(items) => Node::List(items.iter().map(node).collect()),
        Value::Object(members) => {
            Node::Map(members.iter().map(|(name, value)| (name.clone().into(), node(value))).collect())
        }
    }
}
