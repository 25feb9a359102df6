"""Make a login of what is declared of it, and hold it to what can be filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from tidegate.catalog.errors import listed, shown
from tidegate.catalog.fields import check_path, parse_call
from tidegate.catalog.login_form import JwtEntry, LoginEntry, LoginRequestEntry
from tidegate.domain.login import JWT, Login, LoginRequest, SignedJwt, TokenAt
from tidegate.domain.oauth import ACCESS_TOKEN, PRIVATE_KEY
from tidegate.domain.rotation import Hook

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_MS: Final = 1_000
_JWT_S_MAX: Final = 24 * 3_600

Wrong = Callable[[tuple[str, ...], str, str], None]


def login_of(
    entry: LoginEntry,
    base_path: str,
    origins: tuple[str, ...],
    beside: tuple[str, ...],
    wrong: Wrong,
) -> Login:
    """Make the login; `beside` are fields that stand on calls, `wrong` is told what is wrong where."""
    request = _request("request", entry.request, base_path, origins, wrong)
    logout = _request("logout", entry.logout, base_path, origins, wrong)
    jwt = None if entry.jwt is None else _jwt(entry.jwt, wrong)
    used = dict.fromkeys(_fields(entry))
    if JWT in used and jwt is None:
        wrong(("request",), "`{jwt}` stands for nothing", "declare the `jwt`")
    if jwt is not None and entry.request is not None and JWT not in used:
        wrong(("jwt",), "the JWT goes nowhere", 'put `{jwt}` into the request: `bearer: "{jwt}"`')
    if ACCESS_TOKEN in used:
        wrong(
            ("request",),
            "`{access_token}` is known after the login",
            "name a field of the credential",
        )
    names = [name for name in used if name != JWT]
    known = {*names, *beside, ACCESS_TOKEN}
    for name in () if entry.logout is None else _placeholders(entry.logout):
        if name not in known:
            wrong(
                ("logout",),
                f"{shown('{' + name + '}')} is not known",
                f"there is {listed(sorted(known))}",
            )
    if jwt is not None:
        names.append(PRIVATE_KEY)
    for name in entry.replaces:
        if name not in names:
            wrong(
                ("replaces", name),
                f"no request is made with {shown(name)}",
                "name a field of the login",
            )
    return Login(
        request=request,
        token=None if entry.token is None else _token_at(entry),
        fields=tuple(names),
        jwt=jwt,
        expires_at=entry.expires_at or "",
        expires_in=entry.expires_in or "",
        unit_s=_UNITS_S[entry.unit],
        lifetime_s=_lifetime_s(entry),
        replaces=tuple(entry.replaces.items()),
        beside=tuple(name for name in beside if name != ACCESS_TOKEN),
        logout=logout,
        over=tuple(entry.over),
    )


def _lifetime_s(entry: LoginEntry) -> int:
    if entry.request is None and entry.jwt is not None:
        return max(1, entry.jwt.lifetime // _MS)
    return max(1, entry.lifetime // _MS)


def _token_at(entry: LoginEntry) -> TokenAt | None:
    place = entry.token
    if place is None:
        return None
    if place.header is not None:
        return TokenAt("header", place.header)
    if place.cookie is not None:
        return TokenAt("cookie", place.cookie)
    return TokenAt("json", place.at or "")


def _jwt(entry: JwtEntry, wrong: Wrong) -> SignedJwt:
    lifetime_s = entry.lifetime // _MS
    if not 0 < lifetime_s <= _JWT_S_MAX:
        wrong(("jwt", "lifetime"), "a JWT is good for a second at least and a day at most", "")
    return SignedJwt(
        entry.algorithm,
        tuple(entry.claims.items()),
        tuple(entry.header.items()),
        max(1, min(lifetime_s, _JWT_S_MAX)),
    )


def _request(
    key: str,
    entry: LoginRequestEntry | None,
    base_path: str,
    origins: tuple[str, ...],
    wrong: Wrong,
) -> LoginRequest | None:
    if entry is None:
        return None
    call = parse_call(entry.call)
    number, path = 0, base_path + call.path
    if call.origin is not None:
        path = call.path
        if call.origin in origins:
            number = origins.index(call.origin)
        else:
            message = f"`{call.origin}` is no origin of this provider"
            wrong((key, "call"), message, "a credential leaves for the provider's origins alone")
    check_path(path)
    for text in _texts_of(entry):
        if set(PLACEHOLDER.sub("", text)) & {"{", "}"}:
            hint = "a placeholder is `{field}`, in lower case"
            wrong((key,), "its braces do not make a placeholder", hint)
            break
    if entry.body is not None and call.method in {"GET", "HEAD"}:
        wrong((key, "body"), f"a `{call.method}` has no body", "use `query`")
    hook = Hook(
        call.method,
        path,
        number,
        tuple(entry.query.items()),
        tuple(entry.headers.items()),
        None if entry.body is None else json.dumps(entry.body),
        "form" if entry.form else "json",
        "xml" if entry.xml else "json",
    )
    basic = entry.basic
    return LoginRequest(
        hook,
        None if basic is None else (basic.username_field, basic.password_field),
        entry.bearer,
    )


def _fields(entry: LoginEntry) -> Iterator[str]:
    """The names that the login's texts hold, in their order."""
    request = entry.request
    if request is not None:
        yield from _placeholders(request)
    if entry.jwt is not None:
        for text in (*entry.jwt.claims.values(), *entry.jwt.header.values()):
            yield from PLACEHOLDER.findall(text)


def _placeholders(request: LoginRequestEntry) -> Iterator[str]:
    if request.basic is not None:
        yield from (request.basic.username_field, request.basic.password_field)
    for text in _texts_of(request):
        yield from PLACEHOLDER.findall(text)


def _texts_of(entry: LoginRequestEntry) -> Iterator[str]:
    yield parse_call(entry.call).path
    yield from entry.query.values()
    yield from entry.headers.values()
    yield entry.bearer
    yield from _texts(entry.body)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for inner in cast("Mapping[str, Any]", part).values():
            yield from _texts(inner)
    elif isinstance(part, list):
        for inner in cast("list[Any]", part):
            yield from _texts(inner)
