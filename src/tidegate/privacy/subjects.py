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
from tidegate.privacy.acts import Acts, Operator
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

    def __init__(self, store: Store, vault: Vault, acts: Acts) -> None:
        self._store = store
        self._vault = vault
        self._acts = acts

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

    def key_ids(self, subject: Subject) -> list[str]:
        """Name the key that seals what was sent about somebody, by its id."""
        stored = self._store.person_keys.of(subject.client, [subject.index])
        return [key.id.hex() for key in stored]

    def destroy_key(self, client: str, index: bytes) -> list[str]:
        """Destroy the key that seals what was sent about somebody; name it, where there was one."""
        gone = self._vault.person_keys.destroy(client, index)
        return ["the key that seals the tokens of their values"] if gone else []

    def act(
        self,
        operator: Operator,
        act: str,
        request: str,
        subject: Subject,
        at: datetime,
        **more: object,
    ) -> None:
        """Add to the acts what an operator did for somebody, who is known by the index alone.

        Raises:
            ActsAltered: they are not what was written.
        """
        whom = {"client": subject.client, "kind": subject.kind, "index": subject.index.hex()}
        self._acts.append(operator, lambda _: (act, request, whom | more), at=at)

    def lift(self, subject: Subject, operator: Operator) -> SubjectRequest:
        """Let calls about somebody go again, and keep that this was done.

        Raises:
            SubjectRefused: nobody suppressed them.
            ActsAltered: what operators did was altered; nothing is lifted.
        """
        from tidegate.privacy.evidence import lifted, proven

        author, now, id_ = operator.name, datetime.now(UTC), new_request_id()
        suppressed = self._store.subjects.suppressions(subject.client)
        if subject.index not in {one.index for one in suppressed}:
            raise SubjectRefused("calls about this subject are not suppressed")
        self.act(operator, "subject.lift", id_, subject, now)
        self._store.subjects.lift(subject.client, subject.index)
        document = lifted(id_, subject, author, now)
        request = proven(id_, subject, author, now, act="lift", document=document, is_done=True)
        self._store.subjects.record(request)
        return request


def new_request_id() -> str:
    """Name a request; the name says nothing about whom it is for."""
    return f"dsr_{secrets.token_hex(8)}"
