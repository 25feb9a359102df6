"""Ask providers to forget somebody by calls through the running gateway, as a consumer would make them.

So a grant must allow them, limits and quotas count them, the connection's credential goes on them, and the
calls' records have them. The access token is made for it, is good for one consumer, client and provider, and
is revoked afterwards; nobody ever sees it.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from tidegate.app.services import Services
from tidegate.catalog.errors import listed
from tidegate.catalog.patterns import OperationTable
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret
from tidegate.privacy.erasure import Answered
from tidegate.privacy.errors import SubjectRefused
from tidegate.privacy.request import ErasureCall

PATIENCE_S: Final = 120.0
"""How long a provider may take over an erasure."""

_KNOWN_WITHIN_S: Final = 10.0
_ASK_AGAIN_S: Final = 0.2
_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway takes calls: `http://127.0.0.1:8080`."""

    scheme: str
    host: str
    port: int

    @classmethod
    def at(cls, url: str) -> Gateway:
        """Read an address.

        Raises:
            SubjectRefused: it is none.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 0
        if parts.scheme not in {"http", "https"} or not parts.hostname or not port:
            raise SubjectRefused(
                f"`{url}` is no address of a gateway", "like http://127.0.0.1:8080"
            )
        return cls(parts.scheme, parts.hostname, port)

    @classmethod
    def among(cls, addresses: dict[str, str]) -> Gateway:
        """Choose of where the running gateway listens; without TLS, since it is this machine.

        Raises:
            SubjectRefused: it listens with TLS alone.
        """
        for name, address in addresses.items():
            if name.startswith("http-"):
                host, _, port = address.rpartition(":")
                everywhere = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104
                return cls("http", everywhere.get(host, host.strip("[]")), int(port))
        raise SubjectRefused(
            "the running gateway listens with TLS alone", "name it: `--gateway https://HOST:PORT`"
        )


class ThroughTheGateway:
    """Carries erasures' calls, by the consumers that may make them."""

    def __init__(
        self, state: Services, declaration: Declaration, gateway: Gateway, consumer: str | None
    ) -> None:
        """`consumer` makes the calls; None: the one consumer that may, where there is one."""
        self._state = state
        self._declaration = declaration
        self._gateway = gateway
        self._consumer = consumer

    def carry(self, client: str, call: ErasureCall) -> Answered:
        """Make one call.

        Raises:
            SubjectRefused: no consumer may make it, or the gateway does not answer.
        """
        consumer = self.consumer_for(client, call)
        with self._token(consumer, client, call.provider.name) as token:
            deadline = time.monotonic() + _KNOWN_WITHIN_S
            while True:
                answered = self._ask(client, call, token)
                if answered.problem != "unauthenticated" or time.monotonic() > deadline:
                    return answered
                # A running gateway takes up a new token within a moment.
                time.sleep(_ASK_AGAIN_S)

    def consumer_for(self, client: str, call: ErasureCall) -> str:
        """Name the consumer that makes a call.

        Raises:
            SubjectRefused: none may, or several and none was chosen.
        """
        able = _able(self._declaration, client, call)
        if self._consumer is not None:
            able = [name for name in able if name == self._consumer]
        what = f"`{call.provider.name}:{call.operation.id}` for client `{client}`"
        if not able:
            whom = f"consumer `{self._consumer}`" if self._consumer else "no consumer"
            raise SubjectRefused(
                f"{whom} may not call {what}" if self._consumer else f"{whom} may call {what}",
                "grant it to a consumer of its own, such as `privacy-desk`, under `grants`",
            )
        if len(able) > 1:
            raise SubjectRefused(
                f"{listed(able)} may call {what}", "say by `--consumer` which of them does"
            )
        return able[0]

    @contextmanager
    def _token(self, consumer: str, client: str, provider: str) -> Generator[Secret]:
        token, secret = self._state.tokens.create(
            self._declaration, consumer, client=client, providers=(provider,), days=1
        )
        try:
            yield secret
        finally:
            self._state.tokens.revoke(token.id)

    def _ask(self, client: str, call: ErasureCall, token: Secret) -> Answered:
        filled, gateway = call.request, self._gateway
        headers = {"Authorization": f"Bearer {token.reveal().decode()}", "Accept": "*/*"}
        if call.connection is not None:
            headers["Tidegate-Connection"] = call.connection
        if filled.content_type:
            headers["Content-Type"] = filled.content_type
        # http.client, since it logs nothing: the target may name the person.
        connection = _connect(gateway)
        target = f"/~{client}/{call.provider.name}{filled.target.reveal().decode()}"
        try:
            connection.request(call.operation.method, target, filled.body.reveal() or None, headers)
            with connection.getresponse() as response:
                return _answered(response)
        except (OSError, HTTPException) as error:
            raise SubjectRefused(
                f"the gateway does not answer ({type(error).__name__})",
                "`tidegate status` says whether it runs; what was done so far stands, and the "
                "request can be made again",
            ) from None
        finally:
            connection.close()


def _connect(gateway: Gateway) -> HTTPConnection:
    if gateway.scheme == "http":
        return HTTPConnection(gateway.host, gateway.port, timeout=PATIENCE_S)
    context = ssl.create_default_context()
    return HTTPSConnection(gateway.host, gateway.port, timeout=PATIENCE_S, context=context)


def _answered(response: HTTPResponse) -> Answered:
    call = response.getheader("Tidegate-Call") or ""
    # Only Tidegate's own refusals have it: a provider's is taken off.
    if response.getheader("Proxy-Status") is None:
        return Answered(response.status, call)
    try:
        problem = json.loads(response.read(_ANSWER_BYTES))["code"]
    except (ValueError, KeyError, TypeError):
        problem = "internal"
    return Answered(response.status, call, str(problem))


def _able(declaration: Declaration, client: str, call: ErasureCall) -> list[str]:
    table = OperationTable(call.provider.operations)
    number = next(n for n, o in enumerate(call.provider.operations) if o.id == call.operation.id)
    acting = {one.name for one in declaration.consumers if client in one.clients}
    return list(
        dict.fromkeys(
            grant.consumer
            for grant in declaration.grants
            if grant.provider == call.provider.name
            and grant.consumer in acting
            and (not grant.clients or client in grant.clients)
            and any(number in table.matching(pattern) for pattern in grant.operations)
        )
    )
