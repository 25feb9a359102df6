//! An XML document under a policy: each text and attribute taken by its most specific rule, and a new document of
//! what goes out.
//!
//! Names are those of [`crate::xml`], by the policy's prefixes. An element that stands twice beside its like is read
//! by one program as a list and by another as its first or last; so its rules must say `repeated`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::act::{Fresh, Outcome, Value};
use super::document::{Claim, most_specific};
use super::selector::{Step, Target, rank};
use super::told::{At, Breach, Place, Told};
use crate::error::Code;
use crate::xml::{Content, Element};

/// A rule on its way down: all of its steps so far have been taken.
#[derive(Clone, Copy)]
struct Alive<'p> {
    rule: usize,
    steps: &'p [Step],
}

/// Of what an element stands in: the claim, and whether something on the way to it stands twice.
#[derive(Clone, Copy)]
struct Above {
    claim: Option<Claim>,
    is_repeated: bool,
}

/// Read, rewrite and write a body.
pub fn rewrite(body: &[u8], told: &mut Told<'_>) -> Result<Vec<u8>, Breach> {
    let policy = told.policy;
    let namespaces = &policy.namespaces;
    let root = Element::read(body, namespaces)
        .map_err(|why| Breach::new(Code::Unparseable, format!("The XML body {why}.")))?;
    let rules = policy.rules.iter().enumerate().filter_map(|(rule, one)| match &one.target {
        Target::Xml(steps) => Some(Alive { rule, steps }),
        _ => None,
    });
    let alive = onward(rules, 0, |step| step.takes_name(&root.name));
    let mut walk = Walk { told, place: Place::tree("xml") };
    walk.place.push(At::Name(&root.name));
    let fresh = walk.element(&root, 1, &alive, Above { claim: None, is_repeated: false })?;
    // A document of which nothing goes out still has its root.
    let fresh = fresh.unwrap_or_else(|| Element {
        name: root.name.clone(),
        attributes: Vec::new(),
        content: Content::Nothing,
    });
    let written = fresh.written(namespaces);
    // What goes out is what a reader finds in it.
    match Element::read(&written, namespaces) {
        Ok(again) if again == fresh => Ok(written),
        _ => Err(Breach::garbled()),
    }
}

struct Walk<'t, 'p, 'n> {
    told: &'t mut Told<'p>,
    place: Place<'n>,
}

impl<'n> Walk<'_, '_, 'n> {
    /// What goes out of an element; None where nothing does.
    fn element(
        &mut self,
        element: &'n Element<'n>,
        depth: usize,
        alive: &[Alive<'_>],
        above: Above,
    ) -> Result<Option<Element<'n>>, Breach> {
        let above = Above { claim: ending(alive, depth).or(above.claim), ..above };
        self.trip(&element.name, above)?;
        let mut attributes = Vec::new();
        for (name, value) in &element.attributes {
            let own = alive.iter().filter(|one| is_attribute(one.steps.get(depth), name)).copied();
            let claim = ending(&own.collect::<Vec<_>>(), depth + 1).or(above.claim);
            let above = Above { claim, ..above };
            self.place.push(At::Attribute(name));
            self.trip(name, above)?;
            let fresh = self.leaf(value, above)?;
            attributes.extend(fresh.map(|fresh| (Cow::Borrowed(&**name), fresh)));
            self.place.pop();
        }
        let content = match &element.content {
            // Where there is nothing but attributes, nothing is not a leaf.
            Content::Nothing if !element.attributes.is_empty() => None,
            Content::Nothing => self.leaf("", above)?.map(|_| Content::Nothing),
            Content::Text(text) => self
                .leaf(text, above)?
                .map(|fresh| if fresh.is_empty() { Content::Nothing } else { Content::Text(fresh) }),
            Content::Elements(elements) => self.elements(elements, depth, alive, above)?,
        };
        let goes = content.is_some() || !attributes.is_empty();
        Ok(goes.then(|| Element {
            name: Cow::Borrowed(&*element.name),
            attributes,
            content: content.unwrap_or(Content::Nothing),
        }))
    }

    fn elements(
        &mut self,
        elements: &'n [Element<'n>],
        depth: usize,
        alive: &[Alive<'_>],
        above: Above,
    ) -> Result<Option<Content<'n>>, Breach> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for element in elements {
            *counts.entry(&element.name).or_default() += 1;
        }
        let mut fresh = Vec::new();
        for element in elements {
            let alive = onward(alive.iter().copied(), depth, |step| step.takes_name(&element.name));
            let is_repeated = above.is_repeated || counts.get(&*element.name).is_some_and(|count| *count > 1);
            self.place.push(At::Name(&element.name));
            fresh.extend(self.element(element, depth + 1, &alive, Above { is_repeated, ..above })?);
            self.place.pop();
        }
        Ok((!fresh.is_empty()).then_some(Content::Elements(fresh)))
    }

    /// What goes out of a text; None where nothing does.
    fn leaf(&mut self, text: &'n str, above: Above) -> Result<Option<Cow<'n, str>>, Breach> {
        let rules = &self.told.policy.rules;
        if let Some(Claim { rule, rival: Some(rival) }) = above.claim {
            return Err(Breach::two_rules(&rules[rule], &rules[rival], &self.place));
        }
        let rule = above.claim.map(|claim| claim.rule);
        if above.is_repeated && rule.is_some_and(|rule| !rules[rule].repeated) {
            return Err(Breach::repeated(&self.place));
        }
        // What an element leaves empty is no date, and no mistake.
        let value = if text.is_empty() { Value::Nothing } else { Value::Text(text) };
        Ok(match self.told.act(rule, value, &self.place)? {
            Outcome::Same => Some(Cow::Borrowed(text)),
            Outcome::Gone | Outcome::File(_) => None,
            Outcome::New(Fresh::Text(text) | Fresh::Number(text)) => Some(Cow::Owned(text)),
        })
    }

    fn trip(&mut self, name: &str, above: Above) -> Result<(), Breach> {
        self.told.trip(above.claim.map(|claim| claim.rule), name, &self.place)
    }
}

fn is_attribute(step: Option<&Step>, name: &str) -> bool {
    matches!(step, Some(Step::Name(step)) if step.strip_prefix('@') == Some(name))
}

/// The claim of the rules that end at this depth.
fn ending(alive: &[Alive<'_>], depth: usize) -> Option<Claim> {
    let ending = alive.iter().filter(|one| one.steps.len() == depth);
    most_specific(ending.map(|one| (one.rule, rank(one.steps))))
}

fn onward<'p>(
    alive: impl Iterator<Item = Alive<'p>>,
    depth: usize,
    takes: impl Fn(&Step) -> bool,
) -> Vec<Alive<'p>> {
    alive.filter(|one| one.steps.get(depth).is_some_and(&takes)).collect()
}

#[cfg(test)]
mod tests;
