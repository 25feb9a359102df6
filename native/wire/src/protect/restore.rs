//! Turn tokens in an answer back into values: at declared places alone, and only the client's own.
//!
//! Runs in `respond`, after what came was stored, so that the cache holds tokens. A token that was made for another
//! client, provider or field stays what it is: who plants one in a provider's record learns nothing by it. So does
//! an answer that cannot be read, or is larger than the bound: a consumer gets tokens then, never an error.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use serde::Deserialize;
use serde_json_path::PathElement;
use zeroize::Zeroizing;

use super::document::shadow_of;
use super::ff1;
use super::keys::{Place, Roots};
use super::person::{Id, PersonKey};
use super::persons::{Known, Persons};
use super::selector::{Path, Selector, Step, Target};
use super::token::{self, Token};
use super::tokenise::{self, Clear};
use crate::json::Node;

/// Answers up to this size, in bytes, are looked into.
pub const ANSWER_BYTES_MAX: usize = 10 << 20;

/// One place in the answers of an operation, as the snapshot has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRestoration {
    pub operations: Vec<u32>,
    at: String,
    field: String,
    #[serde(default)]
    ff1: Option<u32>,
}

/// Where tokens of one field become values again.
#[derive(Debug)]
pub struct Restoration {
    path: Path,
    field: Arc<str>,
    /// Digits that stand for others, by the root of this number; None: tokens.
    ff1: Option<u32>,
}

impl RawRestoration {
    pub fn compile(self) -> Result<Restoration, String> {
        let Selector { text, target } = self.at.parse()?;
        let Target::Body(path) = target else { return Err(format!("`{text}` is no place in an answer")) };
        Ok(Restoration { path, field: self.field.into(), ff1: self.ff1 })
    }
}

/// What is restored in one call's answer, and for whom.
pub struct Restoring {
    pub restorations: Arc<[Arc<Restoration>]>,
    pub roots: Arc<Roots>,
    pub client: Arc<str>,
    pub provider: Arc<str>,
}

/// The keys of persons that are at hand, and those that are not.
struct AtHand<'p> {
    persons: &'p Persons,
    client: &'p Arc<str>,
    asked: Known,
    missing: HashSet<Id>,
}

impl AtHand<'_> {
    fn key(&mut self, id: &Id) -> Option<Arc<PersonKey>> {
        if let Some(known) = self.asked.get(id) {
            return known.clone();
        }
        if let Some(known) = self.persons.known(self.client, id) {
            return known;
        }
        self.missing.insert(*id);
        None
    }
}

impl Debug for Restoring {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Restoring").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// The way to a leaf in one document.
pub type Location = Vec<Key>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Index(usize),
    Name(Box<str>),
}

impl Restoring {
    /// The answer with its values; None where nothing in it is restored. Keys of persons that are not at hand are
    /// asked for, and where one cannot be had its tokens stay.
    pub async fn restore(&self, answer: &[u8], persons: &Persons) -> Option<Vec<u8>> {
        let mut keys = self.at_hand(persons);
        let fresh = self.restored(answer, &mut keys);
        if keys.missing.is_empty() {
            return fresh;
        }
        keys.asked = persons.of_ids(&self.client, &keys.missing).await;
        self.restored(answer, &mut keys)
    }

    fn restored(&self, answer: &[u8], keys: &mut AtHand<'_>) -> Option<Vec<u8>> {
        let mut root = Node::read(answer).ok()?;
        self.restore_in(&mut root, keys).then(|| root.written())
    }

    /// Whether anything was restored.
    fn restore_in(&self, root: &mut Node<'_>, keys: &mut AtHand<'_>) -> bool {
        let mut is_changed = false;
        for one in &*self.restorations {
            let place = Place { provider: &self.provider, field: &one.field };
            for location in one.path.leaves(root) {
                let Some(node) = at(root, &location) else { continue };
                let fresh = match one.ff1 {
                    Some(number) => self.number(node, number, place),
                    None => self.value(node, place, keys),
                };
                if let Some(fresh) = fresh {
                    *node = fresh;
                    is_changed = true;
                }
            }
        }
        is_changed
    }

    /// Whether anything was restored by keys that are at hand.
    pub fn restore_at_once(&self, root: &mut Node<'_>, persons: &Persons) -> bool {
        self.restore_in(root, &mut self.at_hand(persons))
    }

    fn at_hand<'p>(&'p self, persons: &'p Persons) -> AtHand<'p> {
        AtHand { persons, client: &self.client, asked: Known::new(), missing: HashSet::new() }
    }

    /// Where tokens may stand in a document, with the fields that they may be of.
    pub fn places(&self, root: &Node<'_>) -> BTreeMap<Location, Vec<Arc<str>>> {
        let mut places: BTreeMap<Location, Vec<Arc<str>>> = BTreeMap::new();
        for one in self.restorations.iter().filter(|one| one.ff1.is_none()) {
            for location in one.path.leaves(root) {
                places.entry(location).or_default().push(Arc::clone(&one.field));
            }
        }
        places
    }

    /// The value of a token of one of these fields, as a text, by keys that are at hand.
    pub fn opened(&self, token: &str, fields: &[Arc<str>], persons: &Persons) -> Option<Zeroizing<String>> {
        let token = Token::read(token)?;
        let mut keys = self.at_hand(persons);
        fields.iter().find_map(|field| {
            let place = Place { provider: &self.provider, field };
            match tokenise::open(&token, &self.roots, place, |id| keys.key(id))? {
                Clear::Text(value) | Clear::Scalar(value) => Some(value),
            }
        })
    }

    fn value(&self, node: &Node<'_>, place: Place<'_>, keys: &mut AtHand<'_>) -> Option<Node<'static>> {
        let Node::Text(text) = node else { return None };
        if let Some(token) = Token::read(text) {
            return match tokenise::open(&token, &self.roots, place, |id| keys.key(id))? {
                Clear::Text(value) => Some(Node::Text(value.to_string().into())),
                Clear::Scalar(value) => Node::read(value.as_bytes()).ok().map(Node::into_owned),
            };
        }
        // Within a longer text, values are text.
        let mut fresh = Zeroizing::new(String::new());
        let mut from = 0;
        for (range, token) in token::find(text) {
            let opened = tokenise::open(&token, &self.roots, place, |id| keys.key(id));
            let Some(Clear::Text(value) | Clear::Scalar(value)) = opened else { continue };
            fresh.push_str(&text[from..range.start]);
            fresh.push_str(&value);
            from = range.end;
        }
        fresh.push_str(&text[from..]);
        (from > 0).then(|| Node::Text(fresh.to_string().into()))
    }

    fn number(&self, node: &Node<'_>, root: u32, place: Place<'_>) -> Option<Node<'static>> {
        let Node::Text(digits) = node else { return None };
        ff1::unshaped(&self.roots, root, place, digits).ok().map(|digits| Node::Text(digits.into()))
    }
}

impl Path {
    /// Where the leaves are that it selects.
    fn leaves(&self, root: &Node<'_>) -> Vec<Location> {
        let mut found = Vec::new();
        match self {
            Self::Steps(steps) => along(root, steps, &mut Vec::new(), &mut found),
            Self::Any(path) => {
                let shadow = shadow_of(root);
                for one in path.query_located(&shadow).dedup().locations() {
                    let mut location: Location = one.iter().map(Key::from).collect();
                    if let Some(node) = get(root, &location) {
                        leaves(node, &mut location, &mut found);
                    }
                }
            }
        }
        found
    }
}

impl From<&PathElement<'_>> for Key {
    fn from(step: &PathElement<'_>) -> Self {
        match step {
            PathElement::Index(index) => Self::Index(*index),
            PathElement::Name(name) => Self::Name((*name).into()),
        }
    }
}

fn along(node: &Node<'_>, steps: &[Step], location: &mut Location, found: &mut Vec<Location>) {
    let Some((step, rest)) = steps.split_first() else { return leaves(node, location, found) };
    below(node, location, |key, child, location| {
        let is_taken = match key {
            Key::Index(index) => step.takes_index(*index),
            Key::Name(name) => step.takes_name(name),
        };
        if is_taken {
            along(child, rest, location, found);
        }
    });
}

fn leaves(node: &Node<'_>, location: &mut Location, found: &mut Vec<Location>) {
    if matches!(node, Node::List(_) | Node::Map(_)) {
        below(node, location, |_, child, location| leaves(child, location, found));
    } else {
        found.push(location.clone());
    }
}

fn below(node: &Node<'_>, location: &mut Location, mut visit: impl FnMut(&Key, &Node<'_>, &mut Location)) {
    let mut one = |key: Key, child: &Node<'_>| {
        location.push(key.clone());
        visit(&key, child, location);
        location.pop();
    };
    match node {
        Node::List(items) => items.iter().enumerate().for_each(|(index, item)| one(Key::Index(index), item)),
        Node::Map(members) => {
            for (name, member) in members {
                one(Key::Name((&**name).into()), member);
            }
        }
        _ => {}
    }
}

/// The node at a place.
pub fn get<'n, 'd>(root: &'n Node<'d>, location: &Location) -> Option<&'n Node<'d>> {
    location.iter().try_fold(root, |node, key| match (node, key) {
        (Node::List(items), Key::Index(index)) => items.get(*index),
        (Node::Map(members), Key::Name(name)) => {
            members.iter().find(|(known, _)| **known == **name).map(|(_, member)| member)
        }
        _ => None,
    })
}

/// The node at a place, to be another one.
pub fn at<'n, 'd>(root: &'n mut Node<'d>, location: &Location) -> Option<&'n mut Node<'d>> {
    location.iter().try_fold(root, |node, key| match (node, key) {
        (Node::List(items), Key::Index(index)) => items.get_mut(*index),
        (Node::Map(members), Key::Name(name)) => {
            members.iter_mut().find(|(known, _)| **known == **name).map(|(_, member)| member)
        }
        _ => None,
    })
}

#[cfg(test)]
pub mod tests {
    use super::super::keys::tests::roots;
    use super::super::person::tests::person;
    use super::super::persons::Whom;
    use super::super::token::Kind;
    use super::*;

    pub(in super::super) fn restoring(
        client: &str,
        provider: &str,
        places: &[(&str, &str, Option<u32>)],
    ) -> Restoring {
        let compiled = places.iter().map(|(at, field, ff1)| {
            let raw =
                RawRestoration { operations: vec![0], at: (*at).into(), field: (*field).into(), ff1: *ff1 };
            Arc::new(raw.compile().expect("a place"))
        });
        let restorations = compiled.collect();
        let roots = Arc::new(roots(client, &[1, 2]));
        Restoring { restorations, roots, client: client.into(), provider: provider.into() }
    }

    pub(in super::super) fn sealed(client: &str, provider: &str, field: &str, clear: &Clear) -> String {
        let place = Place { provider, field };
        tokenise::seal(Kind::Aead, &roots(client, &[1, 2]), place, clear).expect("token")
    }

    pub(in super::super) fn text(value: &str) -> Clear {
        Clear::Text(Zeroizing::new(value.to_owned()))
    }

    fn restored(restoring: &Restoring, answer: &str) -> Option<String> {
        let fresh = restoring.restored(answer.as_bytes(), &mut restoring.at_hand(&Persons::default()));
        fresh.map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn values_come_back_at_declared_places_alone() {
        let token = sealed("acme", "crm", "email", &text("a\"b@example.com"));
        let number = sealed("acme", "crm", "age", &Clear::Scalar(Zeroizing::new("4.20".to_owned())));
        let ours = restoring(
            "acme",
            "crm",
            &[("body $.data[*].email", "email", None), ("body $..age", "age", None)],
        );
        let answer = format!(r#"{{"data":[{{"email":"{token}","age":"{number}"}}],"note":"{token}"}}"#);
        let expected = format!(r#"{{"data":[{{"email":"a\"b@example.com","age":4.20}}],"note":"{token}"}}"#);
        assert_eq!(restored(&ours, &answer), Some(expected));
    }

    #[test]
    fn tokens_of_others_stay_tokens() {
        let place = [("body $", "email", None)];
        let ours = restoring("acme", "crm", &place);
        for (client, provider, field) in
            [("globex", "crm", "email"), ("acme", "mail", "email"), ("acme", "crm", "name")]
        {
            let token = sealed(client, provider, field, &text("secret"));
            assert_eq!(restored(&ours, &format!("{{\"a\":\"{token}\",\"b\":\"see {token}!\"}}")), None);
        }
    }

    #[test]
    fn tokens_within_a_text_come_back_too() {
        let ours = restoring("acme", "crm", &[("body $.text", "email", None)]);
        let (token, other) =
            (sealed("acme", "crm", "email", &text("Jane")), sealed("globex", "crm", "email", &text("Eve")));
        let answer = format!("{{\"text\":\"Dear {token}, not {other}. Yours, {token}\"}}");
        let expected = format!("{{\"text\":\"Dear Jane, not {other}. Yours, Jane\"}}");
        assert_eq!(restored(&ours, &answer), Some(expected));
    }

    #[test]
    fn digits_come_back_by_the_root_of_their_rule() {
        let place = Place { provider: "psp", field: "account" };
        let token = ff1::shaped(&roots("acme", &[1, 2]), 1, place, "12345678").expect("digits");
        let ours = restoring("acme", "psp", &[("body $.account", "account", Some(1))]);
        assert_eq!(
            restored(&ours, &format!("{{\"account\":\"{token}\",\"x\":1}}")),
            Some("{\"account\":\"12345678\",\"x\":1}".to_owned())
        );
        assert_eq!(restored(&ours, "{\"account\":\"none\"}"), None);
    }

    #[tokio::test]
    async fn tokens_of_persons_come_back_by_keys_that_are_asked_for_and_stay_without() {
        let ours = restoring("acme", "crm", &[("body $[*]", "email", None)]);
        let place = Place { provider: "crm", field: "email" };
        let token = |seed| {
            tokenise::seal_for(&person(seed), &ours.roots, place, &text(&format!("v{seed}"))).expect("token")
        };
        let answer = format!(r#"["{}","{}","{}","to {}"]"#, token(1), token(2), token(1), token(1));
        let persons = Arc::new(Persons::default());
        let theirs = Arc::clone(&persons);
        let thread = std::thread::spawn(move || {
            let asked = theirs.take(9, std::time::Duration::from_secs(10)).pop().expect("asked");
            let Whom::Ids(ids) = &asked.whom else { panic!("{:?}", asked.whom) };
            assert_eq!(ids.len(), 2);
            theirs.answer(asked.id, Some(vec![([1; 16], Zeroizing::new(vec![1; 32]))]));
        });
        let fresh = ours.restore(answer.as_bytes(), &persons).await.expect("restored");
        thread.join().expect("joined");
        let fresh = String::from_utf8(fresh).expect("text");
        assert!(fresh.starts_with(r#"["v1","tdgt1."#) && fresh.ends_with(r#","v1","to v1"]"#), "{fresh}");
        // What is known is not asked for again: nobody would answer.
        assert!(ours.restore(answer.as_bytes(), &persons).await.is_some());
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        let ours = restoring("acme", "crm", &[("body $", "email", None)]);
        let token = sealed("acme", "crm", "email", &text("x"));
        for answer in
            [format!("[\"{token}\""), format!("{{\"a\":1,\"a\":\"{token}\"}}"), token, String::new()]
        {
            assert_eq!(restored(&ours, &answer), None);
        }
    }
}
