"""End tokens at the provider (RFC 7009), as well as that can be done."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from tidegate.credentials.asking import Ask, post
from tidegate.credentials.token_endpoint import client_request
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import ACCESS_TOKEN, REFRESH_TOKEN, TokenGrant
from tidegate.domain.secret import Secret
from tidegate.engine import FetchError

_OK: Final = frozenset({200, 204})


class Revoked(Enum):
    """What came of it."""

    DONE = "revoked"
    NOT_OFFERED = "not_offered"
    FAILED = "failed"


def revoke(
    engine: Ask, provider: Provider, grant: TokenGrant, fields: Mapping[str, Secret]
) -> Revoked:
    """Revoke the refresh token, with which the access tokens go, and the access token.

    Nothing is raised: whoever forgets a credential does so whether the provider listens or not.
    """
    if not grant.revocation_url:
        return Revoked.NOT_OFFERED
    outcome = Revoked.NOT_OFFERED
    for kind in (REFRESH_TOKEN, ACCESS_TOKEN):
        if kind not in fields:
            continue
        token = fields[kind].reveal().decode()
        form = {"token": token, "token_type_hint": kind}
        try:
            request = client_request(grant, grant.revocation_url, form, fields)
            status = post(engine, provider, grant.revocation_url, request).status
        except FetchError:
            return Revoked.FAILED
        if status not in _OK:
            return Revoked.FAILED
        outcome = Revoked.DONE
    return outcome
