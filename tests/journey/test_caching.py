"""Answers are stored and given again as RFC 9111 allows, between real consumers and providers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from support.caching import Reply, Request, Scene, scene
from support.running import wait_until

from tidegate.app.asking import ask
from tidegate.cli import main

CACHE = """
      stale_if_error: 1h
      stale_on_throttle: 1h
      sort: true
      ignore: [utm]
      operations:
        "POST /{name}": {read_only: true, body: json}"""


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("caching"), CACHE, clients=("acme", "globex")) as made:
        yield made


def under_way(made: Scene) -> int:
    """How many calls the gateway has taken and not answered."""
    return ask(made.passage.gateway.state.home, "status")["in_flight"]


def test_a_fresh_answer_is_given_again_and_says_how_old_it_is(cached: Scene):
    cached.provider.say("/fresh", "body", Cache_Control="max-age=60", Age="7", ETag='"v1"')
    first = cached.call("/fresh")
    assert first.headers["cache-status"] == "tidegate; fwd=uri-miss; fwd-status=200; stored"
    again = cached.call("/fresh")
    assert (again.text, again.status_code, again.headers["etag"]) == ("body", 200, '"v1"')
    assert again.headers["cache-status"].startswith("tidegate; hit; ttl=5")
    assert 7 <= int(again.headers["age"]) < 20
    assert again.headers["date"] == first.headers["date"]
    assert again.headers["tidegate-call"] != first.headers["tidegate-call"]
    assert cached.provider.asked("/fresh") == 1
    head = cached.call("/fresh", "HEAD")
    assert (head.headers["content-length"], head.text) == ("4", "")
    assert cached.provider.asked("/fresh") == 1


def test_what_the_cache_did_is_on_record(cached: Scene):
    cached.provider.say("/recorded", "x", Cache_Control="max-age=60")
    calls = [cached.call("/recorded").headers["tidegate-call"] for _ in range(2)]
    found: dict[str, str | None] = {}

    def recorded() -> bool:
        records = cached.passage.gateway.state.store.calls.recent(limit=1000).calls
        found.update({record.id: record.cache for record in records})
        return all(call in found for call in calls)

    wait_until(recorded)
    assert [found[call] for call in calls] == ["miss", "hit"]
    (usage,) = [
        one
        for one in cached.passage.gateway.state.store.calls.usage()
        if one.operation == "GET /{name}" and one.client == "acme"
    ]
    assert usage.saved >= 1


def test_without_a_declaration_nothing_is_stored_or_said(tmp_path):
    with scene(tmp_path, "") as plain:
        plain.provider.say("/x", "x", Cache_Control="max-age=60")
        answers = [plain.call("/x") for _ in range(2)]
        assert all("cache-status" not in answer.headers for answer in answers)
        assert plain.provider.asked("/x") == 2


def test_the_provider_is_asked_whether_a_stale_answer_still_holds(cached: Scene):
    def answer(request: Request) -> Reply:
        fields = {
            "ETag": '"v1"',
            "Cache-Control": "max-age=0",
            "X-Seen": str(len(cached.provider.seen)),
        }
        if request.headers.get("if-none-match") == '"v1"':
            return Reply(status=304, headers=fields)
        return Reply("whole", headers=fields)

    cached.provider.answers["/validated"] = answer
    assert cached.call("/validated").text == "whole"
    again = cached.call("/validated")
    assert (again.status_code, again.text) == (200, "whole")
    assert again.headers["cache-status"].startswith("tidegate; fwd=stale; fwd-status=304")
    assert again.headers["x-seen"] == str(len(cached.provider.seen))
    assert cached.call("/validated", If_None_Match='"v1"').status_code == 304


def test_conditions_and_ranges_are_answered_from_what_is_stored(cached: Scene):
    changed = formatdate(time.time() - 3600, usegmt=True)
    cached.provider.say(
        "/parts", "0123456789", Cache_Control="max-age=60", ETag='"v1"', Last_Modified=changed
    )
    cached.call("/parts")
    assert cached.call("/parts", If_None_Match='W/"v1", "v2"').status_code == 304
    assert cached.call("/parts", If_None_Match='"v2"', If_Modified_Since=changed).status_code == 200
    assert cached.call("/parts", If_Modified_Since=changed).status_code == 304
    for asked, said, text in (
        ("bytes=0-1", "bytes 0-1/10", "01"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=5-99", "bytes 5-9/10", "56789"),
    ):
        part = cached.call("/parts", Range=asked)
        assert (part.status_code, part.headers["content-range"], part.text) == (206, said, text)
    assert cached.call("/parts", Range="bytes=10-").status_code == 416
    assert cached.call("/parts", Range="bytes=0-1", If_Range='"v2"').text == "0123456789"
    assert cached.provider.asked("/parts") == 1


def test_a_change_ends_what_was_stored_for_the_uri(cached: Scene):
    cached.provider.say("/thing", "old", Cache_Control="max-age=60")
    cached.provider.say("/other", "old", Cache_Control="max-age=60")
    for path in ("/thing", "/other"):
        cached.call(path)
    cached.provider.answers["/thing"] = lambda request: (
        Reply("made", 201, {"Location": "/other"}) if request.method == "PUT" else Reply("new")
    )
    assert (
        cached.call("/thing", "PUT", content="x")
        .headers["cache-status"]
        .startswith("tidegate; fwd=method")
    )
    assert cached.call("/thing").text == "new"
    cached.provider.say("/other", "new", Cache_Control="max-age=60")
    assert cached.call("/other").text == "new"


def test_a_change_that_failed_ends_nothing(cached: Scene):
    cached.provider.say("/kept", "old", Cache_Control="max-age=60")
    cached.call("/kept")
    cached.provider.say("/kept", "no", 500)
    cached.call("/kept", "PUT", content="x")
    assert cached.way("/kept").startswith("tidegate; hit")


def test_groups_end_together(cached: Scene):
    cached.provider.say("/member", "old", Cache_Control="max-age=60", Cache_Groups='"books", "all"')
    cached.call("/member")
    cached.provider.say("/trigger", "done", Cache_Group_Invalidation='"books"')
    cached.call("/trigger")
    assert cached.way("/member").startswith("tidegate; hit"), "a GET ends no group"
    cached.call("/trigger", "PUT", content="x")
    assert cached.way("/member").startswith("tidegate; fwd=uri-miss")


def test_a_stored_answer_stands_in_for_a_provider_that_fails(cached: Scene):
    cached.provider.say("/steady", "good", Cache_Control="max-age=0", ETag='"v1"')
    cached.call("/steady")
    cached.provider.say("/steady", "bad", 503)
    answer = cached.call("/steady")
    assert (answer.status_code, answer.text) == (200, "good")
    assert "hit; fwd-status=503" in answer.headers["cache-status"]
    cached.provider.say("/steady", "slow down", 429)
    assert cached.call("/steady").headers["cache-status"].endswith("detail=stale-throttled")
    cached.provider.down = True
    try:
        answer = cached.call("/steady")
    finally:
        cached.provider.down = False
    assert (answer.text, answer.headers["cache-status"].rpartition("=")[2]) == (
        "good",
        "stale-error",
    )


def test_must_revalidate_is_never_outdone(cached: Scene):
    cached.provider.say("/strict", "good", Cache_Control="max-age=0, must-revalidate", ETag='"v1"')
    cached.call("/strict")
    cached.provider.say("/strict", "bad", 503)
    assert cached.call("/strict").status_code == 503


def test_a_stale_answer_is_given_while_its_successor_is_fetched(cached: Scene):
    cached.provider.say(
        "/soon", "old", Cache_Control="max-age=0, stale-while-revalidate=60", ETag='"v1"'
    )
    cached.call("/soon")
    cached.provider.say("/soon", "new", Cache_Control="max-age=60")
    stale = cached.call("/soon")
    assert (stale.text, stale.headers["cache-status"]) == ("old", "tidegate; hit; ttl=0")
    wait_until(lambda: cached.provider.asked("/soon") == 2)
    wait_until(lambda: cached.call("/soon").text == "new")
    wait_until(
        lambda: (
            "refresh"
            in {
                one.cache
                for one in cached.passage.gateway.state.store.calls.recent(limit=1000).calls
            }
        )
    )


def test_a_consumer_may_ask_for_less_or_more_than_what_is_stored(cached: Scene):
    cached.provider.say("/asked", "x", Cache_Control="max-age=60")
    missing = cached.call("/asked", Cache_Control="only-if-cached")
    assert (missing.status_code, missing.json()["code"]) == (504, "not_cached")
    assert cached.provider.asked("/asked") == 0
    cached.call("/asked")
    assert cached.way("/asked", Cache_Control="only-if-cached").startswith("tidegate; hit")
    for wish in ("no-cache", "max-age=0", "min-fresh=3600", "no-store"):
        time.sleep(1.1 if wish == "max-age=0" else 0)
        assert cached.way("/asked", Cache_Control=wish).startswith("tidegate; fwd=request"), wish
    assert cached.provider.asked("/asked") == 5


def test_answers_that_vary_are_told_apart(cached: Scene):
    cached.provider.answers["/varied"] = lambda request: Reply(
        request.headers.get("accept-language", "none"),
        headers={"Cache-Control": "max-age=60", "Vary": "Accept-Language"},
    )
    for language in ("de", "fr"):
        assert cached.call("/varied", Accept_Language=language).text == language
    assert cached.call("/varied", Accept_Language="de").text == "de"
    assert cached.way("/varied", Accept_Language="FR").startswith("tidegate; hit")
    assert cached.way("/varied", Accept_Language="en").startswith("tidegate; fwd=vary-miss")


def test_similar_requests_are_the_same_only_as_declared(cached: Scene):
    cached.provider.say("/search", "x", Cache_Control="max-age=60")
    assert cached.way("/search?b=2&a=1&utm=7").startswith("tidegate; fwd=uri-miss")
    assert cached.way("/search?a=1&b=%32").startswith("tidegate; hit")
    assert cached.way("/search?a=1&b=3").startswith("tidegate; fwd=uri-miss")
    # What is sent is what was asked, parameters that part nothing included.
    assert cached.provider.seen[-2].target == "/search?b=2&a=1&utm=7"


def test_a_read_only_post_is_keyed_by_what_its_body_says(cached: Scene):
    cached.provider.answers["/query"] = lambda request: Reply(
        request.body.decode(), headers={"Cache-Control": "max-age=60"}
    )

    def post(content: str) -> httpx.Response:
        return cached.call("/query", "POST", content=content, Content_Type="application/json")

    first = post('{"b": 1, "a": [true]}')
    again = post('{"a":[true],"b":1.0}')
    assert again.headers["cache-status"].startswith("tidegate; hit")
    assert again.text == first.text == '{"b": 1, "a": [true]}'
    assert post('{"a":[true],"b":2}').text == '{"a":[true],"b":2}'
    large = json.dumps({"text": "x" * 300_000})
    assert post(large).text == large
    assert "fwd=method" in post(large).headers["cache-status"]


def test_many_at_once_ask_the_provider_once(cached: Scene):
    ready = threading.Event()

    def answer(_: Request) -> Reply:
        ready.wait(10)
        return Reply("shared", headers={"Cache-Control": "max-age=60"})

    cached.provider.answers["/rush"] = answer
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(cached.call, "/rush") for _ in range(20)]
        wait_until(lambda: under_way(cached) == 20)
        ready.set()
        answers = [call.result() for call in calls]
    assert {answer.text for answer in answers} == {"shared"}
    assert cached.provider.asked("/rush") == 1
    assert sum("collapsed" in answer.headers["cache-status"] for answer in answers) == 19


def test_what_cannot_be_shared_frees_all_who_wait_at_once(cached: Scene):
    def answer(_: Request) -> Reply:
        time.sleep(0.5)
        return Reply("own", headers={"Cache-Control": "no-store"})

    cached.provider.answers["/own"] = answer
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: cached.call("/own"), range(30)))
    assert {answer.text for answer in answers} == {"own"}
    assert cached.provider.asked("/own") == 30
    assert all("collapsed" not in answer.headers["cache-status"] for answer in answers)


def test_a_fetch_that_others_wait_for_outlives_its_consumer(cached: Scene):
    begun, go = threading.Event(), threading.Event()

    def answer(_: Request) -> Reply:
        begun.set()
        go.wait(10)
        return Reply("brought", headers={"Cache-Control": "max-age=60"})

    cached.provider.answers["/left"] = answer
    url = f"{cached.passage.base}/left"
    headers = {"Tidegate-Token": cached.tokens["acme"]}

    def leave() -> None:
        with pytest.raises(httpx.TimeoutException):
            httpx.get(url, headers=headers, trust_env=False, timeout=1.0)

    with ThreadPoolExecutor(5) as pool:
        leaver = pool.submit(leave)
        assert begun.wait(10)
        waiting = [pool.submit(cached.call, "/left") for _ in range(4)]
        leaver.result()
        time.sleep(0.3)
        go.set()
        assert {call.result().text for call in waiting} == {"brought"}
    assert cached.provider.asked("/left") == 1


def test_one_failure_is_told_to_all_who_wait(cached: Scene):
    go = threading.Event()

    def answer(_: Request) -> Reply:
        go.wait(10)
        return Reply("busy", 429, {"Retry-After": "3"})

    cached.provider.answers["/busy"] = answer
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(cached.call, "/busy") for _ in range(20)]
        wait_until(lambda: under_way(cached) == 20)
        go.set()
        answers = [call.result() for call in calls]
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {
        (429, "3")
    }
    assert cached.provider.asked("/busy") == 1
    cached.provider.say("/busy", "fine", Cache_Control="max-age=60")
    assert cached.call("/busy").text == "fine", (
        "a failure is given to those who waited, and not stored"
    )


QUOTAS = "quotas: {hourly: {amount: 3, window: 1h, free: [304]}}"


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, "{stale_on_throttle: 1h}", more=QUOTAS, gateway=", workers: 1") as made:
        yield made


def left(made: Scene) -> float:
    """What is left of the provider's quota."""
    (quota,) = ask(made.passage.gateway.state.home, "limits")["quotas"]
    return quota["left"]


def test_only_calls_that_reach_the_provider_draw_on_its_quota(counted: Scene):
    go = threading.Event()

    def answer(_: Request) -> Reply:
        go.wait(10)
        return Reply("shared", headers={"Cache-Control": "max-age=60"})

    counted.provider.answers["/one"] = answer
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(counted.call, "/one") for _ in range(10)]
        wait_until(lambda: under_way(counted) == 10)
        go.set()
        assert {call.result().text for call in calls} == {"shared"}
    assert {counted.call("/one").status_code for _ in range(10)} == {200}
    assert left(counted) == 2


def test_a_confirmation_costs_what_the_quota_says_of_it(counted: Scene):
    def answer(request: Request) -> Reply:
        fields = {"Cache-Control": "max-age=0", "ETag": '"v1"'}
        known = request.headers.get("if-none-match") == '"v1"'
        return Reply("", 304, fields) if known else Reply("whole", headers=fields)

    counted.provider.answers["/held"] = answer
    ways = [counted.way("/held") for _ in range(8)]
    assert all("fwd=stale; fwd-status=304" in way for way in ways[1:])
    assert counted.provider.asked("/held") == 8
    assert left(counted) == 2
    assert counted.provider.connections == 1, "a confirmed answer leaves the connection open"


def test_what_is_stored_stands_in_where_the_quota_is_used_up(counted: Scene):
    counted.provider.say("/old", "old", Cache_Control="max-age=0", ETag='"v1"')
    counted.provider.say("/new", "new", Cache_Control="no-store")
    counted.call("/old")
    assert [counted.call("/new").status_code for _ in range(3)] == [200, 200, 429]
    stale = counted.call("/old")
    assert (stale.status_code, stale.text) == (200, "old")
    assert stale.headers["cache-status"].endswith("detail=stale-throttled")
    assert counted.provider.asked("/old") == 1


def test_a_call_that_may_not_wait_speaks_for_no_other(cached: Scene):
    """A consumer that gives up at once leads; those who wait behind it go on by themselves."""
    begun, go = threading.Event(), threading.Event()

    def answer(_: Request) -> Reply:
        begun.set()
        go.wait(10)
        return Reply("in time", headers={"Cache-Control": "max-age=60"})

    cached.provider.answers["/hasty"] = answer
    with ThreadPoolExecutor(5) as pool:
        hasty = pool.submit(cached.call, "/hasty", Tidegate_Timeout="0.7")
        assert begun.wait(10)
        waiting = [pool.submit(cached.call, "/hasty") for _ in range(4)]
        assert hasty.result().json()["code"] == "provider_timeout"
        go.set()
        assert {call.result().text for call in waiting} == {"in time"}


def test_an_operator_sees_what_is_stored_and_takes_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def tidegate(*words: str) -> str:
        capsys.readouterr()
        assert main(words) == 0
        return capsys.readouterr().out

    def told() -> dict[str, int]:
        found = json.loads(tidegate("cache", "stats", "--json"))
        return {share["client"]: share["answers"] for share in found["clients"]}

    with scene(tmp_path, "{ttl: 10m}", clients=("acme", "globex")) as made:
        home = made.passage.gateway.state.home
        monkeypatch.setenv("TIDEGATE_HOME", str(home.data))
        for path in ("/a", "/b", "/c"):
            made.provider.say(
                path, "x" * 1_000, Cache_Groups='"books"' if path == "/a" else '"all"'
            )
            for client in ("acme", "globex"):
                made.call(path, client=client)
        assert told() == {"acme": 3, "globex": 3}
        lines = [line.split() for line in tidegate("cache", "stats").splitlines()]
        assert ["acme", "3", "0.0"] in lines
        assert lines[-1][2:4] == ["256", "MiB;"]
        assert tidegate("cache", "purge", "--group", "books", "--client", "acme") == (
            "1 answer taken out\n"
        )
        for named in (("--operation", "List"), ("--provider", "elsewhere"), ("--key", "00" * 32)):
            assert tidegate("cache", "purge", "--client", "acme", *named) == (
                "0 answers taken out\n"
            )
        assert told() == {"acme": 2, "globex": 3}
        assert made.way("/a").startswith("tidegate; fwd=uri-miss")
        assert made.way("/a", client="globex").startswith("tidegate; hit")
        key = re.search(
            r"its key is ([0-9a-f]{64})",
            tidegate("explain", "app", "GET", "/there/b", "--client", "globex", "--json"),
        )
        assert key is not None
        assert tidegate("cache", "purge", "--key", key[1]) == "1 answer taken out\n"
        assert made.way("/b", client="globex").startswith("tidegate; fwd=uri-miss")
        assert tidegate("cache", "purge", "--operation", "GET /{name}", "--client", "acme") == (
            "3 answers taken out\n"
        )
        assert tidegate("cache", "purge", "--provider", "there") == "3 answers taken out\n"
        for path in ("/a", "/b", "/c"):
            for client in ("acme", "globex"):
                made.call(path, client=client)
        assert main(["cache", "purge"]) != 0
        assert main(["cache", "purge", "--all", "--client", "acme"]) != 0
        capsys.readouterr()
        assert tidegate("cache", "purge", "--all") == "6 answers taken out\n"
        assert told() == {"acme": 0, "globex": 0}


def test_usage_says_what_the_hits_of_a_running_gateway_would_have_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    prices = 'price: 0.002 EUR\n    prices: {"POST /{name}": 0.5 EUR}'
    with scene(tmp_path, "{ttl: 10m}", more=prices) as made:
        monkeypatch.setenv("TIDEGATE_HOME", str(made.passage.gateway.state.home.data))
        made.provider.say("/a", "x")
        ways = [made.way("/a") for _ in range(4)]
        assert sum(way.startswith("tidegate; hit") for way in ways) == 3
        made.call("/a", "POST", content="x")

        def told() -> list[dict[str, object]]:
            capsys.readouterr()
            assert main(["usage", "--json"]) == 0
            return json.loads(capsys.readouterr().out)["usage"]

        wait_until(lambda: sum(int(str(row["calls"])) for row in told() if row["provider"]) == 5)
        rows = {row["operation"]: row for row in told() if row["provider"]}
        assert (rows["GET /{name}"]["calls"], rows["GET /{name}"]["saved"]) == (4, 3)
        assert rows["GET /{name}"]["worth"] == {"amount": "0.006", "currency": "EUR"}
        assert (rows["POST /{name}"]["saved"], rows["POST /{name}"]["worth"]) == (0, None)
        assert main(["usage"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "worth 0.006 EUR"
