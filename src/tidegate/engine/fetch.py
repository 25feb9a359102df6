"""What a call on Tidegate's own behalf is bounded by, and what comes back.

Documents, token endpoints and audits are fetched by the same address checks and TLS rules as the
calls of consumers. Nothing else in Tidegate opens a connection to the world.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Bounds and trust of one call. `allow_private`, `ca_pem`, `pins` mean what a provider's do."""

    timeout_ms: int = 20_000
    max_bytes: int = 64 * 1024**2
    allow_private: tuple[str, ...] = ()
    ca_pem: str | None = None
    pins: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write the JSON that the native engine reads."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whole. A redirect is an answer: it is for the caller to judge."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
