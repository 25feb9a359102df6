"""What an operator did, as it is kept: who, when, what, to what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Act:
    """One operator's act, at its place in the chain.

    `operator` is the name that the person gave or has on the machine, `login` the machine's own word
    on who ran the command. `act` is a dotted word (`agreement.add`), `subject` what it was done to,
    `details` JSON. `mac` authenticates all of it together with the entry before.
    """

    seq: int
    at: datetime
    operator: str
    login: str
    act: str
    subject: str
    details: str
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class ActsHead:
    """Which entry is the newest, authenticated: without it nobody would miss the last ones."""

    seq: int
    mac: bytes
