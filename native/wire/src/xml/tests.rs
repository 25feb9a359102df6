use proptest::prelude::*;

use super::*;

fn namespaces(declared: &[(&str, &str)]) -> Namespaces {
    let declared = declared.iter().map(|(prefix, uri)| ((*prefix).into(), (*uri).into()));
    Namespaces::new(declared).expect("namespaces")
}

/// As it is written again, without what begins every document.
fn read_in(declared: &[(&str, &str)], document: &str) -> Result<String, &'static str> {
    let namespaces = namespaces(declared);
    let root = Element::read(document.as_bytes(), &namespaces)?;
    let written = String::from_utf8(root.written(&namespaces)).expect("UTF-8");
    Ok(written.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").expect("declared").to_owned())
}

fn read(document: &str) -> Result<String, &'static str> {
    read_in(&[], document)
}

#[test]
fn a_document_is_written_as_it_reads() {
    for (document, written) in [
        ("<a/>", "<a/>"),
        ("<a></a >", "<a/>"),
        ("\n<a\tb = 'c\"d'\r\n/>\n", "<a b=\"c&quot;d\"/>"),
        ("<?xml version='1.0'?><a/>", "<a/>"),
        ("<?xml version=\"1.0\" encoding='utf-8' standalone=\"no\" ?><a/>", "<a/>"),
        ("<a>\n  <b>1</b>\n <b> 2 </b>\n</a>", "<a><b>1</b><b> 2 </b></a>"),
        ("<a>x<![CDATA[<&]]>y<![CDATA[]]></a>", "<a>x&lt;&amp;y</a>"),
        ("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;</a>", "<a>&lt;&gt;&amp;\"'AB</a>"),
        ("<a b='&#10;&#x9;\n\t'>1\r\n2\r3&#13;</a>", "<a b=\"&#10;&#9;  \">1\n2\n3&#13;</a>"),
        ("<straße.1 xml:lang='de'> </straße.1>", "<straße.1 xml:lang=\"de\"> </straße.1>"),
    ] {
        assert_eq!(read(document).as_deref(), Ok(written), "{document}");
    }
}

#[test]
fn what_two_readers_read_differently_is_refused() {
    for document in [
        "",
        "a",
        "<a>",
        "<a",
        "<a/",
        "<a></b>",
        "<a></a",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "< a/>",
        "<a/ >",
        "<1/>",
        "<a:/>",
        "<:a/>",
        "<a b/>",
        "<a b=c/>",
        "<a b='c/>",
        "<a b='<'/>",
        "<a b='1'c='2'/>",
        "<a b='1' b='2'/>",
        "<a>]]></a>",
        "<a>&</a>",
        "<a>& b;</a>",
        "<a>&b;</a>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#xFFFE;</a>",
        "<a>&#x110000;</a>",
        "<a>&#00000000065;</a>",
        "<a>&#+65;</a>",
        "<a>&#;</a>",
        "<a>&#X41;</a>",
        "<a>\u{1}</a>",
        "<a>\u{fffe}</a>",
        "\u{feff}<a/>",
        "<a>x<b/></a>",
        "<a><b/>x</a>",
        "<a><b/>&#120;</a>",
        "<a><!-- x --></a>",
        "<!-- x --><a/>",
        "<a/><!-- x -->",
        "<a><?x y?></a>",
        "<?x y?><a/>",
        "<a/><?x y?>",
        " <?xml version='1.0'?><a/>",
        "<?xml version='1.1'?><a/>",
        "<?xml?><a/>",
        "<?xml ?><a/>",
        "<?xml encoding='utf-8'?><a/>",
        "<?xml version='1.0' encoding='utf-16'?><a/>",
        "<?xml version='1.0' encoding='utf-8' encoding='utf-7'?><a/>",
        "<?xml version='1.0' standalone='yes' encoding='utf-8'?><a/>",
        "<?xml version='1.0' x='y'?><a/>",
        "<?XML version='1.0'?><a/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "<!ENTITY b 'c'><a/>",
        "<a><![CDATA[x]]</a>",
        "<a><![cdata[x]]></a>",
        "<a><![INCLUDE[x]]></a>",
    ] {
        assert!(read(document).is_err(), "{document:?}");
    }
    assert!(Element::read(b"<a>\xff</a>", &Namespaces::default()).is_err());
    assert!(Element::read(b"\xff\xfe<\0a\0/\0>\0", &Namespaces::default()).is_err());
}

#[test]
fn names_are_told_by_their_namespaces() {
    let declared = [("", "urn:d"), ("o", "urn:o")];
    for (document, written) in [
        ("<a xmlns='urn:d'><b/></a>", Some("<a><b/></a>")),
        ("<x:a xmlns:x='urn:d' b='1'/>", Some("<a b=\"1\"/>")),
        ("<a xmlns='urn:o' xmlns:x='urn:o' x:b='1'/>", Some("<o:a o:b=\"1\"/>")),
        ("<a xmlns='urn:d'><a xmlns='urn:o'/><o:b xmlns:o='urn:o'/></a>", Some("<a><o:a/><o:b/></a>")),
        ("<a xmlns='&#117;rn:d'/>", Some("<a/>")),
        ("<a/>", None),
        ("<o:a/>", None),
        ("<a xmlns='urn:d'><b xmlns=''/></a>", None),
        ("<a xmlns='urn:d' xmlns:x='urn:jane@example.com'/>", None),
        ("<a xmlns='urn:d' xmlns:o='urn:d'/>", None),
        ("<a xmlns='urn:d' xmlns:x='urn:d' x:b='1'/>", None),
        ("<a xmlns='urn:d' xmlns:x='' />", None),
        ("<a xmlns='urn:d' xmlns='urn:d'/>", None),
        ("<x:a xmlns:x='urn:o' xmlns:y='urn:o' x:b='1' y:b='2'/>", None),
        ("<x:a xmlns:x='urn:o'><y:b xmlns:y='urn:o'/><y:c/></x:a>", None),
        ("<x:a xmlns:x='urn:o' xmlns:y='urn:o'></y:a>", None),
        ("<a xmlns='urn:d' xmlns:xml='urn:o'/>", None),
        ("<a xmlns='urn:d' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", None),
        ("<a xmlns='urn:d' xmlns:xmlns='urn:o'/>", None),
        ("<a xmlns='urn:d' xmlns:XMLa='urn:o'/>", None),
        ("<xml:a xmlns='urn:d'/>", None),
        ("<a xmlns='urn:d' xmlns:b:c='urn:o'/>", None),
    ] {
        let written = written.map(|written| {
            let root = if written.starts_with("<o:a") { "<o:a" } else { "<a" };
            written.replacen(root, &format!("{root} xmlns=\"urn:d\" xmlns:o=\"urn:o\""), 1)
        });
        let read = read_in(&declared, document);
        assert_eq!(read.ok(), written, "{document}");
    }
    let wrong = |prefix: &str, uri: &str| Namespaces::new([(prefix.into(), uri.into())]).is_none();
    assert!(wrong("xml", "urn:a") && wrong("Xmlb", "urn:a") && wrong("a:b", "urn:a") && wrong("a", ""));
    assert!(wrong("a", "urn: a") && wrong("a", "http://www.w3.org/2000/xmlns/"));
    assert!(Namespaces::new([("a".into(), "urn:a".into()), ("b".into(), "urn:a".into())]).is_none());
}

#[test]
fn depth_number_and_prefixes_have_bounds() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(read(&nested(64)).is_ok());
    assert!(read(&nested(65)).is_err());
    let wide = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
    assert!(read(&wide(9_999)).is_ok());
    assert!(read(&wide(10_000)).is_err());
    let prefixes = |count: usize| {
        let each: Vec<String> = (0..count).map(|n| format!(" xmlns:p{n}='urn:o'")).collect();
        each.concat()
    };
    assert!(read_in(&[("o", "urn:o")], &format!("<a{}/>", prefixes(64))).is_ok());
    assert!(read_in(&[("o", "urn:o")], &format!("<a{}/>", prefixes(65))).is_err());
}

fn texts() -> impl Strategy<Value = String> {
    "[ -~äß\u{1F600}\t\n\r]{0,8}"
}

fn elements() -> impl Strategy<Value = Element<'static>> {
    let name = || prop_oneof![Just("a"), Just("b-1"), Just("o:c"), Just("_ß")];
    let attributes = move || prop::collection::btree_map(name(), texts(), 0..3);
    let leaf = (name(), attributes(), texts()).prop_map(|(name, attributes, text)| {
        let content = if text.is_empty() { Content::Nothing } else { Content::Text(text.into()) };
        element(name, attributes, content)
    });
    leaf.prop_recursive(4, 24, 4, move |inner| {
        (name(), attributes(), prop::collection::vec(inner, 1..4))
            .prop_map(|(name, attributes, inner)| element(name, attributes, Content::Elements(inner)))
    })
}

fn element(
    name: &'static str,
    attributes: std::collections::BTreeMap<&'static str, String>,
    content: Content<'static>,
) -> Element<'static> {
    let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Element { name: name.into(), attributes, content }
}

proptest! {
    #[test]
    fn what_is_written_reads_as_it_was(element in elements()) {
        let namespaces = namespaces(&[("o", "urn:o")]);
        let written = element.written(&namespaces);
        prop_assert_eq!(Element::read(&written, &namespaces), Ok(element));
    }
}
