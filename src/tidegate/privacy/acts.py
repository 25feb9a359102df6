"""Chain operators' acts, so that an entry that was altered, removed or moved is noticed.

    mac(n)  = HMAC-SHA-256(key, "act" ‖ n ‖ everything in entry n ‖ mac(n-1))       (RFC 2104)
    head    = HMAC-SHA-256(key, "head" ‖ n ‖ mac(n)) beside the number of the newest entry

The key is the vault's. Who can write the database but has no key can make the chain not verify, and
no more; who kept an earlier copy of both tables can put that back, which this process notices when it
has seen more, and anybody who noted a head (`tidegate acts verify --head`).
"""

from __future__ import annotations

import hmac
import json
import struct
import threading
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidegate.domain.act import Act, ActsHead
from tidegate.domain.secret import Secret
from tidegate.privacy.errors import PrivacyRefused
from tidegate.store import Store

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LENGTH: Final = struct.Struct(">I")
_NAME_MAX: Final = 64
_TAG_HEX: Final = 64


class ActsAltered(PrivacyRefused):
    """The chain does not verify; `seq` is the first entry that is not what it was."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(
            f"The acts on record do not verify: {what}.",
            "find out who writes the database; restore a backup, or what they said counts no more",
        )
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts. `login` is the machine's word on who ran the command, `name` the person's own.

    Raises:
        PrivacyRefused: the name is none.
    """

    name: str
    login: str

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _NAME_MAX or not self.name.isprintable():
            raise PrivacyRefused(
                f"an operator's name is printable, and has {_NAME_MAX} characters at most",
                "give it by `--as`",
            )

    def is_same_as(self, name: str) -> bool:
        """Whether a name means the same person, however it is written."""
        return _plain(self.name) == _plain(name)


@dataclass(frozen=True, slots=True)
class Verified:
    """All acts, each what it was when it was written."""

    acts: tuple[Act, ...]
    head: str
    """The newest entry's number and MAC: to note somewhere else, and compare with later."""


class Acts:
    """The acts of one installation. `key` opens the vault, and is asked for when there is need."""

    def __init__(self, store: Store, key: Callable[[], Secret]) -> None:
        self._store = store
        self._key = key
        self._lock = threading.Lock()
        self._seen = ActsHead(0, b"")

    def verified(self) -> Verified:
        """Return all acts.

        Raises:
            ActsAltered: they are not what was written.
            VaultError: the vault does not open, so that nobody can tell.
        """
        acts, head = self._store.acts.all()
        if not acts and head is None and self._seen.seq == 0:
            # Nothing was ever done here, and the vault need not open to see it.
            return Verified((), _as_text(ActsHead(0, b"")))
        chain = _Chain(self._key())
        with self._lock:
            self._check(chain, acts, head)
            self._seen = _newest(acts)
        return Verified(acts, _as_text(self._seen))

    def verified_since(self, noted: str) -> Verified:
        """Return all acts, if the entry that somebody noted earlier as the newest is among them."""
        found = self.verified()
        number, _, mac = noted.partition(":")
        if not number.isdecimal() or len(mac) != _TAG_HEX:
            raise PrivacyRefused("a head is `NUMBER:MAC`, as `tidegate acts verify` shows it")
        known = {act.seq: act.mac.hex() for act in found.acts}
        if known.get(int(number)) != mac.lower():
            raise ActsAltered(int(number), f"entry {int(number)} is not the one that was noted")
        return found

    def append(
        self,
        operator: Operator,
        decide: Callable[[tuple[Act, ...]], tuple[str, str, Mapping[str, Any]]],
        *,
        at: datetime,
    ) -> Act:
        """Add what `decide` says of all acts that there are: the act, its subject and its details.

        Raises:
            ActsAltered: what is there does not verify, and nothing is added to it.
        """
        # Before the transaction: opening the vault writes the store where it is the first time.
        chain = _Chain(self._key())

        def make(acts: tuple[Act, ...], head: ActsHead | None) -> tuple[Act, ActsHead]:
            self._check(chain, acts, head)
            act, subject, details = decide(acts)
            before = acts[-1] if acts else None
            made = Act(
                seq=before.seq + 1 if before else 1,
                # A clock that was set back must not put an act before another.
                at=max(at, before.at) if before else at,
                operator=operator.name,
                login=operator.login,
                act=act,
                subject=subject,
                details=json.dumps(details, sort_keys=True, ensure_ascii=False),
            )
            made = replace(made, mac=chain.mac(made, before.mac if before else b""))
            return made, ActsHead(made.seq, chain.head_mac(_newest((made,))))

        with self._lock:
            made = self._store.acts.append(make)
            self._seen = _newest((made,))
        return made

    def _check(self, chain: _Chain, acts: tuple[Act, ...], head: ActsHead | None) -> None:
        if not acts and head is None and self._seen.seq == 0:
            return
        chain.check(acts, head)
        seen = self._seen
        if seen.seq and (len(acts) < seen.seq or acts[seen.seq - 1].mac != seen.mac):
            raise ActsAltered(seen.seq, "an earlier copy was put back while this process ran")


class _Chain:
    """The MACs of one installation."""

    def __init__(self, key: Secret) -> None:
        self.__key = key

    def check(self, acts: tuple[Act, ...], head: ActsHead | None) -> None:
        before = b""
        for number, act in enumerate(acts, 1):
            if act.seq != number:
                raise ActsAltered(number, f"entry {number} was removed, or the entries reordered")
            if not hmac.compare_digest(self.mac(act, before), act.mac):
                raise ActsAltered(number, f"entry {number} was altered, or put in another's place")
            before = act.mac
        newest = _newest(acts)
        if head is None or head.seq != newest.seq:
            raise ActsAltered(newest.seq + 1, f"entries after {newest.seq} were removed")
        if not hmac.compare_digest(self.head_mac(newest), head.mac):
            raise ActsAltered(newest.seq, "what names the newest entry was altered")

    def mac(self, act: Act, before: bytes) -> bytes:
        at = (act.at - _EPOCH) // _MICROSECOND
        said = (act.operator, act.login, act.act, act.subject, act.details)
        return self._digest("act", str(act.seq), str(at), *said, before)

    def head_mac(self, newest: ActsHead) -> bytes:
        return self._digest("head", str(newest.seq), newest.mac)

    def _digest(self, *parts: str | bytes) -> bytes:
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        framed = b"".join(_LENGTH.pack(len(part)) + part for part in encoded)
        return hmac.digest(self.__key.reveal(), framed, "sha256")


def _newest(acts: tuple[Act, ...]) -> ActsHead:
    return ActsHead(acts[-1].seq, acts[-1].mac) if acts else ActsHead(0, b"")


def _as_text(head: ActsHead) -> str:
    return f"{head.seq}:{head.mac.hex()}"


def _plain(name: str) -> str:
    """Drop what makes one name look like two: case, width, marks, blanks, invisible characters."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LN")
