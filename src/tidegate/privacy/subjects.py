"""Find what was sent about somebody, and keep anything more from being sent.

Whom a request is about stands in memory while it is carried out, and nowhere else: the store knows a keyed
index, and so do the documents that come of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.domain.declaration import Declaration
from tidegate.domain.ledger import SubjectFlow, SubjectRequest, Suppression
from tidegate.domain.secret import Secret
from tidegate.engine import EngineError, subject_index
from tidegate.privacy.errors import SubjectRefused
from tidegate.store import Store
from tidegate.vault import Vault


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody, as one client's ledger knows them. `identifier` is for the call that erases."""

    client: str
    kind: str
    index: bytes
    identifier: Secret


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledger has about a subject."""

    subject: Subject
    flows: tuple[SubjectFlow, ...]
    suppression: Suppression | None


class SubjectRegister:
    """What one store knows of subjects. Each question is of one client, and answered from its rows alone."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def subject(self, declaration: Declaration, client: str, kind: str, identifier: str) -> Subject:
        """Work out by what a client knows somebody.

        Raises:
            SubjectRefused: there is no such client, or kind or identifier cannot be read.
        """
        if client not in {one.name for one in declaration.clients}:
            raise SubjectRefused(
                f"there is no client `{client}`", "`tidegate check` shows what is declared"
            )
        key = self._vault.subject_keys([client])[client]
        try:
            index = subject_index(key, kind, identifier)
        except EngineError as wrong:
            raise SubjectRefused(f"the subject cannot be read: {wrong}") from None
        return Subject(client, kind, index, Secret(identifier))

    def find(self, subject: Subject) -> Found:
        """Say what was sent about somebody for their client."""
        suppressed = self._store.subjects.suppressions(subject.client)
        return Found(
            subject,
            self._store.ledger.about(subject.client, subject.index),
            next((one for one in suppressed if one.index == subject.index), None),
        )

    def suppress(self, subject: Subject, author: str, request: str, at: datetime) -> None:
        """Send nothing about somebody from now on."""
        entry = Suppression(subject.client, subject.index, subject.kind, at, author, request)
        self._store.subjects.suppress(entry)

    def lift(self, subject: Subject, author: str) -> SubjectRequest:
        """Let calls about somebody go again, and keep that this was done.

        Raises:
            SubjectRefused: nobody suppressed them.
        """
        from tidegate.privacy.evidence import lifted, proven

        if not self._store.subjects.lift(subject.client, subject.index):
            raise SubjectRefused("calls about this subject are not suppressed")
        now = datetime.now(UTC)
        id_ = new_request_id()
        document = lifted(id_, subject, author, now)
        request = proven(id_, subject, author, now, act="lift", document=document, is_done=True)
        self._store.subjects.record(request)
        return request


def new_request_id() -> str:
    """Name a request; the name says nothing about whom it is for."""
    return f"dsr_{secrets.token_hex(8)}"
