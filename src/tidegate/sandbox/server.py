"""Run a sandbox: a provider on a loopback port, with verified TLS, in a thread of this process."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

import uvicorn

from tidegate.domain.attach import AttachPart
from tidegate.sandbox.authority import Authority, ServerCertificate
from tidegate.sandbox.contract import Contract, contract_from_document
from tidegate.sandbox.credential import Fields, invented_fields
from tidegate.sandbox.misbehaviour import Misbehaviour, Rule, parse, parse_rule
from tidegate.sandbox.provider import ProviderApp
from tidegate.sandbox.received import Ledger

START_TIMEOUT_S = 15
LOOPBACK = "127.0.0.1"


class Options(TypedDict, total=False):
    """How a sandbox is run; each has a default.

    `accounts` are the credentials that are right, by the name of the account they belong to; one is
    made up where none is given. `names` go into the certificate beside 127.0.0.1. `certificate`
    takes the place of the one that `authority` would sign. `rules` are `PATH=MISBEHAVIOUR`.
    """

    host: str
    port: int
    authority: Authority
    certificate: ServerCertificate
    names: Sequence[str]
    accounts: Mapping[str, Fields]
    rules: Sequence[str]


class Sandbox:
    """A provider that runs while its `with` block does.

    ```python
    with Sandbox.from_document(Path("stripe.yaml")) as provider:
        provider.origin, provider.ca_pem, provider.received
    ```
    """

    def __init__(self, contract: Contract, **options: Unpack[Options]) -> None:
        self.authority = options.get("authority") or Authority()
        self.contract = contract
        self.accounts = options.get("accounts") or {"sandbox": invented_fields(contract.attach)}
        self.received = Ledger()
        names = (*options.get("names", ()), LOOPBACK)
        self._certificate = options.get("certificate") or self.authority.certificate(names)
        rules = [parse_rule(text) for text in options.get("rules", ())]
        self._app = ProviderApp(contract, self.accounts, self.received, rules)
        self._address = (options.get("host", LOOPBACK), options.get("port", 0))
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @classmethod
    def from_document(
        cls, path: Path, attach: tuple[AttachPart, ...] | None = None, **options: Unpack[Options]
    ) -> Self:
        """Make a provider of an OpenAPI document; `attach` goes before the security it declares."""
        return cls(contract_from_document(path, attach), **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def origin(self) -> str:
        """Where it is, as a provider's `origin`."""
        return f"https://{self._address[0]}:{self._port}"

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority that vouches for it."""
        return self.authority.pem.decode()

    @property
    def ca_file(self) -> Path:
        """The same in a file that is there while the sandbox runs."""
        if self._folder is None:
            raise RuntimeError("the sandbox is not running")
        return Path(self._folder.name) / "ca.pem"

    def behave(self, calls: str, misbehaviour: Misbehaviour | str) -> None:
        """Misbehave on these paths from now on, before whatever was said earlier."""
        if isinstance(misbehaviour, str):
            misbehaviour = parse(misbehaviour)
        self._app.rules.insert(0, Rule(calls, misbehaviour))

    def behave_well(self) -> None:
        """Forget every misbehaviour."""
        self._app.rules.clear()

    def start(self) -> None:
        """Listen, and return once calls are answered.

        Raises:
            OSError: the address cannot be listened on.
        """
        listener = socket.create_server(self._address)
        # Connections inherit it; asyncio would not set it on a socket that somebody else made.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-sandbox-")
        self.authority.write(self.ca_file)
        self._server = _Server(self._app, self._certificate)
        self._thread = threading.Thread(
            target=self._server.run_on, args=(listener,), name="tidegate-sandbox", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(START_TIMEOUT_S):
            raise RuntimeError(f"the sandbox did not start within {START_TIMEOUT_S} s")

    def stop(self) -> None:
        """Stop at once; calls that are open are cut."""
        if self._server is None or self._thread is None or self._folder is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._folder.cleanup()
        self._server = self._thread = self._folder = None

    def wait(self) -> None:
        """Wait until the sandbox is stopped."""
        if self._thread is not None:
            self._thread.join()


class _Server(uvicorn.Server):
    """Uvicorn on a socket and TLS settings of ours, telling when it listens."""

    def __init__(self, app: ProviderApp, certificate: ServerCertificate) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = certificate.context()
        # A cut answer is an error to uvicorn, and here a wish.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        super().__init__(config)
        self.ready = threading.Event()

    def run_on(self, listener: socket.socket) -> None:
        asyncio.run(self.serve(sockets=[listener]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
