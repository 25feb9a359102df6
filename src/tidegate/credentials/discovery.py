"""Find a provider's endpoints in its issuer's metadata (RFC 8414, OpenID Connect Discovery).

Read when somebody connects, and never again for that connection: what is found is bound to the
credential, so that a document that changes later leads no secret anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from tidegate.catalog.errors import shown
from tidegate.catalog.fields import check_token_url
from tidegate.credentials.asking import Ask, get
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.fields import wanted_fields
from tidegate.credentials.token_endpoint import answer_object
from tidegate.domain.attach import FOR_TLS
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import TokenGrant
from tidegate.engine import FetchError

_OK: Final = 200
_ENDPOINTS: Final = {
    "token_url": "token_endpoint",
    "authorize_url": "authorization_endpoint",
    "par_url": "pushed_authorization_request_endpoint",
    "device_url": "device_authorization_endpoint",
    "revocation_url": "revocation_endpoint",
}


def with_endpoints(engine: Ask, provider: Provider, grant: TokenGrant) -> TokenGrant:
    """Fill in the endpoints that are not declared; what is declared stays.

    Raises:
        CredentialRefused: the metadata is not there, is another issuer's, or allows what must not be.
    """
    if not grant.issuer or _is_complete(grant):
        return grant
    shows_certificate = FOR_TLS[0] in wanted_fields(provider)
    said = _metadata(engine, provider, grant.issuer)
    return filled(grant, said, shows_certificate=shows_certificate)


def filled(
    grant: TokenGrant, said: Mapping[str, object], *, shows_certificate: bool = False
) -> TokenGrant:
    """Take the endpoints from a metadata document.

    Raises:
        CredentialRefused: it is another issuer's, or allows what must not be.
    """
    if said.get("issuer") != grant.issuer:
        # RFC 8414 §3.3: identical, or the whole document must not be used.
        raise CredentialRefused(
            f"The metadata of {shown(grant.issuer)} names another issuer; declare the `issuer` that "
            "the provider's own documents name."
        )
    methods = said.get("code_challenge_methods_supported")
    if grant.grant == "authorization_code" and methods is not None and "S256" not in _list(methods):
        raise CredentialRefused(
            "The metadata leaves out `S256` of PKCE (RFC 7636), and without it no consent is asked."
        )
    proofs = said.get("dpop_signing_alg_values_supported")
    if grant.dpop and proofs is not None and grant.dpop not in _list(proofs):
        raise CredentialRefused(
            f"The metadata leaves out `{grant.dpop}` for proofs (RFC 9449); declare another `dpop`."
        )
    # RFC 8705 §5: who shows a certificate may have endpoints of their own.
    aliases = said.get("mtls_endpoint_aliases") if shows_certificate else None
    said = {**said, **(cast("dict[str, object]", aliases) if isinstance(aliases, dict) else {})}
    found = {
        name: _endpoint(key, said[key])
        for name, key in _ENDPOINTS.items()
        if key in said and not getattr(grant, name)
    }
    iss = said.get("authorization_response_iss_parameter_supported") is True
    complete = replace(grant, iss=grant.iss or iss, **found)
    if not _is_complete(complete):
        raise CredentialRefused(
            f"The metadata of {shown(grant.issuer)} lacks an endpoint that `{grant.grant}` needs; "
            "declare it beside the `issuer`."
        )
    return complete


def _is_complete(grant: TokenGrant) -> bool:
    needed = {"authorization_code": grant.authorize_url, "device_code": grant.device_url}
    return bool(grant.token_url and needed.get(grant.grant, True))


def _metadata(engine: Ask, provider: Provider, issuer: str) -> Mapping[str, object]:
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    tail = f"/{path.removesuffix('/')}" if path.removesuffix("/") else ""
    base = f"{scheme}://{host}"
    places = (
        f"{base}/.well-known/oauth-authorization-server{tail}",
        f"{base}{tail}/.well-known/openid-configuration",
    )
    for url in places:
        try:
            fetched = get(engine, provider, url)
        except FetchError as error:
            raise CredentialRefused(
                f"The metadata of {shown(issuer)} cannot be read: {error.problem.title}."
            ) from None
        said = answer_object(fetched.body)
        if fetched.status == _OK and said:
            return said
    raise CredentialRefused(
        f"{shown(issuer)} has no metadata (RFC 8414); declare its endpoints beside the `issuer`."
    )


def _endpoint(key: str, value: object) -> str:
    try:
        return check_token_url(value if isinstance(value, str) else "")
    except ValueError:
        raise CredentialRefused(f"The metadata's `{key}` is no `https://host/path`.") from None


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
