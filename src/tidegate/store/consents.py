"""Keep the questions for a person's consent: each may be begun once and ended once.

What is secret of one (the client's secret, the code's verifier) is sealed; what names one in an address
(the link, the state, the browser's mark) is kept as a keyed hash. When it ends, the seal is destroyed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import consents
from tidegate.store.sealed import SealedCredential

KEPT: Final = timedelta(days=7)
"""For how long after its end it is known what became of a question."""

OPEN_MAX: Final = 1_000
"""How many questions may be open at a time."""

_SEALED: Final = ("kek_version", "wrapped_dek", "payload")


@dataclass(frozen=True, slots=True)
class Consent:
    """One question. `draft` is the connection that is made when the answer is yes."""

    id: str
    draft: Connection
    made_at: datetime
    expires_at: datetime
    begun_at: datetime | None = None
    browser_hmac: str | None = None
    sealed: SealedCredential | None = None
    ended_at: datetime | None = None
    outcome: str | None = None


class Consents:
    """The questions, by their link before they are begun and by their state afterwards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, consent: Consent, link_hmac: str) -> None:
        """Keep a new question, and forget those that ended long ago.

        Raises:
            StoreConflict: too many are open.
        """
        draft = consent.draft
        values = {
            "id": consent.id,
            "link_hmac": link_hmac,
            "connection": draft.id,
            "client": draft.client,
            "provider": draft.provider,
            "name": draft.name,
            "version": draft.version,
            "scheme": draft.scheme,
            "origins": draft.origins,
            "fields": draft.fields,
            "made_at": consent.made_at,
            "created_at": draft.created_at,
            "expires_at": consent.expires_at,
        } | _sealed(consent.sealed)
        old = consents.c.expires_at < consent.made_at - KEPT
        unsealed = dict.fromkeys(_SEALED)
        expired = consents.c.expires_at <= consent.made_at
        count = sa.select(sa.func.count()).select_from(consents)
        with self._database.writing() as database:
            database.execute(consents.delete().where(old))
            database.execute(consents.update().where(expired).values(unsealed))
            if database.execute(count).scalar_one() >= OPEN_MAX:
                raise StoreConflict(
                    f"{OPEN_MAX} questions for consent were asked within {KEPT.days} days; wait."
                )
            database.execute(consents.insert().values(values))

    def by_link(self, link_hmac: str) -> Consent | None:
        """Find a question by its link."""
        return self._find(consents.c.link_hmac == link_hmac)

    def by_state(self, state_hmac: str) -> Consent | None:
        """Find a question by the state that it was begun with."""
        return self._find(consents.c.state_hmac == state_hmac)

    def get(self, consent_id: str) -> Consent | None:
        """Find a question by its id."""
        return self._find(consents.c.id == consent_id)

    def begin(
        self,
        consent_id: str,
        *,
        now: datetime,
        until: datetime,
        state_hmac: str,
        browser_hmac: str,
        sealed: SealedCredential,
    ) -> bool:
        """Use the link up; False when somebody else did, or its time is over."""
        return self._change(
            sa.and_(
                consents.c.id == consent_id,
                consents.c.begun_at.is_(None),
                consents.c.ended_at.is_(None),
                consents.c.expires_at > now,
            ),
            begun_at=now,
            expires_at=until,
            state_hmac=state_hmac,
            browser_hmac=browser_hmac,
            **_sealed(sealed),
        )

    def take(self, consent_id: str, *, now: datetime) -> bool:
        """Use the state up: whoever gets True is alone with the answer."""
        return self._change(
            sa.and_(
                consents.c.id == consent_id,
                consents.c.begun_at.is_not(None),
                consents.c.ended_at.is_(None),
                consents.c.expires_at > now,
            ),
            ended_at=now,
            **dict.fromkeys(_SEALED),
        )

    def end(self, consent_id: str, outcome: str, *, now: datetime) -> None:
        """Say what became of it."""
        mine = consents.c.id == consent_id
        values = {"ended_at": now, "outcome": outcome} | dict.fromkeys(_SEALED)
        self._change(mine, **values)

    def under_older(self, client: str, version: int) -> list[Consent]:
        """Return a client's open questions that are sealed under an older key than this version."""
        older = sa.and_(consents.c.client == client, consents.c.kek_version < version)
        with self._database.reading() as database:
            rows = database.execute(sa.select(consents).where(older)).mappings()
            return [_consent(row) for row in rows]

    def reseal(self, consent_id: str, before: SealedCredential, after: SealedCredential) -> None:
        """Replace a question's seal, where it is still as it was."""
        same = sa.and_(consents.c.id == consent_id, consents.c.wrapped_dek == before.wrapped_dek)
        self._change(same, **_sealed(after))

    def _change(self, which: sa.ColumnElement[bool], **values: object) -> bool:
        with self._database.writing() as database:
            return database.execute(consents.update().where(which).values(values)).rowcount == 1

    def _find(self, which: sa.ColumnElement[bool]) -> Consent | None:
        with self._database.reading() as database:
            row = database.execute(sa.select(consents).where(which)).mappings().first()
        return None if row is None else _consent(row)


def _sealed(sealed: SealedCredential | None) -> dict[str, object]:
    return {name: None if sealed is None else getattr(sealed, name) for name in _SEALED}


def _consent(row: sa.RowMapping) -> Consent:
    named = ("client", "provider", "name", "version", "scheme", "origins", "fields", "created_at")
    draft = Connection(
        id=row["connection"], rotated_at=row["made_at"], **{name: row[name] for name in named}
    )
    sealed = None
    if row["payload"] is not None:
        sealed = SealedCredential(**{name: row[name] for name in _SEALED})
    plain = ("id", "made_at", "expires_at", "begun_at", "browser_hmac", "ended_at", "outcome")
    return Consent(draft=draft, sealed=sealed, **{name: row[name] for name in plain})
