//! What a policy did to one request, and why it refused it: rules and places, never a value.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::Serialize;

use super::act::{Act, Fresh, Outcome, Unfit, Value};
use super::policy::{Policy, Rule, Unknown};
use super::seal::Sealing;
use super::with::With;
use crate::detect::{self, Detector};
use crate::error::{Code, Refusal};
use crate::json::Node;

/// What is shorter comes about by chance.
pub const GUARDED_CHARS_MIN: usize = 6;
/// The record names no more rules of one call than this.
const FIELDS_MAX: usize = 64;
const NAME_MAX: usize = 40;
const NAME_DIGITS_MAX: usize = 2;
const STEPS_SHOWN: usize = 12;

/// A request that the policy does not let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub code: Code,
    pub detail: String,
    /// Refused also where the policy only reports.
    pub is_hard: bool,
}

impl Breach {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), is_hard: false }
    }

    pub fn undeclared(policy: &Policy, place: &Place<'_>) -> Self {
        let detail = format!(
            "Policy `{}` has no rule for `{place}`, so it does not go out. Leave it out, or add a rule for it under `protection`.",
            policy.name
        );
        Self::new(Code::UndeclaredField, detail)
    }

    pub fn repeated(place: &Place<'_>) -> Self {
        let detail = format!(
            "`{place}` stands more than once, and its rule does not say `repeated: true`. Send it once."
        );
        Self::new(Code::UndeclaredField, detail)
    }

    /// What was written reads as something else.
    pub fn garbled() -> Self {
        Self::new(Code::Internal, "A body that was written is not what was to be written.")
    }

    pub fn two_rules(one: &Rule, other: &Rule, place: &Place<'_>) -> Self {
        let detail = format!(
            "The rules `{}` and `{}` both select `{place}`, and neither is more specific. Say more in one of them.",
            one.at, other.at
        );
        Self::new(Code::UndeclaredField, detail)
    }

    /// `rule` is the one by which it would go out.
    pub fn tripped(detector: Detector, rule: Option<&Rule>, place: &Place<'_>) -> Self {
        let by = rule.map_or_else(String::new, |rule| format!(", which the rule `{}` lets go", rule.at));
        let detail = format!(
            "Something that looks like `{}` stands in `{place}`{by}. Leave it out, or declare a `category` that such a thing is of.",
            detector.name()
        );
        Self { is_hard: detector.is_hard(), ..Self::new(Code::UndeclaredField, detail) }
    }

    pub fn unfit(unfit: &Unfit, rule: &Rule, place: &Place<'_>) -> Self {
        match unfit {
            Unfit::Rejected => Self::new(
                Code::UndeclaredField,
                format!("The rule `{}` refuses calls that have `{place}`. Leave it out.", rule.at),
            ),
            Unfit::Unprotectable(why) => {
                Self::new(Code::Unprotectable, format!("`{place}`: the rule `{}` {why}.", rule.at))
            }
            Unfit::Unavailable(what) => Self::new(Code::ProtectionUnavailable, *what),
            Unfit::Cannot(why) => Self::new(
                Code::Unparseable,
                format!("The rule `{}` {why}; `{place}` holds something else.", rule.at),
            ),
        }
    }

    pub fn lacking(rule: &Rule, place: &Place<'_>) -> Self {
        let detail = format!(
            "The rule `{}` encrypts what stands there, and `{place}` has nothing of it. Send it, or declare `absent: allow`.",
            rule.at
        );
        Self::new(Code::Unprotectable, detail)
    }

    /// Two members of one name.
    pub fn taken(rule: &Rule, place: &Place<'_>) -> Self {
        let detail = format!(
            "The rule `{}` puts what it encrypts where something stands already, in `{place}`. Leave that out.",
            rule.at
        );
        Self::new(Code::Unprotectable, detail)
    }

    pub fn too_large(policy: &Policy) -> Self {
        let detail = format!(
            "Policy `{}` reads bodies of {} bytes at most. Send a smaller one, or raise `bounds: {{body: …}}`.",
            policy.name, policy.body_bytes
        );
        Self::new(Code::TooLarge, detail)
    }

    pub fn refusal(self, policy: &Policy) -> Refusal {
        Refusal::new(self.code, self.detail).by(Arc::clone(&policy.name))
    }
}

/// What became of a request's fields, by their rules.
#[derive(Debug)]
pub struct Told<'p> {
    pub policy: &'p Policy,
    sent: Vec<bool>,
    withheld: Vec<bool>,
    unknown_withheld: bool,
    /// Values that must not be found in what goes out, with the rules that keep them.
    pub guarded: Vec<(usize, String)>,
    /// What became of each field, where a sample is tried; None for calls.
    pub trail: Option<Vec<Tried>>,
    /// Why a sample, or a call that is only reported on, would be refused, first of all.
    pub breach: Option<Breach>,
    /// What is refused softly is noted, and the field goes as it is.
    reports: bool,
    /// Nobody consented: what may be personal is left out.
    is_without_consent: bool,
    with: With<'p>,
}

/// What became of one field of a sample. It holds values, and is for whoever gave the sample.
#[derive(Debug, Serialize)]
pub struct Tried {
    pub place: String,
    pub rule: Option<Arc<str>>,
    pub category: Option<Arc<str>>,
    #[serde(rename = "do")]
    pub act: &'static str,
    pub before: String,
    /// None where the provider gets nothing of it.
    pub after: Option<String>,
    /// Why the call is refused for it.
    pub refused: Option<String>,
}

/// A rule as the record names it.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct FieldTold {
    pub at: Arc<str>,
    pub category: Option<Arc<str>>,
    #[serde(rename = "do")]
    pub act: &'static str,
}

/// What would have become of a call that went as it was.
#[derive(Debug, Clone, Serialize)]
pub struct Would {
    pub outcome: &'static str,
    pub detail: Option<Box<str>>,
    pub sent: Vec<FieldTold>,
    pub withheld: Vec<FieldTold>,
}

impl<'p> Told<'p> {
    pub fn new(policy: &'p Policy) -> Self {
        let rules = policy.rules.len();
        Self {
            policy,
            sent: vec![false; rules],
            withheld: vec![false; rules],
            unknown_withheld: false,
            guarded: Vec::new(),
            trail: None,
            breach: None,
            reports: false,
            is_without_consent: false,
            with: With::default(),
        }
    }

    /// By these keys, for this provider.
    #[must_use]
    pub fn with(self, with: With<'p>) -> Self {
        Self { with, ..self }
    }

    /// For a policy that does not enforce yet.
    #[must_use]
    pub fn reporting(self) -> Self {
        Self { reports: true, ..self }
    }

    /// For a call that nobody consented to.
    #[must_use]
    pub fn without_consent(self, is_without_consent: bool) -> Self {
        Self { is_without_consent, ..self }
    }

    /// Whether a rule's fields are left out because nobody consented.
    pub fn withholds(&self, rule: &Rule) -> bool {
        self.is_without_consent && rule.needs_consent() && rule.act != Act::Reject
    }

    /// Whether whom the call is about consented, where somebody asks.
    pub fn has_consent(&self) -> bool {
        !self.is_without_consent
    }

    fn word(&self, rule: &Rule) -> &'static str {
        if self.withholds(rule) { Act::Drop.word() } else { rule.act.word() }
    }

    /// For a sample: what is refused is noted, and the rest goes on.
    pub fn of_sample(policy: &'p Policy) -> Self {
        Self { trail: Some(Vec::new()), ..Self::new(policy) }
    }

    /// Let a field be what its rule makes of it.
    pub fn act(
        &mut self,
        rule: Option<usize>,
        value: Value<'_>,
        place: &Place<'_>,
    ) -> Result<Outcome, Breach> {
        let outcome = self.judge(rule, value, place);
        self.settle(rule, value, place, outcome)
    }

    /// Refuse what no rule could be asked about.
    pub fn refuse(&mut self, value: Value<'_>, place: &Place<'_>, breach: Breach) -> Result<Outcome, Breach> {
        self.settle(None, value, place, Err(breach))
    }

    fn settle(
        &mut self,
        rule: Option<usize>,
        value: Value<'_>,
        place: &Place<'_>,
        outcome: Result<Outcome, Breach>,
    ) -> Result<Outcome, Breach> {
        if self.trail.is_none() {
            return match outcome {
                Err(breach) if self.reports && !breach.is_hard => {
                    self.breach.get_or_insert(breach);
                    self.trip_hard(rule, value, place)?;
                    Ok(Outcome::Same)
                }
                outcome => outcome,
            };
        }
        Ok(self.note(rule, value, place, outcome))
    }

    fn note(
        &mut self,
        rule: Option<usize>,
        value: Value<'_>,
        place: &Place<'_>,
        outcome: Result<Outcome, Breach>,
    ) -> Outcome {
        let rule = rule.map(|number| &self.policy.rules[number]);
        let before = match value {
            Value::Text(text) | Value::Number(text) => text.to_owned(),
            Value::Bool(is_so) => is_so.to_string(),
            Value::Bytes(bytes) => format!("({} bytes)", bytes.len()),
            Value::Nothing => String::new(),
        };
        let (after, refused) = match &outcome {
            Ok(Outcome::Same) if rule.is_some_and(|rule| rule.act.seals().is_some()) => {
                (Some("(within what is encrypted)".to_owned()), None)
            }
            Ok(Outcome::Same) => (Some(before.clone()), None),
            Ok(Outcome::New(Fresh::Text(text) | Fresh::Number(text))) => (Some(text.clone()), None),
            Ok(Outcome::Gone) => (None, None),
            Ok(Outcome::File(file)) => (Some(format!("({} bytes, encrypted)", file.len())), None),
            Err(breach) => (None, Some(breach.detail.clone())),
        };
        let tried = Tried {
            place: format!("{place:#}"),
            rule: rule.map(|rule| Arc::clone(&rule.at)),
            category: rule.and_then(|rule| rule.category.clone()),
            act: rule.map_or(self.policy.unknown.word(), |rule| self.word(rule)),
            before,
            after,
            refused,
        };
        self.trail.get_or_insert_default().push(tried);
        outcome.unwrap_or_else(|breach| {
            self.breach.get_or_insert(breach);
            Outcome::Gone
        })
    }

    fn judge(&mut self, rule: Option<usize>, value: Value<'_>, place: &Place<'_>) -> Result<Outcome, Breach> {
        let Some(number) = rule else {
            if self.policy.unknown == Unknown::Reject {
                return Err(Breach::undeclared(self.policy, place));
            }
            self.unknown_withheld = true;
            return Ok(Outcome::Gone);
        };
        let rule = &self.policy.rules[number];
        let is_withheld = self.withholds(rule);
        let act = if is_withheld { &Act::Drop } else { &rule.act };
        let outcome = act.apply(value, &self.with).map_err(|unfit| Breach::unfit(&unfit, rule, place))?;
        if act.shows()
            && let Some(text) = value.text()
        {
            let leaves = match &outcome {
                Outcome::New(Fresh::Text(fresh) | Fresh::Number(fresh)) => fresh,
                _ => &*text,
            };
            self.look(&self.policy.assert_absent, Some(rule), leaves, place)?;
        }
        let list = if outcome == Outcome::Gone { &mut self.withheld } else { &mut self.sent };
        list[number] = true;
        // In a sealed place much may stand that says nothing of anybody; and nobody puts a file into a field.
        let is_sealed = act.seals().is_some() && rule.needs_consent();
        if (outcome != Outcome::Same || is_sealed)
            && !act.makes_files()
            && (rule.guards() || is_withheld && rule.personal)
            && let Value::Text(text) | Value::Number(text) = value
            && text.chars().count() >= GUARDED_CHARS_MIN
        {
            self.guarded.push((number, text.to_owned()));
        }
        Ok(outcome)
    }

    /// Look at a name that goes out because of a rule for what it stands in.
    pub fn trip(&mut self, rule: Option<usize>, name: &str, place: &Place<'_>) -> Result<(), Breach> {
        let rule = rule.map(|number| &self.policy.rules[number]).filter(|rule| rule.act.shows());
        if rule.is_none() { Ok(()) } else { self.passes(rule, name, place) }
    }

    /// Look at a text that goes out as it is.
    pub fn passes(&mut self, rule: Option<&Rule>, text: &str, place: &Place<'_>) -> Result<(), Breach> {
        let judged = self.look(&self.policy.assert_absent, rule, text, place);
        judged.or_else(|breach| self.bear(breach))
    }

    /// Note what is wrong where the rest is looked at all the same; refuse it otherwise.
    fn bear(&mut self, breach: Breach) -> Result<(), Breach> {
        if (self.reports && !breach.is_hard) || self.trail.is_some() {
            self.breach.get_or_insert(breach);
            return Ok(());
        }
        Err(breach)
    }

    /// Let all that goes out of a place be what its rule makes of it.
    pub fn seal(
        &mut self,
        rule: usize,
        sealing: &Sealing,
        clear: &Node<'_>,
        place: &Place<'_>,
    ) -> Result<Node<'static>, Breach> {
        self.sent[rule] = true;
        let sealed = sealing.seal(clear, &self.with);
        sealed.or_else(|unfit| {
            let breach = Breach::unfit(&unfit, &self.policy.rules[rule], place);
            self.bear(breach).map(|()| Node::Null)
        })
    }

    /// Refuse a call that has nothing where a rule encrypts: it may stand elsewhere, in clear.
    pub fn lacks(&mut self, rule: usize, place: &Place<'_>) -> Result<(), Breach> {
        let policy = self.policy;
        self.bear(Breach::lacking(&policy.rules[rule], place))
    }

    /// What was encrypted as one.
    pub fn seals(&self) -> impl Iterator<Item = &'p Sealing> + use<'_, 'p> {
        let rules = self.policy.rules.iter().zip(&self.sent).filter(|(_, is_sent)| **is_sent);
        rules.filter_map(|(rule, _)| rule.act.seals())
    }

    /// Whatever else is wrong with a field that goes as it is.
    fn trip_hard(&self, rule: Option<usize>, value: Value<'_>, place: &Place<'_>) -> Result<(), Breach> {
        let Some(text) = value.text() else { return Ok(()) };
        let rule = rule.map(|number| &self.policy.rules[number]);
        self.look(&self.policy.hard(), rule, &text, place)
    }

    /// Look for what may not leave in a body that cannot be read, where it would go as it is.
    pub fn trip_unread(&self, body: &[u8]) -> Result<(), Breach> {
        self.look(&self.policy.hard(), None, &String::from_utf8_lossy(body), &Place::document("body", None))
    }

    fn look(
        &self,
        wanted: &[Detector],
        rule: Option<&Rule>,
        text: &str,
        place: &Place<'_>,
    ) -> Result<(), Breach> {
        let category = rule.and_then(|rule| rule.category.as_deref());
        match detect::find(wanted, text, category, self.with.live.as_deref()) {
            Some(detector) => Err(Breach::tripped(detector, rule, place)),
            None => Ok(()),
        }
    }

    /// All of a subtree goes as it is.
    pub fn lets_go(&mut self, rule: usize) {
        self.sent[rule] = true;
    }

    pub fn sent(&self) -> Vec<FieldTold> {
        self.fields(&self.sent, None).collect()
    }

    /// What left where nothing was changed.
    pub fn sent_as_it_was(&self) -> Vec<FieldTold> {
        let touched: Vec<bool> =
            self.sent.iter().zip(&self.withheld).map(|(one, other)| *one || *other).collect();
        self.fields(&touched, Some("allow")).collect()
    }

    pub fn withheld(&self) -> Vec<FieldTold> {
        let unknown = self.unknown_withheld.then(|| FieldTold {
            at: "unknown fields".into(),
            category: None,
            act: "drop",
        });
        self.fields(&self.withheld, None).take(FIELDS_MAX - 1).chain(unknown).collect()
    }

    /// What enforcing would have made of the call.
    pub fn would(&self, breach: Option<Breach>) -> Would {
        match breach {
            None => Would { outcome: "ok", detail: None, sent: self.sent(), withheld: self.withheld() },
            Some(Breach { code, detail, .. }) => Would {
                outcome: code.as_str(),
                detail: Some(detail.into()),
                sent: Vec::new(),
                withheld: Vec::new(),
            },
        }
    }

    fn fields(&self, which: &[bool], act: Option<&'static str>) -> impl Iterator<Item = FieldTold> {
        let rules = self.policy.rules.iter().zip(which).filter(|(_, is_meant)| **is_meant);
        rules.take(FIELDS_MAX).map(move |(rule, _)| FieldTold {
            at: Arc::clone(&rule.at),
            category: rule.category.clone(),
            act: act.unwrap_or_else(|| self.word(rule)),
        })
    }
}

/// Where in a request something stands, in words that may be shown.
#[derive(Debug, Clone)]
pub struct Place<'n> {
    kind: &'static str,
    name: Option<&'n str>,
    /// What of it.
    tail: Option<Tail>,
    steps: Vec<At<'n>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Document,
    FileName,
    Argument,
    Tree,
}

#[derive(Debug, Clone, Copy)]
pub enum At<'n> {
    Name(&'n str),
    Attribute(&'n str),
    Index(usize),
}

impl<'n> Place<'n> {
    pub fn named(kind: &'static str, name: &'n str) -> Self {
        Self { kind, name: Some(name), tail: None, steps: Vec::new() }
    }

    /// A document, which may stand in what has a name.
    pub fn document(kind: &'static str, name: Option<&'n str>) -> Self {
        Self { kind, name, tail: Some(Tail::Document), steps: Vec::new() }
    }

    /// A tree of elements.
    pub fn tree(kind: &'static str) -> Self {
        Self { kind, name: None, tail: Some(Tail::Tree), steps: Vec::new() }
    }

    /// What a GraphQL query itself gives an argument.
    pub fn argument(name: &'n str) -> Self {
        Self { kind: "graphql", name: Some(name), tail: Some(Tail::Argument), steps: Vec::new() }
    }

    pub fn file_name(part: &'n str) -> Self {
        Self { kind: "part", name: Some(part), tail: Some(Tail::FileName), steps: Vec::new() }
    }

    pub fn push(&mut self, step: At<'n>) {
        self.steps.push(step);
    }

    pub fn pop(&mut self) {
        self.steps.pop();
    }
}

/// `{:#}` is for whoever gave the names: it shows them all.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { |name| name } else { shown };
        // A prefix is the policy's own.
        let qualified = |name| if shown(local(name)) == local(name) { name } else { "…" };
        f.write_str(self.kind)?;
        match self.name.map(shown) {
            Some(name) if self.tail == Some(Tail::Argument) => write!(f, " ({name})")?,
            Some(name) => write!(f, " {name}")?,
            None => {}
        }
        match self.tail {
            None | Some(Tail::Argument) => {}
            Some(Tail::Tree) => f.write_char(' ')?,
            Some(Tail::Document) => f.write_str(" $")?,
            Some(Tail::FileName) => f.write_str(" filename")?,
        }
        for step in self.steps.iter().take(STEPS_SHOWN) {
            match step {
                At::Name(name) if self.tail == Some(Tail::Tree) => write!(f, "/{}", qualified(name))?,
                At::Name(name) => write!(f, ".{}", shown(name))?,
                At::Attribute(name) => write!(f, "/@{}", qualified(name))?,
                At::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if self.steps.len() > STEPS_SHOWN { f.write_char('…') } else { Ok(()) }
    }
}

/// A name, if it looks like one that an API gave: what a person typed in may be data.
fn shown(name: &str) -> &str {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '$');
    let looks_given = name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_word)
        && name.chars().filter(char::is_ascii_digit).count() <= NAME_DIGITS_MAX;
    if looks_given { name } else { "…" }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_be_data_are_not_shown() {
        for name in ["email", "first_name", "Address2", "x-id", "metadata[order]", "@id"] {
            assert_eq!(shown(name) == name, name != "@id", "{name}");
        }
        for name in ["jane@example.com", "Jane Doe", "4111111111111111", "a12345", "", "é", &"a".repeat(41)]
        {
            assert_eq!(shown(name), "…");
        }
    }

    #[test]
    fn a_place_is_told_as_a_selector_would_say_it() {
        let mut place = Place::document("body", None);
        assert_eq!(place.to_string(), "body $");
        place.push(At::Name("people"));
        place.push(At::Index(3));
        place.push(At::Name("jane@example.com"));
        assert_eq!(place.to_string(), "body $.people[3].…");
        assert_eq!(Place::named("form", "metadata[a]").to_string(), "form metadata[a]");
        assert_eq!(Place::file_name("cv").to_string(), "part cv filename");
        assert_eq!(Place::argument("first").to_string(), "graphql (first)");
        let mut place = Place::tree("xml");
        for step in [At::Name("soap:Body"), At::Name("jane_12345"), At::Attribute("xml:lang")] {
            place.push(step);
        }
        assert_eq!(
            (place.to_string(), format!("{place:#}")),
            ("xml /soap:Body/…/@xml:lang".into(), "xml /soap:Body/jane_12345/@xml:lang".into())
        );
        let mut place = Place::document("part", Some("Jane Doe"));
        place.push(At::Name("email"));
        assert_eq!(
            (place.to_string(), format!("{place:#}")),
            ("part … $.email".into(), "part Jane Doe $.email".into())
        );
    }
}
