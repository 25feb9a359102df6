"""Say whose account a consent is for, by what came with the token over verified TLS.

An ID token that comes straight from the token endpoint needs no signature check (OpenID Connect Core
§3.1.3.7, 6); its issuer, audience, time and nonce are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from tidegate.credentials.authorization import ConsentRefused, Why
from tidegate.credentials.jwt import unverified_claims
from tidegate.domain.oauth import TokenGrant

SKEW_S: Final = 60
ACCOUNT_BYTES_MAX: Final = 512


def account_of(
    grant: TokenGrant, said: Mapping[str, object], client_id: str, nonce: str, now: float
) -> str | None:
    """Name the account; None where the provider's declaration does not say what tells it.

    Raises:
        ConsentRefused: the ID token is for somebody else, or the account is not told.
    """
    claims = _id_token(grant, said.get("id_token"), client_id, nonce, now)
    if not grant.account:
        return None
    source, *path = grant.account.split(".")
    found = _at(claims if source == "id_token" else dict(said), path)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ConsentRefused(Why.ACCOUNT_UNKNOWN)
    account = str(found)
    if not account or len(account.encode()) > ACCOUNT_BYTES_MAX:
        raise ConsentRefused(Why.ACCOUNT_UNKNOWN)
    return account


def _at(told: object, path: list[str]) -> object:
    if not path:
        return told
    if not isinstance(told, dict):
        return None
    return _at(cast("dict[str, object]", told).get(path[0]), path[1:])


def _id_token(
    grant: TokenGrant, token: object, client_id: str, nonce: str, now: float
) -> dict[str, object]:
    if token is None and "openid" not in grant.scope.split():
        return {}
    claims = unverified_claims(token) if isinstance(token, str) else None
    if claims is None:
        raise ConsentRefused(Why.TOKEN_REFUSED, "id_token_unreadable")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    expires = claims.get("exp")
    if grant.issuer and claims.get("iss") != grant.issuer:
        raise ConsentRefused(Why.ISSUER_WRONG)
    if client_id not in audiences or claims.get("azp", client_id) != client_id:
        raise ConsentRefused(Why.TOKEN_REFUSED, "id_token_for_another")
    if not isinstance(expires, int | float) or expires <= now - SKEW_S:
        raise ConsentRefused(Why.TOKEN_REFUSED, "id_token_expired")
    if "openid" in grant.scope.split() and nonce and claims.get("nonce") != nonce:
        raise ConsentRefused(Why.TOKEN_REFUSED, "id_token_of_another_question")
    return claims
