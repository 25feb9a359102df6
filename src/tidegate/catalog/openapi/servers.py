"""Say where a document's operations are served: an origin of the provider, and a base path.

The operator's word goes before the document's. One declared origin serves every operation; with
several, each server that the document names must be among them; with none, the document's servers
are the origins. So a document decides where credentials go only where the operator left it that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urljoin, urlsplit

from pydantic_core import PydanticCustomError

from tidegate.catalog.errors import ConfigErrors, listed, shown
from tidegate.catalog.fields import check_origin
from tidegate.catalog.openapi.document import Document, as_list, as_mapping
from tidegate.catalog.yaml_source import Path

_VARIABLE = re.compile(r"\{([^{}]*)\}")


class Site(NamedTuple):
    """Where an operation is: a number of the provider's origins, and what begins its path."""

    origin: int
    base_path: str


class _Server(NamedTuple):
    origin: str | None
    base_path: str


@dataclass(slots=True)
class Servers:
    """Settles servers for one document. `origins` grows only where none were declared."""

    document: Document
    declared: tuple[str, ...]
    base_path: str | None
    variables: Collection[str]
    url: str | None
    origins: list[str] = field(default_factory=list[str])

    def default(self) -> Site:
        """Where operations are that name no server."""
        root = self.document.root
        named = _of_swagger(root) if self.document.is_swagger else as_list(root.get("servers"))
        site = self.named(named or [{"url": "/"}], ("servers",))
        return site if self.base_path is None else site._replace(base_path=self.base_path)

    def named(self, servers: list[Any], path: Path) -> Site:
        """Where operations are that name these servers: alternatives, of which one is chosen."""
        known = [self._read(server, (*path, index)) for index, server in enumerate(servers)]
        chosen = next((s for s in known if s.origin in self.declared), None)
        chosen = chosen or next(
            (s for s in known if (s.origin or "").startswith("https:")), known[0]
        )
        return Site(self._index(chosen.origin, path), chosen.base_path)

    def _index(self, origin: str | None, path: Path) -> int:
        if origin in self.declared:
            return self.declared.index(origin)
        if len(self.declared) == 1 or (self.declared and origin is None):
            return 0
        if origin is None:
            self._refuse(path, "the document names no host", "name the provider's `origin`")
        if self.declared:
            self._refuse(
                path,
                f"the document serves this from `{origin}`, which is no origin of the provider",
                f"the provider has {listed(self.declared)}; add it to `origins`, or leave one "
                "`origin`, which then serves everything",
            )
        if origin not in self.origins:
            self.origins.append(origin)
        return self.origins.index(origin)

    def _read(self, server: Any, path: Path) -> _Server:
        mapping = as_mapping(server) or {}
        url = mapping.get("url")
        if not isinstance(url, str):
            self._refuse(path, "a server has a `url`")
        defaults = as_mapping(mapping.get("variables")) or {}
        filled = _VARIABLE.sub(lambda found: self._fill(found[1], defaults, path), url)
        if self.url is not None and "{" not in filled:
            filled = urljoin(self.url, filled)
        return self._split(filled, path)

    def _fill(self, name: str, defaults: Mapping[str, Any], path: Path) -> str:
        if name in self.variables:
            return f"{{{name}}}"
        default = (as_mapping(defaults.get(name)) or {}).get("default")
        if isinstance(default, int | str) and not isinstance(default, bool):
            return str(default)
        return self._refuse(
            path,
            f"the server's variable {shown(name)} has no default",
            "name the provider's `origin`, or the variable under `variables`",
        )

    def _split(self, url: str, path: Path) -> _Server:
        scheme, separator, rest = url.partition("://")
        if not separator:
            return _Server(None, _base(urlsplit(url).path))
        authority, slash, tail = rest.partition("/")
        try:
            origin = check_origin(f"{scheme.lower()}://{authority}")
        except PydanticCustomError as error:
            if self.declared:
                return _Server(None, _base(urlsplit(slash + tail).path))
            self._refuse(path, f"the server's url is not usable: {error.message()}")
        return _Server(origin, _base(urlsplit(slash + tail).path))

    def _refuse(self, path: Path, message: str, hint: str = "") -> NoReturn:
        raise ConfigErrors([self.document.error(path, message, hint)])


def _of_swagger(root: Mapping[str, Any]) -> list[Any]:
    """Swagger 2 names one host, a base path and schemes."""
    host, base = root.get("host"), str(root.get("basePath") or "/")
    if not isinstance(host, str):
        return [{"url": base}]
    schemes = [str(scheme) for scheme in as_list(root.get("schemes"))] or ["https"]
    return [{"url": f"{scheme}://{host}/{base.lstrip('/')}"} for scheme in schemes]


def _base(path: str) -> str:
    path = "/" + path.strip("/")
    return "" if path == "/" else path
