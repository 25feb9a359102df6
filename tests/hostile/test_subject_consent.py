"""Decisions that nobody made: replayed, contradicting, unreadable, smuggled; nothing personal goes by them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.canaries import plant
from support.crm import JSON, Front, protecting
from support.iab import NATIONAL, OBJECTING, OPTED_OUT, tcf
from support.running import wait_until

from tidegate.cli import main

EMAIL = "frances.canary@example.com"
NOW = int(time.time())
STRING = tcf(NOW - 3_600, [1, 3, 4, 7], [12, 755, 4_099])
PERSON = {"email": EMAIL, "event": "Purchase"}
DAY_S = 86_400

POLICY = """
  - operations: ["crm:PostPeople"]
    purpose: marketing.advertising
    consent_max_age: 30d
    fields:
      - {at: body $.email, category: contact.email, do: allow}
      - {at: body $.event, category: none, do: allow}
  - operations: ["crm:PostNotes"]
    purpose: marketing.advertising.profiling
    without_consent: drop
    fields:
      - {at: body $.email, category: contact.email, do: allow}
      - {at: body $.hashed, category: contact.email, do: {hash: meta.email}}
      - {at: body $.people, category: contact.email, do: allow}
      - {at: body $.unsaid, do: allow}
      - {at: body $.event, category: none, do: allow}
      - {at: header X-Person, category: contact.email, do: allow}
      - {at: query who, category: contact.email, do: allow}
      - {at: query page, category: none, do: allow}
  - operations: ["mail:PostPeople"]
    purpose: marketing.advertising
    report_until: 2999-01-01
    fields: [{at: body $.email, category: contact.email, do: allow}]
  - operations: ["mail:PostNotes"]
    purpose: marketing.advertising
    without_consent: drop
    report_until: 2999-01-01
    fields: [{at: body $.email, category: contact.email, do: allow}]
  - operations: ["mail:PostTagged"]
    purpose: marketing.advertising
    tcf_purposes: [1]
    tcf_vendor: 755
    fields: [{at: body $.email, category: contact.email, do: allow}]
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    plant(EMAIL)
    plant(STRING)
    with protecting(tmp_path_factory.mktemp("consented"), POLICY) as front:
        yield front


@pytest.fixture(scope="module")
def token(front: Front) -> str:
    return front.gateway.token("app", "acme")


def call(
    front: Front,
    token: str,
    *fields: tuple[str, str],
    to: str = "crm/people",
    body: Any = PERSON,
) -> httpx.Response:
    headers = [("Tidegate-Token", token), *JSON.items(), *fields]
    url = f"{front.gateway.url}/{to}"
    return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=20)


def said(line: str) -> tuple[str, str]:
    return "Tidegate-Consent", line


def granted(*, ago_s: int = 0, more: str = "") -> tuple[str, str]:
    return said(f"decision=granted, at=@{int(time.time()) - ago_s}{more}")


def refused(front: Front, answer: httpx.Response, why: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (403, "no_consent"), answer.text
    assert why in answer.json()["detail"]
    assert EMAIL not in answer.text
    assert STRING not in answer.text


def test_what_they_granted_goes_out_and_the_field_that_says_so_stays_here(front: Front, token: str):
    for field in (
        granted(),
        granted(more=f', gpc=?0, tcf="{STRING}", gpp="{NATIONAL}"'),
        granted(more=f', gpp="DBABMA~{STRING}"'),
        said(f"at={int(time.time())},decision=granted"),
    ):
        assert call(front, token, field).status_code == 200
        assert front.crm.last == PERSON
        assert b"tidegate-" not in front.crm.heads[-1].lower()
        assert STRING.encode() not in front.crm.heads[-1]


def test_decisions_that_do_not_hold_send_nothing(front: Front, token: str):
    before = len(front.crm.heads)
    now = int(time.time())
    for fields, why in (
        ([], "does not say it"),
        ([said("decision=denied, at=@1")], "did not give it"),
        ([granted(ago_s=31 * DAY_S)], "older"),
        ([granted(ago_s=4_000 * DAY_S)], "older"),
        ([granted(ago_s=-3_600)], "time to come"),
        ([said("decision=granted")], "when they decided"),
        ([said(f"at=@{now}")], "no `decision`"),
        ([said(f'tcf="{STRING}", gpp="{NATIONAL}", at=@{now}')], "no `decision`"),
        ([granted(), ("Sec-GPC", "1")], "Global Privacy Control"),
        ([granted(), ("Sec-GPC", "0"), ("Sec-GPC", "1")], "Global Privacy Control"),
        ([granted(more=", gpc")], "Global Privacy Control"),
        ([granted(more=", gpc=?0"), ("Sec-GPC", "1")], "Global Privacy Control"),
        ([("Sec-GPC", "1")], "Global Privacy Control"),
        # What is named as for this hop alone is still read.
        ([granted(), ("Sec-GPC", "1"), ("Connection", "sec-gpc")], "Global Privacy Control"),
    ):
        refused(front, call(front, token, *fields), why)
    assert len(front.crm.heads) == before


def test_a_string_takes_a_decision_back(front: Front, token: str):
    before = len(front.crm.heads)
    old, ahead = NOW - 40 * DAY_S, NOW + DAY_S
    for more, why in (
        (f'tcf="{tcf(NOW - 60, [1, 4, 7], [755])}"', "TCF string"),
        (f'tcf="{tcf(NOW - 60, [], [755])}"', "TCF string"),
        (f'tcf="{tcf(old, [1, 3, 4, 7], [755])}"', "older"),
        (f'tcf="{tcf(ahead, [1, 3, 4, 7], [755])}"', "time to come"),
        (f'tcf="{STRING}", gpp="DBABMA~{tcf(NOW - 60, [1], [755])}"', "TCF string"),
        (f'tcf="{STRING}", gpp="{OPTED_OUT}"', "GPP string"),
        (f'gpp="{OBJECTING}"', "GPP string"),
        (f'gpp="DBACNYA~{STRING}~1YYN"', "GPP string"),
        (f'tcf="{tcf(NOW - 60, [1, 3, 4, 7], [755], version=1)}"', "cannot be read"),
        (f'tcf="{STRING}B"', "cannot be read"),
        (f'tcf="{STRING}.{STRING}"', "cannot be read"),
        (f'tcf="{NATIONAL}"', "cannot be read"),
        (f'gpp="{STRING}"', "cannot be read"),
        (f'gpp="{NATIONAL}~{STRING}"', "cannot be read"),
    ):
        refused(front, call(front, token, granted(more=f", {more}")), why)
    assert len(front.crm.heads) == before


def test_a_vendor_that_is_declared_must_stand_in_the_string(front: Front, token: str):
    body = {"email": EMAIL}
    for more in (f', tcf="{STRING}"', f', gpp="DBABMA~{STRING}"'):
        assert (
            call(front, token, granted(more=more), to="mail/tagged", body=body).status_code == 200
        )
    for more in ("", f', gpp="{NATIONAL}"', f', tcf="{tcf(NOW - 60, [1], [12, 756])}"'):
        answer = call(front, token, granted(more=more), to="mail/tagged", body=body)
        refused(front, answer, "TCF string")


def test_what_two_readers_could_read_differently_is_no_decision(front: Front, token: str):
    before = len(front.crm.heads)
    now = int(time.time())
    yes, no = granted(), said(f"decision=denied, at=@{now}")
    for fields in (
        [yes, no],
        [no, yes],
        [yes, yes],
        [said(f"decision=denied, decision=granted, at=@{now}")],
        [granted(more=", at=@1")],
        [granted(more=f', more="{STRING}"')],
        [granted(more=f', tcf="{STRING}", tcf="{STRING}"')],
        [granted(more=";by=them")],
        [said(f'decision="granted", at=@{now}')],
        [said(f"decision=GRANTED, at=@{now}")],
        [said(f'{{"decision": "granted", "at": {now}}}')],
        [said(STRING)],
        [granted(more=f', tcf="{"A" * 20_000}"')],
    ):
        refused(front, call(front, token, *fields), "cannot be read")
    # Another name, or another place, is not the field.
    for field in (("Tidegate_Consent", yes[1]), ("X-Tidegate-Consent", yes[1])):
        refused(front, call(front, token, field), "does not say it")
    refused(
        front, call(front, token, to=f"crm/people?Tidegate-Consent={yes[1]}"), "does not say it"
    )
    assert len(front.crm.heads) == before


def test_without_a_decision_what_may_be_personal_stays_here(front: Front, token: str):
    body = {
        "email": "a@example.com",
        "hashed": EMAIL,
        "people": [{"email": "b@example.com"}, ["c@example.com"]],
        "unsaid": "x",
        "event": "Purchase",
    }
    to = "crm/notes?who=frances&page=2"
    person = ("X-Person", "frances")
    for fields in (
        [],
        [said("decision=denied")],
        [granted(), ("Sec-GPC", "1")],
        [granted(more=";a")],
    ):
        assert call(front, token, person, *fields, to=to, body=body).status_code == 200
        assert front.crm.last == {"event": "Purchase"}
        head = front.crm.heads[-1].lower()
        assert head.startswith(b"post /notes?page=2 ")
        assert b"frances" not in head
    assert call(front, token, granted(), person, to=to, body=body).status_code == 200
    assert front.crm.last["people"] == body["people"]
    assert b"x-person: frances" in front.crm.heads[-1].lower()


def test_what_was_left_out_goes_by_no_other_field(front: Front, token: str):
    body = {"email": EMAIL, "event": f"Purchase by {EMAIL}"}
    answer = call(front, token, to="crm/notes", body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "undeclared_field")
    assert EMAIL not in answer.text


def test_no_mode_softens_it(front: Front, token: str):
    before = len(front.crm.heads)
    for to in ("mail/people", "mail/notes"):
        refused(front, call(front, token, to=to), "does not say it")
        refused(front, call(front, token, granted(), ("Sec-GPC", "1"), to=to), "Global Privacy")
    assert len(front.crm.heads) == before
    assert call(front, token, granted(), to="mail/people").status_code == 200


def test_the_record_has_the_decision_and_its_moment_and_no_more(front: Front):
    # Another client's, by which its calls are known among those of other tests.
    token = front.gateway.token("app", "globex")
    at = int(time.time()) - 60
    call(front, token, said(f'decision=granted, at=@{at}, tcf="{STRING}"'), to="crm/notes")
    call(front, token, said(f'decision=denied, at=@{at}, tcf="{STRING}"'), to="crm/notes")
    call(front, token, said("decision=granted"))
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    wanted = [f"granted at {moment}, by decision and tcf", "none: denied", "none: undated"]
    known: set[str | None] = set()

    def mine() -> list[Any]:
        records = front.gateway.records(1)
        known.update(one.token for one in records if one.subject_consent == wanted[0])
        return [one for one in records if one.token in known and one.subject_consent]

    wait_until(lambda: [one.subject_consent for one in mine()] == wanted)
    given, left_out, undated = mine()
    assert [one.at for one in given.sent] == ["body $.email", "body $.event"]
    assert [(one.at, one.do) for one in left_out.withheld] == [("body $.email", "drop")]
    assert (undated.outcome, undated.decision, undated.sent) == ("no_consent", "deny", ())
    assert STRING not in json.dumps([str(one) for one in mine()])


def test_a_sample_is_judged_by_what_it_says(
    front: Front, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sample = tmp_path / "sample.http"
    body = json.dumps({"email": "a@example.com", "event": "Purchase"})

    def tried(path: str, line: str = "") -> dict[str, Any]:
        head = f"POST /crm/{path} HTTP/1.1\nContent-Type: application/json\n{line}"
        sample.write_text(f"{head}\n{body}")
        capsys.readouterr()
        code = main(["protect", "try", str(sample), str(front.gateway.file), "--json"])
        shown = json.loads(capsys.readouterr().out)
        assert code == int(shown["outcome"] != "ok")
        return shown

    assert tried("people")["outcome"] == "no_consent"
    assert tried("people", f"{': '.join(granted(ago_s=31 * DAY_S))}\n")["outcome"] == "no_consent"
    assert tried("people", f"{': '.join(granted())}\n")["after"]["body"] == body.replace(" ", "")
    left_out = tried("notes")
    assert [one["do"] for one in left_out["fields"]] == ["drop", "allow"]
    assert json.loads(left_out["after"]["body"]) == {"event": "Purchase"}


def test_what_is_asked_for_is_explained(front: Front):
    for path, without in (("people", "is refused"), ("notes", "without what is personal")):
        told = front.gateway.state.explain(
            "app", "POST", f"/crm/{path}", client="acme", connection=None
        )
        (step,) = [one for one in told.steps if one.step == "protect"]
        assert "needs the consent" in step.detail
        assert without in step.detail
