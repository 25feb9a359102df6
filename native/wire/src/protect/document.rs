//! A JSON document under a policy: each leaf taken by its most specific rule, and a new document of what goes out.
//!
//! Rules are matched against the document as it came; nothing that a rule makes is matched again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ptr;
use std::str::FromStr;

use serde_json::{Map, Number, Value as Json};
use serde_json_path::PathElement;

use super::act::{Act, Fresh, Outcome, Value};
use super::selector::{Path, Rank, Step, Target, rank};
use super::told::{At, Breach, Place, Told};
use crate::error::Code;
use crate::json::Node;

/// A rule on its way down: all of its steps so far have been taken.
#[derive(Clone, Copy)]
struct Alive<'p> {
    rule: usize,
    steps: &'p [Step],
}

/// The most specific rule of a place, with another one that is just as specific.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    pub rule: usize,
    pub rival: Option<usize>,
}

/// Rules for places in one document, with their numbers.
pub type Ruled<'p> = [(usize, &'p Path)];

/// Read, rewrite and write a body.
pub fn rewrite(document: &[u8], told: &mut Told<'_>) -> Result<Vec<u8>, Breach> {
    let root = Node::read(document)
        .map_err(|why| Breach::new(Code::Unparseable, format!("The JSON body {why}.")))?;
    let rules = told.policy.rules_in(|target| match target {
        Target::Body(path) => Some(path),
        _ => None,
    });
    let mut fresh = rewritten(&root, &rules, None, Place::document("body", None), told)?;
    if let Some(signals) = told.policy.signals() {
        signals.set(&mut fresh, told.has_consent())?;
    }
    written(&fresh)
}

/// A document's bytes; what goes out is what a reader finds in it.
pub fn written(fresh: &Node) -> Result<Vec<u8>, Breach> {
    let written = fresh.written();
    match Node::read(&written) {
        Ok(again) if again == *fresh => Ok(written),
        _ => Err(Breach::garbled()),
    }
}

/// What goes out of a document, which stands at `place`; `above` is the claim of what it stands in.
pub fn rewritten<'n>(
    root: &'n Node<'n>,
    rules: &Ruled<'_>,
    above: Option<Claim>,
    place: Place<'n>,
    told: &mut Told<'_>,
) -> Result<Node<'n>, Breach> {
    // A document of which nothing goes out is still one of its kind.
    Ok(claimed(root, rules, above, place, told)?.unwrap_or(match root {
        Node::List(_) => Node::List(Vec::new()),
        Node::Map(_) => Node::Map(Vec::new()),
        _ => Node::Null,
    }))
}

/// The same of what need not be there; None where nothing of it goes out.
pub fn claimed<'n>(
    root: &'n Node<'n>,
    rules: &Ruled<'_>,
    above: Option<Claim>,
    place: Place<'n>,
    told: &mut Told<'_>,
) -> Result<Option<Node<'n>>, Breach> {
    let alive: Vec<Alive<'_>> = rules
        .iter()
        .filter_map(|(rule, path)| match path {
            Path::Steps(steps) => Some(Alive { rule: *rule, steps }),
            Path::Any(_) => None,
        })
        .collect();
    let found = found_by_queries(rules, root);
    let mut walk = Walk { told, found, place, name: None };
    walk.queries_find(rules)?;
    walk.node(root, 0, &alive, above)
}

struct Walk<'t, 'p, 'n> {
    told: &'t mut Told<'p>,
    /// Nodes that only a query finds, by their addresses, with the rules that have the queries.
    found: HashMap<*const Node<'n>, Vec<usize>>,
    place: Place<'n>,
    /// What the member that was sealed last is called from now on.
    name: Option<(usize, &'p str)>,
}

impl<'n> Walk<'_, '_, 'n> {
    /// What goes out of a node; None where nothing does. `above` is the claim of what it stands in.
    fn node(
        &mut self,
        node: &'n Node<'n>,
        depth: usize,
        alive: &[Alive<'_>],
        above: Option<Claim>,
    ) -> Result<Option<Node<'n>>, Breach> {
        let own = self.claim(node, depth, alive);
        let claim = own.or(above);
        self.leads_on(node, depth, alive)?;
        let rules = &self.told.policy.rules;
        let goes_whole = claim.is_some_and(|claim| {
            claim.rival.is_none()
                && rules[claim.rule].act == Act::Allow
                && !self.told.withholds(&rules[claim.rule])
        });
        if goes_whole
            && self.told.trail.is_none()
            && self.told.policy.assert_absent.is_empty()
            && self.found.is_empty()
            && alive.iter().all(|one| one.steps.len() <= depth)
        {
            self.told.lets_go(claim.map_or(0, |claim| claim.rule));
            return Ok(Some(node.clone()));
        }
        let fresh = self.inside(node, depth, alive, claim)?;
        match (own, fresh) {
            (Some(own), Some(fresh)) => self.sealed(own, fresh).map(Some),
            (_, fresh) => Ok(fresh),
        }
    }

    fn inside(
        &mut self,
        node: &'n Node<'n>,
        depth: usize,
        alive: &[Alive<'_>],
        claim: Option<Claim>,
    ) -> Result<Option<Node<'n>>, Breach> {
        match node {
            Node::List(items) if !items.is_empty() => {
                let mut fresh = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let alive = onward(alive, depth, |step| step.takes_index(index));
                    self.place.push(At::Index(index));
                    fresh.extend(self.node(item, depth + 1, &alive, claim)?);
                    self.place.pop();
                }
                Ok((!fresh.is_empty()).then_some(Node::List(fresh)))
            }
            Node::Map(members) if !members.is_empty() => {
                let mut fresh = Vec::new();
                for (name, member) in members {
                    let alive = onward(alive, depth, |step| step.takes_name(name));
                    self.place.push(At::Name(name));
                    self.told.trip(claim.map(|claim| claim.rule), name, &self.place)?;
                    let member = self.node(member, depth + 1, &alive, claim)?;
                    self.place.pop();
                    let name = match self.name.take() {
                        None => Cow::Borrowed(&**name),
                        Some((rule, other)) => {
                            let is_taken = |known: &str| known == other && known != name;
                            if members.iter().any(|(known, _)| is_taken(known)) {
                                return Err(Breach::taken(&self.told.policy.rules[rule], &self.place));
                            }
                            Cow::Owned(other.to_owned())
                        }
                    };
                    fresh.extend(member.map(|member| (name, member)));
                }
                Ok((!fresh.is_empty()).then_some(Node::Map(fresh)))
            }
            _ => self.leaf(node, claim),
        }
    }

    /// What is made of all that goes out of a place; most rules leave that as it is.
    fn sealed(&mut self, own: Claim, fresh: Node<'n>) -> Result<Node<'n>, Breach> {
        let rules = &self.told.policy.rules;
        let Some(sealing) = rules[own.rule].act.seals().filter(|_| !self.told.withholds(&rules[own.rule]))
        else {
            return Ok(fresh);
        };
        if let Some(rival) = own.rival {
            return Err(Breach::two_rules(&rules[own.rule], &rules[rival], &self.place));
        }
        self.name = sealing.into.as_deref().map(|name| (own.rule, name));
        self.told.seal(own.rule, sealing, &fresh, &self.place)
    }

    /// What is to be sealed is there: nothing on the way to it is missing.
    fn leads_on(&mut self, node: &Node<'n>, depth: usize, alive: &[Alive<'_>]) -> Result<(), Breach> {
        for one in alive {
            let Some(step) = one.steps.get(depth) else { continue };
            if self.must_find(one.rule) && !has_step(node, step) {
                self.told.lacks(one.rule, &self.place)?;
            }
        }
        Ok(())
    }

    fn queries_find(&mut self, rules: &Ruled<'_>) -> Result<(), Breach> {
        for (rule, path) in rules {
            let is_found = || self.found.values().flatten().any(|found| found == rule);
            if matches!(path, Path::Any(_)) && self.must_find(*rule) && !is_found() {
                self.told.lacks(*rule, &self.place)?;
            }
        }
        Ok(())
    }

    fn must_find(&self, rule: usize) -> bool {
        self.told.policy.rules[rule].act.seals().is_some_and(|sealing| !sealing.may_be_absent)
    }

    fn leaf(&mut self, node: &'n Node<'n>, claim: Option<Claim>) -> Result<Option<Node<'n>>, Breach> {
        let rules = &self.told.policy.rules;
        if let Some(Claim { rule, rival: Some(rival), .. }) = claim {
            return Err(Breach::two_rules(&rules[rule], &rules[rival], &self.place));
        }
        let value = match node {
            Node::Text(text) => Value::Text(text),
            Node::Number(digits) => Value::Number(digits),
            Node::Bool(is_so) => Value::Bool(*is_so),
            Node::Null | Node::List(_) | Node::Map(_) => Value::Nothing,
        };
        Ok(match self.told.act(claim.map(|claim| claim.rule), value, &self.place)? {
            Outcome::Same => Some(match node {
                Node::Text(text) => Node::Text(Cow::Borrowed(text)),
                other => other.clone(),
            }),
            Outcome::Gone | Outcome::File(_) => None,
            Outcome::New(Fresh::Text(text)) => Some(Node::Text(text.into())),
            Outcome::New(Fresh::Number(digits)) => Some(Node::Number(digits.into())),
        })
    }

    /// The claim of the rules that end here.
    fn claim(&self, node: &Node<'n>, depth: usize, alive: &[Alive<'_>]) -> Option<Claim> {
        let by_steps =
            alive.iter().filter(|one| one.steps.len() == depth).map(|one| (one.rule, rank(one.steps)));
        let by_query = self.found.get(&ptr::from_ref(node)).into_iter().flatten();
        let by_query = by_query.map(|rule| (*rule, Rank { depth, named: 0 }));
        most_specific(by_steps.chain(by_query))
    }
}

/// The rule that says most, and one that says as much.
pub fn most_specific(rules: impl Iterator<Item = (usize, Rank)>) -> Option<Claim> {
    let best = rules.fold(None, |best, (rule, rank)| match best {
        Some((claim, best_rank)) if best_rank > rank => Some((claim, best_rank)),
        Some((claim, best_rank)) if best_rank == rank => {
            Some((Claim { rival: Some(rule), ..claim }, best_rank))
        }
        _ => Some((Claim { rule, rival: None }, rank)),
    });
    best.map(|(claim, _)| claim)
}

fn onward<'p>(alive: &[Alive<'p>], depth: usize, takes: impl Fn(&Step) -> bool) -> Vec<Alive<'p>> {
    alive.iter().filter(|one| one.steps.get(depth).is_some_and(&takes)).copied().collect()
}

/// Whether a step leads on from a node; the items of an empty list are all there.
fn has_step(node: &Node, step: &Step) -> bool {
    match node {
        Node::List(items) => *step == Step::Every || (0..items.len()).any(|index| step.takes_index(index)),
        Node::Map(members) => *step == Step::Every || members.iter().any(|(name, _)| step.takes_name(name)),
        _ => false,
    }
}

fn found_by_queries<'n>(rules: &Ruled<'_>, root: &'n Node<'n>) -> HashMap<*const Node<'n>, Vec<usize>> {
    let mut found: HashMap<*const Node<'n>, Vec<usize>> = HashMap::new();
    let mut shadow = None;
    for (rule, path) in rules {
        let Path::Any(path) = path else { continue };
        let shadow = shadow.get_or_insert_with(|| shadow_of(root));
        for location in path.query_located(shadow).dedup().locations() {
            if let Some(node) = at(root, location.iter()) {
                found.entry(ptr::from_ref(node)).or_default().push(*rule);
            }
        }
    }
    found
}

fn at<'n, 'e>(root: &'n Node<'n>, steps: impl Iterator<Item = &'e PathElement<'e>>) -> Option<&'n Node<'n>> {
    let mut node = root;
    for step in steps {
        node = match (node, step) {
            (Node::List(items), PathElement::Index(index)) => items.get(*index)?,
            (Node::Map(members), PathElement::Name(name)) => {
                &members.iter().find(|(known, _)| known == name)?.1
            }
            _ => return None,
        };
    }
    Some(node)
}

/// The document as queries read it. A number that is none of theirs is nothing that a filter could like.
pub fn shadow_of(node: &Node) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::Bool(is_so) => Json::Bool(*is_so),
        Node::Number(digits) => Number::from_str(digits).map_or(Json::Null, Json::Number),
        Node::Text(text) => Json::String(text.to_string()),
        Node::List(items) => Json::Array(items.iter().map(shadow_of).collect()),
        Node::Map(members) => {
            let members = members.iter().map(|(name, member)| (name.to_string(), shadow_of(member)));
            Json::Object(members.collect::<Map<_, _>>())
        }
    }
}
