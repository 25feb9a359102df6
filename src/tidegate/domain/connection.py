"""One client's account at one provider, and what is known of its credential. No secret is in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidegate.domain.login import LOGIN

DEFAULT_CONNECTION = "default"
REFERENCE = "openbao:reference"
"""The one field of a credential that is kept at OpenBao: where. No declared field has such a name."""
_ISSUING: Final = frozenset({"oauth2", LOGIN})


@dataclass(frozen=True, slots=True)
class Connection:
    """A recorded connection.

    `origins` are concrete (variables filled) and, with `version`, bound to the sealed credential:
    `fields` names what it holds. `id` is stable for the connection's life. `issued_at` is when the
    provider made the credential, where that is known. `entered` is the version that a person entered
    last, where this one followed it by rotation; else 0.
    """

    id: str
    client: str
    provider: str
    name: str
    version: int
    scheme: str
    origins: tuple[str, ...]
    fields: tuple[str, ...]
    created_at: datetime
    rotated_at: datetime
    entered: int = 0
    issued_at: datetime | None = None

    @property
    def is_reference(self) -> bool:
        """Whether its credential is kept elsewhere, and only where that is, is sealed here."""
        return self.fields == (REFERENCE,)

    @property
    def lease_version(self) -> int:
        """The version that snapshot and lease agree on.

        A rotation leaves it as it is, so that its lease replaces the one before between two calls.
        """
        return self.entered or self.version

    @property
    def issues_tokens(self) -> bool:
        """Whether calls carry tokens that are issued for the credential, not the credential itself."""
        return self.scheme.partition(" ")[0] in _ISSUING

    @property
    def beside(self) -> tuple[str, ...]:
        """Name the fields that go to the engine beside an issued token."""
        kind, _, names = self.scheme.partition(" ")
        return tuple(names.split()) if kind == LOGIN else ()


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is kept of a consumer's access token: an HMAC-SHA-256 of it, never the token.

    `client` None: the consumer names the client per call. `providers` empty: all that grants allow.
    """

    id: str
    consumer: str
    hmac_hex: str
    created_at: datetime
    expires_at: datetime
    client: str | None = None
    providers: tuple[str, ...] = ()
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
