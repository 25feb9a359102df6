"""Answer one request as the provider would, or misbehave as told. An ASGI application.

In this order: our own `/-/received`; the credential (401); a misbehaviour that takes the answer's
place, if one is asked for; the operation (404); the contract's answer. Every call but our own is in
the ledger before its answer begins.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from tidegate.domain.operation import Operation
from tidegate.sandbox import credential
from tidegate.sandbox.contract import JSON, Answer, Contract
from tidegate.sandbox.match import Matcher
from tidegate.sandbox.misbehaviour import (
    Big,
    Cut,
    Echo,
    Fail,
    Mirror,
    Misbehaviour,
    Redirect,
    Rule,
    Slow,
    Sse,
    Trickle,
    parse,
)
from tidegate.sandbox.received import BODY_KEPT_BYTES, End, Ledger, Received

SWITCH_HEADER = "Sandbox-Behave"
SWITCH_QUERY = "sandbox"
_CHUNK = bytes(64 * 1024)


@dataclass(slots=True)
class _Reply:
    """An answer on its way: status and headers, then the body as it comes."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]
    wait_s: float = 0
    cut: bool = False


@dataclass(slots=True)
class ProviderApp:
    """The application. `rules` may be changed while it runs; the first that covers a call holds."""

    contract: Contract
    accounts: Mapping[str, credential.Fields]
    received: Ledger
    rules: list[Rule] = field(default_factory=list[Rule])
    _matcher: Matcher = field(init=False)

    def __post_init__(self) -> None:
        self._matcher = Matcher(self.contract.operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        path = _path_as_sent(scope)
        if path == "/-/received":
            await _deliver(self._received_page(), receive, send, head=False)
            return
        operation = self._matcher.find(request.method, path)
        call = self._call(request, path, operation)
        call, is_whole = await _with_body(call, request)
        if not is_whole:
            self.received.settle(self.received.add(call).number, "consumer gone")
            return
        reply = self._reply(request, call, operation)
        call = self.received.add(replace(call, status=reply.status))
        end = await _deliver(reply, receive, send, head=request.method == "HEAD")
        self.received.settle(call.number, end)

    def _call(self, request: Request, path: str, operation: Operation | None) -> Received:
        verdict, account = credential.judge(request, self.contract.attach, self.accounts)
        return Received(
            number=0,
            at_ms=time.time_ns() // 1_000_000,
            method=request.method,
            path=path,
            http=request.scope["http_version"],
            operation=operation.id if operation else None,
            credential=verdict,
            account=account,
            query=tuple(request.query_params.multi_items()),
            headers=tuple(request.headers.items()),
        )

    def _reply(self, request: Request, call: Received, operation: Operation | None) -> _Reply:
        if call.credential in {"absent", "wrong"}:
            reply = _json(401, {"error": f"credential is {call.credential}"})
            reply.headers.append(("WWW-Authenticate", credential.challenge(self.contract.attach)))
            return reply
        try:
            misbehaviour = self._misbehaviour(request, call)
        except ValueError as error:
            return _json(400, {"error": str(error)})
        replaced = None if misbehaviour is None else _misbehaving(misbehaviour, request, call)
        if replaced is not None:
            return replaced
        if operation is None:
            return _json(404, {"error": f"no operation for {call.method} {call.path}"})
        return _contracted(self.contract.answer(operation), misbehaviour)

    def _misbehaviour(self, request: Request, call: Received) -> Misbehaviour | None:
        switch = request.headers.get(SWITCH_HEADER) or request.query_params.get(SWITCH_QUERY)
        if switch is not None:
            return parse(switch)
        covering = (rule for rule in tuple(self.rules) if rule.covers(call.method, call.path))
        return next((rule.misbehaviour for rule in covering), None)

    def _received_page(self) -> _Reply:
        calls = [call.redacted() for call in self.received]
        return _json(200, {"provider": self.contract.title, "received": calls})


def _misbehaving(  # noqa: PLR0911 - one for each kind
    misbehaviour: Misbehaviour, request: Request, call: Received
) -> _Reply | None:
    """The answer that takes the contract's place; None where the misbehaviour only bends it."""
    match misbehaviour:
        case Fail(status):
            return _json(status, {"error": f"told to fail with {status}"})
        case Redirect(where):
            return _Reply(
                307, [("Location", _location(where, request)), ("Content-Length", "0")], _once()
            )
        case Echo():
            return _json(200, _everything(call))
        case Mirror():
            kind = dict(call.headers).get("content-type", "application/octet-stream")
            return _Reply(200, [("Content-Type", kind)], _once(call.body))
        case Big(size):
            headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
            return _Reply(200, headers, _zeros(size))
        case Sse(events, every_s):
            headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]
            return _Reply(200, headers, _events(events, every_s))
        case Slow() | Trickle() | Cut():
            return None


def _contracted(answer: Answer, misbehaviour: Misbehaviour | None) -> _Reply:
    headers: list[tuple[str, str]] = []
    if answer.content_type is not None:
        headers.append(("Content-Type", answer.content_type))
    if answer.status not in {204, 304}:
        headers.append(("Content-Length", str(len(answer.body))))
    match misbehaviour:
        case Slow(seconds):
            return _Reply(answer.status, headers, _once(answer.body), wait_s=seconds)
        case Trickle(seconds):
            return _Reply(answer.status, headers, _trickling(answer.body, seconds))
        case Cut(after):
            return _Reply(answer.status, headers, _once(answer.body[:after]), cut=True)
        case _:
            return _Reply(answer.status, headers, _once(answer.body))


async def _deliver(reply: _Reply, receive: Receive, send: Send, *, head: bool) -> End:
    """Send the answer, unless its receiver goes first."""
    sending = asyncio.ensure_future(_send(reply, send, head=head))
    leaving = asyncio.ensure_future(_until_gone(receive))
    try:
        done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending not in done:
            return "consumer gone"
        # A failure to send is the receiver's going, noticed late.
        return "consumer gone" if sending.exception() else ("cut" if reply.cut else "answered")
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        with suppress(RuntimeError):
            await reply.body.aclose()  # type: ignore[attr-defined]


async def _send(reply: _Reply, send: Send, *, head: bool) -> None:
    await asyncio.sleep(reply.wait_s)
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    if not head:
        async for chunk in reply.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if reply.cut:
        # An application that returns without an end makes the server close the connection.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _with_body(call: Received, request: Request) -> tuple[Received, bool]:
    """Read the body, and say whether it came whole."""
    kept, size, is_whole = bytearray(), 0, True
    try:
        async for chunk in request.stream():
            size += len(chunk)
            kept += chunk[: BODY_KEPT_BYTES - len(kept)]
    except ClientDisconnect:
        is_whole = False
    return replace(call, body=bytes(kept), body_bytes=size), is_whole


async def _once(body: bytes = b"") -> AsyncIterator[bytes]:
    if body:
        yield body


async def _trickling(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for index in range(len(body)):
        await asyncio.sleep(seconds)
        yield body[index : index + 1]


async def _zeros(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield _CHUNK[:size]
        size -= len(_CHUNK)


async def _events(count: int, every_s: float) -> AsyncIterator[bytes]:
    for number in range(1, count + 1):
        yield f"id: {number}\ndata: {json.dumps({'number': number})}\n\n".encode()
        if number < count:
            await asyncio.sleep(every_s)


def _json(status: int, content: object) -> _Reply:
    body = json.dumps(content).encode()
    headers = [("Content-Type", JSON), ("Content-Length", str(len(body)))]
    return _Reply(status, headers, _once(body))


def _everything(call: Received) -> dict[str, object]:
    return {
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "headers": call.headers,
        "body": call.body.decode("utf-8", "replace"),
    }


def _location(where: str, request: Request) -> str:
    host = request.headers.get("host", "")
    match where:
        case "same":
            return f"https://{host}/redirected"
        case "other":
            return "https://other.example/redirected"
        case "downgrade":
            return f"http://{host}/redirected"
        case _:
            return where


def _path_as_sent(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")
