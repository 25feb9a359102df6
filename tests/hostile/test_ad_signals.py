"""The provider reads what the person decided, and not what the application says that they did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.canaries import plant
from support.crm import Front, protecting

EMAIL = "grace.canary@example.com"

POLICY = """
  - operations: ["crm:PostPeople"]
    purpose: marketing.advertising
    without_consent: drop
    signals: meta
    fields:
      - {at: "body $.data[*].em", category: contact.email, do: allow}
      - {at: "body $.data", category: none, do: allow}
      - {at: form data, category: none, do: allow}
  - operations: ["crm:PostNotes"]
    purpose: marketing.advertising
    without_consent: drop
    signals: google_data_manager
    fields:
      - {at: "body $.events[*].email", category: contact.email, do: allow}
      - {at: "body $", category: none, do: allow}
  - operations: ["mail:PostPeople"]
    purpose: marketing.advertising
    signals: google_ads
    fields:
      - {at: "body $.conversions[*].email", category: contact.email, do: allow}
      - {at: "body $", category: none, do: allow}
  - operations: ["mail:PostNotes"]
    purpose: marketing.advertising
    signals: google_ads
    fields: [{at: "body $", category: none, do: allow}]
"""
LIMITED = {
    "data_processing_options": ["LDU"],
    "data_processing_options_country": 0,
    "data_processing_options_state": 0,
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    plant(EMAIL)
    with protecting(tmp_path_factory.mktemp("signals"), POLICY) as front:
        yield front


def send(front: Front, body: Any, to: str, decision: str | None, **more: str) -> Any:
    said = {"Tidegate-Consent": f"decision={decision}, at=@{int(time.time())}"} if decision else {}
    return front.send(body, to=to, **said, **more)


def test_meta_reads_limited_data_use_unless_it_was_granted(front: Front):
    written = {"data_processing_options": [], "data_processing_options_country": 1}
    body = {"data": [{"event_name": "a", "em": EMAIL} | written, {"event_name": "b"}]}
    for decision in ("denied", None):
        assert send(front, body, "crm/people", decision).status_code == 200
        assert front.crm.last == {
            "data": [{"event_name": "a"} | LIMITED, {"event_name": "b"} | LIMITED]
        }
    contradicting = {"Sec-GPC": "1"}
    assert send(front, body, "crm/people", "granted", **contradicting).status_code == 200
    assert front.crm.last["data"][0] == {"event_name": "a"} | LIMITED
    assert send(front, {"data": [{"em": EMAIL} | LIMITED]}, "crm/people", "granted").is_success
    assert front.crm.last == {"data": [{"em": EMAIL, "data_processing_options": []}]}


def test_google_reads_one_decision_in_every_place(front: Front):
    body = {
        "events": [
            {"email": "", "consent": {"ad_user_data": "CONSENT_GRANTED"}},
            {"consent": {"adUserData": "CONSENT_GRANTED"}},
            {"id": 1},
        ],
        "audience_members": [{"consent": {"adPersonalization": "CONSENT_GRANTED"}}],
        "consent": {"adUserData": "CONSENT_GRANTED", "ad_user_data": "CONSENT_GRANTED"},
    }
    for decision, word in (("denied", "CONSENT_DENIED"), ("granted", "CONSENT_GRANTED")):
        said = {"adUserData": word, "adPersonalization": word}
        assert send(front, body, "crm/notes", decision).status_code == 200
        out = front.crm.last
        assert out["consent"] == said
        assert out["audience_members"] == [{"consent": said}]
        assert [one.get("consent") for one in out["events"]] == [said, said, None]
        assert "ad_user_data" not in front.crm.people[-1].decode()


def test_google_ads_reads_of_conversions_what_can_be_said_of_them(front: Front):
    body = {"conversions": [{"email": EMAIL, "consent": {"adUserData": "DENIED"}}, {}]}
    assert send(front, body, "mail/people", "granted").status_code == 200
    granted = {"adUserData": "GRANTED"}
    assert [one["consent"] for one in front.crm.last["conversions"]] == [granted, granted]
    answer = send(front, body, "mail/people", "denied")
    assert (answer.status_code, answer.json()["code"]) == (403, "no_consent")


def test_what_sends_nothing_personal_goes_with_the_signal_alone(front: Front):
    body = {"job": {"type": "CUSTOMER_MATCH_USER_LIST", "customerMatchUserListMetadata": {}}}
    for decision, word in (("granted", "GRANTED"), ("denied", "DENIED"), (None, "DENIED")):
        assert send(front, body, "mail/notes", decision).status_code == 200
        said = front.crm.last["job"]["customerMatchUserListMetadata"]["consent"]
        assert said == {"adUserData": word, "adPersonalization": word}


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": {"event_name": "a"}},
        {"data": '[{"event_name":"a"}]'},
        {"data": [{"event_name": "a"}, '{"event_name":"b"}']},
        {"data": [[{"event_name": "a"}]]},
        {"data": None},
        b"",
    ],
)
def test_a_request_that_has_no_place_for_it_is_refused(front: Front, body: Any):
    before = len(front.crm.heads)
    for decision in ("granted", "denied"):
        answer = send(front, body, "crm/people", decision)
        assert (answer.status_code, answer.json()["code"]) == (422, "unparseable"), answer.text
        assert "signals" in answer.json()["detail"]
    assert len(front.crm.heads) == before


def test_a_form_is_not_read_for_it(front: Front):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = send(front, b"data=%5B%7B%7D%5D", "crm/people", "granted", **form)
    assert (answer.status_code, answer.json()["code"]) == (422, "unparseable")
