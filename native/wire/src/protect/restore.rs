//! Turn tokens in an answer back into values: at declared places alone, and only the client's own.
//!
//! Runs in `respond`, after what came was stored, so that the cache holds tokens. A token that was made for another
//! client, provider or field stays what it is: who plants one in a provider's record learns nothing by it. So does
//! an answer that cannot be read, or is larger than the bound: a consumer gets tokens then, never an error.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use serde::Deserialize;
use serde_json_path::PathElement;
use zeroize::Zeroizing;

use super::document::shadow_of;
use super::ff1;
use super::keys::{Place, Roots};
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
    pub provider: Arc<str>,
}

impl Debug for Restoring {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Restoring").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Restoring {
    /// The answer with its values; None where nothing in it is restored.
    pub fn restore(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let mut root = Node::read(answer).ok()?;
        let mut restored = 0;
        for one in &*self.restorations {
            let place = Place { provider: &self.provider, field: &one.field };
            let leaf = &mut |node: &mut Node<'_>| {
                let fresh = match one.ff1 {
                    Some(number) => self.number(node, number, place),
                    None => self.value(node, place),
                };
                if let Some(fresh) = fresh {
                    *node = fresh;
                    restored += 1;
                }
            };
            match &one.path {
                Path::Steps(steps) => along(&mut root, steps, leaf),
                Path::Any(path) => {
                    let shadow = shadow_of(&root);
                    let found = path.query_located(&shadow).dedup();
                    for location in found.locations() {
                        if let Some(node) = at(&mut root, location.iter()) {
                            leaves(node, leaf);
                        }
                    }
                }
            }
        }
        (restored > 0).then(|| root.written())
    }

    fn value(&self, node: &Node<'_>, place: Place<'_>) -> Option<Node<'static>> {
        let Node::Text(text) = node else { return None };
        if let Some(token) = Token::read(text) {
            return match tokenise::open(&token, &self.roots, place)? {
                Clear::Text(value) => Some(Node::Text(value.to_string().into())),
                Clear::Scalar(value) => Node::read(value.as_bytes()).ok().map(Node::into_owned),
            };
        }
        // Within a longer text, values are text.
        let mut fresh = Zeroizing::new(String::new());
        let mut from = 0;
        for (range, token) in token::find(text) {
            let Some(Clear::Text(value) | Clear::Scalar(value)) = tokenise::open(&token, &self.roots, place)
            else {
                continue;
            };
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

fn along<'d>(node: &mut Node<'d>, steps: &[Step], leaf: &mut impl FnMut(&mut Node<'d>)) {
    let Some((step, rest)) = steps.split_first() else { return leaves(node, leaf) };
    match node {
        Node::List(items) => {
            let taken = items.iter_mut().enumerate().filter(|(index, _)| step.takes_index(*index));
            taken.for_each(|(_, item)| along(item, rest, leaf));
        }
        Node::Map(members) => {
            let taken = members.iter_mut().filter(|(name, _)| step.takes_name(name));
            taken.for_each(|(_, member)| along(member, rest, leaf));
        }
        _ => {}
    }
}

fn leaves<'d>(node: &mut Node<'d>, leaf: &mut impl FnMut(&mut Node<'d>)) {
    match node {
        Node::List(items) => items.iter_mut().for_each(|item| leaves(item, leaf)),
        Node::Map(members) => members.iter_mut().for_each(|(_, member)| leaves(member, leaf)),
        _ => leaf(node),
    }
}

fn at<'n, 'd, 'e>(
    root: &'n mut Node<'d>,
    steps: impl Iterator<Item = &'e PathElement<'e>>,
) -> Option<&'n mut Node<'d>> {
    let mut node = root;
    for step in steps {
        node = match (node, step) {
            (Node::List(items), PathElement::Index(index)) => items.get_mut(*index)?,
            (Node::Map(members), PathElement::Name(name)) => {
                &mut members.iter_mut().find(|(known, _)| known == name)?.1
            }
            _ => return None,
        };
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::roots;
    use super::super::token::Kind;
    use super::*;

    fn restoring(client: &str, provider: &str, places: &[(&str, &str, Option<u32>)]) -> Restoring {
        let compiled = places.iter().map(|(at, field, ff1)| {
            let raw =
                RawRestoration { operations: vec![0], at: (*at).into(), field: (*field).into(), ff1: *ff1 };
            Arc::new(raw.compile().expect("a place"))
        });
        let restorations = compiled.collect();
        Restoring { restorations, roots: Arc::new(roots(client, &[1, 2])), provider: provider.into() }
    }

    fn sealed(client: &str, provider: &str, field: &str, clear: &Clear) -> String {
        let place = Place { provider, field };
        tokenise::seal(Kind::Aead, &roots(client, &[1, 2]), place, clear).expect("token")
    }

    fn text(value: &str) -> Clear {
        Clear::Text(Zeroizing::new(value.to_owned()))
    }

    fn restored(restoring: &Restoring, answer: &str) -> Option<String> {
        restoring.restore(answer.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("text"))
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
