"""Ask a token endpoint, and judge what it says (RFC 6749 §4 to §6).

Pure: a request goes out as values and an answer comes in as values, so that who sends it, and when,
is somebody else's. What an endpoint says of a failure is one word of a known form, or `unreadable`:
its sentences may repeat what it was sent.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final
from urllib.parse import quote_plus, urlencode

from tidegate.credentials.dpop import Prover
from tidegate.credentials.jwt import client_assertion
from tidegate.domain.attach import FOR_TLS
from tidegate.domain.oauth import DPOP_KEY, REFRESH_TOKEN, SUBJECT_TOKEN, TokenGrant
from tidegate.domain.secret import Secret
from tidegate.engine import ClientIdentity

ANSWER_BYTES_MAX: Final = 64 * 1024
LIFETIME_MAX_S: Final = 366 * 24 * 3_600
"""Longer lives are taken for this one: a number may be a date by mistake."""

_NUMBER_MAX: Final = 10**15
_TOKEN_BYTES_MAX: Final = 16 * 1024
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")  # RFC 6749 §A.12: VSCHAR, and no space
_WORD: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,63}")
_KINDS: Final = frozenset({"bearer", "bot", "user", "oauth"})
_BOUND: Final = frozenset({"dpop"})
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class Trouble(Enum):
    """What kind of failure an answer tells."""

    CONSENT_GONE = "consent_gone"
    """The refresh token is not, or no longer, good: only a person can help."""
    OUR_FAULT = "our_fault"
    """The client or the request is not accepted; the consent may still be good."""
    REFUSED = "refused"
    """A login was refused: to try it on and on could lock the account."""
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
    """A POST to an endpoint of the provider's. Headers and body hold secrets.

    `prover` makes its proofs, where tokens are bound to a key; `identity` is the client's certificate.
    """

    headers: tuple[tuple[str, str], ...]
    body: Secret
    query: Secret | None = None
    prover: Prover | None = None
    identity: ClientIdentity | None = None


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


_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
_DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def token_request(
    grant: TokenGrant, fields: Mapping[str, Secret], now: float | None = None
) -> TokenRequest:
    """Make the request for the next token; `fields` are the grant's, the newest of each."""
    form = dict(grant.parameters)
    match grant.grant:
        case "client_credentials":
            form["grant_type"] = "client_credentials"
        case "jwt_bearer":
            subject = _text(fields.get("subject", fields["client_id"]))
            at = int(time.time() if now is None else now)
            form["grant_type"] = _JWT_BEARER
            form["assertion"] = client_assertion(grant, grant.token_url, subject, fields, at)
        case "token_exchange":
            kind = "urn:ietf:params:oauth:token-type:access_token"
            form = {"grant_type": _TOKEN_EXCHANGE, "subject_token_type": kind} | form
            form[SUBJECT_TOKEN] = _text(fields[SUBJECT_TOKEN])
        case _:
            form["grant_type"] = REFRESH_TOKEN
            form[REFRESH_TOKEN] = _text(fields[REFRESH_TOKEN])
    # A consent may have been given for less than was asked: then §6 wants no more asked for.
    if grant.scope and not grant.asks_a_person:
        form["scope"] = grant.scope
    return _proved(grant, client_request(grant, grant.token_url, form, fields, now), fields, now)


def code_request(
    grant: TokenGrant,
    fields: Mapping[str, Secret],
    code: Secret,
    verifier: Secret,
    redirect_uri: str,
) -> TokenRequest:
    """Make the request that turns an authorization code into tokens (§4.1.3, RFC 7636 §4.5)."""
    form = dict(grant.parameters) | {
        "grant_type": "authorization_code",
        "code": _text(code),
        "code_verifier": _text(verifier),
        "redirect_uri": redirect_uri,
    }
    return _proved(grant, client_request(grant, grant.token_url, form, fields), fields)


def device_request(
    grant: TokenGrant, fields: Mapping[str, Secret], device_code: Secret
) -> TokenRequest:
    """Make the request that asks whether a person has consented by now (RFC 8628 §3.4)."""
    form = dict(grant.parameters)
    form |= {"grant_type": _DEVICE_CODE, "device_code": _text(device_code)}
    return _proved(grant, client_request(grant, grant.token_url, form, fields), fields)


def client_request(
    grant: TokenGrant,
    url: str,
    form: Mapping[str, str],
    fields: Mapping[str, Secret],
    now: float | None = None,
) -> TokenRequest:
    """Make a request of the client to an endpoint of the provider, and say who it is (§2.3)."""
    filled = dict(form)
    headers = [("accept", "application/json")]
    client_auth = grant.client_auth
    if grant.grant == "jwt_bearer" and client_auth != "private_key_jwt":
        client_auth = "none"  # The assertion says who it is (RFC 7523 §2.1).
    if client_auth == "basic":
        # §2.3.1: both halves are form-encoded before they are joined.
        halves = (quote_plus(_text(fields[name])) for name in ("client_id", "client_secret"))
        joined = base64.b64encode(":".join(halves).encode()).decode()
        headers.append(("authorization", f"Basic {joined}"))
    else:
        filled["client_id"] = _text(fields["client_id"])
    if client_auth == "post":
        filled["client_secret"] = _text(fields["client_secret"])
    if client_auth == "private_key_jwt":
        at = int(time.time() if now is None else now)
        filled["client_assertion_type"] = _CLIENT_ASSERTION
        filled["client_assertion"] = client_assertion(
            replace(grant, assertion=replace(grant.assertion, claims=())),
            url,
            filled["client_id"],
            fields,
            at,
        )
    certificate, key = (fields.get(name) for name in FOR_TLS)
    identity = ClientIdentity(certificate, key) if certificate and key else None
    if grant.request == "query":
        query = Secret(urlencode(filled))
        return TokenRequest(tuple(headers), Secret(b""), query, identity=identity)
    if grant.request == "json":
        headers.append(("content-type", "application/json"))
        return TokenRequest(tuple(headers), Secret(json.dumps(filled)), identity=identity)
    headers.append(("content-type", "application/x-www-form-urlencoded"))
    return TokenRequest(tuple(headers), Secret(urlencode(filled)), identity=identity)


def _proved(
    grant: TokenGrant,
    request: TokenRequest,
    fields: Mapping[str, Secret],
    now: float | None = None,
) -> TokenRequest:
    """Have a request to the token endpoint prove the key that the token will be bound to."""
    if grant.dpop is None:
        return request
    at = int(time.time() if now is None else now)
    return replace(
        request, prover=Prover(grant.dpop, fields[DPOP_KEY], "POST", grant.token_url, at)
    )


def read_answer(
    grant: TokenGrant,
    status: int,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    now: float | None = None,
) -> TokenAnswer:
    """Read what the endpoint answered, at the moment `now` in Unix seconds.

    Raises:
        TokenRefusedError: it is not a token that can be used.
    """
    found = answer_object(body)
    word = _word(found.get("error"))
    # Some say `200` and the failure in the body, so a token is looked for only where none is told.
    if status != _OK or word is not None or found.get("ok") is False or "access_token" not in found:
        raise refusal(status, word, headers)
    kind = found.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() not in (_BOUND if grant.dpop else _KINDS):
        # RFC 9449 §5: another kind than was asked for is bound to no key, or to one that is not shown.
        raise TokenRefusedError(Trouble.OUR_FAULT, "unknown_token_type")
    refresh = found.get(REFRESH_TOKEN)
    return TokenAnswer(
        access_token=usable_token(found["access_token"]),
        lifetime_s=_lifetime(found.get(grant.expiry.field), grant, now),
        refresh_token=None if refresh in {None, ""} else usable_token(refresh),
    )


def refusal_in(
    status: int, headers: Sequence[tuple[str, str]], found: Mapping[str, object]
) -> TokenRefusedError:
    """Read why an endpoint refused."""
    return refusal(status, _word(found.get("error")), headers)


def refusal(status: int, word: str | None, headers: Sequence[tuple[str, str]]) -> TokenRefusedError:
    """Judge a refusal by its status and its word."""
    if status == _TOO_MANY or status >= _SERVER_ERROR or word in _AWAY:
        return TokenRefusedError(Trouble.AWAY, word or f"status_{status}", _retry_after(headers))
    if word in _CONSENT_GONE:
        return TokenRefusedError(Trouble.CONSENT_GONE, word)
    return TokenRefusedError(Trouble.OUR_FAULT, word or f"unreadable_answer_{status}")


def answer_object(body: bytes) -> dict[str, object]:
    """Read the JSON object that an endpoint answered; anything else is an empty one."""
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


def usable_token(value: object) -> Secret:
    """Take a token that can stand in a header field.

    Raises:
        TokenRefusedError: it cannot.
    """
    usable = isinstance(value, str) and len(value) <= _TOKEN_BYTES_MAX and _VISIBLE.fullmatch(value)
    if not usable:
        raise TokenRefusedError(Trouble.OUR_FAULT, "unusable_token")
    return Secret(str(value))


def _lifetime(value: object, grant: TokenGrant, now: float | None) -> int:
    unit = grant.expiry.unit
    if unit == "rfc3339":
        unit, value = "epoch_s", _moment(value)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:15])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return grant.lifetime_s
    seconds = min(value, _NUMBER_MAX) / (1_000 if unit in {"ms", "epoch_ms"} else 1)
    if unit in {"epoch_s", "epoch_ms"}:
        seconds -= time.time() if now is None else now
    return int(min(max(seconds, 1), LIFETIME_MAX_S))


def _moment(value: object) -> float | None:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    # Without an offset it is no RFC 3339, and means another moment on another machine.
    return None if moment.tzinfo is None else moment.timestamp()


def _retry_after(headers: Sequence[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "retry-after" and value.isascii() and value.isdigit():
            return min(int(value[:9]), 3_600)
    return None


def _text(secret: Secret) -> str:
    return secret.reveal().decode()
