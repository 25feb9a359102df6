"""List a document's operations: method, whole path template, origin.

What OpenAPI leaves open is settled so that a grant never covers more than it says:

- an operationId that several operations share names none of them; they are called `METHOD path`;
- operations that differ only in a query or fragment (`/x?action=a`) are one operation on the wire
  and become one, called `METHOD path`;
- templates of one method that differ only in their parameters' names overlap, which is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from tidegate.catalog.errors import ConfigError, ConfigErrors, shown
from tidegate.catalog.fields import path_problem
from tidegate.catalog.kinds import kind
from tidegate.catalog.openapi.described import Described, Description
from tidegate.catalog.openapi.document import Document, as_list, as_mapping, as_text
from tidegate.catalog.openapi.servers import Servers, Site
from tidegate.catalog.patterns import shape
from tidegate.catalog.yaml_source import Path
from tidegate.domain.operation import METHODS, Operation

ID_LENGTH_MAX = 200
_T = TypeVar("_T")
_METHODS = {method.lower(): method for method in METHODS if method != "QUERY"}
_BEYOND_PATH = re.compile(r"[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Api:
    """What a document says: `origins` are the operator's where any were declared."""

    title: str
    origins: tuple[str, ...]
    operations: tuple[Operation, ...]
    described: Described
    """What the document says of each of them besides."""


def read_operations(
    document: Document,
    *,
    origins: tuple[str, ...] = (),
    base_path: str | None = None,
    variables: Collection[str] = (),
    url: str | None = None,
) -> Api:
    """List the operations.

    `origins`, `base_path` and `variables` are what the operator declares and go before what the
    document says; `url` is where the document came from, for servers that are relative to it.

    Raises:
        ConfigErrors: all that is wrong with the document, at once.
    """
    servers = Servers(document, origins, base_path, variables, url)
    reader = _Reader(document, servers)
    found = list(reader.operations())
    described = Described(document)
    operations = _one_for_each_path(found, described, reader.errors)
    if reader.errors:
        raise ConfigErrors(reader.errors)
    title = as_text((as_mapping(document.root.get("info")) or {}).get("title"))
    known = origins or tuple(servers.origins)
    return Api(title, known, tuple(_named_apart(operations)), described)


class _Found(NamedTuple):
    operation: Operation
    path: Path
    cut: bool
    """The document's path had a query or fragment, which is no part of a path."""
    described: Description


class _Reader:
    """Walks the paths and gathers what is wrong on the way."""

    def __init__(self, document: Document, servers: Servers) -> None:
        self.document = document
        self.servers = servers
        self.errors: list[ConfigError] = []

    def operations(self) -> Iterator[_Found]:
        paths = as_mapping(self.document.root.get("paths"))
        if not paths:
            self.errors.append(self.document.error((), "the document has no `paths`"))
            return
        default = self._gather(self.servers.default)
        if default is None:
            return
        for template in paths:
            if template.startswith("x-"):
                continue
            path: Path = ("paths", template)
            item = self._gather(partial(self.document.follow, paths[template], path))
            if item is not None:
                yield from self._of_item(template, item, path, default)

    def _of_item(
        self, template: str, item: Mapping[str, Any], path: Path, default: Site
    ) -> Iterator[_Found]:
        site = self._site(item, path, default)
        for key, method in _METHODS.items():
            if key not in item:
                continue
            here: Path = (*path, key)
            described = as_mapping(item[key])
            if described is None:
                message = f"an operation is a mapping, not {kind(item[key])}"
                self.errors.append(self.document.error(here, message))
                continue
            place = self._site(described, here, site)
            bare = _BEYOND_PATH.sub("", template)
            whole = place.base_path + bare
            problem = path_problem(whole)
            if problem:
                message = f"{shown(whole)} cannot be matched: {problem}"
                self.errors.append(self.document.error(path, message))
                break
            yield _Found(
                _operation(method, whole, place, described),
                here,
                bare != template,
                Description(whole, item, described, path, key),
            )

    def _site(self, described: Mapping[str, Any], path: Path, outer: Site) -> Site:
        named = as_list(described.get("servers"))
        if not named:
            return outer
        return self._gather(partial(self.servers.named, named, (*path, "servers"))) or outer

    def _gather(self, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except ConfigErrors as error:
            self.errors += error.errors
            return None


def _operation(method: str, path: str, site: Site, described: Mapping[str, Any]) -> Operation:
    name = described.get("operationId")
    usable = isinstance(name, str) and name.isprintable() and 0 < len(name) <= ID_LENGTH_MAX
    return Operation(
        id=name.strip() if isinstance(name, str) and usable else f"{method} {path}",
        method=method,
        path=path,
        origin=site.origin,
        summary=as_text(described.get("summary") or described.get("description")),
        deprecated=described.get("deprecated") is True,
    )


def _one_for_each_path(
    found: list[_Found], described: Described, errors: list[ConfigError]
) -> list[Operation]:
    """Join operations that only a query or fragment tells apart; refuse those that overlap.

    What is joined is not described: the document says several things of it.
    """
    by_shape: dict[tuple[str, str], list[_Found]] = {}
    for one in found:
        operation = one.operation
        by_shape.setdefault((operation.method, shape(operation.path)), []).append(one)
    operations: list[Operation] = []
    for call, alike in by_shape.items():
        operation = alike[0].operation
        if any(one.cut for one in alike):
            operation = replace(operation, id=f"{operation.method} {operation.path}")
        else:
            described.operations[call] = alike[0].described
            errors += [
                described.document.error(
                    other.path,
                    f"`{operation.method}` {shown(other.operation.path)} overlaps "
                    f"{shown(operation.path)}",
                    "they differ only in their parameters' names, so no call can tell them apart",
                )
                for other in alike[1:]
            ]
        operations.append(operation)
    return operations


def _named_apart(operations: list[Operation]) -> Iterator[Operation]:
    """Give operations that share an id their `METHOD path` instead."""
    count = Counter(operation.id for operation in operations)
    for operation in operations:
        shared = count[operation.id] > 1
        yield replace(operation, id=f"{operation.method} {operation.path}") if shared else operation
