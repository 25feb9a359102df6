"""The forms of what is encrypted to a provider's key, and of the shape in which it stands then."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.fields import Date, refuse

_THUMBPRINT: Final = r"[A-Za-z0-9_-]{43}"
_HEADER_NAME: Final = r"[A-Za-z0-9-]{1,64}"
_OURS: Final = frozenset({"alg", "enc", "kid", "epk", "iat", "zip", "crit", "apu", "apv"})
"""Members of a JWE's header that are not free to be declared."""


def _check_thumbprint(text: str) -> str:
    if not re.fullmatch(_THUMBPRINT, text):
        refuse(
            "a thumbprint is 43 letters of base64url (RFC 7638)",
            "a wrong one is told what is right",
        )
    return text


def _checked_fingerprint(text: str) -> str:
    written = text.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{40}", written):
        refuse(
            "a fingerprint is 40 hexadecimal digits",
            "`gpg --show-keys --fingerprint FILE` says it; compare it with the provider's own page",
        )
    return written


def _check_header_name(text: str) -> str:
    if not re.fullmatch(_HEADER_NAME, text):
        refuse(f"{shown(text)} is no header field that can be set", "write it like `keyId`")
    return text


Fingerprint = Annotated[
    str,
    AfterValidator(_checked_fingerprint),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f ]{40,50}$"}),
]
Thumbprint = Annotated[
    str,
    AfterValidator(_check_thumbprint),
    WithJsonSchema({"type": "string", "pattern": f"^{_THUMBPRINT}$"}),
]
HeaderName = Annotated[
    str,
    AfterValidator(_check_header_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_HEADER_NAME}$"}),
]
Text = Annotated[str, Field(min_length=1, max_length=256)]


class KeyEntry(Entry):
    """Whose key something is encrypted to."""

    key: str
    """A file beside this one: a JWK, or a certificate or public key in PEM."""
    thumbprint: Thumbprint | None = None
    """The key's SHA-256 thumbprint (RFC 7638): another key in the file is refused."""
    expires: Date | None = None
    """The first day on which nothing is encrypted to it any more; a certificate says its own end."""


class JweEntry(KeyEntry):
    """Whom a value is encrypted to."""

    alg: Literal["RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"] | None = None
    """How; where absent, as the JWK says, or `RSA-OAEP-256` for RSA and `ECDH-ES` for others."""
    enc: Literal["A128GCM", "A256GCM"] = "A256GCM"
    """What the value itself is encrypted by."""
    kid: str | None = Field(default=None, min_length=1, max_length=256)
    """By what name the provider knows the key; the JWK's own where absent."""


class RsaCbcEntry(KeyEntry):
    """Whom a place is encrypted to, for providers that read no JWE: nothing tells them whether it was altered."""

    oaep: Literal["SHA-256", "SHA-512"] = "SHA-256"
    """The hash of RSA-OAEP, by which the key is encrypted."""


class PgpEntry(Entry):
    """Whose OpenPGP key a file is encrypted to."""

    key: str
    """A file beside this one: the public key, armored or not, as `gpg --export` writes it."""
    fingerprint: Fingerprint
    """The key's own, in hexadecimal: another key in the file is refused."""
    expires: Date | None = None
    """The first day on which nothing is encrypted to it any more; the key says its own end, too."""


class ShapeEntry(Entry):
    """What takes the place of what is encrypted: an object with these members."""

    members: dict[Text, Literal["jwe", "data", "key", "iv", "oaep", "key_fingerprint", "kid"]] = (
        Field(min_length=1, max_length=16)
    )
    """What each member holds, in their order: `jwe`; or of `rsa_cbc` `data`, `key` and `iv`, and which hash
    (`oaep`). `key_fingerprint` is the SHA-256 of the public key in hexadecimal."""
    encoding: Literal["hex", "base64"] | None = None
    """How `data`, `key` and `iv` are written; `hex` where absent."""
    header: dict[Text, Text] = Field(default={}, max_length=16)
    """What else the JWE's own header says (`typ`, `cty`)."""
    iat: Literal["seconds", "milliseconds"] | None = None
    """Let the JWE's header say when it was made, in this unit."""
    kid: Literal["key_fingerprint"] | None = None
    """What the JWE's `kid` is where none is declared with the key."""
    request: dict[HeaderName, Literal["kid", "key_fingerprint"]] = Field(default={}, max_length=8)
    """Fields of the request's header, with what they say of the key."""

    @property
    def is_of_jwe(self) -> bool:
        """Whether it holds a JWE."""
        return "jwe" in self.members.values()

    @model_validator(mode="after")
    def _fits(self) -> ShapeEntry:
        pieces = set(self.members.values())
        if self.is_of_jwe and pieces & {"data", "key", "iv", "oaep"}:
            refuse("a JWE holds its key and all else itself", "keep `jwe` alone among the pieces")
        if not self.is_of_jwe and not {"data", "key", "iv"} <= pieces:
            refuse("nobody could open this shape", "it holds `jwe`, or `data`, `key` and `iv`")
        if self.is_of_jwe and self.encoding:
            refuse("a JWE is written in one way", "leave `encoding` out")
        if not self.is_of_jwe and (self.header or self.iat or self.kid or "kid" in pieces):
            refuse("`header`, `iat` and `kid` are a JWE's", "leave them out")
        taken = _OURS & self.header.keys()
        if taken:
            refuse(f"the JWE's header says `{min(taken)}` itself", "leave it out of `header`")
        return self


def _check_shape(text: str) -> str:
    from tidegate.catalog.encryption_shapes import encryption_shapes

    if text not in encryption_shapes():
        known = list(encryption_shapes())
        refuse(
            f"there is no shape {shown(text)}",
            did_you_mean(
                text, known, otherwise=f"there are {', '.join(f'`{one}`' for one in known)}"
            ),
        )
    return text


ShapeForm = Annotated[
    Annotated[str, AfterValidator(_check_shape), Tag("name")] | Annotated[ShapeEntry, Tag("entry")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "entry"),
]


class EncryptEntry(Entry):
    """To whom, and in which form."""

    jwe: JweEntry | None = None
    """As a JWE in its compact form (RFC 7516)."""
    pgp: PgpEntry | None = None
    """A file (`part name`, `file *`) as an OpenPGP message (RFC 9580)."""
    rsa_cbc: RsaCbcEntry | None = None
    """By AES-128-CBC with a key under RSA-OAEP, in a shape; for those who read no JWE."""
    shape: ShapeForm | None = Field(default=None, alias="as")
    """All that stands there is encrypted as one and becomes an object: a provider's own (`mastercard`,
    `mastercard_fields`, `visa`), or `{members: …}`. Each value on its own where absent."""
    into: Text | None = None
    """The name that the object has instead of the place's own."""
    absent: Literal["refuse", "allow"] = "refuse"
    """What becomes of a call without the place: what should stand there may stand elsewhere, in clear."""

    @model_validator(mode="after")
    def _fits(self) -> EncryptEntry:
        if len({"jwe", "pgp", "rsa_cbc"} & self.model_fields_set) != 1:
            refuse("it is encrypted in one form", "write `jwe`, `pgp` or `rsa_cbc`")
        if self.shape is not None and self.pgp is not None:
            refuse("a file has no shape", "leave `as` out")
        if self.shape is None and self.rsa_cbc is not None:
            refuse("`rsa_cbc` is no single value", "say its shape: `as: mastercard_fields`")
        idle = {"into", "absent"} & self.model_fields_set
        if self.shape is None and idle:
            refuse(f"`{min(idle)}` goes with a shape", "say it by `as`, or leave it out")
        return self


class EncryptDo(Entry):
    """Put the value's encryption to a key that the provider publishes in its place."""

    encrypt: EncryptEntry
