"""Send a request to an endpoint of a provider's, through the engine: its address checks, its TLS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tidegate.credentials.dpop import nonce_of
from tidegate.credentials.token_endpoint import ANSWER_BYTES_MAX, TokenRequest, answer_object
from tidegate.domain.declaration import Provider
from tidegate.engine import ClientIdentity, Fetched, FetchOptions

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

    Where the endpoint wants a nonce in the proof of the request's key, it is sent once more, and no
    more: whoever wants another each time gets none (RFC 9449 §8).

    Raises:
        FetchError: there is no answer.
    """
    fetched = _post(engine, provider, url, request)
    nonce = nonce_of(fetched.headers)
    wanted = answer_object(fetched.body).get("error") == "use_dpop_nonce"
    if request.prover is None or nonce is None or not wanted:
        return fetched
    return _post(engine, provider, url, request, nonce)


def _post(
    engine: Ask, provider: Provider, url: str, request: TokenRequest, nonce: str | None = None
) -> Fetched:
    proof = [] if request.prover is None else [request.prover.header(nonce)]
    query = "" if request.query is None else f"?{request.query.reveal().decode()}"
    return engine.fetch(
        "POST",
        url + query,
        [*request.headers, *proof],
        request.body.reveal(),
        _options(provider, request.identity),
    )


def get(engine: Ask, provider: Provider, url: str) -> Fetched:
    """Read a document of the provider's.

    Raises:
        FetchError: there is no answer.
    """
    return engine.fetch("GET", url, [("accept", "application/json")], b"", _options(provider))


def _options(provider: Provider, identity: ClientIdentity | None = None) -> FetchOptions:
    return FetchOptions(
        timeout_ms=ASK_MS,
        max_bytes=ANSWER_BYTES_MAX,
        allow_private=provider.allow_private,
        ca_pem=provider.tls.ca_pem,
        identity=identity,
    )
