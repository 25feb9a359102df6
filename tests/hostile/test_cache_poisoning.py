"""Nobody has an answer of their own making stored for others, and nothing private is stored by a trick."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest
from support.caching import Reply, Request, Scene, scene
from support.raw import raw

FRESH = {"Cache-Control": "max-age=600, public"}
HARMLESS = """
      mode: public
      unkeyed: [X-Trace]"""


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("private"), "{ttl: 10m}") as made:
        yield made


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("public"), HARMLESS, clients=("acme", "evil")) as made:
        yield made


def said(request: Request) -> Reply:
    """Everything of the request that could change an answer."""
    told = [request.method, request.target, request.body.decode()]
    skipped = {"authorization", "user-agent", "accept-encoding", "connection", "accept", "x-trace"}
    told += [
        f"{name}={value}" for name, value in sorted(request.headers.items()) if name not in skipped
    ]
    return Reply("\n".join(told), headers=FRESH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "http"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Forwarded", "host=evil.test"),
        ("X-Tenant", "evil"),
        ("Accept-Version", "0"),
        ("Cookie", "session=evil"),
        ("Authorization", "Bearer evil"),
    ],
)
def test_a_header_that_bends_the_answer_bends_nobody_elses(public: Scene, name: str, value: str):
    path = f"/bent{name.lower()}"
    public.provider.answers[path] = said
    clean = public.call(path + "?clean").text.replace("?clean", "")
    public.call(path, client="evil", **{name.replace("-", "_"): value})
    assert public.call(path).text == clean


def test_a_header_that_is_declared_harmless_parts_nothing(public: Scene):
    public.provider.answers["/traced"] = said
    public.call("/traced", X_Trace="1")
    assert public.way("/traced", X_Trace="2").startswith("tidegate; hit")


def test_spellings_that_two_readers_take_for_one_are_not_one_key(private: Scene):
    private.provider.answers["/spelt"] = said
    queries = (
        "a=1:b=2",
        "a=1&b=2",
        "a=1%26b=2",
        "a=1;b=2",
        "a=1&b=2&",
        "a=1&&b=2",
        "a=1&b=2&b=2",
        "a=1",
        "a",
        "",
        "a=",
        "A=1",
    )
    for query in queries:
        text = private.call(f"/spelt?{query}").text
        assert text.split("\n")[1] == private.provider.seen[-1].target
    for query, other in itertools.permutations(queries, 2):
        assert (
            private.call(f"/spelt?{query}").text != private.call(f"/spelt?{other}").text
            or query == other
        )
    again = [private.way(f"/spelt?{query}") for query in queries]
    assert all(way.startswith("tidegate; hit") for way in again)


def test_a_get_with_a_body_is_not_stored(private: Scene):
    private.provider.answers["/fat"] = said
    fat = private.call("/fat", content=b"poison")
    assert "fwd=method" in fat.headers["cache-status"]
    assert "poison" not in private.call("/fat").text


@pytest.mark.parametrize(
    "path", ["/account.css", "/account.js", "/account;a.css", "/account%3Bx.css"]
)
def test_a_private_answer_is_not_stored_for_its_path(private: Scene, path: str):
    private.provider.answers.update(
        {path: lambda _: Reply("mine", headers={"Cache-Control": "private, max-age=600"})}
    )
    for _ in range(2):
        assert private.call(path).headers["cache-status"].endswith("detail=private")


@pytest.mark.parametrize(
    ("status", "headers", "detail"),
    [
        (200, {"Set-Cookie": "session=1"}, "set-cookie"),
        (200, {"Vary": "*"}, "vary"),
        (200, {"Content-Type": "text/event-stream"}, "stream"),
        (404, {}, "error"),
        (400, {}, "error"),
        (500, {}, "error"),
        (429, {}, "status"),
        (401, {}, "status"),
    ],
)
def test_what_is_one_sessions_or_went_wrong_is_not_stored(
    private: Scene, status: int, headers: dict[str, str], detail: str
):
    path = f"/never{status}{detail}"
    private.provider.answers[path] = lambda _: Reply("x", status, {**FRESH, **headers})
    for _ in range(2):
        assert private.way(path).endswith(f"detail={detail}")
    assert private.provider.asked(path) == 2


def test_an_answer_cut_short_is_not_stored(private: Scene):
    def cut(request: Request) -> Reply:
        raise ConnectionError

    private.provider.answers["/cut"] = cut
    assert private.call("/cut").status_code == 502
    private.provider.answers["/cut"] = lambda _: Reply("whole", headers=FRESH)
    assert private.call("/cut").text == "whole"


def test_a_consumer_cannot_store_its_own_idea_of_an_answers_fields(private: Scene):
    private.provider.say("/fields", "x", Cache_Control="max-age=600")
    private.call("/fields", Cache_Status="evil; hit", Age="9999", Tidegate_Call="evil")
    answer = private.call("/fields")
    assert "evil" not in str(answer.headers)
    assert int(answer.headers["age"]) < 60


def test_endless_variants_stay_bounded(private: Scene):
    private.provider.answers["/many"] = lambda request: Reply(
        request.headers.get("x-kind", ""), headers={**FRESH, "Vary": "X-Kind"}
    )
    for number in range(40):
        assert private.call("/many", X_Kind=str(number)).text == str(number)
    kept = [
        private.call("/many", X_Kind=str(n), Cache_Control="only-if-cached").status_code
        for n in range(40)
    ]
    assert kept.count(200) == 16
    assert kept[-16:] == [200] * 16


def test_a_forged_cache_status_of_the_providers_is_told_apart_from_ours(private: Scene):
    private.provider.say("/said", "x", Cache_Control="no-store", Cache_Status="tidegate; hit")
    lines = httpx.Headers(private.call("/said").headers).get_list("cache-status")
    assert lines[-1].startswith("tidegate; fwd=uri-miss")


def test_a_smuggled_second_request_meets_no_stored_answer(private: Scene):
    private.provider.say("/smuggled", "x", Cache_Control="max-age=600")
    private.call("/smuggled")
    with raw(private.passage.address) as wire:
        wire.send(
            b"GET /there/smuggled HTTP/1.1\r\nHost: x\r\nTidegate-Token: "
            + private.tokens["acme"].encode()
            + b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        answer = wire.answer()
    assert answer is None or answer.status == 400
