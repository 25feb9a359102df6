"""Say where a credential's fields are put on a call. No secret is in here.

A provider has a tuple of these parts, applied in order; each names the *field* of the connection's
credential that it wants (`token`, `username`, `key` …).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FOR_TLS: Final = ("tls_certificate", "tls_key")
"""The fields of a credential that are a client certificate and its key, in PEM."""

PUBLIC_FIELDS: Final = frozenset(
    {"access_key_id", "account_sid", "client_id", "email", "key_id", "username"}
)
"""Fields that say whose credential it is and prove nothing: answers may hold them."""


@dataclass(frozen=True, slots=True)
class AttachHeader:
    """`name: <prefix><field>`; bearer is `Authorization` with the prefix `Bearer `."""

    name: str
    field: str
    prefix: str = ""
    kind: Literal["header"] = "header"


@dataclass(frozen=True, slots=True)
class AttachBasic:
    """RFC 7617 Basic. Each half is a field of the credential or a fixed text; empty is allowed."""

    username_field: str | None = None
    password_field: str | None = None
    username: str = ""
    password: str = ""
    kind: Literal["basic"] = "basic"


@dataclass(frozen=True, slots=True)
class AttachQuery:
    """`?name=<field>`, percent-encoded; a parameter of that name from the consumer is dropped."""

    name: str
    field: str
    kind: Literal["query"] = "query"


@dataclass(frozen=True, slots=True)
class AttachCookie:
    """`Cookie: name=<field>`."""

    name: str
    field: str
    kind: Literal["cookie"] = "cookie"


AttachPart = AttachHeader | AttachBasic | AttachQuery | AttachCookie


def fields_of(parts: tuple[AttachPart, ...]) -> tuple[str, ...]:
    """Name the fields a credential must have for these parts, each once, in order."""
    names: list[str] = []
    for part in parts:
        if isinstance(part, AttachBasic):
            names += [f for f in (part.username_field, part.password_field) if f is not None]
        else:
            names.append(part.field)
    return tuple(dict.fromkeys(names))


def secret_fields(parts: tuple[AttachPart, ...]) -> tuple[str, ...]:
    """Name the fields that no answer may hold.

    A user name is one where no field stands for the password: many providers take their key there.
    """
    names = {
        part.username_field
        for part in parts
        if isinstance(part, AttachBasic) and part.password_field is not None
    }
    return tuple(name for name in fields_of(parts) if name not in names | PUBLIC_FIELDS)
