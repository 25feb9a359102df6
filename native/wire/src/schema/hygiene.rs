//! What an answer's JSON may hold, whatever a document says of it, and what of it is passed on.
//!
//! An answer is written anew from what was read: what reaches its consumer is what was judged, in one spelling.

use std::collections::HashMap;

use serde_json::{Map, Value};
use serde_json_path::{JsonPath, PathElement};

use super::place::Violation;
use crate::json::Node;

/// The texts that a browser would read as markup or as the end of a line in a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Html {
    #[default]
    Allow,
    /// Write them so that the answer may stand in a page.
    Escape,
    Refuse,
}

/// Names by which JavaScript reaches the prototypes of all objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prototype {
    #[default]
    Allow,
    Drop,
    Refuse,
}

/// The first name or text that is refused.
pub fn refused(node: &Node, html: Html, prototype: Prototype) -> Result<(), Violation> {
    let is_markup = |text: &str| html == Html::Refuse && has_markup(text);
    match node {
        Node::Text(text) if is_markup(text) => Err(Violation::new("body", "html", "texts without markup")),
        Node::List(items) => items.iter().try_for_each(|item| refused(item, html, prototype)),
        Node::Map(members) => members.iter().try_for_each(|(name, member)| {
            if is_markup(name) {
                return Err(Violation::new("body", "html", "names without markup"));
            }
            if prototype == Prototype::Refuse && reaches_prototype(name, member) {
                return Err(Violation::new("body", "prototype", "no name that reaches into prototypes"));
            }
            refused(member, html, prototype)
        }),
        _ => Ok(()),
    }
}

/// Where a tag, a comment or a processing instruction begins (HTML §13.2.5.6, tag open state).
fn has_markup(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'<', bytes).any(|at| {
        bytes.get(at + 1).is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, b'/' | b'!' | b'?'))
    })
}

fn reaches_prototype(name: &str, member: &Node) -> bool {
    let has_prototype = |node: &Node| match node {
        Node::Map(members) => members.iter().any(|(name, _)| name == "prototype"),
        _ => false,
    };
    name == "__proto__" || name == "constructor" && has_prototype(member)
}

/// Leave out what reaches into prototypes.
pub fn without_prototypes(node: Node<'_>) -> Node<'_> {
    match node {
        Node::List(items) => Node::List(items.into_iter().map(without_prototypes).collect()),
        Node::Map(members) => {
            let kept = members.into_iter().filter(|(name, member)| !reaches_prototype(name, member));
            Node::Map(kept.map(|(name, member)| (name, without_prototypes(member))).collect())
        }
        other => other,
    }
}

/// The document with nothing in it that a page would take for markup, whatever it stands in: in strings alone can
/// these characters be, and there they may be escaped (RFC 8259 §7).
pub fn escaped(written: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(written.len() + written.len() / 16);
    let mut rest = written;
    while let Some((byte, after)) = rest.split_first() {
        let escape: &[u8] = match (byte, after) {
            (b'<', _) => b"\\u003c",
            (b'>', _) => b"\\u003e",
            (b'&', _) => b"\\u0026",
            (0xe2, [0x80, 0xa8, ..]) => b"\\u2028",
            (0xe2, [0x80, 0xa9, ..]) => b"\\u2029",
            _ => {
                out.push(*byte);
                rest = after;
                continue;
            }
        };
        out.extend_from_slice(escape);
        rest = if *byte == 0xe2 { &after[2..] } else { after };
    }
    out
}

/// What of an answer is passed on.
#[derive(Debug, Default)]
pub struct Minimum {
    keep: Vec<JsonPath>,
    drop: Vec<JsonPath>,
}

/// The places that some paths select: whole subtrees, by what leads to them.
#[derive(Default)]
struct Selected<'v> {
    whole: bool,
    names: HashMap<&'v str, Selected<'v>>,
    items: HashMap<usize, Selected<'v>>,
}

impl Minimum {
    /// Err is the path that is none, or whose cost would depend on what a provider sends.
    pub fn read(keep: &[String], drop: &[String]) -> Result<Self, String> {
        let read = |text: &String| {
            // A filter looks at values and not at places; descents within descents multiply.
            if text.contains('?') || text.matches("..").count() > 1 {
                return Err(format!("`{text}` has a filter or more than one `..`"));
            }
            JsonPath::parse(text).map_err(|_| format!("`{text}` is no JSONPath (RFC 9535)"))
        };
        let all = |paths: &[String]| paths.iter().map(read).collect::<Result<Vec<_>, _>>();
        Ok(Self { keep: all(keep)?, drop: all(drop)? })
    }

    pub fn is_all(&self) -> bool {
        self.keep.is_empty() && self.drop.is_empty()
    }

    /// Both are read off the answer as it came. An item of which nothing is kept is left out.
    pub fn of<'d>(&self, node: Node<'d>) -> Node<'d> {
        let value = value(&node);
        let kept = (!self.keep.is_empty()).then(|| selected(&self.keep, &value));
        let dropped = selected(&self.drop, &value);
        let empty = match &node {
            Node::List(_) => Node::List(Vec::new()),
            Node::Map(_) => Node::Map(Vec::new()),
            _ => Node::Null,
        };
        pruned(node, kept.as_ref().map_or(Kept::All, Kept::of), Some(&dropped)).unwrap_or(empty)
    }
}

fn selected<'v>(paths: &[JsonPath], value: &'v Value) -> Selected<'v> {
    let mut root = Selected::default();
    for path in paths {
        for found in path.query_located(value).iter() {
            let mut here = &mut root;
            for element in found.location().iter() {
                here = match element {
                    PathElement::Name(name) => here.names.entry(name).or_default(),
                    PathElement::Index(number) => here.items.entry(*number).or_default(),
                };
            }
            here.whole = true;
        }
    }
    root
}

/// What of a subtree is kept.
#[derive(Clone, Copy)]
enum Kept<'k, 'v> {
    All,
    Part(&'k Selected<'v>),
}

impl<'k, 'v> Kept<'k, 'v> {
    fn of(selected: &'k Selected<'v>) -> Self {
        if selected.whole { Self::All } else { Self::Part(selected) }
    }

    /// One step further down; None where nothing is kept.
    fn within(self, find: impl FnOnce(&'k Selected<'v>) -> Option<&'k Selected<'v>>) -> Option<Self> {
        match self {
            Self::All => Some(Self::All),
            Self::Part(selected) => find(selected).map(Self::of),
        }
    }
}

fn pruned<'d>(node: Node<'d>, kept: Kept<'_, '_>, dropped: Option<&Selected<'_>>) -> Option<Node<'d>> {
    if dropped.is_some_and(|dropped| dropped.whole) {
        return None;
    }
    match node {
        Node::List(items) => {
            let items = items.into_iter().enumerate().filter_map(|(number, item)| {
                let within = kept.within(|selected| selected.items.get(&number))?;
                pruned(item, within, dropped.and_then(|dropped| dropped.items.get(&number)))
            });
            Some(Node::List(items.collect()))
        }
        Node::Map(members) => {
            let members = members.into_iter().filter_map(|(name, member)| {
                let within = kept.within(|selected| selected.names.get(&*name))?;
                let dropped = dropped.and_then(|dropped| dropped.names.get(&*name));
                let member = pruned(member, within, dropped)?;
                Some((name, member))
            });
            Some(Node::Map(members.collect()))
        }
        leaf => matches!(kept, Kept::All).then_some(leaf),
    }
}

/// For paths alone, which see names and places: what is not exact in a number does not matter.
fn value(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Number(_) => Value::from(0),
        Node::Text(_) => Value::String(String::new()),
        Node::List(items) => Value::Array(items.iter().map(value).collect()),
        Node::Map(members) => Value::Object(
            members.iter().map(|(name, node)| (name.to_string(), value(node))).collect::<Map<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Node<'_> {
        Node::read(text.as_bytes()).expect("JSON")
    }

    fn of(keep: &[&str], drop: &[&str], text: &str) -> String {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let minimum = Minimum::read(&owned(keep), &owned(drop)).expect("paths");
        String::from_utf8(minimum.of(read(text)).written()).expect("UTF-8")
    }

    #[test]
    fn only_what_is_kept_is_passed_on() {
        let answer = r#"{"data":[{"id":1,"email":"a"},{"id":2,"email":"b","ssn":"c"}],"more":true}"#;
        assert_eq!(of(&["$.data[*].id"], &[], answer), r#"{"data":[{"id":1},{"id":2}]}"#);
        assert_eq!(of(&["$.data[1]"], &["$..ssn"], answer), r#"{"data":[{"id":2,"email":"b"}]}"#);
        assert_eq!(
            of(&[], &["$.data[*]['email','ssn']"], answer),
            r#"{"data":[{"id":1},{"id":2}],"more":true}"#
        );
        assert_eq!(of(&["$.nothing"], &[], answer), "{}");
        assert_eq!(of(&["$"], &["$"], answer), "{}");
        assert_eq!(of(&["$[*].id"], &[], "[1,{\"x\":2}]"), "[]");
    }

    #[test]
    fn numbers_are_passed_on_as_they_came() {
        assert_eq!(
            of(&["$.n"], &[], r#"{"n":123456789012345678901234567890,"m":1.10}"#),
            r#"{"n":123456789012345678901234567890}"#
        );
    }

    #[test]
    fn paths_whose_cost_is_the_providers_to_choose_are_refused() {
        for path in ["$[?@.a]", "$..a..b", "a.b", "$.a["] {
            assert!(Minimum::read(&[path.to_owned()], &[]).is_err(), "{path}");
        }
    }

    #[test]
    fn names_that_reach_into_prototypes_are_found_at_any_depth() {
        let polluted = r#"{"a":[{"__proto__":{"x":1},"ok":1}],"constructor":{"prototype":{"x":1}}}"#;
        let kept = without_prototypes(read(polluted)).written();
        assert_eq!(String::from_utf8(kept).expect("UTF-8"), r#"{"a":[{"ok":1}]}"#);
        assert!(refused(&read(polluted), Html::Allow, Prototype::Refuse).is_err());
        // An escape spells the same name.
        let escaped = r#"{"\u005f_proto__":1}"#;
        assert!(refused(&read(escaped), Html::Allow, Prototype::Refuse).is_err());
        assert!(refused(&read(r#"{"constructor":"Bob"}"#), Html::Allow, Prototype::Refuse).is_ok());
    }

    #[test]
    fn markup_is_told_from_a_comparison() {
        let refuses = |text: &str| refused(&Node::Text(text.into()), Html::Refuse, Prototype::Allow).is_err();
        for markup in ["<script>", "x</script>", "<!--", "<?xml", "<img src=x onerror=alert(1)>"] {
            assert!(refuses(markup), "{markup}");
        }
        for plain in ["a < b", "1<2", "<3", "x <- y", "&lt;"] {
            assert!(!refuses(plain), "{plain}");
        }
        assert!(refused(&read(r#"{"<b>":1}"#), Html::Refuse, Prototype::Allow).is_err());
        assert!(refused(&read(r#"["\u003cscript>"]"#), Html::Refuse, Prototype::Allow).is_err());
    }

    proptest! {
        #[test]
        fn what_is_escaped_says_the_same_and_holds_nothing_for_a_page(texts in prop::collection::vec(any::<String>(), 0..8)) {
            let extra = ["</script>".to_owned(), "\u{2028}\u{2029}&<>".to_owned()];
            let node = Node::List(texts.into_iter().chain(extra).map(|text| Node::Text(text.into())).collect());
            let out = escaped(&node.written());
            prop_assert_eq!(Node::read(&out), Ok(node));
            let text = String::from_utf8(out).expect("UTF-8");
            let is_for_a_page = text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
            prop_assert!(!is_for_a_page);
        }
    }
}
