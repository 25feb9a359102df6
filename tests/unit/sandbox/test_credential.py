"""Each way of attaching is asked for as the provider would ask: all of it right, or a 401."""

from __future__ import annotations

import base64

import pytest
from starlette.requests import Request

from tidegate.domain.attach import (
    AttachBasic,
    AttachCookie,
    AttachHeader,
    AttachPart,
    AttachQuery,
)
from tidegate.domain.secret import Secret
from tidegate.sandbox.credential import invented_fields, judge

BEARER = AttachHeader("Authorization", "token", "Bearer ")
BASIC = AttachBasic(username_field="token", password="")
ACCOUNTS = {"acme": {"token": Secret("right")}, "globex": {"token": Secret("theirs")}}


def request(*headers: tuple[str, str], query: str = "") -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": raw, "query_string": query.encode()})


def basic(text: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("part", "call", "verdict"),
    [
        (BEARER, request(("Authorization", "Bearer right")), ("right", "acme")),
        (BEARER, request(("Authorization", "Bearer theirs")), ("right", "globex")),
        (BEARER, request(("Authorization", "bearer right")), ("wrong", None)),
        (BEARER, request(("Authorization", "Bearer wrong")), ("wrong", None)),
        (BEARER, request(), ("absent", None)),
        (BASIC, request(basic("right:")), ("right", "acme")),
        (BASIC, request(basic("right:more")), ("wrong", None)),
        (BASIC, request(("Authorization", "Basic !")), ("wrong", None)),
        (BASIC, request(("Authorization", "Bearer right")), ("wrong", None)),
        (AttachQuery("key", "token"), request(query="key=right"), ("right", "acme")),
        (AttachQuery("key", "token"), request(query="other=right"), ("absent", None)),
        (AttachCookie("s", "token"), request(("Cookie", "a=b; s=right")), ("right", "acme")),
        (AttachCookie("s", "token"), request(), ("absent", None)),
    ],
)
def test_credential_is_judged(part: AttachPart, call: Request, verdict: tuple[str, str | None]):
    assert judge(call, (part,), ACCOUNTS) == verdict


def test_value_that_stands_twice_is_wrong():
    twice = request(("Authorization", "Bearer right"), ("Authorization", "Bearer right"))
    assert judge(twice, (BEARER,), ACCOUNTS) == ("wrong", None)
    assert judge(
        request(query="key=right&key=right"), (AttachQuery("key", "token"),), ACCOUNTS
    ) == (
        "wrong",
        None,
    )


def test_every_part_must_be_of_the_same_account():
    parts = (BEARER, AttachQuery("key", "token"))
    mixed = request(("Authorization", "Bearer right"), query="key=theirs")
    assert judge(mixed, parts, ACCOUNTS) == ("wrong", None)


def test_no_parts_ask_for_nothing():
    assert judge(request(), (), ACCOUNTS) == ("not asked for", None)


def test_invented_credential_has_every_field():
    assert set(invented_fields((BEARER, AttachQuery("key", "account")))) == {"token", "account"}
