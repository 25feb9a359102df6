"""Judge whether a connection still belongs to its provider's origins.

A credential was entered for certain origins and is sealed together with them. When the declaration
moves a provider elsewhere, the connection is left out of the snapshot until its secret is entered
again: an edit of the file must never be enough to send a secret to a new place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tidegate.catalog.origins import fill_origins
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import bound_grant

_VARIABLE = re.compile(r"\{(\w+)\}")


def is_bound(provider: Provider, connection: Connection) -> bool:
    """Say whether the connection's origins are the provider's, place by place, variables filled."""
    if not _is_of_one_scheme(provider, connection):
        return False
    if provider.origins == connection.origins:
        return True
    if len(provider.origins) != len(connection.origins):
        return False
    values: dict[str, str] = {}
    for declared, bound in zip(provider.origins, connection.origins, strict=True):
        # A form that does not fit yields no values: then the origins below do not fill, or differ.
        found = _form(declared).fullmatch(bound)
        values |= found.groupdict() if found else {}
    try:
        return fill_origins(provider, values) == connection.origins
    except ValueError:
        return False


def _is_of_one_scheme(provider: Provider, connection: Connection) -> bool:
    """Whether the credential's secrets may go to the token endpoint that is declared, if any."""
    if provider.login is not None:
        return connection.scheme == provider.login.scheme
    grant = provider.token_grant
    if grant is None:
        return not connection.issues_tokens
    return bound_grant(grant, connection.scheme) is not None


@lru_cache(maxsize=1024)
def _form(declared: str) -> re.Pattern[str]:
    """Turn a template into an expression that finds its variables; their rules come later."""
    # `split` with one group alternates literal text and variable names.
    expression = ""
    named: set[str] = set()
    for place, part in enumerate(_VARIABLE.split(declared)):
        if place % 2 == 0:
            expression += re.escape(part)
        else:
            expression += f"(?P={part})" if part in named else f"(?P<{part}>[^/:]+)"
            named.add(part)
    return re.compile(expression)
