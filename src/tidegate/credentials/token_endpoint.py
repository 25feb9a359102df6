"""Ask a token endpoint, and judge what it says (RFC 6749 §4.4, §5, §6).

Pure: a request goes out as values and an answer comes in as values, so that who sends it, and when,
is somebody else's. What an endpoint says of a failure is one word of a known form, or `unreadable`:
its sentences may repeat what it was sent.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote_plus, urlencode

from tidegate.domain.oauth import REFRESH_TOKEN, TokenGrant
from tidegate.domain.secret import Secret

ANSWER_BYTES_MAX: Final = 64 * 1024
LIFETIME_MAX_S: Final = 366 * 24 * 3_600
"""Longer lives are taken for this one: a number may be a date by mistake."""

_TOKEN_BYTES_MAX: Final = 16 * 1024
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")  # RFC 6749 §A.12: VSCHAR, and no space
_WORD: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,63}")
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class Trouble(Enum):
    """What kind of failure an answer tells."""

    CONSENT_GONE = "consent_gone"
    """The refresh token is not, or no longer, good: only a person can help."""
    OUR_FAULT = "our_fault"
    """The client or the request is not accepted; the consent may still be good."""
    AWAY = "away"
    """The endpoint does not do its work at present."""


class TokenRefusedError(Exception):
    """There is no token. `word` is the endpoint's, or ours; it holds no secret."""

    def __init__(self, trouble: Trouble, word: str, retry_after_s: int | None = None) -> None:
        super().__init__(word)
        self.trouble = trouble
        self.word = word
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST to the token endpoint. Headers and body hold secrets."""

    headers: tuple[tuple[str, str], ...]
    body: Secret


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token. `refresh_token` None: the one that was used stays good (§6)."""

    access_token: Secret
    lifetime_s: int
    refresh_token: Secret | None = None


_CONSENT_GONE: Final = frozenset(
    {
        "invalid_grant",
        "invalid_refresh_token",
        "token_revoked",
        "token_expired",
        "bad_refresh_token",
    }
)
_AWAY: Final = frozenset(
    {"temporarily_unavailable", "server_error", "slow_down", "ratelimited", "internal_error"}
)


def token_request(grant: TokenGrant, fields: Mapping[str, Secret]) -> TokenRequest:
    """Make the request for the next token; `fields` are the grant's, the newest of each."""
    form = {"grant_type": grant.grant, **dict(grant.parameters)}
    if grant.grant == "refresh_token":
        form[REFRESH_TOKEN] = _text(fields[REFRESH_TOKEN])
    if grant.scope:
        form["scope"] = grant.scope
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
    ]
    if grant.client_auth == "basic":
        # §2.3.1: both halves are form-encoded before they are joined.
        halves = (quote_plus(_text(fields[name])) for name in ("client_id", "client_secret"))
        joined = base64.b64encode(":".join(halves).encode()).decode()
        headers.append(("authorization", f"Basic {joined}"))
    else:
        form["client_id"] = _text(fields["client_id"])
    if grant.client_auth == "post":
        form["client_secret"] = _text(fields["client_secret"])
    return TokenRequest(tuple(headers), Secret(urlencode(form)))


def read_answer(
    grant: TokenGrant, status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> TokenAnswer:
    """Read what the endpoint answered.

    Raises:
        TokenRefusedError: it is not a token that can be used.
    """
    found = _object(body)
    word = _word(found.get("error"))
    # Some say `200` and the failure in the body, so a token is looked for only where none is told.
    if status != _OK or word is not None or "access_token" not in found:
        raise _refusal(status, word, headers)
    kind = found.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() not in {"bearer", "bot", "user", "oauth"}:
        raise TokenRefusedError(Trouble.OUR_FAULT, "unknown_token_type")
    refresh = found.get(REFRESH_TOKEN)
    return TokenAnswer(
        access_token=_token(found["access_token"]),
        lifetime_s=_lifetime(found.get("expires_in"), grant.lifetime_s),
        refresh_token=None if refresh in {None, ""} else _token(refresh),
    )


def _refusal(
    status: int, word: str | None, headers: Sequence[tuple[str, str]]
) -> TokenRefusedError:
    if status == _TOO_MANY or status >= _SERVER_ERROR or word in _AWAY:
        return TokenRefusedError(Trouble.AWAY, word or f"status_{status}", _retry_after(headers))
    if word in _CONSENT_GONE:
        return TokenRefusedError(Trouble.CONSENT_GONE, word)
    return TokenRefusedError(Trouble.OUR_FAULT, word or f"unreadable_answer_{status}")


def _object(body: bytes) -> dict[str, object]:
    if len(body) > ANSWER_BYTES_MAX:
        return {}
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _word(value: object) -> str | None:
    if value in {None, ""} if isinstance(value, str | None) else False:
        return None
    # RFC 6749 §5.2 has a word; some put an object there.
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "unreadable"


def _token(value: object) -> Secret:
    usable = isinstance(value, str) and len(value) <= _TOKEN_BYTES_MAX and _VISIBLE.fullmatch(value)
    if not usable:
        raise TokenRefusedError(Trouble.OUR_FAULT, "unusable_token")
    return Secret(str(value))


def _lifetime(value: object, otherwise: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return otherwise
    return int(min(max(value, 1), LIFETIME_MAX_S))


def _retry_after(headers: Sequence[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "retry-after" and value.isascii() and value.isdigit():
            return min(int(value[:9]), 3_600)
    return None


def _text(secret: Secret) -> str:
    return secret.reveal().decode()
