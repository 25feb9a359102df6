"""Whoever calls cannot write data, or anything that acts, into what is learned of calls and drafted of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.canaries import plant
from support.passage import Passage, put_before
from support.reading import Reader
from support.scripted import scripted

from tidegate.catalog import load
from tidegate.cli import main
from tidegate.sandbox import Authority

DATA = [
    "maria.sommer@example.com",
    "+49 171 55501234",
    "4111111111111111",
    "DE89370400440532013000",
    "3f2a91c4-77b0-4e57-9d1c-aa04d9be5512",
    "Maria Sommerfeldt-Lindner",
    "1987-05-23T10:11:12Z",
    "cus_9s6XKzkNRiz8i3",
]
"""Each stands in a value, and in a name."""
ACTING = [
    "__proto__",
    "constructor",
    "a: b",
    "x\"}\n  - {at: 'body $', do: allow}",
    "'] | $..*",
    "\u001b]0;owned\u0007",
    "\u202ereversed",
    "{{7*7}}",
    "!!python/object:os.system",
    "&a *a",
    "../../etc/passwd",
    "",
    " ",
    "*",
    "\u0000",
    "[red]markup[/red]",
]
HEADERS = {"Content-Type": "application/json"}


@contextmanager
def observed(folder: Path) -> Iterator[tuple[Passage, Reader]]:
    authority, reader = Authority(), Reader()
    with (
        scripted(authority, reader) as origin,
        put_before(
            folder, authority, origin, http="1.1", provider="observe: {one_in: 1}"
        ) as passage,
    ):
        yield passage, reader


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "home" / "data"))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(tmp_path / "home" / "keys" / "root.key"))
    return tmp_path


def send(passage: Passage, content: bytes, **more: Any) -> None:
    with httpx.Client(trust_env=False, timeout=20) as client:
        answer = client.post(
            f"{passage.base}/people", content=content, headers=passage.headers | HEADERS, **more
        )
    assert answer.status_code == 200, answer.text


def draft_of(passage: Passage, folder: Path) -> str:
    out = folder / "draft.yaml"
    file = str(passage.gateway.file)
    assert main(["protect", "suggest", "there", file, "--purpose", "sales", "--out", str(out)]) == 0
    return out.read_text()


def rows(folder: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(folder / "home" / "data" / "tidegate.db", timeout=10) as database:
        return database.execute("SELECT place, kind, mark FROM shapes").fetchall()


def test_no_value_and_no_name_that_is_data_is_left_behind(
    home: Path, capsys: pytest.CaptureFixture[str]
):
    for value in DATA:
        plant(value)
    with observed(home) as (passage, _):
        for _ in range(4):
            document = {
                "email": DATA[0],
                "all": DATA,
                "note": f"call {DATA[1]} or {DATA[0]}",
                "people": {name: {"of": name} for name in DATA},
                **{name: name for name in DATA},
            }
            send(passage, json.dumps(document).encode())
        passage.gateway.records(4)
        text = draft_of(passage, home)
        capsys.readouterr()
        assert main(["protect", "shapes", "there", str(passage.gateway.file)]) == 0
        shown = capsys.readouterr().out
        known = str(rows(home))
        for value in DATA:
            for told in (text, shown, known):
                assert value not in told
                assert value.lower() not in told.lower()
        assert "body $.people.*.of" in known
        assert {"email", "pan", "iban", "phone"} <= {mark for _, _, mark in rows(home)}
        # What is at the top under such a name is not let go.
        assert '{at: "body $.*", category' in text
        assert "do: reject}" in next(line for line in text.splitlines() if '"body $.*"' in line)


def test_names_that_act_become_neither_yaml_nor_escapes(home: Path):
    with observed(home) as (passage, _):
        for _ in range(4):
            document = {"deep": {name: {name: 1} for name in ACTING}, **dict.fromkeys(ACTING, "x")}
            send(passage, json.dumps(document).encode())
            send(passage, json.dumps([{name: [name]} for name in ACTING]).encode())
        passage.gateway.records(8)
        text = draft_of(passage, home)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        for place, _, _ in rows(home):
            assert place.isascii()
            assert place.isprintable()
        declared = passage.gateway.file.read_text()
    merged = home / "merged"
    merged.mkdir()
    (merged / "tidegate.yaml").write_text(declared + "include: [draft.yaml]\n")
    (merged / "draft.yaml").write_text(text)
    (policy,) = load(merged).protection
    assert policy.unknown_fields == "reject"
    assert policy.report_until is not None
    for rule in policy.fields:
        assert rule.at not in {"body $", "form *", "query *"}


def test_names_that_differ_on_each_call_are_never_told(home: Path):
    with observed(home) as (passage, _):
        words = ("anna", "bert", "carla", "dirk", "elsa", "fritz", "greta", "hans")
        for word in words:
            send(passage, json.dumps({"id": 1, "by": {word: {"amount": 1}}, word: 2}).encode())
        passage.gateway.records(len(words))
        known = str(rows(home))
        assert "body $.id" in known
        for word in words:
            assert word not in known


def test_wide_and_deep_bodies_are_learned_within_bounds(home: Path):
    deep = json.dumps({"a": 1})
    for _ in range(60):
        deep = f'{{"abcdefgh":{deep}}}'
    wide = {f"field_{letter}{other}": 1 for letter in "abcdefghijklmnop" for other in "abcdefghij"}
    with observed(home) as (passage, _):
        for _ in range(5):
            send(passage, deep.encode())
            send(passage, json.dumps(wide | {"items": list(range(5_000))}).encode())
            send(passage, b'{"a":1,"a":2}')
            send(passage, b"[" * 10_000)
        passage.gateway.records(20)
        known = rows(home)
        assert len(known) <= 140
        assert all(len(place) <= 400 for place, _, _ in known)
        assert ("body", "unread", "") in known


def test_queries_of_values_are_not_names(home: Path):
    token = "q-maria.sommerfeldt@example.org"
    with observed(home) as (passage, _):
        for _ in range(4):
            with httpx.Client(trust_env=False, timeout=20) as client:
                url = f"{passage.base}/people?{token}&page=2&x[{token}]=1"
                assert client.get(url, headers=passage.headers).status_code == 200
        passage.gateway.records(4)
        known = rows(home)
        assert {place for place, _, _ in known} == {"", "query *", "query page", "query x[*]"}
        assert token not in draft_of(passage, home)


def test_one_clients_calls_make_no_name_of_another_known(home: Path):
    authority, reader = Authority(), Reader()
    with (
        scripted(authority, reader) as origin,
        put_before(
            home,
            authority,
            origin,
            http="1.1",
            provider="observe: {one_in: 1}",
            clients=("acme", "globex"),
        ) as passage,
    ):
        acme, globex = passage.bound_to("acme"), passage.bound_to("globex")
        for _ in range(4):
            send(acme, b'{"secretproject": 1}')
        for _ in range(2):
            send(globex, b'{"secretproject": 1}')
        passage.gateway.records(6)
        shapes = passage.gateway.state.store.shapes
        assert {one.at for one in shapes.of(client="acme")} == {"", "body $.secretproject"}
        assert {one.at for one in shapes.of(client="globex")} == {""}
