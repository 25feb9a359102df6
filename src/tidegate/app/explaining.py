"""Turn a URL that somebody has at hand into the call that a consumer would make."""

from __future__ import annotations

from urllib.parse import urlsplit

from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.origin import Origin
from tidegate.engine import ExplainRequest


def request_for(
    declaration: Declaration,
    consumer: str,
    method: str,
    url: str,
    *,
    client: str | None,
    connection: str | None,
) -> ExplainRequest:
    """Make the request. Three forms of URL are understood.

    1. `/stripe/v1/charges`: a path on the gateway.
    2. `http://127.0.0.1:8080/stripe/v1/charges`: the same with the gateway's address.
    3. `https://api.stripe.com/v1/charges`: what the provider's documentation says.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return ExplainRequest(consumer, method, url, client=client, connection=connection)
    # Cut, and not parsed and put together again: the engine judges the path as it was written.
    authority, slash, path = rest.partition("/")
    target = f"{slash}{path}" or "/"
    provider = _provider_at(declaration, f"{scheme}://{authority}")
    if provider is not None:
        target = f"/{provider.name}{target}"
    return ExplainRequest(consumer, method, target, authority, client, connection)


def _provider_at(declaration: Declaration, address: str) -> Provider | None:
    try:
        origin = str(Origin.parse(address))
    except ValueError:
        return None
    host = urlsplit(origin).hostname
    for provider in declaration.providers:
        if host in provider.hosts:
            # The engine finds it by this host, as it would find a call's.
            return None
        if origin in provider.origins:
            return provider
    return None
