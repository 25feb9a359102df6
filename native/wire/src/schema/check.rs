//! Hold a document against a schema: the first thing that does not fit, or nothing.
//!
//! Each step is counted and there are only so many: schemas of a few lines can ask for more steps than there is
//! time, by alternatives within alternatives. Patterns run in linear time.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use super::compile::{Id, ListRules, MapRules, NumberRules, Options, Schema, Schemas, TextRules, Types};
use super::number::Number;
use super::place::{Place, Violation};
use crate::json::Node;

/// Enough for a body of 1 MiB by a schema of an API; some tens of milliseconds.
const STEPS_MAX: u32 = 2_000_000;
/// How deep a check goes into schemas within schemas; a document is 64 deep at most.
const DEPTH_MAX: u32 = 320;

/// Why a value does not fit; where only that counts, nothing is told.
enum Misfit {
    Untold,
    Told(Box<(String, &'static str, Cow<'static, str>)>),
}

type Fits = Result<(), Misfit>;

/// Whether a document fits, and if not, where and by which word of the schema.
pub fn check(schemas: &Schemas, id: Id, node: &Node, part: &'static str) -> Result<(), Violation> {
    let mut check = Check { schemas, steps: STEPS_MAX, depth: 0, quiet: false };
    match check.value(id, node, &Place::ROOT) {
        Ok(()) => Ok(()),
        Err(Misfit::Told(told)) if check.steps > 0 => {
            let (at, keyword, asks) = *told;
            Err(Violation::new(part, keyword, asks).at(&at))
        }
        Err(_) => Err(Violation::new(part, "bounds", "a document that can be checked in time")),
    }
}

/// Whether it fits, and nothing more.
pub fn fits(schemas: &Schemas, id: Id, node: &Node) -> bool {
    Check { schemas, steps: STEPS_MAX, depth: 0, quiet: true }.value(id, node, &Place::ROOT).is_ok()
}

struct Check<'s> {
    schemas: &'s Schemas,
    /// How many steps are left; with none, nothing fits.
    steps: u32,
    depth: u32,
    quiet: bool,
}

impl Check<'_> {
    fn value(&mut self, id: Id, node: &Node, at: &Place<'_>) -> Fits {
        self.spend(1)?;
        if self.depth == DEPTH_MAX {
            self.steps = 0;
            return Err(Misfit::Untold);
        }
        self.depth += 1;
        let fits = self.by_schema(self.schemas.get(id), node, at);
        self.depth -= 1;
        fits
    }

    fn by_schema(&mut self, schema: &Schema, node: &Node, at: &Place<'_>) -> Fits {
        if schema.never {
            return Err(self.misfit(at, "false", "nothing here"));
        }
        if schema.types != Types::ANY && !schema.types.admit(Types::of(node)) {
            return Err(self.misfit_by(at, "type", || schema.types.said()));
        }
        if let Some(options) = &schema.options
            && !self.is_among(options, node)?
        {
            return Err(self.misfit(at, options.keyword, "one of the declared values"));
        }
        match (node, &schema.number, &schema.text, &schema.list, &schema.map) {
            (Node::Number(text), Some(rules), ..) => self.number(rules, text, at)?,
            (Node::Text(text), _, Some(rules), ..) => self.text(rules, text, at)?,
            (Node::List(items), _, _, Some(rules), _) => self.list(rules, items, at)?,
            (Node::Map(members), .., Some(rules)) => self.map(rules, members, node, at)?,
            _ => {}
        }
        if let Some(id) = schema.reference {
            self.value(id, node, at)?;
        }
        for id in &schema.all {
            self.value(*id, node, at)?;
        }
        if let Some(alternatives) = &schema.any {
            self.any(alternatives, node, at)?;
        }
        if let Some(alternatives) = &schema.one {
            self.one(alternatives, node, at)?;
        }
        if let Some(id) = schema.not
            && self.would_fit(id, node, at)?
        {
            return Err(self.misfit(at, "not", "something that is not excluded"));
        }
        if let Some(condition) = &schema.condition {
            let (condition, then, otherwise) = &**condition;
            let next = if self.would_fit(*condition, node, at)? { then } else { otherwise };
            if let Some(id) = next {
                self.value(*id, node, at)?;
            }
        }
        Ok(())
    }

    fn any(&mut self, alternatives: &[Id], node: &Node, at: &Place<'_>) -> Fits {
        for id in alternatives {
            if self.would_fit(*id, node, at)? {
                return Ok(());
            }
        }
        self.none_fits(alternatives, node, at, "anyOf")
    }

    fn one(&mut self, alternatives: &[Id], node: &Node, at: &Place<'_>) -> Fits {
        let mut fitting = 0;
        for id in alternatives {
            fitting += usize::from(self.would_fit(*id, node, at)?);
        }
        match fitting {
            0 => self.none_fits(alternatives, node, at, "oneOf"),
            1 => Ok(()),
            _ => Err(self.misfit(at, "oneOf", "a value that fits one alternative, not several")),
        }
    }

    /// Where only one alternative is for a value of this type, that one says what is wrong.
    fn none_fits(&mut self, alternatives: &[Id], node: &Node, at: &Place<'_>, keyword: &'static str) -> Fits {
        let mut likely = alternatives.iter().filter(|id| self.admits(**id, node));
        if let (Some(id), None, false) = (likely.next(), likely.next(), self.quiet) {
            self.value(*id, node, at)?;
        }
        Err(self.misfit_by(at, keyword, || format!("one of {} alternatives", alternatives.len())))
    }

    /// Whether a schema is for values of this type at all.
    fn admits(&self, id: Id, node: &Node) -> bool {
        let mut schema = self.schemas.get(id);
        // References that lead on and on have been found out before.
        for _ in 0..8 {
            match schema.reference {
                Some(id) => schema = self.schemas.get(id),
                None => break,
            }
        }
        schema.types.admit(Types::of(node))
    }

    fn would_fit(&mut self, id: Id, node: &Node, at: &Place<'_>) -> Result<bool, Misfit> {
        let quiet = std::mem::replace(&mut self.quiet, true);
        let fits = self.value(id, node, at).is_ok();
        self.quiet = quiet;
        if self.steps == 0 { Err(Misfit::Untold) } else { Ok(fits) }
    }

    fn number(&mut self, rules: &NumberRules, text: &str, at: &Place<'_>) -> Fits {
        let Some(value) = Number::read(text) else {
            return Err(self.misfit(at, "type", "a number"));
        };
        let against = |limit: &Option<Number>| limit.map(|limit| value.compare(limit));
        if against(&rules.minimum) == Some(Ordering::Less) {
            return Err(self.misfit(at, "minimum", "a number that is not below the least"));
        }
        if against(&rules.maximum) == Some(Ordering::Greater) {
            return Err(self.misfit(at, "maximum", "a number that is not above the greatest"));
        }
        if against(&rules.above).is_some_and(Ordering::is_le) {
            return Err(self.misfit(at, "exclusiveMinimum", "a number above a limit"));
        }
        if against(&rules.below).is_some_and(Ordering::is_ge) {
            return Err(self.misfit(at, "exclusiveMaximum", "a number below a limit"));
        }
        if rules.multiple_of.is_some_and(|of| !value.is_multiple_of(of)) {
            return Err(self.misfit(at, "multipleOf", "a multiple of a number"));
        }
        Ok(())
    }

    fn text(&mut self, rules: &TextRules, text: &str, at: &Place<'_>) -> Fits {
        self.spend(text.len() / 64)?;
        if rules.min.is_some() || rules.max.is_some() {
            let length = text.chars().count();
            if let Some(min) = rules.min.filter(|min| length < *min) {
                return Err(self.misfit_by(at, "minLength", || format!("{min} characters or more")));
            }
            if let Some(max) = rules.max.filter(|max| length > *max) {
                return Err(self.misfit_by(at, "maxLength", || format!("{max} characters at most")));
            }
        }
        if rules.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            return Err(self.misfit(at, "pattern", "a text of the declared pattern"));
        }
        Ok(())
    }

    fn list(&mut self, rules: &ListRules, items: &[Node], at: &Place<'_>) -> Fits {
        if let Some(min) = rules.min.filter(|min| items.len() < *min) {
            return Err(self.misfit_by(at, "minItems", || format!("{min} items or more")));
        }
        if let Some(max) = rules.max.filter(|max| items.len() > *max) {
            return Err(self.misfit_by(at, "maxItems", || format!("{max} items at most")));
        }
        for (number, item) in items.iter().enumerate() {
            if let Some(id) = rules.first.get(number).copied().or(rules.rest) {
                self.value(id, item, &at.item(number))?;
            }
        }
        if rules.unique && !self.is_unique(items)? {
            return Err(self.misfit(at, "uniqueItems", "no item twice"));
        }
        if let Some((id, min, max)) = rules.contains {
            let mut found = 0;
            for item in items {
                found += usize::from(self.would_fit(id, item, at)?);
            }
            if found < min || max.is_some_and(|max| found > max) {
                return Err(self.misfit(at, "contains", "items of a kind, in the declared number"));
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        rules: &MapRules,
        members: &[(Cow<'_, str>, Node<'_>)],
        whole: &Node,
        at: &Place<'_>,
    ) -> Fits {
        if let Some(min) = rules.min.filter(|min| members.len() < *min) {
            return Err(self.misfit_by(at, "minProperties", || format!("{min} properties or more")));
        }
        if let Some(max) = rules.max.filter(|max| members.len() > *max) {
            return Err(self.misfit_by(at, "maxProperties", || format!("{max} properties at most")));
        }
        self.spend(members.len() * rules.required.len() / 16)?;
        let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
        if let Some(missing) = rules.required.iter().find(|name| !has(name)) {
            return Err(self.misfit_by(at, "required", || format!("`{missing}`")));
        }
        for (name, member) in members {
            self.member(rules, name, member, at)?;
        }
        for (name, others) in rules.with.iter().filter(|(name, _)| has(name)) {
            if let Some(missing) = others.iter().find(|name| !has(name)) {
                return Err(self.misfit_by(at, "dependentRequired", || format!("`{missing}` with `{name}`")));
            }
        }
        for (_, id) in rules.with_schema.iter().filter(|(name, _)| has(name)) {
            self.value(*id, whole, at)?;
        }
        Ok(())
    }

    fn member(&mut self, rules: &MapRules, name: &str, member: &Node, at: &Place<'_>) -> Fits {
        let here = at.name(name);
        let mut is_declared = false;
        if let Some(id) = rules.named.get(name) {
            is_declared = true;
            self.value(*id, member, &here)?;
        }
        for (pattern, id) in &rules.patterned {
            self.spend(1 + name.len() / 64)?;
            if pattern.is_match(name) {
                is_declared = true;
                self.value(*id, member, &here)?;
            }
        }
        if !is_declared && let Some(id) = rules.others {
            if self.schemas.get(id).never {
                return Err(self.misfit(at, "additionalProperties", "declared properties and no others"));
            }
            self.value(id, member, &here)?;
        }
        if let Some(id) = rules.names
            && !self.would_fit(id, &Node::Text(name.into()), &here)?
        {
            return Err(self.misfit(at, "propertyNames", "names of the declared form"));
        }
        Ok(())
    }

    fn is_among(&mut self, options: &Options, node: &Node) -> Result<bool, Misfit> {
        if let Node::Text(text) = node {
            return Ok(options.texts.contains(&**text));
        }
        self.spend(options.others.len())?;
        Ok(options.others.iter().any(|option| is_equal(option, node)))
    }

    fn is_unique(&mut self, items: &[Node]) -> Result<bool, Misfit> {
        let mut seen = HashSet::with_capacity(items.len());
        for item in items {
            let mut form = Vec::new();
            one_form(item, &mut form);
            self.spend(1 + form.len() / 64)?;
            if !seen.insert(form) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn spend(&mut self, steps: usize) -> Fits {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps = self.steps.saturating_sub(steps);
        if self.steps == 0 { Err(Misfit::Untold) } else { Ok(()) }
    }

    fn misfit(&self, at: &Place<'_>, keyword: &'static str, asks: &'static str) -> Misfit {
        self.told(at, keyword, || Cow::Borrowed(asks))
    }

    fn misfit_by(&self, at: &Place<'_>, keyword: &'static str, asks: impl FnOnce() -> String) -> Misfit {
        self.told(at, keyword, || Cow::Owned(asks()))
    }

    fn told(
        &self,
        at: &Place<'_>,
        keyword: &'static str,
        asks: impl FnOnce() -> Cow<'static, str>,
    ) -> Misfit {
        if self.quiet {
            return Misfit::Untold;
        }
        Misfit::Told(Box::new((at.pointer(&self.schemas.names), keyword, asks())))
    }
}

/// JSON Schema's equality: numbers by what they are, members in any order (2020-12 Core §4.2.2).
fn is_equal(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Number(one), Node::Number(other)) => match (Number::read(one), Number::read(other)) {
            (Some(one), Some(other)) => one.compare(other) == Ordering::Equal,
            _ => false,
        },
        (Node::List(one), Node::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Node::Map(one), Node::Map(other)) => {
            let find = |name: &str| other.iter().find(|(known, _)| known == name);
            one.len() == other.len()
                && one.iter().all(|(name, value)| find(name).is_some_and(|(_, known)| is_equal(value, known)))
        }
        (one, other) => one == other,
    }
}

/// Bytes that are the same for values that are equal, and for no others.
fn one_form(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Number(text) => match Number::read(text) {
            Some(Number::Whole(whole)) => out.extend_from_slice(format!("{whole}").as_bytes()),
            Some(Number::Real(real)) => out.extend_from_slice(format!("{real}").as_bytes()),
            None => out.extend_from_slice(text.as_bytes()),
        },
        Node::List(items) => {
            out.push(b'[');
            for item in items {
                one_form(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Node::Map(members) => {
            let mut sorted: Vec<&(Cow<'_, str>, Node<'_>)> = members.iter().collect();
            sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            out.push(b'{');
            for (name, value) in sorted {
                out.extend_from_slice(&Node::Text((&**name).into()).written());
                one_form(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        other => out.extend_from_slice(&other.written()),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
