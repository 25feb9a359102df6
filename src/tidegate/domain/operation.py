"""Name what a provider can be asked to do: one method and path template."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")

EXTENSION_METHODS = (
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "M-SEARCH",
)
"""Methods of WebDAV (RFC 4918, 3253, 5323) and UPnP, which are declared by hand; no document names them."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    `path` is the whole template as the provider sees it, base path included (`/v1/customers/{id}`);
    `id` is the document's operationId, or `METHOD path` where it has none; `origin` indexes the
    provider's origins.
    """

    id: str
    method: str
    path: str
    origin: int = 0
    summary: str = ""
    deprecated: bool = False
