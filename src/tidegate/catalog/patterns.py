"""Say which operations a pattern of a grant or denial selects.

A pattern is an operation's id, or `METHOD /path` with the template's path, either with `*` for any
text, `/` included. What parameters are called in a path does not matter. A pattern that is exactly
an id selects that operation alone, even if the id holds a `*`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from tidegate.domain.declaration import Provider
from tidegate.domain.operation import Operation

_PARAMETER = re.compile(r"\{[^{}]*\}")
_ANY_TEXT = r"[^\n]*"
_TABLES_MAX = 32


def matching(provider: Provider, pattern: str) -> list[int]:
    """The numbers of the operations that the pattern selects, in order.

    Whoever asks much, of many providers in turn, keeps an `OperationTable` for each.
    """
    return list(_table(_ByIdentity(provider.operations)).matching(pattern))


def shape(path: str) -> str:
    """A path template without parameters' names: templates of one shape match the same paths."""
    return _PARAMETER.sub("{}", path)


class OperationTable:
    """One provider's operations laid out for search: one text of all ids, one of all calls.

    Grants repeat patterns by the thousand and a provider may have 100,000 operations, so each
    pattern is searched for once.
    """

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        calls = [f"{operation.method} {shape(operation.path)}" for operation in operations]
        self._by_id = {operation.id: number for number, operation in enumerate(operations)}
        self._by_call = {call: number for number, call in enumerate(calls)}
        self._ids = _Lines([operation.id for operation in operations])
        self._calls = _Lines(calls)
        self._written = [f"{operation.method} {operation.path}" for operation in operations]
        self._known: dict[str, tuple[int, ...]] = {}

    def matching(self, pattern: str) -> tuple[int, ...]:
        """The numbers of the operations that the pattern selects, in order."""
        known = self._known.get(pattern)
        if known is None:
            known = self._known[pattern] = self._search(pattern)
        return known

    def words(self) -> list[str]:
        """What a pattern can name: all ids, and all methods with paths."""
        return list(dict.fromkeys((*self._by_id, *self._written)))

    def _search(self, pattern: str) -> tuple[int, ...]:
        if pattern in self._by_id:
            return (self._by_id[pattern],)
        method, space, path = pattern.partition(" ")
        call = f"{method.upper()} {shape(path.strip())}" if space else None
        if "*" not in pattern:
            return (self._by_call[call],) if call in self._by_call else ()
        found = set(self._ids.matching(pattern))
        if call is not None:
            found.update(self._calls.matching(call))
        return tuple(sorted(found))


class _Lines:
    """Texts searched all at once: one regular expression over one text, a line for each."""

    def __init__(self, texts: list[str]) -> None:
        self._text = "\n".join(texts)
        starts = accumulate((len(text) + 1 for text in texts[:-1]), initial=0)
        self._number_at = {start: number for number, start in enumerate(starts)}

    def matching(self, pattern: str) -> list[int]:
        pieces = [re.escape(piece) for piece in re.split(r"\*+", pattern)]
        expression = re.compile("^" + _ANY_TEXT.join(pieces) + "$", re.MULTILINE)
        return [self._number_at[found.start()] for found in expression.finditer(self._text)]


class _ByIdentity:
    """A key that compares operations by identity: hashing a thousand of them each time is slow."""

    __slots__ = ("operations",)

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        self.operations = operations

    def __hash__(self) -> int:
        return id(self.operations)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.operations is self.operations


@lru_cache(maxsize=_TABLES_MAX)
def _table(key: _ByIdentity) -> OperationTable:
    return OperationTable(key.operations)
