"""Have the next token of a connection issued: once, whoever asks and however many.

    1. look     a token that is not due is answer enough
    2. take     one holder gets the turn, by a row in the store; the rest wait for its answer
    3. ask      the intent is on disk before the request leaves
    4. keep     the token is on disk before anybody uses it

A holder that dies is followed by the next after `TURN`. Its request may have arrived: the refresh
token it used may be used up. So the next holder asks once with the same one, which many providers
allow for a while, and takes their no for the end of the consent.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tidegate.credentials.asking import Ask, post
from tidegate.credentials.login import REFUSED, log_in
from tidegate.credentials.token_endpoint import (
    TokenAnswer,
    TokenRefusedError,
    Trouble,
    read_answer,
    token_request,
)
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.login import Login
from tidegate.domain.oauth import ACCESS_TOKEN, REFRESH_TOKEN, TokenGrant, bound_grant
from tidegate.domain.secret import Secret
from tidegate.engine import FetchError
from tidegate.store import IssuedToken, Store
from tidegate.vault import Vault

TURN: Final = timedelta(seconds=60)
"""How long a turn lasts; three times what asking may take, so that no live holder loses it."""

DUE_BEFORE: Final = timedelta(minutes=5)
DUE_AT_LEAST: Final = timedelta(seconds=30)
"""Nobody asks again sooner than this after a token was issued."""

STALE_SUSPECT: Final = "stale_suspect"
"""Why a connection is not refreshed whose refresh token was restored from a backup."""

_DUE_PART: Final = 0.8
_JITTER: Final = 0.1
_BACKOFF_FIRST_S: Final = 2.0
_BACKOFF_MAX_S: Final = 300.0
_LOOK_EVERY_S: Final = 0.05
_AGAIN_AFTER_S: Final = 1.0
_REFUSED_PAUSE: Final = timedelta(minutes=5)
"""How long after a refused login it is tried once more; a second refusal ends it."""

NO_REFRESH_TOKEN: Final = "no_refresh_token"  # noqa: S105 - a word
"""The provider gave an access token alone: it serves until it expires, and then a person is asked."""

_NOT_SENT: Final = frozenset(
    {"connection_refused", "network_unreachable", "connect_timeout", "name_not_found"}
)
"""Reasons of `provider_unreachable` and the like that come before a byte of the request."""

_NEVER_SENT: Final = frozenset({"destination_prohibited", "tls_failed"})


@dataclass(frozen=True, slots=True)
class Renewed:
    """What came of it. `token` is the newest there is; `asked` whether this call asked for it."""

    token: IssuedToken | None
    asked: bool
    trouble: str | None = None


def due_at(token: IssuedToken, idle_s: int = 0) -> datetime:
    """When to ask for the next one: before it expires, and not all connections at once.

    A consent that ends when it is not used for `idle_s` is used at half of that time. The moment is the
    same wherever it is worked out.
    """
    if token.issued_at is None or token.expires_at is None:
        return datetime.min.replace(tzinfo=UTC)
    life = token.expires_at - token.issued_at
    if idle_s:
        life = min(life, timedelta(seconds=idle_s) / 2)
    early = min(life * _DUE_PART, max(life - DUE_BEFORE, life / 2))
    digest = hashlib.sha256(f"{token.connection} {token.serial}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32 * 2 - 1
    return token.issued_at + max(early * (1 + _JITTER * share), min(DUE_AT_LEAST, life))


def is_usable(token: IssuedToken, connection: Connection, now: datetime) -> bool:
    """Whether calls may carry it."""
    return (
        not token.ended
        and token.version == connection.version
        and token.sealed is not None
        and token.expires_at is not None
        and token.expires_at > now
    )


class Refresher:
    """Has tokens issued. Threads may share it; other processes have their own."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        engine: Ask,
        *,
        holder: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._holder = holder
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def renew(
        self,
        connection: Connection,
        provider: Provider,
        *,
        refused: int | None = None,
        wait_s: float = 25.0,
    ) -> Renewed:
        """Have the next token issued if it is due, or wait for whoever does.

        `refused` is the serial of a token that the provider did not take: it is due, whatever its
        end, while it is still the newest.

        Raises:
            StoreError: the store is away; nothing was asked.
            VaultRefused: what is sealed for the connection does not open.
        """
        declared = provider.token_grant
        grant = None if declared is None else bound_grant(declared, connection.scheme)
        source = grant or provider.login
        if source is None:
            raise ValueError(f"provider `{provider.name}` issues no tokens")
        # One of this process looks and asks at a time; the others find what it got.
        with self._turn(connection.id):
            return self._renew(connection, provider, source, refused, time.monotonic() + wait_s)

    def _turn(self, connection: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(connection, threading.Lock())

    def _renew(
        self,
        connection: Connection,
        provider: Provider,
        source: TokenGrant | Login,
        refused: int | None,
        ends: float,
    ) -> Renewed:
        while True:
            now = self._clock()
            token = self._store.issued.get(connection.id)
            current = token if token is not None and token.version == connection.version else None
            if current is not None and not is_due(current, now, refused, provider.idle_s):
                return Renewed(current, asked=False, trouble=current.trouble)
            if _is_used_up(source) and self._store.issued.is_suspect(connection.id):
                # It came from a backup: using what may be used up would end the live consent.
                return Renewed(current, asked=False, trouble=STALE_SUSPECT)
            serial = 0 if token is None else token.serial
            until = now + TURN
            fence = self._store.issued.take(
                connection, serial, holder=self._holder, now=now, until=until
            )
            if fence is not None:
                return self._ask(connection, provider, source, current, serial, fence)
            if time.monotonic() > ends:
                return Renewed(current, asked=False, trouble="another_is_asking")
            time.sleep(_LOOK_EVERY_S)

    def _ask(  # noqa: PLR0917 - all of one turn
        self,
        connection: Connection,
        provider: Provider,
        source: TokenGrant | Login,
        before: IssuedToken | None,
        serial: int,
        fence: int,
    ) -> Renewed:
        fields = self._vault.open(connection)
        if before is not None and before.sealed is not None:
            fields |= self._vault.open_issued(connection, serial, before.sealed)
        try:
            issued, lifetime_s = self._issued(connection, provider, source, fields)
        except TokenRefusedError as refused:
            told = refused
            refreshes = isinstance(source, TokenGrant) and source.refreshes
            if not refreshes and refused.trouble is Trouble.CONSENT_GONE:
                # Where nobody consented, the word speaks of what we sent: a key, a clock.
                told = TokenRefusedError(Trouble.OUR_FAULT, refused.word)
            return self._give_up(connection, before, fence, told, answered=True)
        except FetchError as error:
            refused = TokenRefusedError(Trouble.AWAY, error.problem.code)
            return self._give_up(connection, before, fence, refused, answered=was_not_sent(error))
        now = self._clock()
        self._vault.keep_issued(
            connection,
            fence,
            serial + 1,
            issued,
            issued_at=now,
            expires_at=now + timedelta(seconds=lifetime_s),
        )
        return Renewed(self._store.issued.get(connection.id), asked=True)

    def _issued(
        self,
        connection: Connection,
        provider: Provider,
        source: TokenGrant | Login,
        fields: Mapping[str, Secret],
    ) -> tuple[Mapping[str, Secret], int]:
        """What is to be sealed, and for how many seconds its token is good."""
        if isinstance(source, Login):
            now = self._clock()
            session = log_in(self._engine, provider, connection, source, fields, now)
            return session.fields, session.lifetime_s
        answer = self._answer(provider, source, fields)
        return issued_fields(answer, fields), answer.lifetime_s

    def _answer(
        self, provider: Provider, grant: TokenGrant, fields: Mapping[str, Secret]
    ) -> TokenAnswer:
        if not {*grant.entered, *grant.made} <= fields.keys():
            raise TokenRefusedError(Trouble.OUR_FAULT, "credential_incomplete")
        if grant.refreshes and REFRESH_TOKEN not in fields:
            raise TokenRefusedError(Trouble.CONSENT_GONE, NO_REFRESH_TOKEN)
        try:
            return self._asked(provider, grant, fields)
        except TokenRefusedError as refused:
            if refused.trouble is not Trouble.CONSENT_GONE or not grant.reuse_s:
                raise
        # Within its window the provider takes a refresh token once more that it has replaced already. So
        # one no, which a holder that died may have earned, is not yet the end of the consent.
        time.sleep(_AGAIN_AFTER_S)
        return self._asked(provider, grant, fields)

    def _asked(
        self, provider: Provider, grant: TokenGrant, fields: Mapping[str, Secret]
    ) -> TokenAnswer:
        now = self._clock().timestamp()
        fetched = post(self._engine, provider, grant.token_url, token_request(grant, fields, now))
        return read_answer(grant, fetched.status, fetched.headers, fetched.body, now)

    def _give_up(
        self,
        connection: Connection,
        before: IssuedToken | None,
        fence: int,
        refused: TokenRefusedError,
        *,
        answered: bool,
    ) -> Renewed:
        failures = before.failures if before else 0
        pause_s = min(_BACKOFF_FIRST_S * 2 ** min(failures, 16), _BACKOFF_MAX_S)
        now = self._clock()
        retry_at = now + timedelta(seconds=max(pause_s, refused.retry_after_s or 0))
        ended = refused.trouble is Trouble.CONSENT_GONE
        if refused.word == NO_REFRESH_TOKEN and before is not None:
            # There is nothing to ask with, and what there is serves on.
            ended = not is_usable(before, connection, now)
            retry_at = before.expires_at or retry_at
        if refused.trouble is Trouble.REFUSED:
            # What a password is refused for is not mended by trying: twice in a row, and that is it,
            # once the session that there is has ended too.
            again = before is not None and (before.trouble or "").startswith(REFUSED)
            serves = before is not None and is_usable(before, connection, now)
            ended = again and not serves
            retry_at = now + _REFUSED_PAUSE
            if before is not None and before.expires_at is not None and again and serves:
                retry_at = before.expires_at
        self._store.issued.give_up(
            connection.id,
            fence,
            trouble=refused.word,
            retry_at=None if ended else retry_at,
            answered=answered,
            ended=ended,
        )
        token = self._store.issued.get(connection.id)
        return Renewed(token, asked=True, trouble=refused.word)


def was_not_sent(error: FetchError) -> bool:
    """Whether it is certain that the endpoint heard nothing, so that nothing is used up."""
    reason = error.detail.partition(":")[0]
    return error.problem.code in _NEVER_SENT or reason in _NOT_SENT


def is_due(token: IssuedToken, now: datetime, refused: int | None = None, idle_s: int = 0) -> bool:
    """Whether it is time to ask for the next one; of a `refused` one it always is."""
    if token.ended or (token.retry_at is not None and token.retry_at > now):
        return False
    return token.sealed is None or token.serial == refused or due_at(token, idle_s) <= now


def _is_used_up(source: TokenGrant | Login) -> bool:
    """Whether asking may use up what it is asked with."""
    return source.is_used_up if isinstance(source, Login) else source.refreshes


def issued_fields(answer: TokenAnswer, fields: Mapping[str, Secret]) -> dict[str, Secret]:
    """Name what is sealed of an answer: the tokens, the refresh token that was used where none is new."""
    issued = {ACCESS_TOKEN: answer.access_token}
    refresh = answer.refresh_token or fields.get(REFRESH_TOKEN)
    return issued if refresh is None else issued | {REFRESH_TOKEN: refresh}
