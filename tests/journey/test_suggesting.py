"""From traffic without a policy to one that lets that traffic go, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.passage import Passage, put_before
from support.reading import Reader
from support.running import wait_until
from support.scripted import scripted

from tidegate.cli import main
from tidegate.domain.shape import Shape
from tidegate.sandbox import Authority

OBSERVE = "observe: {one_in: 1}"
OPERATION = "there:POST /{name}"
PEOPLE: list[Any] = [
    {
        "email": f"jane{number}@example.com",
        "firstName": "Jane",
        "born": f"198{number}-05-23",
        "price": 12.50,
        "active": True,
        "cards": [{"brand": "visa"}, {"brand": "amex"}],
        "tags": [],
        "metadata": {f"jane{number}@example.com": number},
        "home": {"city": "Kiel", "zip": "24103"},
        "x-y": None,
    }
    for number in range(4)
]
FORMS = [{"email": f"b{number}@example.com", "card[brand]": "visa"} for number in range(4)]


@dataclass
class Scene:
    reader: Reader
    passage: Passage
    folder: Path

    @property
    def declared(self) -> Path:
        return self.passage.gateway.file

    def send(self, method: str = "POST", path: str = "/people", **given: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20, headers=self.passage.headers) as client:
            return client.request(method, self.passage.base + path, **given)

    def shapes(self, calls: int) -> tuple[Shape, ...]:
        """What was learned, once so many calls are on record."""
        self.passage.gateway.records(calls)
        return self.passage.gateway.state.store.shapes.of()


Before = Callable[..., AbstractContextManager[Scene]]


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Before]:
    """Gateways one after another before one provider, on one home."""
    data = tmp_path / "home" / "data"
    monkeypatch.setenv("TIDEGATE_HOME", str(data))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(tmp_path / "home" / "keys" / "root.key"))

    authority, reader = Authority(), Reader()
    with scripted(authority, reader) as origin:

        @contextmanager
        def run(more: str = "", **given: Any) -> Iterator[Scene]:
            with put_before(tmp_path, authority, origin, http="1.1", more=more, **given) as passage:
                yield Scene(reader, passage, tmp_path)

        yield run


def test_a_draft_of_traffic_lets_that_traffic_go_and_nothing_else(
    before: Before, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draft = tmp_path / "draft.yaml"
    with before(provider=OBSERVE) as scene:
        for person, form in zip(PEOPLE, FORMS, strict=True):
            assert scene.send(json=person, params={"page": "2"}).status_code == 200
            assert scene.send(data=form).status_code == 200
        places = {shape.at: shape for shape in scene.shapes(8)}
        assert places["body $.email"].marks == {"email": 4}
        assert places["body $.metadata.*"].kind == "number"
        assert places[""].count == 8
        words = ["protect", "suggest", OPERATION, str(scene.declared), "--out", str(draft)]
        assert main(words) == 0
        assert main(words) == 1
        text = draft.read_text()
        for value in ("jane", "Jane", "Kiel", "1980", "visa"):
            assert value not in text

    declared = (tmp_path / "home" / "tidegate.yaml").read_text()
    file = tmp_path / "merged" / "tidegate.yaml"
    file.parent.mkdir()
    file.write_text(declared + "include: [draft.yaml]\n")
    (file.parent / "draft.yaml").write_text(text)
    capsys.readouterr()
    assert main(["check", str(file)]) == 1
    assert "does not say yet what the data is sent for" in capsys.readouterr().err
    (file.parent / "draft.yaml").write_text(text.replace("TODO", "sales"))
    assert main(["check", str(file)]) == 0
    for number, (person, form) in enumerate(zip(PEOPLE, FORMS, strict=True)):
        sample = tmp_path / f"{number}.json"
        sample.write_text(json.dumps(person))
        tried = ["protect", "try", str(sample), str(file), "--operation", OPERATION]
        assert main(tried) == 0
        sample.write_bytes(httpx.Request("POST", "http://x", data=form).read())
        assert main([*tried, "--type", "application/x-www-form-urlencoded"]) == 0

    enforced = re.sub("report_until: .*", "", text.replace("TODO", "sales"))
    with before(enforced, connect=False) as scene:
        for person, form in zip(PEOPLE, FORMS, strict=True):
            assert scene.send(json=person, params={"page": "2"}).status_code == 200
            assert json.loads(scene.reader.seen[-1].body) == person
            assert scene.send(data=form).status_code == 200
        for extra in ({"phone": "1"}, {"home": {"phone": "1"}}, {"cards": [{"cvc": "1"}]}):
            problem = scene.send(json=PEOPLE[0] | extra).json()
            assert problem["code"] == "undeclared_field", extra


def test_a_drafted_policy_reports_that_the_traffic_would_go(before: Before, tmp_path: Path):
    with before(provider=OBSERVE) as scene:
        for person in PEOPLE:
            scene.send(json=person)
        scene.shapes(4)
        draft = tmp_path / "draft.yaml"
        words = ["protect", "suggest", OPERATION, str(scene.declared), "--purpose", "sales"]
        assert main([*words, "--out", str(draft)]) == 0
    with before(draft.read_text(), connect=False) as scene:
        answer = scene.send(json=PEOPLE[0])
        assert answer.status_code == 200
        call = answer.headers["tidegate-call"]

        def record() -> Any:
            return next((r for r in scene.passage.gateway.records(1) if r.id == call), None)

        wait_until(lambda: record() is not None)
        assert record().would.outcome == "ok"


def test_nothing_is_learned_where_nobody_asked(before: Before):
    with before() as scene:
        for person in PEOPLE:
            scene.send(json=person)
        assert scene.shapes(4) == ()


def test_nothing_is_learned_of_operations_that_have_a_policy(before: Before):
    policy = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    fields: [{at: "body $", do: allow}]
"""
    with before(policy, provider=OBSERVE) as scene:
        for person in PEOPLE:
            scene.send(json=person)
            scene.send("PUT", json=person)
        assert {shape.operation for shape in scene.shapes(8)} == {"PUT /{name}"}


def test_what_was_learned_outlives_the_gateway_and_is_added_to(before: Before):
    with before(provider=OBSERVE) as scene:
        for person in PEOPLE[:3]:
            scene.send(json=person)
        scene.shapes(3)
    with before(provider=OBSERVE, connect=False) as scene:
        for person in PEOPLE[:3]:
            scene.send(json=person)
        counts = {shape.at: shape.count for shape in scene.shapes(6)}
        assert (counts[""], counts["body $.email"]) == (6, 6)


def test_a_body_passes_as_it_comes_while_it_is_looked_at(before: Before):
    with before(provider=OBSERVE) as scene:
        document = json.dumps(PEOPLE[0], indent=2).encode()
        kind = {"Content-Type": "application/json"}
        for _ in range(3):
            pieces = iter([document[:10], document[10:]])
            assert scene.send(content=pieces, headers=kind).status_code == 200
            assert scene.reader.seen[-1].body == document
        large = json.dumps({"text": "x" * 200_000}).encode()
        for _ in range(3):
            assert scene.send(content=large, headers=kind).status_code == 200
            assert scene.reader.seen[-1].body == large
        kinds = {shape.kind: shape.count for shape in scene.shapes(6) if not shape.at[5:]}
        assert kinds == {"call": 6, "unread": 3}


def test_shapes_are_shown_and_forgotten(before: Before, capsys: pytest.CaptureFixture[str]):
    with before(provider=OBSERVE) as scene:
        for person in PEOPLE:
            scene.send(json=person)
        scene.shapes(4)
        shapes = ["protect", "shapes", "there", str(scene.declared)]
        capsys.readouterr()
        assert main(shapes) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "body $.email" in line]
        assert "email 4" in line
        assert main([*shapes, "--client", "acme", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {"place": "body $.email", "seen": 4}.items() <= next(
            one.items() for one in found if one["place"] == "body $.email"
        )
        assert main([*shapes, "--delete"]) == 0
        assert scene.shapes(4) == ()
