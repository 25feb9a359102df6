"""`Engine`: the native engine with domain types in and out, and its errors as ours."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

from tidegate.domain.call import Gap
from tidegate.domain.hook import Signed, SigningCall
from tidegate.domain.secret import Secret
from tidegate.engine import _wire
from tidegate.engine.cache import CacheOnDisk, CachePurge, CacheShare, CacheStats, SharedCacheStats
from tidegate.engine.config import EngineConfig, Listener, tls_json
from tidegate.engine.errors import EngineError, FetchError
from tidegate.engine.fetch import Fetched, FetchOptions

_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events as they were spooled, one JSON line each, and the cursor that acknowledges them."""

    cursor: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PersonAsk:
    """Persons' keys that the engine asks for: one subject's, to be made where there is none, or those of ids."""

    number: int
    client: str
    subject: bytes | None
    ids: list[bytes]


@dataclass(frozen=True, slots=True)
class Stats:
    """The engine's counters."""

    calls: int
    in_flight: int
    connections: int
    spool_bytes: int
    events_lost: int
    revision: int


@dataclass(frozen=True, slots=True)
class SharedStanding:
    """How it stands with the store at which several gateways count together."""

    state: Literal["starting", "connected", "lost"]
    nodes: int
    present: int
    """How many of the nodes are connected, as the store said last."""
    settled: bool
    """Whether the store knows of all that every node holds."""
    reason: str | None
    """Why it is lost."""
    losses: int
    pots: int
    """How many quotas' counts this node has a part of."""


class Engine:
    """One running engine: listeners, workers, spool.

    Threads may share it. As a context manager it shuts down on the way out, without grace when an
    error is what ends the block, and lets go of the spool, which one engine at a time may hold.
    """

    def __init__(self, config: EngineConfig, token_key: Secret) -> None:
        """Start; listens at once, and answers `not_ready` until a first snapshot is published.

        Raises:
            EngineError: an address cannot be bound, the spool cannot be written …
        """
        with _refusals():
            self._native = _wire.Engine(config.to_json(), token_key.reveal())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(grace_s=5.0 if kind is None else 0.0)
        del self._native

    def addresses(self) -> dict[str, str]:
        """Say where each listener, by its name, really listens (`ip:port`)."""
        return dict(self._native.addresses())

    def renew(self, listener: Listener) -> None:
        """Let a listener show another certificate and judge its consumers' by other authorities and lists.

        Connections on which a consumer showed a certificate end after the call under way, where the
        authorities or the lists are others than before.

        Raises:
            EngineError: it cannot be used, or the listener has no TLS; what there was stays in force.
        """
        with _refusals():
            self._native.renew_tls(listener.name, tls_json(listener))

    def publish(self, snapshot: bytes) -> int:
        """Swap in a snapshot and return its revision.

        Raises:
            EngineError: the snapshot is wrong; the one before stays in force.
        """
        with _refusals():
            return self._native.publish(snapshot)

    def lease(
        self,
        connection: str,
        version: int,
        origins: Sequence[str],
        fields: Mapping[str, Secret],
        until: datetime,
        *,
        serial: int = 0,
    ) -> None:
        """Give a connection's secret to the engine, for these origins and until this moment.

        `serial` numbers the tokens that were issued for it; 0 is for a credential that is none.
        """
        revealed = {name: secret.reveal() for name, secret in fields.items()}
        with _refusals():
            self._native.lease(
                connection, version, serial, list(origins), revealed, until.timestamp()
            )

    def release(self, connection: str, *, ended: bool = False) -> None:
        """Take a lease back; the engine wipes it. One that is not there is no error.

        `ended`: the consent behind it is gone, and calls are told `needs_reconsent`.
        """
        self._native.release(connection, ended)

    def put_keys(self, issuer: str, keys: bytes) -> None:
        """Give an issuer's keys (RFC 7517) to the engine; those before are forgotten.

        Raises:
            EngineError: they are no key set.
        """
        with _refusals():
            self._native.put_keys(issuer, keys)

    def wanted_keys(self) -> list[str]:
        """Name the issuers whose keys did not do since this was asked last."""
        return self._native.wanted_keys()

    def refused_tokens(self, timeout_s: float) -> list[tuple[str, int]]:
        """Wait for issued tokens that a provider did not take: connection and serial, each once."""
        return self._native.refused_tokens(int(timeout_s * _MS))

    def take_hook_call(self, hook: str, timeout_s: float) -> tuple[int, SigningCall] | None:
        """Wait for a call that this hook is to sign; the number is for the answer."""
        taken = self._native.take_hook_call(hook, int(timeout_s * _MS))
        if taken is None:
            return None
        number, method, url, headers, body, fields = taken
        secrets = {name: Secret(value) for name, value in fields}
        return number, SigningCall(method, url, tuple(headers), body, secrets)

    def answer_hook_call(self, call: int, signed: Signed) -> None:
        """Give what the hook adds to a call; one that nobody waits for any more is no error."""
        headers = [(name, value.encode()) for name, value in signed.headers.items()]
        self._native.answer_hook_call(call, headers, list(signed.query.items()))

    def fail_hook_call(self, call: int, detail: str) -> None:
        """Refuse a call because its hook failed; `detail` is for the call's record."""
        self._native.fail_hook_call(call, detail)

    def events(self, max_events: int, timeout_s: float) -> EventBatch:
        """Wait for what happened; the batch is empty when nothing did within the time.

        Raises:
            EngineError: the spool cannot be read.
        """
        with _refusals():
            cursor, lines = self._native.events(max_events, int(timeout_s * _MS))
        return EventBatch(cursor, tuple(lines))

    def acknowledge(self, cursor: int) -> None:
        """Let the spool forget what came before `cursor`, because it is stored.

        Raises:
            EngineError: the spool cannot be written; what was stored comes again.
        """
        with _refusals():
            self._native.acknowledge(cursor)

    def gaps(self) -> list[Gap]:
        """Take over the gaps that were found at the start; a second call has none."""
        noticed_ms = int(time.time() * _MS)
        return [Gap(noticed_ms, after, most, reason) for after, most, reason in self._native.gaps()]

    def fetch(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        options: FetchOptions | None = None,
    ) -> Fetched:
        """Call out on Tidegate's own behalf.

        Raises:
            FetchError: with the problem that a consumer would be told.
        """
        options = options or FetchOptions()
        secrets = {name: secret.reveal() for name, secret in options.secrets().items()}
        try:
            status, answered, content = self._native.fetch(
                method, url, list(headers), body, secrets, options.to_json()
            )
        except _wire.FetchError as error:
            code, detail = error.args
            raise FetchError(code, detail) from None
        return Fetched(status, tuple(answered), content)

    def put_cache_keys(self, keys: Mapping[str | None, Secret]) -> None:
        """Give the keys by which clients' answers are sealed outside the engine's memory.

        None's is for what all clients may be given. Keys that were given before are forgotten.
        """
        self._native.put_cache_keys({name: key.reveal() for name, key in keys.items()})

    def put_subject_keys(self, keys: Mapping[str, Secret]) -> None:
        """Give the keys by which clients' subjects are known; those given before are forgotten."""
        self._native.put_subject_keys({name: key.reveal() for name, key in keys.items()})

    def put_protection_roots(self, clients: Mapping[str, Sequence[tuple[int, Secret]]]) -> None:
        """Give the numbered roots of the keys by which clients' values are protected.

        Roots that were given before are forgotten, also those of clients that are not named.

        Raises:
            EngineError: one of them is none.
        """
        revealed = {
            client: [(number, root.reveal()) for number, root in roots]
            for client, roots in clients.items()
        }
        with _refusals():
            self._native.put_protection_roots(revealed)

    def take_person_asks(self, most: int, timeout_s: float) -> list[PersonAsk]:
        """Wait for persons' keys to be asked for."""
        asked = self._native.take_person_asks(most, int(timeout_s * _MS))
        return [PersonAsk(*ask) for ask in asked]

    def answer_person_ask(
        self, ask: PersonAsk, keys: Sequence[tuple[bytes, Secret]] | None
    ) -> None:
        """Give the keys there are, with their ids; None: nobody can say."""
        revealed = None if keys is None else [(id_, key.reveal()) for id_, key in keys]
        self._native.answer_person_ask(ask.number, revealed)

    def forget_person_keys(self) -> None:
        """Have every person's key forgotten: an erased one's is gone when it is asked for again."""
        self._native.forget_person_keys()

    def cache_stats(self) -> CacheStats:
        """Say how much is stored of answers, and whose."""
        said = json.loads(self._native.cache_stats())
        clients = tuple(CacheShare(**share) for share in said.pop("clients"))
        disk, shared = said.pop("disk"), said.pop("shared")
        return CacheStats(
            clients=clients,
            disk=disk and CacheOnDisk(**disk),
            shared=shared and SharedCacheStats(**shared),
            **said,
        )

    def cache_purge(self, which: CachePurge) -> int:
        """Take stored answers out; return how many those were.

        Raises:
            EngineError: nothing is named.
        """
        with _refusals():
            return self._native.cache_purge(json.dumps(asdict(which)))

    def stats(self) -> Stats:
        """Read the counters."""
        counters = self._native.stats()
        return Stats(**{name: counters[name] for name in Stats.__slots__})

    def shared(self) -> SharedStanding | None:
        """Say how it stands with the store that gateways share; None where there is none."""
        found = json.loads(self._native.shared())
        return SharedStanding(**found) if found else None

    def limits(self) -> dict[str, Any]:
        """Read the live state of every limit; docs/reference/engine.md says what is in it."""
        return json.loads(self._native.limits())

    def set_ready(self, *, ready: bool) -> None:
        """Say on `/-/ready` whether calls should come here."""
        self._native.set_ready(ready)

    def shutdown(self, grace_s: float) -> bool:
        """Stop: finish the calls that are under way within the grace, flush the spool.

        Events can be read and acknowledged afterwards. False when calls were cut off.
        """
        return self._native.shutdown(int(grace_s * _MS))


def version() -> str:
    """Name the native module's version."""
    return _wire.version()


def subject_index(key: Secret, kind: str, identifier: str) -> bytes:
    """Say by what a client knows a subject: the HMAC that a call about it leaves in the ledger.

    Raises:
        EngineError: kind or identifier cannot be read; the message does not repeat them.
    """
    with _refusals():
        return _wire.subject_index(key.reveal(), kind, identifier)


def classify_address(address: str) -> str:
    """Name the class that the dialler puts an address in, such as `public` or `loopback`.

    Raises:
        ValueError: it is not an address.
    """
    name = _wire.classify_address(address)
    if name is None:
        raise ValueError(f"`{address}` is not an address")
    return name


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except _wire.EngineError as error:
        raise EngineError(str(error)) from None
