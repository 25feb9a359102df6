"""Consumers that try to get a column of a table past its policy: nothing of it reaches the provider."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from support.smuggling import SECRET, Scene, scene_under

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    fields:
      - {at: csv id, do: allow}
      - {at: csv email, category: contact.email, do: {mask: 2}}
      - {at: csv note, do: allow}
"""
CSV = "text/csv"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_under(POLICY, tmp_path_factory.mktemp("columns")) as scene:
        yield scene


TABLES: dict[str, tuple[str, bytes]] = {
    "a column without a rule": (CSV, f"id,phone\r\n1,{SECRET}\r\n".encode()),
    "a column in other letters": (CSV, f"ID\r\n{SECRET}\r\n".encode()),
    "a column with a space": (CSV, f"id ,id\r\n{SECRET},1\r\n".encode()),
    "a column in quotes": (CSV, f'id,"id"\r\n1,{SECRET}\r\n'.encode()),
    "a column twice": (CSV, f"id,id\r\n1,{SECRET}\r\n".encode()),
    "a column without a name": (CSV, f"id,\r\n1,{SECRET}\r\n".encode()),
    "a name that is the value": (CSV, f"id,{SECRET}\r\n".encode()),
    "a byte order mark": (CSV, b"\xef\xbb\xbf" + f"id\r\n{SECRET}\r\n".encode()),
    "UTF-16": (CSV, f"id\r\n{SECRET}\r\n".encode("utf-16")),
    "UTF-16 that is declared": ("text/csv; charset=utf-16", f"id\r\n{SECRET}\r\n".encode()),
    "no first row": ("text/csv; header=absent", f"id\r\n{SECRET}\r\n".encode()),
    "a row that is longer": (CSV, f"id\r\n1,{SECRET}\r\n".encode()),
    "a row that is shorter": (CSV, f"id,email\r\n{SECRET}\r\n".encode()),
    "an empty line": (CSV, f"id\r\n\r\n{SECRET}\r\n".encode()),
    "an empty line first": (CSV, f"\r\nid\r\n{SECRET}\r\n".encode()),
    "a bare quote": (CSV, f'id,email\r\n1",{SECRET}\r\n'.encode()),
    "a quote that does not end": (CSV, f'id,email\r\n"1,{SECRET}\r\n'.encode()),
    "text after a quote": (CSV, f'id,email\r\n"1"{SECRET},2\r\n'.encode()),
    "a quote after a space": (CSV, f'id,email\r\n1, "{SECRET}"\r\n'.encode()),
    "line ends of two kinds": (CSV, f"id,email\r\n1,2\n{SECRET},3\r\n".encode()),
    "carriage returns": (CSV, f"id,email\r1,{SECRET}\r".encode()),
    "semicolons": (CSV, f"id;phone\r\n1;{SECRET}\r\n".encode()),
    "tabs": ("text/tab-separated-values", f"id\tphone\r\n1\t{SECRET}\r\n".encode()),
    "a NUL": (CSV, f"id\r\n\0{SECRET}\r\n".encode()),
    "in another column as well": (CSV, f"email,note\r\n{SECRET},a {SECRET}\r\n".encode()),
    "in another row": (CSV, f"email,note\r\n{SECRET},\r\n,{SECRET}\r\n".encode()),
    "in another column, in base64": (
        CSV,
        b"email,note\r\n%b,%b\r\n" % (SECRET.encode(), base64.b64encode(f"<{SECRET}>".encode())),
    ),
    "in another column, over lines": (CSV, f'email,note\r\n{SECRET},"\r\n{SECRET}"\r\n'.encode()),
    "too many values": (CSV, b"id\n" * 200_000 + f"{SECRET}\n".encode()),
}


@pytest.mark.parametrize("trick", TABLES)
def test_a_trick_with_a_table_brings_nothing_to_the_provider(scene: Scene, trick: str):
    media_type, body = TABLES[trick]
    before = len(scene.reader.seen)
    answer = scene.post(body, {"Content-Type": media_type})
    assert answer.json()["code"] in {"undeclared_field", "unparseable"}
    assert len(scene.reader.seen) == before
    assert SECRET not in answer.text


def test_no_rule_makes_a_formula_of_a_value(scene: Scene):
    before = len(scene.reader.seen)
    table = b"id,email\r\n=1+1,jane-@b\r\n"
    assert scene.post(table, {"Content-Type": CSV}).status_code == 200
    assert scene.reader.seen[before].body == b"id,email\r\n=1+1,*****@b\r\n"
