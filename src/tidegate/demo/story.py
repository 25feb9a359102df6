"""The scenes: what an application, a stranger or a provider tries, and what should come of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tidegate.demo.stage import Stage

_CUSTOMER: Final = "/stripe/v1/customers/cus_demo"


class Surprise(Exception):  # noqa: N818 - its name says what it is
    """A scene saw something else than it should."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing that is tried.

    `outcome` is `ok` or the problem's code; `rule` None: any. `seen` is what providers saw, call by
    call; empty: nothing reached them. `play` gives what the application got, in a few words.
    """

    title: str
    tried: str
    play: Callable[[Stage], str]
    outcome: str | None = "ok"
    rule: str | None = None
    seen: tuple[str, ...] = ()
    calls: int = 1


def _ordinary_call(stage: Stage) -> str:
    with stage.consumer() as app:
        return f"customer {app.get(_CUSTOMER).json()['name']}"


def _unmodified_sdk(stage: Stage) -> str:
    try:
        import requests
        import stripe
    except ImportError:
        form = {"amount": "1200", "currency": "eur"}
        with stage.consumer() as app:
            made = app.post("/stripe/v1/payment_intents", data=form).json()
        return f"{made['id']} (the SDK `stripe` is not installed; called by httpx instead)"
    session = requests.Session()
    session.trust_env = False
    client = stripe.StripeClient(
        stage.tokens.shop,
        base_addresses={"api": f"{stage.url}/stripe"},
        http_client=stripe.RequestsClient(session=session),
    )
    intent = client.v1.payment_intents.create({"amount": 1200, "currency": "eur"})
    return f"{type(intent).__name__} {intent.id}, {intent.amount} {intent.currency}"


def _two_clients(stage: Stage) -> str:
    with stage.consumer(stage.tokens.agency) as agency:
        statuses = [agency.get(f"/~{name}{_CUSTOMER}").status_code for name in ("acme", "globex")]
    if statuses != [200, 200]:
        raise Surprise(f"the answers are {statuses[0]} and {statuses[1]}")
    return "two customers, by one access token"


def _own_key(stage: Stage) -> str:
    headers = {
        "Tidegate-Token": stage.tokens.shop,
        "Authorization": "Bearer sk_brought_along",
        "Cookie": "session=brought_along",
        "Connection": "authorization",
    }
    with stage.consumer() as app:
        answer = app.get(_CUSTOMER, headers=headers)
    (call,) = stage.providers.stripe.received
    if any("brought_along" in value for _, value in call.headers):
        raise Surprise("the provider saw what the application brought along")
    return f"customer {answer.json()['name']}; nothing of its own got through"


def _stream(stage: Stage) -> str:
    arrivals: list[float] = []
    with stage.consumer() as app, app.stream("POST", "/assistant/v1/answers") as answer:
        arrivals += [time.monotonic() for line in answer.iter_lines() if line.startswith("data:")]
    apart_ms = (arrivals[-1] - arrivals[0]) * 1000
    if len(arrivals) != 4 or apart_ms < 300:  # noqa: PLR2004 - four events, 150 ms apart
        raise Surprise(f"{len(arrivals)} events came within {apart_ms:.0f} ms: held back")
    return f"{len(arrivals)} events, the first {apart_ms:.0f} ms before the last"


def _get(path: str, token: Callable[[Stage], str] | None = None) -> Callable[[Stage], str]:
    return _refused("GET", path, token)


def _refused(
    method: str, path: str, token: Callable[[Stage], str] | None = None
) -> Callable[[Stage], str]:
    """Make a call that should come back as a problem document (RFC 9457)."""

    def call(stage: Stage) -> str:
        with stage.consumer(token(stage) if token else None) as app:
            answer = app.request(method, path)
        if answer.headers.get("content-type") != "application/problem+json":
            raise Surprise(f"the answer is {answer.status_code} and no problem document")
        return str(answer.json()["title"])

    return call


def _mistyped(stage: Stage) -> str:
    token = stage.tokens.shop
    return token[:-1] + ("0" if token[-1] != "0" else "1")


def _smuggle(stage: Stage) -> str:
    """Send one request that could be read as two, on a bare socket: no HTTP library would."""
    host, _, port = stage.address.rpartition(":")
    hidden = b"GET /stripe/v1/customers/cus_other HTTP/1.1\r\nHost: x\r\n\r\n"
    head = (
        f"POST /stripe/v1/payment_intents HTTP/1.1\r\nHost: {stage.address}\r\n"
        f"Authorization: Bearer {stage.tokens.shop}\r\n"
        f"Content-Length: {len(hidden) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    answer = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head + b"0\r\n\r\n" + hidden)
        while more := connection.recv(65_536):
            answer += more
    if answer.count(b"HTTP/1.1 ") != 1:
        raise Surprise("the hidden request was answered too")
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    return f"{problem['title']}; connection closed"


def _contact(**more: str) -> dict[str, str]:
    person = {"email": "ada@example.com", "birthday": "1990-12-10", "tax_no": "DE 4711 0815"}
    return person | {"note": "Prefers tea", "device": "a1b2c3d4"} | more


def _protected(stage: Stage) -> str:
    """Show one contact three times: as it was sent, as the provider has it, and as it came back."""
    sent = _contact()
    with stage.consumer() as app:
        back = app.post("/crm/v1/contacts", json=sent).json()
    (call,) = stage.providers.crm.received
    kept = json.loads(call.body)
    if any(sent[name] in call.body.decode() for name in ("birthday", "tax_no", "device")):
        raise Surprise("the provider saw what it should not")
    if back.get("tax_no") != sent["tax_no"]:
        raise Surprise("what the token stands for did not come back")
    shown = (("the app sent", sent), ("the CRM has", kept), ("the app gets", back))
    return "".join(f"\n    {who:<14}{_on_a_line(contact)}" for who, contact in shown)


def _on_a_line(contact: dict[str, str]) -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in contact.items())


def _short(text: str) -> str:
    return text if len(text) <= 16 else f"{text[:11]}…"  # noqa: PLR2004 - enough to tell a token


def _keep(path: str = "/crm/v1/contacts", **more: str) -> Callable[[Stage], str]:
    """Send a contact that should be refused."""

    def call(stage: Stage) -> str:
        token = stage.tokens.agency if path.startswith("/~") else None
        with stage.consumer(token) as app:
            return str(app.post(path, json=_contact(**more)).json()["title"])

    return call


def _theft(stage: Stage) -> str:
    """Read every file of the gateway's state, as someone would who stole a backup."""
    stolen = b"".join(path.read_bytes() for path in stage.data.rglob("*") if path.is_file())
    if any(secret in stolen for secret in stage.secrets()):
        raise Surprise("a secret lies in the gateway's files in clear")
    return f"{len(stolen) // 1024:,} KiB without one key or token in clear"


STORY: Final = (
    Scene(
        "An application that holds no provider key calls Stripe",
        f"GET {_CUSTOMER}",
        _ordinary_call,
        rule="shop-takes-payments",
        seen=("acme's credential",),
    ),
    Scene(
        "Stripe's own SDK, unmodified: base URL and key are Tidegate's",
        "POST /stripe/v1/payment_intents",
        _unmodified_sdk,
        rule="shop-takes-payments",
        seen=("acme's credential",),
    ),
    Scene(
        "One agency, two clients: each call carries that client's credential",
        "GET /~acme/stripe/… then /~globex/stripe/…",
        _two_clients,
        rule="agency-reads-customers",
        seen=("acme's credential", "globex's credential"),
        calls=2,
    ),
    Scene(
        "An answer that is streamed arrives as it is made",
        "POST /assistant/v1/answers",
        _stream,
        rule="shop-asks-the-assistant",
        seen=("acme's credential",),
    ),
    Scene(
        "Personal data goes in the form that was declared, and comes back whole",
        "POST /crm/v1/contacts",
        _protected,
        rule="shop-keeps-contacts",
        seen=("acme's credential",),
    ),
    Scene(
        "A field that nobody declared",
        "POST /crm/v1/contacts with `religion`",
        _keep(religion="none of yours"),
        outcome="undeclared_field",
    ),
    Scene(
        "A card number in a note",
        "POST /crm/v1/contacts",
        _keep(note="pays by 4242 4242 4242 4242"),
        outcome="undeclared_field",
    ),
    Scene(
        "Another client's data, for which nothing was agreed",
        "POST /~globex/crm/v1/contacts",
        _keep("/~globex/crm/v1/contacts"),
        outcome="no_agreement",
    ),
    Scene(
        "A refund, which a denial forbids to everyone",
        "POST /stripe/v1/refunds",
        _refused("POST", "/stripe/v1/refunds"),
        outcome="denied",
        rule="refunds-by-hand",
    ),
    Scene(
        "An operation that no grant names",
        f"DELETE {_CUSTOMER}",
        _refused("DELETE", _CUSTOMER),
        outcome="denied",
        rule="no grant",
    ),
    Scene(
        "An operation that nobody declared",
        "GET /stripe/v1/everything",
        _get("/stripe/v1/everything"),
        outcome="unknown_operation",
    ),
    Scene(
        "A token with one letter wrong",
        f"GET {_CUSTOMER}",
        _get(_CUSTOMER, _mistyped),
        outcome="unauthenticated",
    ),
    Scene(
        "A token that has expired",
        f"GET {_CUSTOMER}",
        _get(_CUSTOMER, lambda stage: stage.tokens.expired),
        outcome="unauthenticated",
    ),
    Scene(
        "Somebody else's client",
        f"GET /~globex{_CUSTOMER}",
        _get(f"/~globex{_CUSTOMER}"),
        outcome="unknown_client",
    ),
    Scene(
        "A key, a cookie and a hop-by-hop trick of the application's own",
        f"GET {_CUSTOMER}",
        _own_key,
        rule="shop-takes-payments",
        seen=("acme's credential",),
    ),
    Scene(
        "One request that could be read as two",
        "POST with Content-Length and Transfer-Encoding",
        _smuggle,
        outcome="malformed_request",
    ),
    Scene(
        "A provider whose public name points inside",
        "GET /inward/v1/status",
        _get("/inward/v1/status"),
        outcome="destination_prohibited",
    ),
    Scene(
        "A provider whose certificate nobody trusted vouches for",
        "GET /impostor/v1/status",
        _get("/impostor/v1/status"),
        outcome="tls_failed",
    ),
    Scene(
        "A provider that redirects elsewhere",
        "GET /stripe/v1/invoices",
        _get("/stripe/v1/invoices"),
        outcome="redirect_refused",
        seen=("acme's credential",),
    ),
    Scene(
        "Whoever steals the gateway's files",
        "every file of its state",
        _theft,
        outcome=None,
        calls=0,
    ),
)
