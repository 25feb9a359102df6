"""The form of `login`: how a session is begun at a provider, as data."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.fields import (
    FieldName,
    HeaderName,
    LongDuration,
    Pointer,
    Prefix,
    refuse,
)
from tidegate.catalog.rotation_form import HookEntry


class LoginBasicEntry(Entry):
    """HTTP Basic by two fields of the credential."""

    username_field: FieldName = "username"
    """The field that is the user."""
    password_field: FieldName = "password"  # noqa: S105 - a field's name
    """The field that is the password."""


class LoginRequestEntry(HookEntry):
    """The request that begins or ends a session. Its placeholders are the credential's fields."""

    basic: LoginBasicEntry | None = None
    """Who logs in, by HTTP Basic."""
    bearer: str = ""
    """What is sent as `Authorization: Bearer …` (`{jwt}`)."""

    @model_validator(mode="after")
    def _one_authorization(self) -> LoginRequestEntry:
        if self.basic and self.bearer:
            refuse("`basic` and `bearer` go into one header", "keep one of them")
        return self


class TokenAtEntry(Entry):
    """Where the answer has the token."""

    at: Pointer | None = None
    """At this place of a JSON answer (`/token`)."""
    header: HeaderName | None = None
    """In this header field."""
    cookie: HeaderName | None = None
    """In the cookie of this name."""

    @model_validator(mode="after")
    def _one_place(self) -> TokenAtEntry:
        if sum(place is not None for place in (self.at, self.header, self.cookie)) != 1:
            refuse("the token is in one place", "name `at`, `header` or `cookie`")
        return self


class JwtEntry(Entry):
    """A JWT that Tidegate signs with the credential's `private_key`."""

    algorithm: Literal["RS256", "PS256", "ES256"] = "RS256"
    """How it is signed."""
    claims: dict[str, str] = Field(min_length=1)
    """What it says besides `iat` and `exp`; values hold fields of the credential: `{app_id}`."""
    header: dict[str, str] = {}
    """What its header says besides `alg` and `typ` (`{kid: "{key_id}"}`)."""
    lifetime: LongDuration = 600_000
    """How long it is good."""

    @model_validator(mode="after")
    def _ours(self) -> JwtEntry:
        for name in sorted({"iat", "exp"} & self.claims.keys()):
            refuse(f"`{name}` is not for `claims`: Tidegate says it")
        for name in sorted({"alg", "typ"} & self.header.keys()):
            refuse(f"`{name}` is not for `header`: Tidegate says it")
        return self


def _check_field_pointers(replaces: dict[str, str]) -> dict[str, str]:
    if "access_token" in replaces:
        refuse(
            "`access_token` is the session's own", "name the field that the next login is made with"
        )
    return replaces


def _check_statuses(statuses: list[int]) -> list[int]:
    for status in statuses:
        if not re.fullmatch(r"4\d\d", str(status)) or status in {408, 429}:
            refuse(
                f"`{status}` does not say that a session is over", "a status like `401` or `440`"
            )
    return statuses


class LoginEntry(Entry):
    """How a session is begun, and where its token goes on a call."""

    request: LoginRequestEntry | None = None
    """What is asked for a token; without it, the JWT is the token."""
    jwt: JwtEntry | None = None
    """A signed JWT: `{jwt}` in the request."""
    token: TokenAtEntry | None = None
    """Where the answer has the token."""
    expires_at: Pointer | None = None
    """Where the answer says the moment at which the token ends."""
    expires_in: Pointer | None = None
    """Where the answer says how long it lives."""
    unit: Literal["ms", "s", "m"] = "s"
    """In what that is counted."""
    lifetime: LongDuration = 1_800_000
    """How long a token lives where the answer does not say."""
    replaces: Annotated[dict[FieldName, Pointer], AfterValidator(_check_field_pointers)] = {}
    """Fields of the credential that an answer has anew, for the next login, and where."""
    over: Annotated[list[int], AfterValidator(_check_statuses)] = Field([401], min_length=1)
    """The statuses by which the provider says that a session is over."""
    logout: LoginRequestEntry | None = None
    """What ends a session when the connection is forgotten."""
    header: HeaderName = "Authorization"
    """The header that carries the token on a call."""
    prefix: Prefix = "Bearer "
    """What stands before it, with its space."""
    cookie: HeaderName | None = None
    """The cookie that carries the token, instead of a header."""

    @model_validator(mode="after")
    def _whole(self) -> LoginEntry:
        if self.request is None and self.jwt is None:
            refuse("nothing begins a session", "name the `request`, or a `jwt` that is the token")
        if (self.request is None) != (self.token is None):
            refuse("`token` says where the answer to `request` has it", "name both, or neither")
        if self.expires_at and self.expires_in:
            refuse("the end is told twice", "keep `expires_at` or `expires_in`")
        if self.cookie is not None and {"header", "prefix"} & self.model_fields_set:
            refuse("the token goes into one place", "keep `cookie`, or `header` and `prefix`")
        return self


class LoginAuth(Entry):
    """A session's token, which Tidegate has issued and keeps fresh."""

    login: LoginEntry
    """How the session is begun."""
