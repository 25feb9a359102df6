"""What a call on Tidegate's own behalf is bounded by, and what comes back.

Documents, token endpoints and audits are fetched by the same address checks and TLS rules as the
calls of consumers. Nothing else in Tidegate opens a connection to the world.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.domain.attach import FOR_TLS
from tidegate.domain.secret import Secret
from tidegate.domain.sign import Signer
from tidegate.snapshot import signer_document


@dataclass(frozen=True, slots=True)
class Signing:
    """How one call is signed, and the credential's fields that it is signed with."""

    signer: Signer
    fields: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """A client certificate with its chain, and its key, both in PEM."""

    certificate: Secret
    key: Secret


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Bounds and trust of one call. `allow_private`, `ca_pem`, `pins` mean what a provider's do.

    `signing`: the engine signs it last, over the bytes that go out. `identity` is shown to an origin
    that asks for a client certificate.
    """

    timeout_ms: int = 20_000
    max_bytes: int = 64 * 1024**2
    allow_private: tuple[str, ...] = ()
    ca_pem: str | None = None
    pins: tuple[str, ...] = ()
    signing: Signing | None = None
    identity: ClientIdentity | None = None

    def secrets(self) -> dict[str, Secret]:
        """Return the fields that go to the engine beside the JSON."""
        fields = {} if self.signing is None else dict(self.signing.fields)
        if self.identity is not None:
            halves = (self.identity.certificate, self.identity.key)
            fields |= dict(zip(FOR_TLS, halves, strict=True))
        return fields

    def to_json(self) -> str:
        """Write the JSON that the native engine reads. No secret is in it."""
        return json.dumps(
            {
                "timeout_ms": self.timeout_ms,
                "max_bytes": self.max_bytes,
                "allow_private": self.allow_private,
                "ca_pem": self.ca_pem,
                "pins": self.pins,
                "sign": None if self.signing is None else signer_document(self.signing.signer),
            }
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whole. A redirect is an answer: it is for the caller to judge."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
