"""A gateway under a policy, and a provider that keeps what reached it, for consumers with tricks."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.passage import Passage, put_before
from support.reading import Reader
from support.scripted import scripted
from tidegate.sandbox import Authority

SECRET = "jane.doe.1987"
"""What the policies keep; no call may bring it to the provider in any form."""


@dataclass
class Scene:
    reader: Reader
    passage: Passage

    def post(
        self, content: bytes, headers: dict[str, str], query: str = "", path: str = "/people"
    ) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.post(
                f"{self.passage.base}{path}{query}",
                content=content,
                headers=self.passage.headers | headers,
            )


@contextmanager
def scene_under(policy: str, folder: Path) -> Iterator[Scene]:
    """Run both, under this declaration of policies."""
    authority, reader = Authority(), Reader()
    with (
        scripted(authority, reader) as origin,
        put_before(folder, authority, origin, http="1.1", more=policy) as passage,
    ):
        yield Scene(reader, passage)


def forms_of(secret: str) -> list[bytes]:
    """As it is, and as it could be hidden."""
    raw = secret.encode()
    return [raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), secret.upper().encode()]
