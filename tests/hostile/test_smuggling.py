"""Requests that two parsers read differently (RFC 9112 §6, §11.2): refused, and nothing is sent."""

import json
import socket

import pytest

from tidegate.demo import Stage

TARGET = "/stripe/v1/payment_intents"


def exchange(stage: Stage, request: bytes) -> bytes:
    host, port = stage.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def request(
    stage: Stage, *, line: str = f"POST {TARGET} HTTP/1.1", fields: str = "", body: str = ""
) -> bytes:
    token = stage.tokens.shop
    return f"{line}\r\nHost: gate.test\r\nTidegate-Token: {token}\r\n{fields}\r\n{body}".encode(
        "latin-1"
    )


def executed(stage: Stage) -> list[str]:
    """What the providers took for whole requests. A call that an earlier test cut may still end."""
    return [call.path for call in stage.received() if call.end == "answered"]


def problem(answer: bytes) -> tuple[int, str]:
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body)["code"]


CASES = {
    "length and coding": ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "coding with a space before the colon": ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    "coding after a tab": ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
    "coding twice": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "coding list": ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    "folded coding": ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
    "signed length": ("Content-Length: +5\r\n", "hello"),
    "length list": ("Content-Length: 5, 5\r\n", "hello"),
    "length with an underscore": ("Content-Length: 0_5\r\n", "hello"),
    "negative length": ("Content-Length: -1\r\n", ""),
    "length beyond 64 bits": ("Content-Length: 18446744073709551616\r\n", ""),
    "two lengths": ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    "hexadecimal prefix in a chunk": (
        "Transfer-Encoding: chunked\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
    ),
    "chunk ended by a bare line feed": ("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
    "chunk longer than its size": ("Transfer-Encoding: chunked\r\n", "2\r\nhello\r\n0\r\n\r\n"),
    "control character in a field": ("X-Note: a\x00b\r\n", ""),
    "bare line feed in a field": ("X-Note: a\nContent-Length: 5\r\n", ""),
    "second host": ("Host: other.test\r\n", ""),
}


@pytest.mark.parametrize(("fields", "body"), CASES.values(), ids=CASES)
def test_an_ambiguous_request_is_refused_and_nothing_is_sent(stage: Stage, fields: str, body: str):
    stage.received()
    assert problem(exchange(stage, request(stage, fields=fields, body=body))) == (
        400,
        "malformed_request",
    )
    assert executed(stage) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"TRACE {TARGET} HTTP/1.1", (405, "method_not_allowed")),
        ("CONNECT api.stripe.com:443 HTTP/1.1", (405, "method_not_allowed")),
        (f"GET {TARGET}?{'a' * 9000} HTTP/1.1", (414, "uri_too_long")),
        (f"GET  {TARGET} HTTP/1.1", (400, "malformed_request")),
        (f"GET {TARGET} HTTP/9.9", (400, "malformed_request")),
    ],
    ids=["trace", "connect", "long", "spaces", "version"],
)
def test_a_request_line_out_of_bounds_is_refused(
    stage: Stage, line: str, expected: tuple[int, str]
):
    stage.received()
    assert problem(exchange(stage, request(stage, line=line))) == expected
    assert executed(stage) == []


def test_what_follows_a_refused_request_is_never_executed(stage: Stage):
    stage.received()
    bad = request(stage, fields="Content-Length: 0\r\nTransfer-Encoding: chunked\r\n")
    good = request(stage, line="GET /stripe/v1/customers/cus_demo HTTP/1.1")
    answer = exchange(stage, bad + good)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert executed(stage) == []


@pytest.mark.parametrize(
    "path",
    [
        "/stripe/v1/customers/../refunds",
        "/stripe/v1/customers/%2e%2e/refunds",
        "/stripe/v1/customers/..;/refunds",
        "/stripe/v1//customers",
        "/stripe/v1/customers%2fcus_demo",
        "/stripe/v1/customers%5ccus_demo",
        "/stripe/v1/customers/%00",
        "/stripe/v1/customers/%c0%af",
        "/stripe/v1/customers/a%252fb",
    ],
)
def test_a_path_that_two_servers_read_differently_is_refused(stage: Stage, path: str):
    stage.received()
    got = problem(
        exchange(stage, request(stage, line=f"GET {path} HTTP/1.1", fields="Connection: close\r\n"))
    )
    assert got == (400, "malformed_request")
    assert executed(stage) == []
