"""What becomes of calls when the provider fails: again, elsewhere, not at all, and never twice by guess."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.faulty import Faulty, faulty
from support.passage import Before, Passage
from support.running import wait_until
from support.servers import free_port

from tidegate.sandbox import Authority

RETRY = "retry: {backoff: 10ms}"
KEYED = f"idempotency: {{header: Idempotency-Key}}\n    {RETRY}"


def call(
    passage: Passage, method: str = "GET", content: bytes = b"", **headers: str
) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(
        method,
        f"{passage.base}/thing",
        content=content,
        headers=passage.headers | sent,
        trust_env=False,
        timeout=20,
    )


def code(answer: httpx.Response) -> str:
    return answer.json()["code"]


@pytest.mark.parametrize("fault", ["reset", "502", "503", "504"])
def test_a_call_that_only_reads_goes_out_again(before: Before, authority: Authority, fault: str):
    with faulty(authority, fault) as provider, before(provider.origin, provider=RETRY) as passage:
        assert call(passage).status_code == 200
        (record,) = passage.gateway.records(1)
    assert [one.line for one in provider.calls] == ["GET /thing HTTP/1.1"] * 2
    # The credential goes on anew.
    assert len({one.fields["authorization"] for one in provider.calls}) == 1
    assert (record.outcome, record.retries) == ("ok", 1)


def test_at_most_two_more_tries_and_then_what_the_provider_says(
    before: Before, authority: Authority
):
    with (
        faulty(authority, always="503") as provider,
        before(provider.origin, provider=RETRY) as passage,
    ):
        answer = call(passage)
    assert (answer.status_code, answer.text) == (503, "ok")
    assert len(provider.calls) == 3


def test_nothing_goes_out_again_where_nothing_is_declared(before: Before, authority: Authority):
    with faulty(authority, "503", "reset") as provider, before(provider.origin) as passage:
        assert call(passage).status_code == 503
        assert call(passage, "POST").status_code == 502
    assert len(provider.calls) == 2


@pytest.mark.parametrize("fault", ["reset", "cut", "503"])
def test_a_post_without_a_key_goes_out_once(before: Before, authority: Authority, fault: str):
    with faulty(authority, fault) as provider, before(provider.origin, provider=RETRY) as passage:
        assert call(passage, "POST", b"{}").status_code in {502, 503}
    assert len(provider.calls) == 1


def test_a_post_gets_a_key_and_keeps_it(before: Before, authority: Authority):
    with (
        faulty(authority, "reset", "503") as provider,
        before(provider.origin, provider=KEYED) as passage,
    ):
        assert call(passage, "POST", b"body").status_code == 200
        assert call(passage, "POST", b"body").status_code == 200
    keys = [one.fields["idempotency-key"] for one in provider.calls]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert {one.body for one in provider.calls} == {b"body"}


def test_the_consumer_s_own_key_is_respected(before: Before, authority: Authority):
    with faulty(authority, "reset") as provider, before(provider.origin, provider=KEYED) as passage:
        assert call(passage, "POST", b"body", Idempotency_Key="mine").status_code == 200
    assert [one.fields["idempotency-key"] for one in provider.calls] == ["mine", "mine"]


def test_no_key_is_made_where_none_is_wanted(before: Before, authority: Authority):
    declared = f"idempotency: {{header: Idempotency-Key, generate: false}}\n    {RETRY}"
    with (
        faulty(authority, "503") as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        assert call(passage, "POST", b"body").status_code == 503
    (one,) = provider.calls
    assert "idempotency-key" not in one.fields


def test_a_key_in_the_body_leaves_the_rest_as_it_was(before: Before, authority: Authority):
    declared = f"idempotency: {{body: idempotency_key}}\n    {RETRY}"
    with (
        faulty(authority, "reset") as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        sent = b' {"amount": 1.00, "big": 1e400}'
        answer = call(passage, "POST", sent, Content_Type="application/json")
        assert answer.status_code == 200
        # What is not JSON is not changed, and goes out once.
        provider.next_ = ["reset"]
        assert call(passage, "POST", b"plain").status_code == 502
    first, second, plain = provider.calls
    assert first.body == second.body
    key = json.loads(first.body)["idempotency_key"]
    assert (
        first.body == b' {"idempotency_key":"' + key.encode() + b'","amount": 1.00, "big": 1e400}'
    )
    assert plain.body == b"plain"


def test_a_key_in_the_query(before: Before, authority: Authority):
    declared = f"idempotency: {{query: requestId}}\n    {RETRY}"
    with (
        faulty(authority, "reset") as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        assert call(passage, "POST", b"x").status_code == 200
    first, second = (one.line for one in provider.calls)
    assert first == second
    assert first.startswith("POST /thing?requestId=")


def test_a_large_body_goes_out_once(before: Before, authority: Authority):
    with faulty(authority, "503") as provider, before(provider.origin, provider=KEYED) as passage:
        assert call(passage, "POST", bytes(64 * 1024 + 1)).status_code == 503
    assert len(provider.calls) == 1


def test_the_provider_s_wish_is_waited_for(before: Before, authority: Authority):
    with (
        faulty(authority, "503 Retry-After: 1") as provider,
        before(provider.origin, provider=RETRY) as passage,
    ):
        assert call(passage).status_code == 200
        # Longer than is waited for at all: the consumer gets the answer.
        provider.next_ = ["503 Retry-After: 60"]
        assert call(passage).headers["retry-after"] == "60"
        # Longer than the call has left.
        provider.next_ = ["503 Retry-After: 3"]
        assert call(passage, Tidegate_Timeout="2").headers["retry-after"] == "3"
    first, second, *_ = provider.calls
    assert second.at - first.at >= 1.0


def test_the_provider_s_word_counts_before_its_status(before: Before, authority: Authority):
    declared = f"idempotency: {{header: Idempotency-Key, hint: Should-Retry}}\n    {RETRY}"
    with (
        faulty(authority, "409 Should-Retry: true") as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        assert call(passage, "POST").status_code == 200
        provider.next_ = ["503 Should-Retry: false"]
        assert call(passage, "POST").status_code == 503
    assert len(provider.calls) == 3


def test_a_connection_that_does_not_come_about_is_tried_again(before: Before, authority: Authority):
    with before(f"https://127.0.0.1:{free_port()}", provider=RETRY) as passage:
        answer = call(passage, "POST", b"nothing of it went out")
        (record,) = passage.gateway.records(1)
    assert code(answer) == "provider_unreachable"
    assert record.retries == 2


def test_a_consumer_says_how_long_it_waits(before: Before, authority: Authority):
    with faulty(authority, always="hang") as provider, before(provider.origin) as passage:
        began = time.monotonic()
        answer = call(passage, Tidegate_Timeout="0.3")
        took = time.monotonic() - began
        for wrong in ("0", "-1", "soon", "1;a=b"):
            assert code(call(passage, Tidegate_Timeout=wrong)) == "malformed_request"
    assert (answer.status_code, code(answer)) == (504, "provider_timeout")
    assert took >= 0.3
    (one,) = provider.calls
    assert "tidegate-timeout" not in one.fields


def test_operations_have_deadlines_of_their_own(before: Before, authority: Authority):
    declared = 'deadlines: {operations: [{operations: ["POST *"], first_byte: 200ms}]}'
    with (
        faulty(authority, always="slow") as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        assert code(call(passage, "POST")) == "provider_timeout"
        assert call(passage).status_code == 200


BREAKER = "breaker: {calls: 5, window: 60s, open: 3s}"


def test_a_provider_that_fails_is_left_alone_and_asked_again(before: Before, authority: Authority):
    with (
        faulty(authority, always="503") as provider,
        before(provider.origin, provider=BREAKER) as passage,
    ):
        assert [call(passage).status_code for _ in range(5)] == [503] * 5
        refused = call(passage)
        assert len(provider.calls) == 5
        # Its time passes; one call goes, and finds that it is back.
        provider.always = "200"
        wait_until(lambda: call(passage).status_code == 200)
        seen = len(provider.calls)
        assert [call(passage).status_code for _ in range(3)] == [200] * 3
        records = passage.gateway.records(10)
    assert (refused.status_code, code(refused)) == (503, "circuit_open")
    assert refused.headers["retry-after"] in {"1", "2", "3"}
    assert "destination_unavailable" in refused.headers["proxy-status"]
    assert seen == 6
    said = {record.breaker for record in records}
    assert said == {None, "opened", "open", "closed"}


def test_being_throttled_is_no_failure(before: Before, authority: Authority):
    with (
        faulty(authority, always="429") as provider,
        before(provider.origin, provider=BREAKER) as passage,
    ):
        assert [call(passage).status_code for _ in range(30)] == [429] * 30
    assert len(provider.calls) == 30


def test_a_client_has_its_share_of_the_calls_at_a_provider(before: Before, authority: Authority):
    with (
        faulty(authority, always="hang") as provider,
        before(
            provider.origin, provider="bulkhead: {calls: 4}", clients=("acme", "globex")
        ) as passage,
        ThreadPoolExecutor(8) as pool,
    ):
        acme, globex = passage.bound_to("acme"), passage.bound_to("globex")
        held = [pool.submit(call, acme) for _ in range(2)]
        wait_until(lambda: len(provider.calls) == 2)
        refused = call(acme)
        held.append(pool.submit(call, globex))
        wait_until(lambda: len(provider.calls) == 3)
        provider.done.set()
        assert [one.result().status_code for one in held] == [200] * 3
        # Seats are given back.
        assert call(acme).status_code == 200
    assert (refused.status_code, code(refused)) == (503, "overloaded")
    assert refused.json()["rule"] == "providers.there.bulkhead"
    assert "retry-after" in refused.headers


def failing_over(first: str, second: Faulty, more: str = "") -> str:
    return (
        f"origins: [{first}, {second.origin}]\n    failover: [{first}, {second.origin}]\n    {more}"
    )


def test_another_origin_stands_in(before: Before, authority: Authority):
    dead = f"https://127.0.0.1:{free_port()}"
    with (
        faulty(authority) as second,
        before("", origins=failing_over(dead, second, BREAKER)) as passage,
    ):
        assert [call(passage, "POST").status_code for _ in range(5)] == [200] * 5
        # By now nobody asks the first.
        assert call(passage, "POST").status_code == 200
        records = passage.gateway.records(6)
    assert len(second.calls) == 6
    assert {record.failover for record in records} == {second.origin}
    assert [record.retries for record in sorted(records, key=lambda one: one.id)] == [1] * 5 + [0]


def test_a_key_stays_with_the_origin_that_may_know_it(before: Before, authority: Authority):
    with (
        faulty(authority, "reset") as first,
        faulty(authority) as second,
        before("", origins=failing_over(first.origin, second, KEYED)) as passage,
    ):
        assert call(passage, "POST").status_code == 200
        first.next_ = ["reset"]
        assert call(passage).status_code == 200
    asked = [one.line[:4] for one in first.calls]
    assert asked[:3] == ["POST", "POST", "GET "]
    # Where the connection had been at rest, another one to the same origin may take its place.
    assert asked[3:] + [one.line[:4] for one in second.calls] == ["GET "]


def test_a_late_answer_is_asked_for_a_second_time(before: Before, authority: Authority):
    declared = 'hedge: {operations: ["GET *"]}'
    with faulty(authority) as provider, before(provider.origin, provider=declared) as passage:
        assert {call(passage).status_code for _ in range(100)} == {200}
        provider.next_ = ["hang"]
        assert call(passage).status_code == 200
        assert call(passage, "POST").status_code == 200
        records = passage.gateway.records(102)
    assert len(provider.calls) == 103
    assert [record.hedge for record in records if record.hedge] == ["won"]


def test_it_is_told_beforehand_what_would_become_of_a_call(before: Before, authority: Authority):
    declared = f"{KEYED}\n    {BREAKER}\n    deadlines: {{total: 20s}}"
    with faulty(authority) as provider, before(provider.origin, provider=declared) as passage:

        def told(method: str) -> str:
            explain = passage.gateway.state.explain
            found = explain("app", method, "/there/thing", client="acme", connection=None)
            assert found.steps[-1].step == "forward"
            return found.steps[-1].detail

        reading, writing, plain = told("GET"), told("POST"), told("PUT")
    assert reading == plain
    assert "within 20 s; sent again up to 2 times" in reading
    assert "after a broken connection or 502, 503, 504" in reading
    assert "by its key in header `idempotency-key`" in writing
    assert "not sent for 3 s while its origin fails" in writing
