"""Consumers that try to get a field of an XML document past its policy: nothing of it reaches the provider."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from support.smuggling import SECRET, Scene, scene_under

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    namespaces: {"": urn:orders, o: urn:other}
    fields:
      - {at: xml /order/id, do: allow}
      - {at: xml /order/email, category: contact.email, do: {mask: 2}}
      - {at: xml /order/email/@kind, do: allow}
      - {at: xml /order/o:note, do: allow}
"""
XML = "application/xml"


def order(inside: str, more: str = "") -> bytes:
    return f'<order xmlns="urn:orders" xmlns:o="urn:other"{more}>{inside}</order>'.encode()


def doctype(declared: str, used: str) -> bytes:
    return f"<!DOCTYPE order [{declared}]>".encode() + order(f"<id>{used}</id>")


LAUGHS = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10 if n else SECRET}'>" for n in range(10))
DOCUMENTS: dict[str, tuple[str, bytes]] = {
    "an element without a rule": (XML, order(f"<phone>{SECRET}</phone>")),
    "an attribute without a rule": (XML, order("<id>1</id>", f' ref="{SECRET}"')),
    "an element in other letters": (XML, order(f"<Id>{SECRET}</Id>")),
    "an element that is deeper": (XML, order(f"<x><id>{SECRET}</id></x>")),
    "an element of another namespace": (XML, order(f"<o:id>{SECRET}</o:id>")),
    "an element of no namespace": (XML, order(f'<id xmlns="">{SECRET}</id>')),
    "a root of no namespace": (XML, f"<order><id>{SECRET}</id></order>".encode()),
    "a namespace that is the value": (XML, order(f'<id xmlns:x="urn:{SECRET}">1</id>')),
    "a namespace that nobody uses": (XML, order("<id>1</id>", f' xmlns:x="{SECRET}"')),
    "a prefix that means another namespace": (
        XML,
        order(f'<id xmlns:o="urn:orders">{SECRET}</id>'),
    ),
    "a prefix without a namespace": (XML, order(f"<x:id>{SECRET}</x:id>")),
    "an element that is the value": (XML, order(f"<{SECRET}/>")),
    "an attribute twice": (XML, order(f"<email kind='a' kind='{SECRET}'>x</email>")),
    "an attribute twice, by two prefixes": (
        XML,
        order(f"<id xmlns:p='urn:other' o:a='1' p:a='{SECRET}'>1</id>"),
    ),
    "an element twice": (XML, order(f"<id>1</id><id>{SECRET}</id>")),
    "a comment": (XML, order(f"<id>1<!-- {SECRET} --></id>")),
    "a comment in the value": (XML, order(f"<id>{SECRET[:4]}<!-- -->{SECRET[4:]}</id>")),
    "a comment after the root": (XML, order("<id>1</id>") + f"<!-- {SECRET} -->".encode()),
    "a processing instruction": (XML, order(f"<?x {SECRET}?><id>1</id>")),
    "a style sheet": (XML, f'<?xml-stylesheet href="{SECRET}"?>'.encode() + order("<id/>")),
    "text beside elements": (XML, order(f"<id>1</id>{SECRET}")),
    "text after the root": (XML, order("<id>1</id>") + SECRET.encode()),
    "a second root": (XML, order("<id>1</id>") + order(f"<id>{SECRET}</id>")),
    "an entity from a file": (XML, doctype("<!ENTITY e SYSTEM 'file:///etc/passwd'>", "&e;")),
    "an entity from elsewhere": (XML, doctype("<!ENTITY e SYSTEM 'http://127.0.0.1/'>", "&e;")),
    "entities of entities": (XML, doctype(LAUGHS, "&l9;")),
    "an entity of a parameter": (XML, doctype(f"<!ENTITY % e '{SECRET}'> %e;", "1")),
    "a document type alone": (XML, f'<!DOCTYPE order SYSTEM "{SECRET}">'.encode() + order("")),
    "a default from a document type": (
        XML,
        doctype(f"<!ATTLIST order ref CDATA '{SECRET}'>", "1"),
    ),
    "an entity that nobody declared": (XML, order("<id>&secret;</id>")),
    "a character that is none": (XML, order(f"<id>&#0;{SECRET}</id>")),
    "a control character": (XML, order(f"<id>\x01{SECRET}</id>")),
    "CDATA in the value, and it elsewhere": (
        XML,
        order(f"<email>{SECRET[:4]}<![CDATA[{SECRET[4:]}]]></email><o:note>{SECRET}</o:note>"),
    ),
    "CDATA beside elements": (XML, order(f"<id>1</id><![CDATA[{SECRET}]]>")),
    "CDATA that does not end": (XML, order(f"<id><![CDATA[{SECRET}</id>")),
    "references in the value, and it elsewhere": (
        XML,
        order(f"<email>&#{ord(SECRET[0])};{SECRET[1:]}</email><o:note>{SECRET}</o:note>"),
    ),
    "it elsewhere, in base64": (
        XML,
        order(
            f"<email>{SECRET}</email>"
            f"<o:note>{base64.b64encode(f'<{SECRET}>'.encode()).decode()}</o:note>"
        ),
    ),
    "it in an attribute": (XML, order(f'<email kind="{SECRET}">{SECRET}</email>')),
    "a byte order mark": (XML, b"\xef\xbb\xbf" + order(f"<id>{SECRET}</id>")),
    "UTF-16": (XML, order(f"<id>{SECRET}</id>").decode().encode("utf-16")),
    "UTF-16 that is declared": ("application/xml; charset=utf-16", order(f"<id>{SECRET}</id>")),
    "an encoding that is declared": (
        XML,
        b'<?xml version="1.0" encoding="utf-7"?>' + order(f"<id>+ADw-{SECRET}</id>"),
    ),
    "an encoding that is declared twice": (
        XML,
        b'<?xml version="1.0" encoding="utf-8" encoding="utf-7"?>' + order(f"<id>{SECRET}</id>"),
    ),
    "another version": (XML, b'<?xml version="1.1"?>' + order(f"<id>{SECRET}</id>")),
    "a declaration after a space": (
        XML,
        b' <?xml version="1.0" encoding="utf-7"?>' + order(f"<id>{SECRET}</id>"),
    ),
    "overlong UTF-8": (XML, order(f"<id>{SECRET}</id>").replace(b"<id", b"\xc0\xbcid")),
    "too deep": (XML, order("<id>" * 64 + SECRET + "</id>" * 64)),
    "too wide": (XML, order(f"<id>{SECRET}</id>" * 5_000)),
    "JSON that is called XML": (XML, f'{{"id": "{SECRET}"}}'.encode()),
    "XML that is called JSON": ("application/json", order(f"<id>{SECRET}</id>")),
    "XML that is called text": ("text/plain", order(f"<id>{SECRET}</id>")),
    "XML that is called HTML": ("text/html", order(f"<id>{SECRET}</id>")),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_under(POLICY, tmp_path_factory.mktemp("elements")) as scene:
        yield scene


@pytest.mark.parametrize("trick", DOCUMENTS)
def test_a_trick_with_xml_brings_nothing_to_the_provider(scene: Scene, trick: str):
    media_type, body = DOCUMENTS[trick]
    before = len(scene.reader.seen)
    answer = scene.post(body, {"Content-Type": media_type})
    assert answer.json()["code"] in {"undeclared_field", "unparseable"}
    assert len(scene.reader.seen) == before
    assert SECRET not in answer.text


@pytest.mark.parametrize("media_type", [XML, "text/xml; charset=UTF-8", "application/soap+xml"])
def test_what_the_policy_lets_go_goes(scene: Scene, media_type: str):
    before = len(scene.reader.seen)
    body = b'<?xml version="1.0"?>\n' + order(
        "\n<id>1</id>\n<email kind='w'><![CDATA[jane<]]></email>"
    )
    assert scene.post(body, {"Content-Type": media_type}).status_code == 200
    assert scene.reader.seen[before].body == (
        b'<?xml version="1.0" encoding="UTF-8"?><order xmlns="urn:orders" xmlns:o="urn:other">'
        b'<id>1</id><email kind="w">***e&lt;</email></order>'
    )
