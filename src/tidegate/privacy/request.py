"""Write the request by which a provider is asked to forget somebody, as its declaration says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from tidegate.domain.declaration import Provider
from tidegate.domain.operation import Operation
from tidegate.domain.party import Erasure
from tidegate.domain.secret import Secret
from tidegate.privacy.errors import SubjectRefused

_HOLE: Final = re.compile(r"\{(identifier|kind|object)\}")


@dataclass(frozen=True, slots=True)
class FilledRequest:
    """A request's parts, which name somebody: nothing of it is shown, logged or kept."""

    target: Secret
    content_type: str
    body: Secret


@dataclass(frozen=True, slots=True)
class ErasureCall:
    """One call that asks a provider; `connection` is the account's name, None where there is none."""

    provider: Provider
    operation: Operation
    erasure: Erasure
    connection: str | None
    request: FilledRequest


def fill(
    operation: Operation, erasure: Erasure, kind: str, identifier: Secret, object_: str | None
) -> FilledRequest:
    """Put everything in its place.

    Raises:
        SubjectRefused: a value cannot stand in a path.
    """
    words = {"identifier": identifier.reveal().decode(), "kind": kind, "object": object_ or ""}

    def filled(template: str) -> str:
        # One pass: an identifier that looks like a hole stays what it is.
        return _HOLE.sub(lambda hole: words[hole[1]], template)

    path, query, form = operation.path, list[tuple[str, str]](), list[tuple[str, str]]()
    body: dict[str, Any] | None = None
    for place, template in erasure.values:
        where, _, name = place.partition(" ")
        value = filled(template)
        if where == "path":
            path = path.replace("{" + name + "}", _segment(value))
        elif where == "query":
            query.append((name, value))
        elif where == "form":
            form.append((name, value))
        else:
            body = body if body is not None else {}
            _put(body, name, value)
    target = path + (f"?{urlencode(query)}" if query else "")
    if body is not None:
        content = json.dumps(body, ensure_ascii=False).encode()
        return FilledRequest(Secret(target), "application/json", Secret(content))
    content_type = "application/x-www-form-urlencoded" if form else ""
    return FilledRequest(Secret(target), content_type, Secret(urlencode(form)))


def _segment(value: str) -> str:
    """One segment of a path, which leads nowhere else."""
    if not value or value in {".", ".."} or "/" in value or "\\" in value:
        raise SubjectRefused(
            "what goes into the path of the provider's operation is no path segment"
        )
    return quote(value, safe="")


def _put(body: dict[str, Any], pointer: str, value: str) -> None:
    """Set a member by its JSON Pointer (RFC 6901); objects on the way are made."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    here = body
    for name in names[:-1]:
        below: object = here.setdefault(name, {})
        if not isinstance(below, dict):
            raise SubjectRefused(f"`body {pointer}` is below another value of the same request")
        here = cast("dict[str, Any]", below)
    here[names[-1]] = value
