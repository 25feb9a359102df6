"""A secret is where it must be and nowhere else: not in an answer, a record, a log, or a neighbour's sight."""

from __future__ import annotations

import base64
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from support.canaries import plant, search
from support.gate import CREDENTIAL, Origin, origin
from support.passage import KEY, Passage, put_before
from support.raw import raw
from support.scripted import Wire, scripted
from support.up import Installation, install

from tidegate.problems import PROBLEMS
from tidegate.sandbox import Authority

CANARIES = {
    name: f"canary-{name}-51f0c7a2e9d84b36"
    for name in ("authorization", "cookie", "proxy", "query", "path", "body", "field")
}
BASIC = base64.b64encode(f"me:{CANARIES['proxy']}".encode()).decode()


class Provider:
    """Remembers what it was sent; answers, or breaks a rule, as the path says."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                self.heads.append(head)
                if b"/silent" in head:
                    wire.wait_for_end()
                elif b"/broken" in head:
                    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
                elif b"/elsewhere" in head:
                    wire.send(
                        b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n"
                    )
                else:
                    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Passage]:
    for canary in (*CANARIES.values(), BASIC):
        plant(canary)
    authority, folder = Authority(), tmp_path_factory.mktemp("confinement")
    elsewhere = """
  untrusted: {origin: "%s", auth: none, operations: [GET /x], allow_private: [127.0.0.0/8]}
  inward: {origin: "https://inward.test", auth: none, operations: [GET /x]}
  gone: {origin: "https://127.0.0.1:1", auth: none, operations: [GET /x], allow_private: [127.0.0.0/8]}
  unconnected: {origin: "https://api.unconnected.test", auth: bearer, operations: [GET /x]}
  ungranted: {origin: "https://api.ungranted.test", auth: none, operations: [GET /x]}
"""
    with (
        scripted(authority, provider) as origin,
        put_before(
            folder,
            authority,
            origin,
            gateway=", resolver: {hosts: {inward.test: [127.0.0.1]}}",
            provider="deadlines: {first_byte: 200ms}\n    bounds: {request_body: 1KiB}",
            providers=(elsewhere % origin).strip(),
            grants=("untrusted", "inward", "gone", "unconnected"),
        ) as passage,
    ):
        yield passage


def head(passage: Passage, line: str, *more: str, token: str | None = None) -> bytes:
    """A request with a canary in each place where an application may put a secret of its own."""
    fields = (
        "Host: gate.test",
        f"Tidegate-Token: {token or passage.token}",
        f"Authorization: Bearer {CANARIES['authorization']}",
        f"Cookie: session={CANARIES['cookie']}",
        f"Proxy-Authorization: Basic {BASIC}",
        f"X-Api-Key: {CANARIES['field']}",
        "Connection: close",
        *more,
    )
    return "\r\n".join((line, *fields, "", "")).encode()


def exchange(passage: Passage, request: bytes) -> bytes:
    with raw(passage.address) as consumer:
        consumer.send(request)
        answer = consumer.answer()
    assert answer is not None
    return answer.head + answer.body


ROUTE_BENDING = (
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "Forwarded",
)


def test_what_the_application_brings_along_is_dropped(passage: Passage, provider: Provider):
    provider.heads.clear()
    bent = (
        *(f"{name}: {CANARIES['field']}" for name in ROUTE_BENDING),
        "Connection: authorization",
    )
    exchange(passage, head(passage, "GET /there/thing HTTP/1.1", *bent))
    (seen,) = provider.heads
    assert seen.startswith(b"GET /thing HTTP/1.1\r\n")
    assert [name for name in ROUTE_BENDING if name.lower().encode() in seen.lower()] == []
    assert f"authorization: Bearer {KEY}".encode() in seen.replace(
        b"Authorization", b"authorization"
    )
    for own in (CANARIES["authorization"], CANARIES["cookie"], BASIC, passage.token):
        assert own.encode() not in seen
    assert b"proxy-auth" not in seen.lower()
    assert b"tidegate" not in seen.lower()


Q = f"?q={CANARIES['query']}"
REFUSALS = {
    "malformed_request": f"GET /there//{CANARIES['path']}{Q} HTTP/1.1",
    "uri_too_long": f"GET /there/{CANARIES['path']}?{'a' * 9000}{CANARIES['query']} HTTP/1.1",
    "method_not_allowed": f"TRACE /there/{CANARIES['path']}{Q} HTTP/1.1",
    "unknown_provider": f"GET /{CANARIES['path']}/x{Q} HTTP/1.1",
    "unknown_operation": f"DELETE /there/{CANARIES['path']}{Q} HTTP/1.1",
    "unknown_client": f"GET /~{CANARIES['path']}/there/thing{Q} HTTP/1.1",
    "unknown_connection": f"GET /unconnected/x{Q} HTTP/1.1",
    "denied": f"GET /ungranted/x{Q} HTTP/1.1",
    "destination_prohibited": f"GET /inward/x{Q} HTTP/1.1",
    "tls_failed": f"GET /untrusted/x{Q} HTTP/1.1",
    "provider_unreachable": f"GET /gone/x{Q} HTTP/1.1",
    "provider_timeout": f"GET /there/silent{Q} HTTP/1.1",
    "response_rejected": f"GET /there/broken{Q} HTTP/1.1",
    "redirect_refused": f"GET /there/elsewhere{Q} HTTP/1.1",
}
MORE = {
    "head_too_large": (
        "GET /there/thing HTTP/1.1",
        [f"X-{n}: {CANARIES['field']}" for n in range(200)],
    ),
    "unsupported": (f"GET /there/{CANARIES['path']}{Q} HTTP/1.1", ["Upgrade: websocket"]),
    "too_large": (f"POST /there/{CANARIES['path']}{Q} HTTP/1.1", ["Content-Length: 2000"]),
}
NOT_MET_HERE = {
    "circuit_open",
    "client_required",
    "credential_unavailable",
    "hook_failed",
    "internal",
    "needs_reconsent",
    "no_agreement",
    "no_consent",
    "not_cached",
    "not_ready",
    "overloaded",
    "protection_unavailable",
    "queue_timeout",
    "quota_exceeded",
    "schema_violation",
    "suppressed",
    "throttled",
    "timeout",
    "undeclared_field",
    "unparseable",
    "unprotectable",
    "unprotected",
}


@pytest.mark.parametrize("code", [*REFUSALS, *MORE, "unauthenticated"])
def test_a_refusal_repeats_no_value_of_the_call(passage: Passage, code: str):
    line, more = MORE.get(code) or (REFUSALS.get(code, REFUSALS["denied"]), [])
    body = (CANARIES["body"] * 100).encode()[:2000] if code == "too_large" else b""
    token = passage.token[:-1] + "~" if code == "unauthenticated" else None
    told = exchange(passage, head(passage, line, *more, token=token) + body)
    assert f'"{code}"'.encode() in told
    for secret in (*CANARIES.values(), BASIC, passage.token, KEY):
        assert secret.encode() not in told
    for inner in (b"Traceback", b".rs:", b".py", b"/home/", b"panicked"):
        assert inner not in told


def test_every_problem_is_met_here_or_named():
    assert {*REFUSALS, *MORE, "unauthenticated"} | NOT_MET_HERE == set(PROBLEMS)


def test_no_record_repeats_a_value_of_a_call(passage: Passage):
    # After one call of each kind; the search at the end of the session looks at the files too.
    for line in REFUSALS.values():
        exchange(passage, head(passage, line))
    for record in passage.gateway.records(len(REFUSALS) - 3):
        for secret in (*CANARIES.values(), BASIC, passage.token, KEY):
            assert secret not in repr(record)


# --- the process ------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[tuple[Installation, Origin]]:
    with origin() as provider:
        yield install(tmp_path, provider.url), provider


def test_a_running_gateway_shows_its_neighbours_no_secret(
    installed: tuple[Installation, Origin], tmp_path: Path
):
    installation, _ = installed
    # Allowed what the machine allows, so that it is the gateway that gives it up.
    given = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (given[1], given[1]))
    with installation.up() as gateway:
        resource.setrlimit(resource.RLIMIT_CORE, given)
        assert gateway.get().status_code == 200
        process = Path(f"/proc/{gateway.process.pid}")
        shown = tmp_path / "shown"
        shown.mkdir()
        for name in ("cmdline", "environ", "limits"):
            (shown / name).write_bytes((process / name).read_bytes())
        assert gateway.stop() == 0
    (core,) = [line for line in (shown / "limits").read_text().splitlines() if "core file" in line]
    assert core.split()[4:6] == ["0", "0"]
    secrets = {CREDENTIAL.encode(): "", installation.token.encode(): ""}
    root_key = installation.place.root_key.read_text().strip().encode()
    assert search([shown], secrets | {root_key: ""}) == []


def test_secrets_swapped_between_rows_are_sent_to_nobody(tmp_path: Path):
    """Whoever can write the database still cannot make one client's call carry another's key."""
    provider, authority = Provider(), Authority()
    with scripted(authority, provider) as url:
        with put_before(tmp_path, authority, url, clients=("acme", "globex")) as passage:
            token = passage.bound_to("acme").token
            _swap(tmp_path / "home" / "data" / "tidegate.db")
        with put_before(
            tmp_path, authority, url, clients=("acme", "globex"), connect=False
        ) as passage:
            answer = httpx.get(
                f"{passage.base}/thing", headers={"Tidegate-Token": token}, trust_env=False
            )
    assert (answer.status_code, answer.json()["code"]) == (503, "credential_unavailable")
    assert provider.heads == []


def _swap(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        rows = database.execute(
            "SELECT connection, payload, wrapped_dek FROM sealed_credentials"
        ).fetchall()
        (one, *its), (other, *others) = rows
        for connection, values in ((one, others), (other, its)):
            database.execute(
                "UPDATE sealed_credentials SET payload = ?, wrapped_dek = ? WHERE connection = ?",
                (*values, connection),
            )


def test_a_gateway_whose_root_key_is_gone_does_not_start(installed: tuple[Installation, Origin]):
    installation, _ = installed
    installation.place.root_key.rename(installation.folder / "elsewhere.key")
    with installation.up() as gateway:
        assert gateway.process.wait(30) == 1
        told = gateway.log.read_text()
    assert str(installation.place.root_key) in told
    assert "ready" not in told
    assert "Traceback" not in told


def test_a_gateway_with_another_root_key_does_not_start(installed: tuple[Installation, Origin]):
    installation, _ = installed
    installation.place.root_key.write_text(os.urandom(32).hex())
    with installation.up() as gateway:
        assert gateway.process.wait(30) == 1
        told = gateway.log.read_text()
    assert "is not the one that sealed this store" in told
    assert "Traceback" not in told
