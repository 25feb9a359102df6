"""Find the operation that a request is for: concrete templates before those with parameters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from tidegate.domain.operation import Operation

_PARAMETER = re.compile(r"\{[^{}/]*\}")


_Row = tuple[re.Pattern[str], Operation]


class Matcher:
    """A table of operations. A parameter is one segment or a part of one, never empty."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._rows: dict[tuple[str, int], list[tuple[re.Pattern[str], Operation]]] = defaultdict(
            list
        )
        for operation in sorted(operations, key=_concrete_first):
            row = self._rows[operation.method, operation.path.count("/")]
            row.append((_pattern(operation.path), operation))

    def find(self, method: str, path: str) -> Operation | None:
        """Match the path as it was sent; a HEAD without an operation of its own goes as a GET."""
        for pattern, operation in self._rows.get((method, path.count("/")), ()):
            if pattern.fullmatch(path):
                return operation
        return self.find("GET", path) if method == "HEAD" else None


def _concrete_first(operation: Operation) -> list[tuple[bool, int]]:
    """Sort by segments, left to right: text, then mixed, then all parameter (OpenAPI §4.8.8)."""
    return [
        ("{" in segment, -len(_PARAMETER.sub("", segment))) for segment in operation.path.split("/")
    ]


def _pattern(template: str) -> re.Pattern[str]:
    texts = [re.escape(text) for text in _PARAMETER.split(template)]
    return re.compile("[^/]+".join(texts))
