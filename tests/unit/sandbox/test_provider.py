"""A running sandbox answers, judges, remembers and misbehaves, seen through a real connection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tidegate.domain.attach import AttachHeader
from tidegate.domain.operation import Operation
from tidegate.sandbox import Fail, Sandbox, contract_from_operations

from .conftest import KEY, consumer

ORDER = "/v2/orders/latest"


def test_answers_with_the_example_of_the_most_concrete_operation(
    shop: Sandbox, client: httpx.Client
):
    answer = client.get(ORDER)
    assert answer.json() == {"id": "latest"}
    assert shop.received[-1].operation == "GetLatestOrder"


def test_answers_in_json_before_other_types(client: httpx.Client):
    answer = client.post("/v2/orders", json={"what": "tea"})
    assert (answer.status_code, answer.json()) == (201, {"made": True})
    assert answer.headers["content-type"] == "application/vnd.shop+json"


def test_answers_without_body_where_the_document_has_none(client: httpx.Client):
    answer = client.delete("/v2/orders/7")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers


def test_head_has_the_length_and_no_body(client: httpx.Client):
    answer = client.head(ORDER)
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(client.get(ORDER).content))


def test_unknown_operation_is_404(shop: Sandbox, client: httpx.Client):
    assert client.get("/v2/nothing").status_code == 404
    assert shop.received[-1].operation is None


def test_credential_is_asked_for_before_anything(shop: Sandbox):
    shop.behave("*", Fail(503))
    with consumer(shop) as stranger:
        answer = stranger.get("/v2/nothing")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert shop.received[-1].credential == "absent"


def test_remembers_whose_credential_came_and_what_with_it(shop: Sandbox, client: httpx.Client):
    client.post("/v2/orders?dry=1", content=b"x" * 2_000_000)
    call = shop.received[-1]
    assert (call.credential, call.account, call.status) == ("right", "acme", 201)
    assert (call.body_bytes, len(call.body)) == (2_000_000, 1024 * 1024)
    assert call.header("authorization") == f"Bearer {KEY}"


def test_what_is_shown_holds_no_value(shop: Sandbox, client: httpx.Client):
    client.post("/v2/orders?card=4242", content=b"body canary")
    shop.received.wait_for(lambda call: call.end == "answered")
    page = client.get("/-/received")
    (seen,) = page.json()["received"]
    assert (seen["query"], seen["body_bytes"], seen["end"]) == (["card"], 11, "answered")
    assert "authorization" in seen["headers"]
    for value in (KEY, "4242", "canary"):
        assert value not in page.text
        assert value not in repr(shop.received[0])


def test_fails_as_told_by_rule_header_or_query(shop: Sandbox, client: httpx.Client):
    shop.behave("GET /v2/orders/*", "fail:503")
    assert client.get(ORDER).status_code == 503
    assert client.post("/v2/orders").status_code == 201
    shop.behave_well()
    assert client.get(ORDER, headers={"Sandbox-Behave": "fail:429"}).status_code == 429
    assert client.get(ORDER, params={"sandbox": "fail:418"}).status_code == 418
    assert client.get(ORDER, params={"sandbox": "explode"}).status_code == 400


@pytest.mark.parametrize(
    ("where", "location"),
    [
        ("same", "{origin}/redirected"),
        ("other", "https://other.example/redirected"),
        ("https://else.test/x", "https://else.test/x"),
    ],
)
def test_redirects_as_told(client: httpx.Client, shop: Sandbox, where: str, location: str):
    answer = client.get(ORDER, params={"sandbox": f"redirect:{where}"})
    assert answer.status_code == 307
    assert answer.headers["location"] == location.format(origin=shop.origin)


def test_downgrade_is_the_same_host_without_tls(client: httpx.Client, shop: Sandbox):
    answer = client.get(ORDER, params={"sandbox": "redirect:downgrade"})
    assert answer.headers["location"] == shop.origin.replace("https", "http") + "/redirected"


def test_echo_returns_the_credential(client: httpx.Client):
    answer = client.post("/v2/orders?sandbox=echo", content=b"hello")
    assert KEY in answer.text
    assert answer.json()["body"] == "hello"


def test_mirror_gives_a_body_back(client: httpx.Client):
    answer = client.post("/v2/orders?sandbox=mirror", json={"a": 1})
    assert answer.json() == {"a": 1}
    assert KEY not in answer.text


def test_slow_waits_before_the_first_byte(client: httpx.Client):
    started = time.monotonic()
    assert client.get(ORDER, params={"sandbox": "slow:0.2"}).status_code == 200
    assert time.monotonic() - started >= 0.2


def test_trickle_sends_byte_by_byte(client: httpx.Client):
    with client.stream("GET", ORDER, params={"sandbox": "trickle:0.005"}) as answer:
        chunks = list(answer.iter_raw())
    assert len(chunks) > 5


def test_cut_ends_the_connection_within_the_body(shop: Sandbox, client: httpx.Client):
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(ORDER, params={"sandbox": "cut:3"})
    shop.received.wait_for(lambda call: call.end == "cut")


def test_big_answers_with_as_many_bytes(client: httpx.Client):
    with client.stream("GET", ORDER, params={"sandbox": "big:1000000"}) as answer:
        assert sum(map(len, answer.iter_raw())) == 1_000_000


def test_events_come_one_by_one(client: httpx.Client):
    arrivals: list[float] = []
    with client.stream("GET", ORDER, params={"sandbox": "sse:3@0.1"}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        arrivals += [time.monotonic() for line in answer.iter_lines() if line.startswith("data:")]
    assert arrivals[2] - arrivals[0] >= 0.15


def test_notices_that_the_consumer_is_gone(shop: Sandbox):
    with consumer(shop, Authorization=f"Bearer {KEY}") as client, pytest.raises(httpx.ReadTimeout):
        client.get(ORDER, params={"sandbox": "slow:60"}, timeout=0.2)
    shop.received.wait_for(lambda call: call.end == "consumer gone")


def test_remembers_a_call_whose_body_was_cut(shop: Sandbox, client: httpx.Client):
    def body() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the consumer fails")

    with pytest.raises(OSError, match="fails"):
        client.post("/v2/orders", content=body())
    client.close()
    call = shop.received.wait_for(lambda call: call.end == "consumer gone")
    assert (call.body_bytes, call.status) in {(4, None), (0, None)}


def test_waiting_for_a_call_that_does_not_come_says_what_did(shop: Sandbox, client: httpx.Client):
    client.get(ORDER)
    with pytest.raises(TimeoutError, match="GetLatestOrder"):
        shop.received.wait_for(lambda call: call.method == "PUT", timeout_s=0.05)


def test_provider_of_operations_alone_answers_with_their_names():
    operations = (Operation("ListThings", "GET", "/things"),)
    contract = contract_from_operations("things", operations, (AttachHeader("X-Key", "key"),))
    with Sandbox(contract) as provider:
        (fields,) = provider.accounts.values()
        with consumer(provider, **{"X-Key": fields["key"].reveal().decode()}) as client:
            assert client.get("/things").json()["operation"] == "ListThings"
        with consumer(provider) as stranger:
            assert stranger.get("/things").status_code == 401


def test_stops_at_once_with_calls_open(shop_file: Path):
    with Sandbox.from_document(shop_file) as provider:
        (fields,) = provider.accounts.values()
        token = fields["token"].reveal().decode()
        with consumer(provider, Authorization=f"Bearer {token}") as client:
            with pytest.raises(httpx.ReadTimeout):
                client.get(ORDER, params={"sandbox": "slow:60"}, timeout=0.1)
            started = time.monotonic()
            provider.stop()
    assert time.monotonic() - started < 3
