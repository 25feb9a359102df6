"""Small valid values of the domain, for tests to change one thing of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachQuery
from tidegate.domain.call import CallRecord
from tidegate.domain.connection import AccessToken, Connection
from tidegate.domain.declaration import (
    Client,
    Consumer,
    Declaration,
    Grant,
    Provider,
    TlsPolicy,
)
from tidegate.domain.operation import Operation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def provider(name: str = "pay", **changes: Any) -> Provider:
    values: dict[str, Any] = {
        "name": name,
        "title": name.title(),
        "origins": (f"https://api.{name}.test",),
        "attach": (AttachHeader("Authorization", "token", "Bearer "),),
        "operations": (Operation("ListCharges", "GET", "/v1/charges"),),
    }
    return Provider(**(values | changes))


def declaration() -> Declaration:
    return Declaration(
        clients=(Client("acme", "Acme"), Client("globex")),
        consumers=(Consumer("shop", ("acme",)), Consumer("agency", ("acme", "globex"))),
        providers=(
            provider("pay"),
            provider("text", attach=(AttachBasic("account", "secret"),)),
            provider("maps", attach=(AttachQuery("key", "key"),)),
            provider("erp", attach=(AttachCookie("session", "session"),)),
            provider(
                "store",
                origins=("https://{shop}.store.test",),
                variables=("shop",),
                attach=(AttachHeader("X-Access", "token"),),
            ),
            provider("bank", tls=TlsPolicy(client_certificate=True)),
        ),
        grants=(Grant("shop", "pay", ("*",)),),
    )


def connection(**changes: Any) -> Connection:
    values: dict[str, Any] = {
        "id": "con_1",
        "client": "acme",
        "provider": "pay",
        "name": "default",
        "version": 1,
        "scheme": "header",
        "origins": ("https://api.pay.test", "https://files.pay.test"),
        "fields": ("token",),
        "created_at": NOON,
        "rotated_at": NOON,
    }
    return Connection(**(values | changes))


def access_token(**changes: Any) -> AccessToken:
    values: dict[str, Any] = {
        "id": "tok_1",
        "consumer": "shop",
        "hmac_hex": f"{hash(frozenset(changes.items())) & (2**64 - 1):064x}",
        "created_at": NOON,
        "expires_at": NOON.replace(month=4),
    }
    return AccessToken(**(values | changes))


def call(number: int = 0, **changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "id": f"call-{number:08}",
        "at_ms": int(NOON.timestamp() * 1000) + number,
        "client": "acme",
        "consumer": "shop",
        "provider": "pay",
        "operation": "ListCharges",
        "method": "GET",
        "decision": "allow",
        "rule": "grants[0]",
        "revision": 1,
        "outcome": "ok",
        "detail": None,
        "status": 200,
        "provider_status": 200,
        "sent_bytes": 100,
        "received_bytes": 600,
        "total_us": 10_000,
        "provider_us": 9_000,
        "steps_us": {"decide": 3, "dial": 4000},
        "tls_version": "1.3",
        "tls_group": "X25519MLKEM768",
        "address": "192.0.2.7:443",
        "http": "1.1",
        "retries": 0,
        "token": "tok_1",
        "connection": "con_1",
        "query": ("limit", "starting_after"),
    }
    return CallRecord(**(values | changes))
