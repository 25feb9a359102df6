use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::act::Act;
use super::super::policy::{Policy, RawPolicy, Unknown};
use super::super::survive;
use super::*;
use crate::xml::Namespaces;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

fn policy(unknown: &str, namespaces: &Json, fields: &Json) -> Result<Policy, String> {
    let raw = json!({"name": "p", "operations": [], "purpose": "sales", "unknown_fields": unknown,
                     "body_bytes": 1_048_576, "namespaces": namespaces, "fields": fields});
    serde_json::from_value::<RawPolicy>(raw).expect("a policy").compile(|_| None)
}

fn sent(unknown: &str, fields: &Json, body: &str) -> Result<String, Breach> {
    let policy = policy(unknown, &json!({}), fields).expect("a sound policy");
    let mut told = Told::new(&policy);
    let written = rewrite(body.as_bytes(), &mut told)?;
    survive::check(&told, &[&written])?;
    let written = String::from_utf8(written).expect("UTF-8");
    Ok(written.strip_prefix(HEAD).expect("declared").to_owned())
}

#[test]
fn texts_and_attributes_go_by_the_most_specific_rule() {
    let fields = json!([
        {"at": "xml /order/customer", "do": "drop"},
        {"at": "xml /order/customer/email", "do": {"mask": {"keep": 4}}},
        {"at": "xml /order/customer/@id", "do": "allow"},
        {"at": "xml /order/*/note", "do": {"mask": {}}},
        {"at": "xml /order/item", "repeated": true, "do": "allow"},
    ]);
    let body = "<order><customer id='7' vip='yes'><name>Jane</name><email k='w'>jane@b.de</email></customer>\
                <item n='1'>Tea</item><item><x/></item></order>";
    let expected = "<order><customer id=\"7\"><email k=\"*\">*****b.de</email></customer>\
                    <item n=\"1\">Tea</item><item><x/></item></order>";
    assert_eq!(sent("reject", &fields, body).as_deref(), Ok(expected));
    let all = sent("reject", &json!([{"at": "xml /*", "do": "allow"}]), "<a b='1'><c>2</c></a>");
    assert_eq!(all.as_deref(), Ok("<a b=\"1\"><c>2</c></a>"));
}

#[test]
fn what_has_no_rule_stays_with_its_place_told() {
    let fields = json!([{"at": "xml /order/note", "do": "allow"}]);
    for (body, place) in [
        ("<order><phone>0170</phone></order>", "xml /order/phone"),
        ("<order id='0170'/>", "xml /order/@id"),
        ("<order><Note>0170</Note></order>", "xml /order/Note"),
        ("<orders><note>0170</note></orders>", "xml /orders/note"),
        ("<order><jane.doe.0170/></order>", "xml /order/…"),
        ("<order/>", "xml /order"),
    ] {
        let breach = sent("reject", &fields, body).expect_err(body);
        assert_eq!(breach.code, Code::UndeclaredField);
        assert!(breach.detail.contains(&format!("`{place}`")), "{}", breach.detail);
        assert!(!breach.detail.contains("0170"), "{}", breach.detail);
        let root = body.split([' ', '/', '>']).next().expect("a root");
        assert_eq!(sent("drop", &fields, body).as_deref(), Ok(&*format!("{root}/>")));
    }
    let body = "<order a='1'><note/><b>2</b></order>";
    assert_eq!(sent("drop", &fields, body).as_deref(), Ok("<order><note/></order>"));
}

#[test]
fn what_stands_twice_needs_a_rule_that_says_so() {
    let body = "<o><to>a</to><to>b</to></o>";
    let once = json!([{"at": "xml /o/to", "do": "allow"}]);
    let breach = sent("reject", &once, body).expect_err("twice");
    assert!(breach.detail.contains("`repeated: true`"), "{}", breach.detail);
    let deep = "<o><i><to>a</to></i><i><to>b</to></i></o>";
    assert!(sent("reject", &json!([{"at": "xml /o/i/to", "do": "allow"}]), deep).is_err());
    for (body, at) in [(body, "xml /o/to"), (deep, "xml /o/i/to"), (deep, "xml /o")] {
        let often = json!([{"at": at, "repeated": true, "do": "allow"}]);
        assert_eq!(sent("reject", &often, body).as_deref(), Ok(body));
    }
}

#[test]
fn names_are_those_of_the_policys_namespaces() {
    let namespaces = json!({"s": "urn:soap", "o": "urn:order"});
    let fields =
        json!([{"at": "xml /s:Body/o:email", "do": "allow"}, {"at": "xml /s:Body/@o:id", "do": "allow"}]);
    let policy = policy("reject", &namespaces, &fields).expect("a sound policy");
    let sent = |body: &str| {
        rewrite(body.as_bytes(), &mut Told::new(&policy)).map(|b| String::from_utf8(b).expect("UTF-8"))
    };
    let body =
        "<Body xmlns='urn:soap' xmlns:x='urn:order' x:id='1'><email xmlns='urn:order'>a</email></Body>";
    let expected = format!(
        "{HEAD}<s:Body xmlns:o=\"urn:order\" xmlns:s=\"urn:soap\" o:id=\"1\"><o:email>a</o:email></s:Body>"
    );
    assert_eq!(sent(body), Ok(expected));
    assert!(sent("<Body><email>a</email></Body>").is_err());
    assert!(sent("<s:Body xmlns:s='urn:soap' id='1'/>").is_err());
    let compiled = |namespaces: Json, at: &str| {
        super::tests::policy("reject", &namespaces, &json!([{"at": at, "do": "allow"}])).is_ok()
    };
    assert!(compiled(json!({"o": "urn:o"}), "xml /o:a/@o:b") && compiled(json!({}), "xml /a/@xml:lang"));
    assert!(!compiled(json!({}), "xml /o:a") && !compiled(json!({"o": "urn:o"}), "xml /a/@p:b"));
    assert!(!compiled(json!({"xml": "urn:o"}), "xml /a") && !compiled(json!({"o": "a b"}), "xml /a"));
}

#[test]
fn what_a_field_keeps_is_found_elsewhere_as_xml_writes_it() {
    let fields = json!([{"at": "xml /o/a", "do": {"mask": {}}}, {"at": "xml /o", "do": "allow"}]);
    for value in ["jane.doe", "a&lt;b&amp;c&gt;d", "x&quot;y&#10;z&#9;0", "1&#13;2&#13;3&#13;4"] {
        assert!(sent("reject", &fields, &format!("<o><a>{value}</a><b>x</b></o>")).is_ok());
        assert!(sent("reject", &fields, &format!("<o><a>{value}</a><b>x{value}y</b></o>")).is_err());
        assert!(sent("reject", &fields, &format!("<o b='-{value}'><a>{value}</a></o>")).is_err());
    }
}

/// A step of a rule and the elements it may take.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn elements() -> impl Strategy<Value = Element<'static>> {
    let name = || prop::sample::select(&NAMES[..]);
    let value = || "[0-9]{0,1}[x-z&<\"]{8}";
    let attribute = move || prop::option::of((name(), value()));
    let element = |name: &'static str, attribute: Option<(&'static str, String)>, content| {
        let attributes = attribute.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Element { name: name.into(), attributes, content }
    };
    let leaf = (name(), attribute(), value())
        .prop_map(move |(name, attribute, text)| element(name, attribute, Content::Text(text.into())));
    leaf.prop_recursive(3, 16, 3, move |inner| {
        (name(), attribute(), prop::collection::vec(inner, 1..4))
            .prop_map(move |(name, attribute, inner)| element(name, attribute, Content::Elements(inner)))
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let step = prop_oneof![3 => prop::sample::select(&NAMES[..]), 1 => Just("*")];
    let act =
        prop_oneof![3 => Just(json!("allow")), 2 => Just(json!("drop")), 2 => Just(json!({"mask": {}}))];
    let attribute = prop::option::of(prop::sample::select(&NAMES[..]));
    let rule = (prop::collection::vec(step, 1..4), attribute, act, any::<bool>());
    (prop::collection::vec(rule, 0..6), any::<bool>()).prop_map(|(rules, drops)| {
        let fields: std::collections::BTreeMap<String, Json> = rules
            .into_iter()
            .map(|(steps, attribute, act, repeated)| {
                let attribute = attribute.map(|name| format!("/@{name}")).unwrap_or_default();
                let at = format!("xml /{}{attribute}", steps.join("/"));
                (at.clone(), json!({"at": at, "do": act, "repeated": repeated}))
            })
            .collect();
        let fields = Json::Array(fields.into_values().collect());
        policy(if drops { "drop" } else { "reject" }, &json!({}), &fields).expect("a sound policy")
    })
}

/// Each leaf's path and text, in order.
fn leaves(element: &Element<'_>, above: &str, out: &mut Vec<(String, String)>) {
    let path = format!("{above}/{}", element.name);
    out.extend(element.attributes.iter().map(|(name, value)| (format!("{path}/@{name}"), value.to_string())));
    match &element.content {
        Content::Nothing => {}
        Content::Text(text) => out.push((path, text.to_string())),
        Content::Elements(elements) => elements.iter().for_each(|element| leaves(element, &path, out)),
    }
}

/// By which rule a leaf may leave, told in another way than the step does it: by all prefixes of its path.
fn rule_of(policy: &Policy, leaf: &str) -> Option<usize> {
    let path: Vec<&str> = leaf.split('/').skip(1).collect();
    let takes = |steps: &[&str]| {
        steps.len() <= path.len()
            && steps
                .iter()
                .zip(&path)
                .all(|(step, name)| step == name || *step == "*" && !name.starts_with('@'))
    };
    let rules = policy.rules.iter().enumerate().filter_map(|(number, rule)| {
        let steps: Vec<&str> = rule.at.strip_prefix("xml /").expect("xml").split('/').collect();
        let named = steps.iter().filter(|step| **step != "*").count();
        takes(&steps).then_some(((steps.len(), named), number))
    });
    rules.max().map(|(_, number)| number)
}

proptest! {
    #[test]
    fn no_leaf_leaves_without_a_rule_and_nothing_kept_is_in_what_leaves(
        element in elements(), policy in policies(),
    ) {
        let none = Namespaces::default();
        let mut told = Told::new(&policy);
        let written = match rewrite(&element.written(&none), &mut told) {
            Err(breach) => {
                prop_assert!(breach.code != Code::Internal, "{}", breach.detail);
                return Ok(());
            }
            Ok(written) => written,
        };
        let mut before = Vec::new();
        leaves(&element, "", &mut before);
        let mut expected = Vec::new();
        for (path, text) in before {
            match rule_of(&policy, &path).map(|rule| &policy.rules[rule].act) {
                None => prop_assert!(policy.unknown == Unknown::Drop, "{path} has no rule"),
                Some(Act::Allow) => expected.push((path, text)),
                Some(Act::Drop) => {}
                Some(_) => expected.push((path, "*".repeat(text.chars().count()))),
            }
        }
        let mut after = Vec::new();
        leaves(&Element::read(&written, &none).expect("read again"), "", &mut after);
        prop_assert_eq!(after, expected);
    }
}
