"""Set the demo up: sandboxed providers, a gateway with a home of its own, connections and tokens.

Everything is real but the providers: the gateway is the one that `tidegate up` runs, on sockets of
this machine, with its state in a temporary folder that is gone afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from queue import Queue
from string import Template
from tempfile import TemporaryDirectory
from typing import Final, Unpack

import httpx
import structlog

from tidegate.app import Home, Services, load_declaration, services
from tidegate.app.gateway import Gateway, Started
from tidegate.app.logs import configure_logs
from tidegate.domain.agreement import Agreement
from tidegate.domain.call import CallRecord
from tidegate.domain.connection import DEFAULT_CONNECTION
from tidegate.domain.secret import Secret
from tidegate.privacy import Operator
from tidegate.sandbox import Authority, Options, Received, Sandbox, contract_from_document
from tidegate.sandbox.credential import invented_fields
from tidegate.store import Usage

START_TIMEOUT_S: Final = 30.0
RECORD_TIMEOUT_S: Final = 10.0
_CALL_TIMEOUT_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Tokens:
    """The access tokens that the story's consumers hold."""

    shop: str
    agency: str
    expired: str


@dataclass(frozen=True, slots=True)
class Providers:
    """The sandboxes, by the part they play."""

    stripe: Sandbox
    assistant: Sandbox
    inward: Sandbox
    crm: Sandbox
    impostor: Sandbox

    def all(self) -> tuple[Sandbox, ...]:
        """All of them."""
        return tuple(self.by_name().values())

    def by_name(self) -> dict[str, Sandbox]:
        """All of them, by the names under which they are declared."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Stage:
    """What a scene can use, and see."""

    def __init__(
        self, address: str, data: Path, tokens: Tokens, providers: Providers, state: Services
    ) -> None:
        self.address = address
        self.data = data
        self.tokens = tokens
        self.providers = providers
        self._state = state
        self._cursor = 0

    @property
    def url(self) -> str:
        """Where consumers call."""
        return f"http://{self.address}"

    def consumer(self, token: str | None = None) -> httpx.Client:
        """An application that shows this token (the shop's, where none is named)."""
        headers = {"Authorization": f"Bearer {token or self.tokens.shop}"}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=_CALL_TIMEOUT_S, trust_env=False
        )

    def received(self) -> list[Received]:
        """What the providers received since this was asked last."""
        calls: list[Received] = []
        for provider in self.providers.all():
            calls += provider.received
            provider.received.clear()
        return sorted(calls, key=lambda call: call.at_ms)

    def recorded(self, count: int) -> tuple[CallRecord, ...]:
        """Wait for the records of so many calls more.

        Raises:
            TimeoutError: the store has not got them.
        """
        ends = time.monotonic() + RECORD_TIMEOUT_S
        fresh: tuple[CallRecord, ...] = ()
        while len(fresh) < count:
            page = self._state.store.calls.recent(after=self._cursor)
            fresh += page.calls
            self._cursor = page.cursor
            if time.monotonic() > ends:
                raise TimeoutError(f"{len(fresh)} of {count} calls were recorded")
            time.sleep(_LOOK_EVERY_S)
        return fresh

    def usage(self) -> tuple[Usage, ...]:
        """The calls, summed."""
        return self._state.store.calls.usage()

    def secrets(self) -> list[bytes]:
        """Every secret there is: the providers' credentials and the access tokens."""
        accounts = [fields for p in self.providers.all() for fields in p.accounts.values()]
        held = [secret.reveal() for fields in accounts for secret in fields.values()]
        tokens = self.tokens
        return [*held, *(t.encode() for t in (tokens.shop, tokens.agency, tokens.expired))]


@contextmanager
def set_stage() -> Generator[Stage]:
    """Put everything up, and take it down again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tidegate-demo-")))
        scenery = stack.enter_context(as_file(files("tidegate.demo") / "scenery"))
        authority = Authority()
        ca = authority.write(folder / "ca.pem")
        providers = _providers(stack, scenery, authority)
        declared = _declare(folder, scenery, providers, ca)
        data = folder / "data"
        home = Home(data, folder / "keys" / "root.key", f"sqlite:///{data / 'tidegate.db'}")
        state = stack.enter_context(services(home))
        tokens = _let_in(state, declared, providers)
        _log_to(stack, data / "gateway.log")
        address = stack.enter_context(_running(Gateway(home, declared, author="demo", grace_s=1)))
        yield Stage(address, data, tokens, providers, state)


def _providers(stack: ExitStack, scenery: Path, authority: Authority) -> Providers:
    def run(document: str, *clients: str, **options: Unpack[Options]) -> Sandbox:
        contract = contract_from_document(scenery / document)
        accounts = {client: invented_fields(contract.attach) for client in clients}
        options = {"authority": authority, "accounts": accounts, **options}
        return stack.enter_context(Sandbox(contract, **options))

    elsewhere, held = ["/v1/invoices=redirect:other"], ["/v1/answers=sse:4@0.15"]
    return Providers(
        stripe=run("stripe.yaml", "acme", "globex", rules=elsewhere),
        assistant=run("assistant.yaml", "acme", rules=held),
        inward=run("status.yaml", "acme", names=["inward.example"]),
        crm=run("crm.yaml", "acme", "globex", rules=["/v1/contacts=mirror"]),
        impostor=run("status.yaml", "acme", authority=Authority("An authority nobody trusts")),
    )


def _declare(folder: Path, scenery: Path, providers: Providers, ca: Path) -> Path:
    """Write the file that an operator would have written."""
    template = Template((scenery / "tidegate.yaml").read_text(encoding="utf-8"))
    declared = folder / "tidegate.yaml"
    declared.write_text(
        template.substitute(
            stripe=providers.stripe.origin,
            assistant=providers.assistant.origin,
            crm=providers.crm.origin,
            impostor=providers.impostor.origin,
            inward_port=providers.inward.port,
            ca=ca,
        ),
        encoding="utf-8",
    )
    return declared


def _let_in(state: Services, declared: Path, providers: Providers) -> Tokens:
    """Do what an operator does once: connect each client's account, give each consumer a token."""
    state.make_root_key()
    declaration = load_declaration(declared)
    for name, provider in providers.by_name().items():
        for client, credential in provider.accounts.items():
            state.connections.connect(declaration, name, client, DEFAULT_CONNECTION, credential, {})
    _agree(state)
    just_over = datetime.now(UTC) - timedelta(days=30, minutes=1)
    _, shop = state.tokens.create(declaration, "shop")
    _, agency = state.tokens.create(declaration, "agency")
    _, expired = state.tokens.create(declaration, "shop", days=30, now=just_over)
    return Tokens(_text(shop), _text(agency), _text(expired))


def _agree(state: Services) -> None:
    """Record what acme signed with the CRM's provider; globex did not."""
    agreement = Agreement(
        name="acme-crm-dpa",
        kind="dpa",
        provider="crm",
        clients=("acme",),
        parties=("Acme GmbH", "CRM"),
        role="processor",
        categories=("contact", "demographic", "government_id"),
        purposes=("sales",),
        regions=("eu",),
        document=sha256(b"what was signed").hexdigest(),
        starts=datetime.now(UTC) - timedelta(days=1),
        ends=None,
    )
    state.agreements.add(Operator("demo", "demo"), agreement)


def _log_to(stack: ExitStack, file: Path) -> None:
    """Let the gateway's log stand with its state, where the story looks for secrets."""
    configure_logs(stack.enter_context(file.open("w", encoding="utf-8")))
    stack.callback(structlog.reset_defaults)


@contextmanager
def _running(gateway: Gateway) -> Generator[str]:
    """Run the gateway on a thread; gives the address it listens on."""
    outcome: Queue[Started | BaseException] = Queue()

    def run() -> None:
        try:
            gateway.run(outcome.put)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.put(error)

    thread = threading.Thread(target=run, name="tidegate-gateway", daemon=True)
    thread.start()
    try:
        yield _address(outcome.get(timeout=START_TIMEOUT_S))
    finally:
        gateway.stop()
        thread.join()


def _address(started: Started | BaseException) -> str:
    if isinstance(started, BaseException):
        raise started
    (address,) = started.addresses.values()
    return address


def _text(secret: Secret) -> str:
    return secret.reveal().decode("ascii")
