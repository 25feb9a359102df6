"""Begin and end sessions at a provider, as its declaration says (`auth: {login: …}`).

What a provider answers may hold the password it was sent, so nothing of an answer reaches an error but
its status. A refused login is an error of its own kind: a wrong password must not be tried on and on.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidegate.credentials.asking import ASK_MS, Ask
from tidegate.credentials.attaching import attached
from tidegate.credentials.hooks import UnreadableError, at, document_of, fill, read_moment
from tidegate.credentials.jwt import sign
from tidegate.credentials.token_endpoint import (
    ANSWER_BYTES_MAX,
    LIFETIME_MAX_S,
    TokenRefusedError,
    Trouble,
    refusal,
    usable_token,
)
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.login import JWT, Login, LoginRequest, SignedJwt, TokenAt
from tidegate.domain.oauth import ACCESS_TOKEN, PRIVATE_KEY
from tidegate.domain.secret import Secret
from tidegate.engine import Fetched, FetchOptions

_OK: Final = range(200, 300)
_TOO_MANY: Final = 429
_TIMEOUT: Final = 408
_SERVER_ERROR: Final = 500
_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
REFUSED: Final = "login_refused"
"""How the word begins by which a refused login is kept."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a login gave: the session's token and what the next login is made with, and how long it lives."""

    fields: Mapping[str, Secret]
    lifetime_s: int


def log_in(  # noqa: PLR0917 - all of one login
    engine: Ask,
    provider: Provider,
    connection: Connection,
    login: Login,
    fields: Mapping[str, Secret],
    now: datetime,
) -> Session:
    """Begin a session.

    Raises:
        TokenRefusedError: there is none.
        FetchError: there is no answer.
    """
    if not set(login.fields) <= fields.keys():
        raise TokenRefusedError(Trouble.OUR_FAULT, "credential_incomplete")
    values = {name: fields[name].reveal().decode() for name in login.fields if name != PRIVATE_KEY}
    if login.jwt is not None:
        values[JWT] = _signed(login.jwt, fields[PRIVATE_KEY], values, int(now.timestamp()))
    if login.request is None or login.token is None:
        return Session({ACCESS_TOKEN: usable_token(values[JWT])}, login.lifetime_s)
    answer = _send(engine, provider, connection, login.request, values, [])
    return read_session(login, answer, now)


def log_out(
    engine: Ask,
    provider: Provider,
    connection: Connection,
    login: Login,
    fields: Mapping[str, Secret],
) -> bool:
    """End a session; say whether the provider confirms it.

    Raises:
        FetchError: there is no answer.
    """
    if login.logout is None:
        return False
    values = {
        name: secret.reveal().decode("utf-8", "replace")
        for name, secret in fields.items()
        if name != PRIVATE_KEY
    }
    headers, _ = attached(provider.attach, fields)
    answer = _send(engine, provider, connection, login.logout, values, headers)
    # What is over already has ended as well.
    return answer.status in _OK or answer.status in login.over


def read_session(login: Login, answer: Fetched, now: datetime) -> Session:
    """Read what the provider answered to a login.

    Raises:
        TokenRefusedError: there is no token in it that can be used.
    """
    status = answer.status
    if status in {_TOO_MANY, _TIMEOUT} or status >= _SERVER_ERROR:
        raise refusal(
            _TOO_MANY if status == _TIMEOUT else status, f"status_{status}", answer.headers
        )
    if status not in _OK:
        raise TokenRefusedError(Trouble.REFUSED, f"{REFUSED}_{status}")
    document: object = None
    hook = None if login.request is None else login.request.hook
    # Where the token is in a field or a cookie, the body may be a page.
    begins = {b"<"} if hook is not None and hook.answer == "xml" else {b"{", b"["}
    if hook is not None and answer.body.strip()[:1] in begins:
        try:
            document = document_of(hook, answer.body)
        except UnreadableError:
            raise TokenRefusedError(Trouble.REFUSED, f"{REFUSED}_unreadable") from None
    token = None if login.token is None else _found(login.token, answer.headers, document)
    if not token:
        # Some say `200`, and in the body that they refuse.
        raise TokenRefusedError(Trouble.REFUSED, f"{REFUSED}_no_token")
    fields = {ACCESS_TOKEN: usable_token(token)}
    for name, pointer in login.replaces:
        new = at(document, pointer)
        if new is not None:
            fields[name] = usable_token(new)
    return Session(fields, _lifetime(login, document, now))


def _found(place: TokenAt, headers: Sequence[tuple[str, str]], document: object) -> object:
    if place.kind == "json":
        return at(document, place.at)
    if place.kind == "header":
        return next((value for name, value in headers if name.lower() == place.at.lower()), None)
    for name, value in headers:
        if name.lower() == "set-cookie":
            pair, _, _ = value.partition(";")
            named, equals, content = pair.partition("=")
            if equals and named.strip() == place.at:
                return content.strip().removeprefix('"').removesuffix('"')
    return None


def _lifetime(login: Login, document: object, now: datetime) -> int:
    told: float | None = None
    if login.expires_at:
        try:
            end = read_moment(at(document, login.expires_at))
        except UnreadableError:
            end = None
        told = None if end is None else (end - now).total_seconds()
    elif login.expires_in:
        found = at(document, login.expires_in)
        if isinstance(found, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", found):
            found = float(found)
        if isinstance(found, int | float) and not isinstance(found, bool):
            told = found * login.unit_s
    if told is None or not told > 0:
        return login.lifetime_s
    return int(min(max(told, 1), LIFETIME_MAX_S))


def _signed(jwt: SignedJwt, key: Secret, values: Mapping[str, str], now: int) -> str:
    claims: dict[str, object] = {name: _filled(text, values) for name, text in jwt.claims}
    claims |= {"iat": now - jwt.backdate_s, "exp": now - jwt.backdate_s + jwt.lifetime_s}
    header = {"alg": jwt.algorithm, "typ": "JWT"}
    header |= {name: _filled(text, values) for name, text in jwt.header}
    return sign(jwt.algorithm, key, header, claims)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _send(  # noqa: PLR0917 - all of one request
    engine: Ask,
    provider: Provider,
    connection: Connection,
    request: LoginRequest,
    values: Mapping[str, str],
    shown: Sequence[tuple[str, str]],
) -> Fetched:
    """Send it to the origin that the credential is bound to; a redirect is an answer like any other."""
    filled = fill(request.hook, values)
    headers = [*filled.headers, *shown]
    if request.basic is not None:
        pair = ":".join(values[name] for name in request.basic)
        headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    if request.bearer:
        headers.append(("Authorization", f"Bearer {_filled(request.bearer, values)}"))
    named = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in provider.headers if name.lower() not in named]
    url = connection.origins[request.hook.origin] + filled.path
    if filled.query:
        url += f"?{filled.query}"
    options = FetchOptions(
        timeout_ms=ASK_MS,
        max_bytes=ANSWER_BYTES_MAX,
        allow_private=provider.allow_private,
        ca_pem=provider.tls.ca_pem,
        pins=provider.tls.pins,
    )
    return engine.fetch(filled.method, url, headers, filled.body, options)
