"""Find what the `{variables}` of an address were filled with, in an address that was made of it."""

from __future__ import annotations

import re
from functools import lru_cache

_VARIABLE = re.compile(r"\{(\w+)\}")


def values_in(template: str, made: str) -> dict[str, str] | None:
    """Return the values by name; None where the address was not made of this template.

    A value ends where a part of an address ends, so that a host stays below the template's own.
    """
    found = _form(template).fullmatch(made)
    return None if found is None else found.groupdict()


@lru_cache(maxsize=1024)
def _form(template: str) -> re.Pattern[str]:
    # `split` with one group alternates literal text and variable names.
    expression = ""
    named: set[str] = set()
    for place, part in enumerate(_VARIABLE.split(template)):
        if place % 2 == 0:
            expression += re.escape(part)
        else:
            expression += f"(?P={part})" if part in named else f"(?P<{part}>[^/:?#@]+)"
            named.add(part)
    return re.compile(expression)
