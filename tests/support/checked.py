"""A provider with a document that answers as a test says, and a gateway before it that checks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.passage import Passage, put_before
from support.scripted import Wire, scripted
from tidegate.sandbox import Authority

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["item", "quantity"],
    "additionalProperties": False,
    "properties": {
        "item": {"type": "string", "maxLength": 40, "pattern": "^[A-Z]{3}-\\d+$"},
        "quantity": {"type": "integer", "minimum": 1, "exclusiveMaximum": True, "maximum": 100},
        "note": {"type": "string", "nullable": True},
        "id": {"type": "string", "readOnly": True},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
PERSON: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "replies": {"type": "array", "items": {"$ref": "#/components/schemas/Person"}},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/orders": {
            "post": {
                "operationId": "CreateOrder",
                "parameters": [
                    {"name": "dry_run", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "X-Tier", "in": "header", "schema": {"enum": ["gold", "iron"]}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}},
                        "application/x-www-form-urlencoded": {
                            "schema": {"$ref": "#/components/schemas/Order"}
                        },
                    },
                },
                "responses": {"201": {"description": "made"}},
            }
        },
        "/people/{id}": {
            "get": {
                "operationId": "GetPerson",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {
                        "name": "expand",
                        "in": "query",
                        "schema": {"type": "array", "items": {"enum": ["orders", "address"]}},
                    },
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 50}},
                ],
                "responses": {
                    "200": {
                        "description": "found",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Person"}}
                        },
                    }
                },
            }
        },
    },
    "components": {"schemas": {"Order": ORDER, "Person": PERSON}},
}


@dataclass
class Answering:
    """Answers everything alike."""

    body: bytes = b'{"id":1}'
    media_type: str | None = "application/json"
    status: str = "200 OK"
    fields: list[str] = field(default_factory=list[str])
    seen: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                length = re.search(rb"(?i)content-length: (\d+)", head)
                self.seen.append((head, wire.read(int(length[1])) if length else b""))
                kind = [f"Content-Type: {self.media_type}"] if self.media_type else []
                lines = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}"]
                wire.send("\r\n".join([*lines, *kind, *self.fields, "", ""]).encode() + self.body)


@dataclass
class Checked:
    """A gateway before that provider."""

    passage: Passage
    provider: Answering

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.passage.headers | options.pop("headers", {})
        url = self.passage.base + path
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=30, **options)

    def answered(self, body: bytes, media_type: str | None = "application/json") -> httpx.Response:
        """What a consumer gets when the provider answers so."""
        self.provider.body, self.provider.media_type = body, media_type
        return self.call("GET", "/people/1")


@contextmanager
def checked(
    folder: Path, declared: str, document: dict[str, Any] | None = None
) -> Iterator[Checked]:
    """Run both; `declared` is what the provider is declared with besides."""
    file, authority, provider = folder / "api.json", Authority(), Answering()
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document or DOCUMENT))
    with (
        scripted(authority, provider) as origin,
        put_before(
            folder, authority, origin, provider=f"openapi: {file}\n    {declared}"
        ) as passage,
    ):
        yield Checked(passage, provider)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the problem's code of a refusal."""
    return answer.status_code, str(answer.json()["code"])
