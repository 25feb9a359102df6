"""Consumers that try to get a field past its policy: nothing of it reaches the provider."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from support.running import wait_until
from support.smuggling import SECRET, Scene, forms_of, scene_under

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    fields:
      - {at: body $.id, do: allow}
      - {at: body $.email, category: contact.email, do: {mask: 2}}
      - {at: body $.note, do: allow}
      - {at: form id, do: allow}
      - {at: form email, do: drop}
      - {at: query q, do: allow}
      - {at: query email, category: contact.email, do: {mask: 2}}
"""
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_under(POLICY, tmp_path_factory.mktemp("smuggled")) as scene:
        yield scene


BODIES: dict[str, tuple[dict[str, str], bytes]] = {
    "a name twice": (JSON, f'{{"id":1,"id":"{SECRET}"}}'.encode()),
    "a name twice, once escaped": (JSON, f'{{"id":1,"\\u0069d":"{SECRET}"}}'.encode()),
    "a name twice in an inner object": (JSON, f'{{"id":{{"a":1,"a":"{SECRET}"}}}}'.encode()),
    "a name with a NUL at its end": (JSON, f'{{"id\\u0000":"{SECRET}"}}'.encode()),
    "a name in other letters": (JSON, f'{{"ID":"{SECRET}"}}'.encode()),
    "a name that looks alike": (JSON, f'{{"\u0456d":"{SECRET}"}}'.encode()),
    "a name with a byte order mark": (JSON, f'{{"\ufeffid":"{SECRET}"}}'.encode()),
    "a comment": (JSON, f'{{"id":1/*{SECRET}*/}}'.encode()),
    "after the document": (JSON, f'{{"id":1}} {SECRET}'.encode()),
    "a second document": (JSON, f'{{"id":1}}{{"email":"{SECRET}"}}'.encode()),
    "a byte order mark": (JSON, b"\xef\xbb\xbf" + f'{{"id":"{SECRET}"}}'.encode()),
    "UTF-16": (JSON, f'{{"x":"{SECRET}"}}'.encode("utf-16")),
    "UTF-16 that is declared": (
        {"Content-Type": "application/json; charset=utf-16"},
        f'{{"x":"{SECRET}"}}'.encode("utf-16"),
    ),
    "UTF-7": ({"Content-Type": "application/json; charset=utf-7"}, f'{{"id":"{SECRET}"}}'.encode()),
    "overlong UTF-8": (JSON, b'{"id":"\xc0\xaf' + SECRET.encode() + b'"}'),
    "a lone surrogate": (JSON, f'{{"id":"\\ud800{SECRET}"}}'.encode()),
    "an array around the object": (JSON, f'[{{"email":"{SECRET}"}}]'.encode()),
    "NaN": (JSON, f'{{"id":NaN,"email":"{SECRET}"}}'.encode()),
    "a form that says it is JSON": (JSON, f"email={SECRET}".encode()),
    "JSON that says it is a form": (FORM, f'{{"email":"{SECRET}"}}'.encode()),
    "plain text": ({"Content-Type": "text/plain"}, f'{{"email":"{SECRET}"}}'.encode()),
    "no type": ({}, f'{{"email":"{SECRET}"}}'.encode()),
    "two types": (
        {"Content-Type": "application/json, text/plain"},
        f'{{"email":"{SECRET}"}}'.encode(),
    ),
    "a type with two charsets": (
        {"Content-Type": "application/json; charset=utf-8; charset=utf-7"},
        f'{{"id":"{SECRET}"}}'.encode(),
    ),
    "a part of a multipart": (
        {"Content-Type": "multipart/form-data; boundary=b"},
        f'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n{SECRET}\r\n--b--'.encode(),
    ),
    "a form's name twice": (FORM, f"id=1&id={SECRET}".encode()),
    "a form's name twice, once escaped": (FORM, f"id=1&%69d={SECRET}".encode()),
    "a form's name in brackets": (FORM, f"x[id]={SECRET}".encode()),
    "a form with a bad escape": (FORM, f"id=%u0041{SECRET}".encode()),
    "a form parted by semicolons": (FORM, f"email=1;secret={SECRET}".encode()),
    "deflate": (JSON | {"Content-Encoding": "deflate"}, zlib.compress(SECRET.encode())),
    "gzip that is none": (JSON | {"Content-Encoding": "gzip"}, f'{{"id":"{SECRET}"}}'.encode()),
    "gzip twice": (
        JSON | {"Content-Encoding": "gzip"},
        gzip.compress(gzip.compress(f'{{"id":"{SECRET}"}}'.encode())),
    ),
    "gzip with a second member": (
        JSON | {"Content-Encoding": "gzip"},
        gzip.compress(b'{"id":1}') + gzip.compress(f',"email":"{SECRET}"}}'.encode()),
    ),
    "gzip that says it is plain": (JSON | {"Content-Encoding": "identity, gzip"}, b"{}"),
    "a bomb": (
        JSON | {"Content-Encoding": "gzip"},
        gzip.compress(b'{"id":"' + b"x" * 2**20 + b'"}'),
    ),
    "too deep": (JSON, b'{"id":' + b"[" * 65 + b"]" * 65 + b"}"),
    "very deep": (JSON, b"[" * 500_000),
    "too many values": (JSON, json.dumps({"id": [0] * 10_000}).encode()),
    "too large": (JSON, json.dumps({"id": "x" * 2**20}).encode()),
    "in another field as well": (
        JSON,
        json.dumps({"email": SECRET, "note": f"about {SECRET}"}).encode(),
    ),
    "in another field, in base64": (
        JSON,
        json.dumps(
            {"email": SECRET, "note": base64.b64encode(f"<{SECRET}>".encode()).decode()}
        ).encode(),
    ),
    "in another field, in hexadecimal": (
        JSON,
        json.dumps({"email": SECRET, "note": SECRET.encode().hex()}).encode(),
    ),
    "in another field, escaped": (
        JSON,
        f'{{"email":"{SECRET}","note":"{ESCAPED}"}}'.encode(),
    ),
    "in another field, inside JSON": (
        JSON,
        json.dumps({"email": SECRET, "note": json.dumps({"e": SECRET})}).encode(),
    ),
}


@pytest.mark.parametrize("trick", BODIES)
def test_a_trick_with_the_body_brings_nothing_to_the_provider(scene: Scene, trick: str):
    headers, body = BODIES[trick]
    before = len(scene.reader.seen)
    answer = scene.post(body, headers)
    seen = scene.reader.seen[before:]
    assert answer.status_code in {400, 413, 422, 501} or seen, answer.text
    for request in seen:
        assert not any(form in request.everything for form in forms_of(SECRET)), trick
    if not seen:
        problem = answer.json()
        assert problem["code"] in {"undeclared_field", "unparseable", "too_large"}
        assert SECRET not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        f"?q=1&q={SECRET}",
        f"?q=1&%71={SECRET}",
        f"?email={SECRET}&q={SECRET}",
        f"?email={SECRET}&q={base64.b64encode(SECRET.encode()).decode().rstrip('=')}",
        f"?x={SECRET}",
        f"?{SECRET}",
        f"?q=%ff{SECRET}",
        f"?q[x]={SECRET}&q=2;email={SECRET}&q=3",
    ],
)
def test_a_trick_with_the_query_brings_nothing_to_the_provider(scene: Scene, query: str):
    before = len(scene.reader.seen)
    answer = scene.post(b"", {}, query)
    assert answer.json()["code"] in {"undeclared_field", "unparseable"}
    assert len(scene.reader.seen) == before
    assert SECRET not in answer.text


def test_a_kept_value_cannot_hide_between_body_and_query(scene: Scene):
    before = len(scene.reader.seen)
    body = json.dumps({"email": SECRET}).encode()
    assert scene.post(body, JSON, f"?q={SECRET}").json()["code"] == "undeclared_field"
    assert len(scene.reader.seen) == before


def test_no_record_of_a_refused_trick_holds_a_value_or_a_name_that_may_be_one(scene: Scene):
    body = json.dumps({f"{SECRET}@example.com": 1, "4111111111111111": 2}).encode()
    answer = scene.post(body, JSON)
    assert SECRET not in answer.text
    call = answer.headers["tidegate-call"]
    wait_until(lambda: any(one.id == call for one in scene.passage.gateway.records(1)))
    for record in scene.passage.gateway.records(1):
        assert SECRET not in repr(record)
        assert "4111111111111111" not in repr(record)
