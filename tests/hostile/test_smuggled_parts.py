"""Consumers that try to get a part of a form with files past its policy: nothing of it reaches the provider."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator

import pytest
from support.smuggling import SECRET, Scene, scene_under

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    fields:
      - {at: part id, do: allow}
      - {at: part email, category: contact.email, do: {mask: 2}}
      - {at: part note, do: allow}
      - {at: part data $.id, do: allow}
      - {at: part data $.email, category: contact.email, do: drop}
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_under(POLICY, tmp_path_factory.mktemp("parts")) as scene:
        yield scene


END = "--b--"
DISPOSITION = "Content-Disposition: form-data; "


def part(named: str, content: str = SECRET, *more: str, before: str = DISPOSITION) -> str:
    """A part by what its disposition says, with more lines of its header."""
    head = "\r\n".join((before + named, *more))
    return f"--b\r\n{head}\r\n\r\n{content}\r\n"


ID = part("name=id", "1")
EMAIL = part("name=email")
ENCODED = base64.b64encode(f"<{SECRET}>".encode()).decode()
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
TWICE = f'{{"id":1,"id":"{SECRET}"}}'

BODIES: dict[str, str] = {
    "a preamble": f"{SECRET}\r\n{ID}--b--",
    "an epilogue": f"{ID}--b--\r\n{SECRET}",
    "a second form after the first": f"{ID}--b--\r\n{EMAIL}--b--",
    "no last boundary": ID + part("name=id"),
    "half of the last boundary": ID + part("name=id") + "--b-",
    "bare line feeds": (ID + EMAIL.replace("\r\n", "\n") + END),
    "a boundary that goes on": (EMAIL + END).replace("--b", "--bb"),
    "a boundary with a space after it": ID + EMAIL.replace("--b", "--b ") + END,
    "a boundary within a line": part("name=id", f"1 --b {SECRET}") + END,
    "a part that is named twice": part("name=id; name=email") + END,
    "a part that has two dispositions": part("name=id", SECRET, f"{DISPOSITION}name=email") + END,
    "a name that stands twice": ID + part("name=id") + END,
    "a name in other letters": part("name=ID") + END,
    "a name with an escape": part('name="%69d"') + END,
    "a name with a backslash": part(r'name="i\d"') + END,
    "a name in RFC 5987's form": part("name*=UTF-8''id") + END,
    "a name that is empty": part('name=""') + END,
    "no name": part("", before="Content-Disposition: form-data") + END,
    "no disposition": part("", before="Content-Type: text/plain") + END,
    "a disposition that is folded": part("\r\n name=id") + END,
    "a space before a colon": part("name=id", before="Content-Disposition : form-data; ") + END,
    "a file's name": part(f"name=phone; filename={SECRET}", "") + END,
    "a file's name in JSON": part(f"name=data; filename={SECRET}", "{}") + END,
    "a second file's name": part(f"name=id; filename=a; filename*=UTF-8''{SECRET}", "") + END,
    "a field that forms do not have": part("name=id", "1", f"X-A: {SECRET}") + END,
    "a type's parameter": part("name=id", "1", f"Content-Type: text/plain; x={SECRET}") + END,
    "UTF-7": part("name=id", SECRET, "Content-Type: text/plain; charset=utf-7") + END,
    "a charset for all": part("name=_charset_", "utf-7") + EMAIL + END,
    "base64": part("name=id", ENCODED, "Content-Transfer-Encoding: base64") + END,
    "parts in a part": part("name=id", SECRET, "Content-Type: multipart/mixed; boundary=c") + END,
    "JSON with a name twice": part("name=data", TWICE) + END,
    "JSON twice": part("name=data", "{}") + part("name=data", f'{{"id":"{SECRET}"}}') + END,
    "JSON that says it is something else": part("name=data", "{}", "Content-Type: a/b") + END,
    "in another part as well": EMAIL + part("name=note") + END,
    "in another part, in base64": EMAIL + part("name=note", ENCODED) + END,
    "in another part, in hexadecimal": EMAIL + part("name=note", SECRET.encode().hex()) + END,
    "in another part's file name": EMAIL + part(f"name=note; filename={SECRET}", "") + END,
    "in another part, escaped": EMAIL + part("name=data", f'{{"id":"{ESCAPED}"}}') + END,
    "many parts": ID.replace("=id", '="id[]"') * 101 + EMAIL + END,
}
TYPES: dict[str, str] = {
    "no boundary": "multipart/form-data",
    "two boundaries": "multipart/form-data; boundary=x; boundary=b",
    "a boundary with a comma": 'multipart/form-data; boundary="b,"',
    "an empty boundary": 'multipart/form-data; boundary=""',
    "a mixed message": "multipart/mixed; boundary=b",
    "a related message": "multipart/related; boundary=b",
    "a charset": "multipart/form-data; boundary=b; charset=utf-16",
    "plain text": "text/plain; boundary=b",
}


@pytest.mark.parametrize("trick", BODIES)
def test_a_trick_with_a_part_brings_nothing_to_the_provider(scene: Scene, trick: str):
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    holds_nothing_of_it(scene, BODIES[trick].encode(), kind)


@pytest.mark.parametrize("trick", TYPES)
def test_a_trick_with_the_type_brings_nothing_to_the_provider(scene: Scene, trick: str):
    body = (part("name=id") + END).encode()
    before = len(scene.reader.seen)
    answer = scene.post(body, {"Content-Type": TYPES[trick]})
    assert answer.json()["code"] == "unparseable"
    assert len(scene.reader.seen) == before


def test_compressed_parts_are_judged_like_others(scene: Scene):
    kind = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    holds_nothing_of_it(scene, gzip.compress(f"{ID}{EMAIL}--b--".encode()), kind)


def holds_nothing_of_it(scene: Scene, body: bytes, headers: dict[str, str]) -> None:
    before = len(scene.reader.seen)
    answer = scene.post(body, headers)
    seen = scene.reader.seen[before:]
    raw = SECRET.encode()
    forms = [raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), ENCODED[4:12].encode()]
    for request in seen:
        assert not any(form in request.everything for form in forms)
        assert b"--b\r\n" not in request.body
    if not seen:
        assert answer.json()["code"] in {"undeclared_field", "unparseable"}
        assert SECRET not in answer.text
