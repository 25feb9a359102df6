"""A provider that manages keys as providers do: each key has a life of its own, and a last use.

Keys are made, listed and deleted over the same TLS port as the API that they open. A new key may
take a while to be known everywhere, there may be two slots and no more, and a key may be replaced in
place, which ends the old one at once. What goes wrong on the way is asked for by `upset`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from tidegate.sandbox.authority import Authority
from tidegate.sandbox.loopback import LoopbackRequest, LoopbackServer


@dataclass(slots=True)
class IssuedKey:
    """A key, as its provider knows it."""

    id: str
    name: str
    value: str = field(repr=False)
    created_at: float
    known_from: float
    last_used: float | None = None
    deleted_at: float | None = None


class Dialect(Protocol):
    """How one provider's requests and answers look, and what is odd about its keys."""

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> tuple[int, Any]:
        """Carry a request out; its answer is JSON, or None where there is no body."""
        ...


class KeyServer(LoopbackServer):
    """A provider with keys, while its `with` block runs. `manager` is the key that manages keys."""

    def __init__(
        self,
        *,
        authority: Authority | None = None,
        slots: int | None = None,
        propagation_s: float = 0.0,
        named: bool = True,
        dialect: Dialect | None = None,
    ) -> None:
        super().__init__(authority)
        self.manager = f"mgr-{secrets.token_hex(16)}"
        self.keys: dict[str, IssuedKey] = {}
        self.calls: Counter[str] = Counter()
        self.refused = 0
        self.requests: list[str] = []
        self._slots = slots
        self._propagation_s = propagation_s
        self._named = named
        self._dialect = dialect

    def make(self, name: str = "", *, key_id: str = "", value: str = "") -> IssuedKey:
        """Make a key, as a person in the console would."""
        now = time.time()
        made = IssuedKey(
            id=key_id or f"key_{secrets.token_hex(6)}",
            name=name if self._named else "",
            value=value or f"sk-{secrets.token_hex(20)}",
            created_at=now,
            known_from=now + self._propagation_s,
        )
        with self.lock:
            self.keys[made.id] = made
        return made

    def alive(self) -> list[IssuedKey]:
        """The keys that are not deleted."""
        with self.lock:
            return [key for key in self.keys.values() if key.deleted_at is None]

    def answer_to(self, request: LoopbackRequest) -> tuple[int, Any]:
        """Carry a whole request out, as the dialect says."""
        if self._dialect is None:
            return super().answer_to(request)
        with self.lock:
            self.requests.append(f"{request.method} {request.path}")
            return self._dialect.answer(self, request)

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        """Carry a request out."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            key = self.valid(bearer)
            if path.startswith("/keys"):
                if bearer != self.manager and key is None:
                    return HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"}
                return self._manage(method, path, body)
            if key is None:
                self.refused += 1
                return HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"}
            if (method, path) == ("POST", "/self/rotate"):
                key.deleted_at = time.time()
                made = self.make(key.name)
                return HTTPStatus.OK, {"id": made.id, "key": made.value}
            if path == "/self":
                return HTTPStatus.OK, {"id": key.id}
            key.last_used = time.time()
            self.calls[key.id] += 1
            return HTTPStatus.OK, {"things": []}

    def valid(self, bearer: str) -> IssuedKey | None:
        """Find the key with this value, if it is good at this moment."""
        now = time.time()
        for key in self.keys.values():
            if key.value == bearer and key.deleted_at is None and key.known_from <= now:
                return key
        return None

    def _manage(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", "/keys"):
            if self._slots is not None and len(self.alive()) >= self._slots:
                return HTTPStatus.CONFLICT, {"error": "limit_exceeded"}
            made = self.make(str(json.loads(body or b"{}").get("name", "")))
            return HTTPStatus.CREATED, {"id": made.id, "key": made.value, "name": made.name}
        if (method, path) == ("GET", "/keys"):
            return HTTPStatus.OK, {"keys": [_shown(key) for key in self.alive()]}
        found = self.keys.get(path.removeprefix("/keys/"))
        if method == "DELETE" and found is not None and found.deleted_at is None:
            found.deleted_at = time.time()
            return HTTPStatus.NO_CONTENT, None
        return HTTPStatus.NOT_FOUND, {"error": "not_found"}


def _shown(key: IssuedKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created_at": _moment(key.created_at),
        "last_used": None if key.last_used is None else _moment(key.last_used),
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
