"""Send a request to an endpoint of a provider's, through the engine: its address checks, its TLS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tidegate.credentials.token_endpoint import ANSWER_BYTES_MAX, TokenRequest
from tidegate.domain.declaration import Provider
from tidegate.engine import Fetched, FetchOptions

ASK_MS: Final = 20_000


class Ask(Protocol):
    """What of the engine asking needs."""

    def fetch(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        options: FetchOptions | None = None,
    ) -> Fetched:
        """Call out on Tidegate's own behalf."""
        ...


def post(engine: Ask, provider: Provider, url: str, request: TokenRequest) -> Fetched:
    """Send it; a redirect is an answer like any other, so that no secret follows one.

    Raises:
        FetchError: there is no answer.
    """
    return engine.fetch("POST", url, request.headers, request.body.reveal(), _options(provider))


def get(engine: Ask, provider: Provider, url: str) -> Fetched:
    """Read a document of the provider's.

    Raises:
        FetchError: there is no answer.
    """
    return engine.fetch("GET", url, [("accept", "application/json")], b"", _options(provider))


def _options(provider: Provider) -> FetchOptions:
    return FetchOptions(
        timeout_ms=ASK_MS,
        max_bytes=ANSWER_BYTES_MAX,
        allow_private=provider.allow_private,
        ca_pem=provider.tls.ca_pem,
    )
