"""Answers that would be code where a consumer puts them, or that two readers read differently."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from support.checked import Checked, checked, code_of

REFUSED = (502, "response_rejected")
SCRIPT = b'{"id":1,"name":"</script><script>alert(1)</script>\xe2\x80\xa8&"}'


@pytest.fixture(scope="module")
def enforced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    declared = "schema: {responses: enforce, body_max: 64KiB}\n    answers: {html: refuse, prototype: refuse}"
    with checked(tmp_path_factory.mktemp("answers"), declared) as gate:
        yield gate


@pytest.fixture(scope="module")
def neutralised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    declared = "answers: {types: [application/json], html: escape, prototype: drop}"
    with checked(tmp_path_factory.mktemp("neutralised"), declared) as gate:
        yield gate


@pytest.fixture(autouse=True)
def afresh(request: pytest.FixtureRequest) -> None:
    for name in {"enforced", "neutralised"} & set(request.fixturenames):
        provider = request.getfixturevalue(name).provider
        provider.status, provider.fields = "200 OK", []


def test_an_answer_of_the_document_passes_as_it_came(enforced: Checked):
    body = b'{ "id": 1.0, "name": "a < b", "more": 12345678901234567890123 }'
    answer = enforced.answered(body)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "media_type", "said"),
    [
        (b"<html><script>alert(1)</script>", "text/html", "head: `content-type`"),
        (b"<html><script>alert(1)</script>", "application/json", "body: `json`"),
        (b'{"id":1}', None, "head: `content-type`"),
        (b'{"id":1}', "text/html, application/json", "head: `content-type`"),
        (b'{"id":1}', "application/json; charset=utf-7", "body: `charset`"),
        (b'{"id":"1"}', "application/json", "body /id: `type` asks for integer"),
        (b'{"id":1,"replies":[{}]}', "application/json", "body /replies/0: `required`"),
        (b'{"id":1,"id":2}', "application/json", "body: `json`"),
        (b'{"id":1,"\\u0069d":2}', "application/json", "body: `json`"),
        (b'{"id":1,"__proto__":{"admin":true}}', "application/json", "body: `prototype`"),
        (b'{"id":1,"\\u005f_proto__":{"admin":true}}', "application/json", "body: `prototype`"),
        (b'{"id":1,"constructor":{"prototype":{"a":1}}}', "application/json", "body: `prototype`"),
        (SCRIPT, "application/json", "body: `html`"),
        (b'{"id":1,"name":"\\u003cimg src=x onerror=a()>"}', "application/json", "body: `html`"),
        (b'{"id":1,"<b>":1}', "application/json", "body: `html`"),
        (b'{"id":1,"replies":' + b"[" * 70 + b"]" * 70 + b"}", "application/json", "body: `json`"),
        (b'{"id":1,"a":[' + b"1," * 40_000 + b"1]}", "application/json", "body: `bounds`"),
        (b'{"id":1', "application/json", "body: `json`"),
        (b"", "application/json", "body: `required`"),
    ],
)
def test_another_answer_is_refused_before_any_of_it_passes(
    enforced: Checked, body: bytes, media_type: str | None, said: str
):
    answer = enforced.answered(body, media_type)
    assert code_of(answer) == REFUSED
    assert said in answer.json()["detail"]
    assert "alert" not in answer.text


def test_a_status_that_is_not_declared_is_refused_and_an_error_in_json_passes(enforced: Checked):
    enforced.provider.status = "202 Accepted"
    assert code_of(enforced.answered(b'{"id":1}')) == REFUSED
    enforced.provider.status = "404 Not Found"
    answer = enforced.answered(b'{"error":"none"}', "application/problem+json")
    assert (answer.status_code, answer.json()) == (404, {"error": "none"})
    enforced.provider.status = "503 Service Unavailable"
    assert code_of(enforced.answered(b"<h1>Sorry", "text/html")) == REFUSED


def test_an_answer_that_grows_when_it_is_decoded_is_refused(enforced: Checked):
    enforced.provider.fields = ["Content-Encoding: gzip"]
    fitting = b'{"id":1,"name":"' + b"a" * 1000 + b'"}'
    answer = (
        enforced.call("GET", "/people/1") if enforced.answered(gzip.compress(fitting)) else None
    )
    assert answer is not None
    assert answer.json()["id"] == 1
    for bomb in (b"[" + b" " * 60_000_000 + b"]", b'{"id":1,"name":"' + b"a" * 70_000 + b'"}'):
        refused = enforced.answered(gzip.compress(bomb))
        assert code_of(refused) == REFUSED
        assert "body: `bounds`" in refused.json()["detail"]
    assert code_of(enforced.answered(b"no gzip at all")) == REFUSED


def test_what_would_be_markup_in_a_page_is_escaped(neutralised: Checked):
    answer = neutralised.answered(SCRIPT)
    assert not set(b"<>&") & set(answer.content)
    assert "\u2028" not in answer.text
    assert answer.json()["name"] == "</script><script>alert(1)</script>\u2028&"


def test_names_that_reach_into_prototypes_are_left_out(neutralised: Checked):
    body = b'{"a":{"\\u005f_proto__":{"x":1},"b":1},"constructor":{"prototype":{},"name":"c"}}'
    assert neutralised.answered(body).json() == {"a": {"b": 1}}


def test_a_rewritten_answer_has_no_digest_length_or_coding_of_what_came(neutralised: Checked):
    neutralised.provider.fields = [
        "Content-Encoding: gzip",
        "Content-Digest: sha-256=:AAAA:",
        "Accept-Ranges: bytes",
    ]
    answer = neutralised.answered(gzip.compress(b'{"a":"<"}'))
    assert answer.content == b'{"a":"\\u003c"}'
    assert int(answer.headers["content-length"]) == len(answer.content)
    for name in ("content-encoding", "content-digest", "accept-ranges"):
        assert name not in answer.headers


def test_the_provider_is_asked_for_no_part_and_no_coding_that_cannot_be_looked_into(
    neutralised: Checked,
):
    headers = {"Range": "bytes=0-3", "Accept-Encoding": "zstd, br"}
    neutralised.call("GET", "/people/1", headers=headers)
    sent = neutralised.provider.seen[-1][0].lower()
    assert b"range:" not in sent
    assert b"zstd" not in sent


def test_a_type_that_is_not_declared_is_refused_without_a_document(neutralised: Checked):
    assert code_of(neutralised.answered(b"<svg onload=a()>", "image/svg+xml")) == REFUSED
