"""Keep the keys of issuers fresh: fetched when they are declared, now and then, and when one is missing.

A token that names a key which is not there has the keys fetched again, but at most once a minute,
whoever sends such tokens and however many (RFC 8725 §3.10 warns of following what a token says).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from tidegate.credentials.asking import Ask
from tidegate.credentials.token_endpoint import answer_object
from tidegate.domain.declaration import Declaration, Issuer
from tidegate.engine import EngineError, FetchError, FetchOptions

FRESH: Final = timedelta(minutes=10)
AGAIN_AFTER: Final = timedelta(minutes=1)
"""Neither a token that names an unknown key nor a failure has them fetched sooner."""

LOOK_EVERY_S: Final = 0.5
KEYS_BYTES_MAX: Final = 256 * 1024
_ASK_MS: Final = 10_000
_OK: Final = 200
_log = structlog.stdlib.get_logger("tidegate.credentials")


class KeyTaker(Ask, Protocol):
    """What keeping keys needs of the engine."""

    def put_keys(self, issuer: str, keys: bytes) -> None:
        """Take an issuer's keys."""
        ...

    def wanted_keys(self) -> list[str]:
        """Name the issuers whose keys did not do."""
        ...


class IssuerRefusedError(Exception):
    """An issuer's keys cannot be had; the message says why."""


@dataclass(slots=True)
class _Known:
    issuer: Issuer
    asked_at: float
    trouble: str | None


class IssuerKeys:
    """Fetches keys on a thread of its own; the engine verifies tokens with what it has."""

    def __init__(self, engine: KeyTaker, declaration: Callable[[], Declaration]) -> None:
        self._engine = engine
        self._declaration = declaration
        self._known: dict[str, _Known] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-issuers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                _log.error("issuers_not_looked_at", kind=type(error).__name__, exc_info=error)
            self._ending.wait(LOOK_EVERY_S)

    def _look(self) -> None:
        wanted = set(self._engine.wanted_keys())
        for issuer in self._declaration().issuers:
            if self._is_due(issuer, is_wanted=issuer.name in wanted):
                self._fetch(issuer)

    def _is_due(self, issuer: Issuer, *, is_wanted: bool) -> bool:
        known = self._known.get(issuer.name)
        if known is None or known.issuer != issuer:
            return True
        after = AGAIN_AFTER if is_wanted or known.trouble else FRESH
        return time.monotonic() - known.asked_at > after.total_seconds()

    def _fetch(self, issuer: Issuer) -> None:
        before = self._known.get(issuer.name)
        trouble = None
        try:
            self._engine.put_keys(issuer.name, keys_of(self._engine, issuer))
        except (IssuerRefusedError, EngineError) as refused:
            trouble = str(refused)
            if before is None or before.trouble != trouble:
                _log.warning("issuer_keys_unavailable", issuer=issuer.name, reason=trouble)
        else:
            if before is None or before.trouble:
                _log.info("issuer_keys_fetched", issuer=issuer.name)
        self._known[issuer.name] = _Known(issuer, time.monotonic(), trouble)


def keys_of(engine: Ask, issuer: Issuer) -> bytes:
    """Fetch an issuer's keys, by its metadata where no address is declared.

    Raises:
        IssuerRefusedError: they cannot be had, or the metadata is another issuer's.
    """
    return _get(engine, issuer, issuer.jwks_url or _jwks_url(engine, issuer))


def _jwks_url(engine: Ask, issuer: Issuer) -> str:
    where = issuer.issuer.removesuffix("/") + "/.well-known/openid-configuration"
    said = answer_object(_get(engine, issuer, where))
    # OpenID Connect Discovery §4.3: identical, or what it says is somebody else's.
    if said.get("issuer") != issuer.issuer:
        raise IssuerRefusedError("its metadata names another issuer: declare what it names")
    url = said.get("jwks_uri")
    if not isinstance(url, str) or not url.startswith("https://"):
        raise IssuerRefusedError("its metadata has no `jwks_uri`: declare `jwks_url`")
    return url


def _get(engine: Ask, issuer: Issuer, url: str) -> bytes:
    options = FetchOptions(
        timeout_ms=_ASK_MS,
        max_bytes=KEYS_BYTES_MAX,
        allow_private=issuer.allow_private,
        ca_pem=issuer.ca_pem,
    )
    try:
        fetched = engine.fetch("GET", url, options=options)
    except FetchError as error:
        raise IssuerRefusedError(f"{error.problem.title} ({error.detail})") from None
    if fetched.status != _OK:
        raise IssuerRefusedError(f"it answers {fetched.status}")
    return fetched.body
