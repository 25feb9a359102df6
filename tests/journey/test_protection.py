"""Field policies from the consumer to the provider: what leaves, in which form, and what is known of it."""

from __future__ import annotations

import base64
import email
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from support.passage import Passage, put_before
from support.reading import Reader, Seen
from support.running import wait_until
from support.scripted import scripted

from tidegate.cli import main
from tidegate.domain.call import CallRecord, FieldRecord
from tidegate.sandbox import Authority

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    namespaces: {s: "http://schemas.xmlsoap.org/soap/envelope/", o: "urn:people"}
    fields:
      - {at: body $.email, category: contact.email, do: allow}
      - {at: body $.card.number, category: financial.card, do: {mask: 4}}
      - {at: body $.born, category: birth, do: {generalise: year}}
      - {at: "body $.notes[*]", do: drop}
      - {at: form email, category: contact.email, do: allow}
      - {at: "form metadata[*]", do: drop}
      - {at: part email, category: contact.email, do: allow}
      - {at: part cv, category: contact.cv, do: allow}
      - {at: part cv filename, category: contact.name, do: {mask: 4}}
      - {at: part photo, do: drop}
      - {at: part card $.number, category: financial.card, do: {mask: 4}}
      - {at: csv email, category: contact.email, do: allow}
      - {at: csv born, category: birth, do: {generalise: year}}
      - {at: csv note, do: drop}
      - {at: xml /s:Body/o:person/o:email, category: contact.email, do: allow}
      - {at: xml /s:Body/o:person/o:card, category: financial.card, do: {mask: 4}}
      - {at: xml /s:Body/o:person/@born, category: birth, do: {generalise: year}}
      - {at: xml /s:Body/o:person/o:note, repeated: true, do: drop}
      - {at: query trace, do: drop}
      - {at: query q, do: {mask: 2}}
      - {at: header X-User, category: contact.name, do: drop}
"""
PERSON: dict[str, Any] = {
    "email": "jane@example.com",
    "card": {"number": "4111111111111111"},
    "born": "1987-05-23",
    "notes": ["she called on Monday", {"by": "Bob Miller"}],
}
SENT = b'{"email":"jane@example.com","card":{"number":"************1111"},"born":"1987"}'


@dataclass
class Scene:
    reader: Reader
    passage: Passage

    def call(self, method: str = "POST", path: str = "/people", **given: Any) -> httpx.Response:
        headers = self.passage.headers | given.pop("headers", {})
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.request(method, self.passage.base + path, headers=headers, **given)

    def sent(self, **given: Any) -> Seen:
        """What the provider sees of a call that goes."""
        before = len(self.reader.seen)
        answer = self.call(**given)
        assert answer.status_code == 200, answer.text
        assert len(self.reader.seen) == before + 1
        return self.reader.seen[-1]

    def refused(self, **given: Any) -> dict[str, Any]:
        """The problem of a call of which the provider sees nothing."""
        before = len(self.reader.seen)
        problem = self.call(**given).json()
        assert len(self.reader.seen) == before
        return problem

    def record(self, call: str) -> CallRecord:
        found: list[CallRecord] = []

        def is_there() -> bool:
            found[:] = [one for one in self.passage.gateway.records(1) if one.id == call]
            return bool(found)

        wait_until(is_there)
        return found[0]


Before = Callable[..., AbstractContextManager[Scene]]


@pytest.fixture
def before(tmp_path: Path) -> Before:
    @contextmanager
    def run(more: str = POLICY, **given: Any) -> Iterator[Scene]:
        authority, reader = Authority(), Reader()
        with (
            scripted(authority, reader) as origin,
            put_before(tmp_path, authority, origin, http="1.1", more=more, **given) as passage,
        ):
            yield Scene(reader, passage)

    return run


def test_the_provider_sees_a_document_of_what_the_policy_lets_go(before: Before):
    with before() as scene:
        headers = {"X-User": "Jane Doe", "Content-Digest": "sha-256=:AAAA:"}
        seen = scene.sent(path="/people?q=doe&trace=77", json=PERSON, headers=headers)
        assert (seen.body, seen.target) == (SENT, "/people?q=%2A%2Ae")
        assert seen.values("content-length") == [str(len(SENT))]
        assert not seen.values("x-user")
        digest = base64.b64encode(hashlib.sha256(SENT).digest()).decode()
        assert seen.values("content-digest") == [f"sha-256=:{digest}:"]


def test_the_record_names_rules_and_never_what_stood_in_fields(before: Before):
    with before() as scene:
        answer = scene.call(json=PERSON, headers={"X-User": "Jane Doe"})
        record = scene.record(answer.headers["tidegate-call"])
        assert record.sent == (
            FieldRecord("body $.email", "contact.email", "allow"),
            FieldRecord("body $.card.number", "financial.card", "mask"),
            FieldRecord("body $.born", "birth", "generalise"),
        )
        assert record.withheld == (
            FieldRecord("body $.notes[*]", None, "drop"),
            FieldRecord("header X-User", "contact.name", "drop"),
        )
        assert not record.weak
        assert record.sent_bytes == len(SENT)
        assert "protect" in record.steps_us
        assert not re.search("jane|4111|1987|Monday|Doe", repr(record))


def test_a_field_without_a_rule_is_refused_by_its_place(before: Before):
    with before() as scene:
        problem = scene.refused(json={"email": "a@b.example", "phone": "+49 170 1234567"})
        assert (problem["code"], problem["status"]) == ("undeclared_field", 422)
        assert problem["rule"] == "protection[0]"
        assert "`body $.phone`" in problem["detail"]
        assert "1234567" not in json.dumps(problem)
        record = scene.record(problem["call"])
        assert (record.outcome, record.sent, record.withheld) == ("undeclared_field", (), ())
        assert scene.refused(path="/people?page=2", json={})["detail"].count("`query page`") == 1


def test_a_form_is_written_anew(before: Before):
    with before() as scene:
        seen = scene.sent(data={"email": "a@b.example", "metadata[order]": "17"})
        assert seen.body == b"email=a%40b.example"
        assert seen.values("content-length") == [str(len(seen.body))]


def test_a_form_with_files_is_written_anew(before: Before):
    with before() as scene:
        image = b"\x89PNG\r\n\x1a\n\xff"
        files = {
            "cv": ("jane-doe.pdf", b"%PDF\xff", "application/pdf"),
            "photo": ("jane.png", image, "image/png"),
            "card": (None, json.dumps({"number": "4111111111111111"}), "application/json"),
        }
        answer = scene.call(data={"email": "a@b.example"}, files=files)
        assert answer.status_code == 200, answer.text
        seen = scene.reader.seen[-1]
        (kind,) = seen.values("content-type")
        assert seen.values("content-length") == [str(len(seen.body))]
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.message_from_bytes(head + seen.body)
        parts: Any = message.get_payload()
        said = [
            (
                one.get_param("name", header="content-disposition"),
                one.get_filename(),
                one.get_content_type(),
                one.get_payload(decode=True),
            )
            for one in parts
        ]
        assert said == [
            ("email", None, "text/plain", b"a@b.example"),
            ("cv", "********.pdf", "application/pdf", b"%PDF\xff"),
            ("card", None, "application/json", b'{"number":"************1111"}'),
        ]
        record = scene.record(answer.headers["tidegate-call"])
        assert record.withheld == (FieldRecord("part photo", None, "drop"),)
        assert FieldRecord("part cv filename", "contact.name", "mask") in record.sent
        problem = scene.refused(files={"cv": b"x", "passport": b"y"})
        assert "`part passport`" in problem["detail"]


def test_a_table_is_written_anew(before: Before):
    with before() as scene:
        kind = {"Content-Type": "text/csv; charset=utf-8"}
        table = b'note,email,born\n"a, b",a@b.example,1987-05-23\n,b@b.example,\n'
        seen = scene.sent(content=table, headers=kind)
        assert seen.body == b"email,born\r\na@b.example,1987\r\nb@b.example,\r\n"
        assert seen.values("content-type") == [kind["Content-Type"]]
        problem = scene.refused(content=b"email,phone\n", headers=kind)
        assert "`csv phone`" in problem["detail"]


def test_xml_is_written_anew_by_the_policys_prefixes(before: Before):
    with before() as scene:
        kind = {"Content-Type": 'text/xml; charset="utf-8"'}
        document = ET.fromstring(
            '<Body xmlns="http://schemas.xmlsoap.org/soap/envelope/"><person xmlns="urn:people" '
            'born="1987-05-23"><email>a&amp;b@c.example</email><card>4111111111111111</card>'
            "<note>she called</note><note>on Monday</note></person></Body>"
        )
        seen = scene.sent(content=ET.tostring(document, "utf-8"), headers=kind)
        sent = ET.fromstring(seen.body)
        assert [(one.tag, dict(one.attrib), one.text) for one in sent.iter()] == [
            ("{http://schemas.xmlsoap.org/soap/envelope/}Body", {}, None),
            ("{urn:people}person", {"born": "1987"}, None),
            ("{urn:people}email", {}, "a&b@c.example"),
            ("{urn:people}card", {}, "************1111"),
        ]
        ET.SubElement(document[0], "{urn:people}phone").text = "0170"
        problem = scene.refused(content=ET.tostring(document), headers=kind)
        assert "`xml /s:Body/o:person/o:phone`" in problem["detail"]


def test_a_body_that_comes_in_pieces_or_compressed_goes_out_whole_and_plain(before: Before):
    with before() as scene:
        document = json.dumps(PERSON).encode()
        kind = {"Content-Type": "application/json"}
        pieces = iter([document[:10], document[10:]])
        assert scene.sent(content=pieces, headers=kind).body == SENT
        seen = scene.sent(
            content=gzip.compress(document), headers=kind | {"Content-Encoding": "gzip"}
        )
        assert (seen.body, seen.values("content-encoding")) == (SENT, [])
        assert not seen.values("transfer-encoding")


def test_a_body_of_a_kind_without_rules_is_refused(before: Before):
    with before() as scene:
        for kind in ("text/plain", "application/yaml", "application/json; charset=utf-16"):
            problem = scene.refused(content=b"<a/>", headers={"Content-Type": kind})
            assert problem["code"] == "unparseable"
        assert scene.refused(content=b"{}")["code"] == "unparseable"


def test_a_body_beyond_the_policys_bound_is_refused(before: Before):
    with before(POLICY + "    bounds: {body: 1KiB}\n") as scene:
        problem = scene.refused(json={"email": "x" * 2000})
        assert problem["code"] == "too_large"
        assert "protection[0]" in problem["detail"]


def test_what_is_sent_again_is_the_same_byte_by_byte(before: Before):
    with before(
        provider="retry: {backoff: 10ms}\n    idempotency: {header: Idempotency-Key}"
    ) as scene:
        scene.reader.statuses = [503]
        assert scene.call(json=PERSON).status_code == 200
        first, second = scene.reader.seen
        assert first.body == second.body == SENT
        assert first.values("idempotency-key") == second.values("idempotency-key") != []


def test_what_is_kept_back_parts_no_answers_in_the_cache(before: Before):
    cache = 'cache: {operations: {"POST /{name}": {ttl: 1m, read_only: true, body: json}}}'
    with before(provider=cache) as scene:
        assert scene.call(json=PERSON | {"notes": ["one"]}).status_code == 200
        again = scene.call(json=PERSON | {"notes": ["two"], "card": {"number": "5555555555551111"}})
        assert "hit" in again.headers["cache-status"]
        assert len(scene.reader.seen) == 1
        stored = scene.record(again.headers["tidegate-call"])
        assert (stored.cache, stored.sent) == ("hit", ())


def test_a_policy_reports_until_its_day_and_lets_calls_go_as_they_are(before: Before):
    with before(POLICY + "    report_until: 2999-01-01\n") as scene:
        document = json.dumps(PERSON, indent=1).encode()
        kind = {"Content-Type": "application/json"}
        answer = scene.call(content=document, headers=kind)
        assert scene.reader.seen[-1].body == document
        record = scene.record(answer.headers["tidegate-call"])
        assert record.would is not None
        assert (record.would.outcome, record.withheld) == ("ok", ())
        assert FieldRecord("body $.card.number", "financial.card", "mask") in record.would.sent
        assert FieldRecord("body $.card.number", "financial.card", "allow") in record.sent
        answer = scene.call(content=b'{"phone": 1}', headers=kind)
        assert answer.status_code == 200
        would = scene.record(answer.headers["tidegate-call"]).would
        assert would is not None
        assert (would.outcome, "`body $.phone`" in (would.detail or "")) == (
            "undeclared_field",
            True,
        )


def test_a_policy_whose_day_has_come_enforces_by_itself(before: Before):
    with before(POLICY + "    report_until: 2020-01-01\n") as scene:
        assert scene.refused(json={"phone": 1})["code"] == "undeclared_field"


@pytest.mark.parametrize("place", ["file", "provider"])
def test_what_has_no_policy_is_refused_where_that_is_declared(before: Before, place: str):
    refuse = "unprotected: refuse"
    more = f"{POLICY}{refuse}\n" if place == "file" else POLICY
    with before(more, provider=refuse if place == "provider" else "") as scene:
        assert scene.sent(json=PERSON).body == SENT
        problem = scene.refused(method="GET", path="/people")
        assert (problem["code"], problem["status"]) == ("unprotected", 403)


def test_what_has_no_policy_goes_as_it_is_and_is_recorded_as_weak(before: Before):
    with before() as scene:
        document = b' {"a": 1, "a": 2} '
        answer = scene.call("PUT", content=document)
        assert scene.reader.seen[-1].body == document
        assert scene.record(answer.headers["tidegate-call"]).weak
        answer = scene.call("GET")
        assert not scene.record(answer.headers["tidegate-call"]).weak


def test_try_shows_what_the_provider_would_see(
    before: Before, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with before() as scene:
        seen = scene.sent(json=PERSON)
        file = str(scene.passage.gateway.file)
    sample = tmp_path / "sample.http"
    head = "POST /there/people HTTP/1.1\nContent-Type: application/json\nX-User: Jane\n\n"
    sample.write_text(head + json.dumps(PERSON) + "\n")
    capsys.readouterr()
    assert main(["protect", "try", str(sample), file, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["after"]["body"].encode() == seen.body
    by_place = {one["place"]: one for one in shown["fields"]}
    assert by_place["body $.card.number"]["after"] == "************1111"
    assert by_place["body $.notes[1].by"]["after"] is None
    sample.write_text(head + '{"phone": "1", "fax": "2"}')
    assert main(["protect", "try", str(sample), file, "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    refused = [one["place"] for one in shown["fields"] if one["refused"]]
    assert (shown["outcome"], refused) == ("undeclared_field", ["body $.phone", "body $.fax"])
