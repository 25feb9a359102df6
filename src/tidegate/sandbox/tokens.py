"""A provider that issues tokens and rotates what they are asked for with, as the strict ones do.

A refresh token is good once. For a while (`reuse_s`) a used one is given the same answer again, which
is for answers that were lost; later, or once its successor was used, it is taken for stolen, and the
consent is gone. Who asked what, and who asked again too late, is remembered.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from tidegate.sandbox.authority import Authority
from tidegate.sandbox.loopback import LoopbackServer


@dataclass(slots=True)
class _Consent:
    ended: bool = False


@dataclass(slots=True)
class _Refresh:
    """A refresh token: whose it is, and what it was worth."""

    consent: _Consent
    used_at: float | None = None
    answer: dict[str, Any] | None = None
    successor: str = ""


class TokenServer(LoopbackServer):
    """A token endpoint at `/token` and an API below it, while its `with` block runs.

    `lifetime_s` is that of an access token, `takes_s` how long the endpoint thinks.
    """

    def __init__(
        self,
        *,
        authority: Authority | None = None,
        lifetime_s: int = 3_600,
        reuse_s: float = 0.0,
        takes_s: float = 0.0,
    ) -> None:
        super().__init__(authority)
        self.lifetime_s = lifetime_s
        self.asked = 0
        self.reused = 0
        self.reused_too_late = 0
        self.refused = 0
        self._reuse_s = reuse_s
        self._takes_s = takes_s
        self._refresh: dict[str, _Refresh] = {}
        self._access: dict[str, float] = {}

    @property
    def token_url(self) -> str:
        """Where tokens are asked for."""
        return f"{self.origin}/token"

    def consent(self) -> str:
        """Give a refresh token, as for a person's consent."""
        with self.lock:
            return self._new(_Consent())

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        """Carry a request out."""
        if (method, path) == ("POST", "/token"):
            return self._token(parse_qs(body.decode()).get("refresh_token", [""])[0])
        with self.lock:
            if self._access.get(bearer, 0.0) > time.time():
                return HTTPStatus.OK, {"things": []}
            self.refused += 1
            return HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"}

    def _token(self, shown: str) -> tuple[int, Any]:
        time.sleep(self._takes_s)
        with self.lock:
            self.asked += 1
            return self._judge(shown)

    def _judge(self, shown: str) -> tuple[int, Any]:
        known, now = self._refresh.get(shown), time.monotonic()
        if known is None or known.consent.ended:
            return HTTPStatus.BAD_REQUEST, {"error": "invalid_grant"}
        if known.used_at is not None:
            self.reused += 1
            after = self._refresh.get(known.successor)
            if now - known.used_at > self._reuse_s or (after and after.used_at is not None):
                self.reused_too_late += 1
                known.consent.ended = True
                return HTTPStatus.BAD_REQUEST, {"error": "invalid_grant"}
            return HTTPStatus.OK, known.answer
        known.used_at, known.successor = now, self._new(known.consent)
        access = f"at-{secrets.token_hex(20)}"
        self._access[access] = time.time() + self.lifetime_s
        known.answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
            "refresh_token": known.successor,
        }
        return HTTPStatus.OK, known.answer

    def _new(self, consent: _Consent) -> str:
        made = f"rt-{secrets.token_hex(20)}"
        self._refresh[made] = _Refresh(consent)
        return made
