"""Write what proves that a request was carried out: a document without a name, and its digest.

The document holds the subject's keyed index. Who has the client's key and the person's identifier can show
that it is theirs (`tidegate subject evidence --of`); nobody else can tell whom it is about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from tidegate.domain.ledger import RequestKind, SubjectFlow, SubjectRequest

if TYPE_CHECKING:
    from tidegate.privacy.subjects import Subject

FORMAT: Final = 1

Outcome = Literal["erased", "nothing_there", "failed", "by_hand"]

LIMITS: Final = (
    (
        "The ledger knows calls that named this subject. A call about the same person that named nobody, "
        "or named them otherwise, is not in it."
    ),
    (
        "What a provider was sent in the clear, or hashed, is the provider's to erase. This document proves "
        "that the provider was asked and what it answered, not what it did with copies and backups."
    ),
    (
        "Tokens that a destroyed key sealed are noise. A backup of the store that was made before holds the key, "
        "sealed, until the backup is gone; whoever restores it erases anew."
    ),
    "What providers passed on to others is theirs to have erased (GDPR Art. 17(2), 19).",
    (
        "Tidegate keeps the ledger's rows, without values and under a keyed index, to show what was done "
        "(GDPR Art. 5(2), 17(3))."
    ),
)


@dataclass(frozen=True, slots=True)
class Step:
    """What came of asking one provider, by one connection. `call` finds the call in `tidegate calls`."""

    provider: str
    title: str
    outcome: Outcome
    detail: str
    operation: str = ""
    connection: str = ""
    status: int | None = None
    call: str = ""
    at: datetime | None = None


def erased(
    id_: str,
    subject: Subject,
    author: str,
    at: datetime,
    *,
    revision: int,
    sent: Sequence[SubjectFlow],
    steps: Sequence[Step],
    destroyed: Sequence[str],
) -> dict[str, Any]:
    """Say what was done for somebody who asked to be forgotten."""
    return _head("erase", id_, subject, author, at) | {
        "revision": revision,
        "sent": [_plain(flow) for flow in sent],
        "providers": [_plain(step) for step in steps],
        "suppressed_since": at.isoformat(),
        "keys_destroyed": list(destroyed),
        "limits": list(LIMITS),
    }


def lifted(id_: str, subject: Subject, author: str, at: datetime) -> dict[str, Any]:
    """Say that calls about somebody go again."""
    return _head("lift", id_, subject, author, at)


def proven(
    id_: str,
    subject: Subject,
    author: str,
    at: datetime,
    *,
    act: RequestKind,
    document: dict[str, Any],
    is_done: bool,
) -> SubjectRequest:
    """Give what was done, with its document in its one form and the SHA-256 of that."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return SubjectRequest(
        id=id_,
        client=subject.client,
        index=subject.index,
        kind=subject.kind,
        act=act,
        at=at,
        author=author,
        document=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        is_done=is_done,
    )


def is_intact(document: str, digest: str) -> bool:
    """Whether a document is the one that the digest was made of."""
    return hashlib.sha256(document.encode()).hexdigest() == digest


def _head(act: str, id_: str, subject: Subject, author: str, at: datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "act": act,
        "request": id_,
        "client": subject.client,
        "subject": {"kind": subject.kind, "index": subject.index.hex()},
        "by": author,
        "at": at.isoformat(),
    }


def _plain(value: SubjectFlow | Step) -> dict[str, Any]:
    return {
        name: one.isoformat() if isinstance(one, datetime) else one
        for name, one in asdict(value).items()
    }
