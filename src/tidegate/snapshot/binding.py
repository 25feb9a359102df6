"""Judge whether a connection still belongs to its provider's origins.

A credential was entered for certain origins and is sealed together with them. When the declaration
moves a provider elsewhere, the connection is left out of the snapshot until its secret is entered
again: an edit of the file must never be enough to send a secret to a new place.
"""

from __future__ import annotations

from tidegate.catalog.origins import fill_url
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import TokenGrant, bound_grant
from tidegate.domain.template import values_in


def is_bound(provider: Provider, connection: Connection) -> bool:
    """Say whether the connection's origins are the provider's, place by place, variables filled."""
    grant = provider.token_grant
    bound = None if grant is None else bound_grant(grant, connection.scheme)
    if not _is_of_one_scheme(provider, connection, bound):
        return False
    if provider.origins == connection.origins and not provider.variables:
        return True
    if len(provider.origins) != len(connection.origins):
        return False
    places = list(zip(provider.origins, connection.origins, strict=True))
    if grant is not None and bound is not None:
        # Where secrets go: all other endpoints are those that the connection was made with.
        declares = "token_url" if grant.token_url else "issuer"
        places.append((getattr(grant, declares), getattr(bound, declares)))
    values: dict[str, str] = {}
    for declared, made in places:
        # A form that does not fit yields no values: then what is filled below is missing, or differs.
        values |= values_in(declared, made) or {}
    try:
        return all(fill_url(one, values, provider.variable_rules) == made for one, made in places)
    except ValueError:
        return False


def _is_of_one_scheme(provider: Provider, connection: Connection, bound: TokenGrant | None) -> bool:
    """Whether the credential's secrets may go to the token endpoint that is declared, if any."""
    if provider.login is not None:
        return connection.scheme == provider.login.scheme
    if provider.token_grant is None:
        return not connection.issues_tokens
    return bound is not None
