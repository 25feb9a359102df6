"""Judge whether a connection still belongs to its provider's origins.

A credential was entered for certain origins and is sealed together with them. When the declaration
moves a provider elsewhere, the connection is left out of the snapshot until its secret is entered
again: an edit of the file must never be enough to send a secret to a new place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.origin import Origin

_VARIABLE = re.compile(r"\{(\w+)\}")
# What a variable may hold where no rule is declared for it: anything that cannot end a host.
_ANY_VALUE = r"[^/?#@\\\s]+"


def is_bound(provider: Provider, connection: Connection) -> bool:
    """Say whether the connection's origins are the provider's, place by place, variables filled."""
    if len(provider.origins) != len(connection.origins):
        return False
    patterns = {rule.name: rule.pattern for rule in provider.variable_rules}
    return all(
        _fills(declared, bound, patterns)
        for declared, bound in zip(provider.origins, connection.origins, strict=True)
    )


def _fills(declared: str, bound: str, patterns: dict[str, str]) -> bool:
    if declared == bound:
        return True
    if _VARIABLE.search(declared):
        return _template(declared, tuple(sorted(patterns.items()))).fullmatch(bound) is not None
    return Origin.parse(declared) == Origin.parse(bound)


@lru_cache(maxsize=1024)
def _template(declared: str, patterns: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    rules = dict(patterns)
    # `split` with one group alternates literal text and variable names.
    parts = _VARIABLE.split(declared)
    expression = ""
    for place, part in enumerate(parts):
        expression += re.escape(part) if place % 2 == 0 else f"(?:{rules.get(part, _ANY_VALUE)})"
    return re.compile(expression, re.IGNORECASE)
