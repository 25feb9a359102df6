"""Where calls are sent, and what shows that whoever answers does its work."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.provider import ANSWER
from bench.stage import BenchError, Running


@dataclass(frozen=True, slots=True)
class Target:
    """A port on loopback and the call to make there.

    A guarded one must refuse calls without a token, and calls of `refused_path`. With a `body`, a file
    of JSON, it is a POST.
    """

    name: str
    port: int
    path: str = "/v1/items/42"
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    running: Running | None = None
    guarded: bool = True
    refused_path: str = "/v1/other/42"
    body: Path | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"


def expect_the_work_done(target: Target) -> None:
    """Make the call once, and the calls that must be refused.

    Raises:
        BenchError: this target would be measured doing less than the others.
    """
    status, body = call(target)
    if (status, body) != (200, ANSWER):
        raise BenchError(f"{target.name} answered {status} with {len(body)} bytes: {body[:300]!r}")
    if not target.guarded:
        return
    for wrong in (replace(target, headers={}), replace(target, path=target.refused_path)):
        status, _ = call(wrong)
        if status not in {401, 403, 404}:
            raise BenchError(f"{target.name} let a call through that it must refuse ({status})")


def call(target: Target) -> tuple[int, bytes]:
    """Make one call over plain HTTP on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        body = target.body.read_bytes() if target.body else None
        method = "POST" if body else "GET"
        connection.request(method, target.path, body=body, headers=dict(target.headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
