"""Judge a credential's fields by where they will stand on a call.

A line break in a header field would be a second header field, so nothing that cannot stand in its
place is ever sealed. Messages name the field and what is wrong with it, never a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tidegate.catalog.errors import listed
from tidegate.credentials.dpop import new_key
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.jwt import require_key
from tidegate.credentials.signing import keys_of, require_signing_key
from tidegate.credentials.tokens import check_format
from tidegate.domain.attach import (
    FOR_TLS,
    AttachBasic,
    AttachCookie,
    AttachHeader,
    AttachPart,
    fields_of,
)
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import ACCESS_TOKEN, DPOP_KEY, PRIVATE_KEY
from tidegate.domain.secret import Secret

FIELD_BYTES_MAX: Final = 8 * 1024
"""How long a field may be; servers refuse header fields that are much shorter."""

PEM_BYTES_MAX: Final = 64 * 1024
"""How long a certificate chain or a key may be."""

_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_VISIBLE: Final = re.compile(rb"[\x20-\x7e]*")
_COOKIE_VALUE: Final = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")  # RFC 6265 §4.1


def wanted_fields(provider: Provider) -> tuple[str, ...]:
    """Name the fields that a connection to this provider holds, but for those that Tidegate makes."""
    if provider.login is not None:
        return tuple(dict.fromkeys((*provider.login.entered, *_for_tls(provider))))
    grant = provider.token_grant
    signed = () if provider.sign is None else provider.sign.fields
    used = (*fields_of(provider.attach), *signed) if grant is None else grant.fields
    return tuple(dict.fromkeys((*used, *_for_tls(provider))))


def entered_fields(provider: Provider) -> tuple[str, ...]:
    """Name the fields that whoever connects enters; others come with a person's consent."""
    grant = provider.token_grant
    if grant is None:
        return wanted_fields(provider)
    return tuple(dict.fromkeys((*grant.entered, *_for_tls(provider))))


def made_fields(provider: Provider) -> dict[str, Secret]:
    """Make the fields that nobody enters."""
    grant = provider.token_grant
    if grant is None or grant.dpop is None:
        return {}
    return {DPOP_KEY: new_key(grant.dpop)}


def _for_tls(provider: Provider) -> tuple[str, ...]:
    return FOR_TLS if provider.tls.client_certificate else ()


def scheme_of(provider: Provider) -> str:
    """Name how the credential is shown to the provider: `header`, `basic` or `query+mtls`."""
    if provider.issues is not None:
        return provider.issues.scheme
    parts = (*provider.attach, provider.sign)
    kinds = dict.fromkeys(part.kind for part in parts if part is not None)
    return "+".join([*kinds, *(["mtls"] if provider.tls.client_certificate else [])]) or "none"


def require_fitting(provider: Provider, fields: Mapping[str, Secret]) -> None:
    """Refuse fields that are missing, not wanted, or cannot stand where they belong.

    Raises:
        CredentialRefused: with the first thing that is wrong.
    """
    wanted = wanted_fields(provider)
    missing = [name for name in wanted if name not in fields]
    if missing:
        raise CredentialRefused(
            f"Provider `{provider.name}` also needs the field {listed(missing)}."
        )
    # Not repeated: a secret in the wrong place looks like a field's name.
    if len(fields) > len(wanted):
        raise CredentialRefused(
            f"Provider `{provider.name}` has no use for {len(fields) - len(wanted)} of the fields; "
            f"it needs {listed(wanted) or 'none'}."
        )
    require_sound(provider, fields)
    if provider.sign is not None:
        for name in keys_of(provider.sign):
            require_signing_key(provider.sign, name, fields[name])


def require_entered(provider: Provider, fields: Mapping[str, Secret]) -> None:
    """Refuse what is entered before a person is asked for consent, where it cannot be used.

    Raises:
        CredentialRefused: with the first thing that is wrong.
    """
    wanted = entered_fields(provider)
    if set(fields) != set(wanted):
        raise CredentialRefused(
            f"Provider `{provider.name}` needs the fields {listed(wanted)}, and no others."
        )
    require_sound(provider, fields)


def require_sound(provider: Provider, fields: Mapping[str, Secret]) -> None:
    """Refuse a field that cannot stand where it belongs.

    Raises:
        CredentialRefused: with the first thing that is wrong.
    """
    for name, part in _places(provider):
        if name not in fields:
            continue
        if name == PRIVATE_KEY and provider.token_grant is not None:
            require_key(provider.token_grant.assertion.algorithm, fields[name])
            continue
        if name == PRIVATE_KEY and provider.login is not None and provider.login.jwt is not None:
            require_key(provider.login.jwt.algorithm, fields[name])
            continue
        for wrong in _wrong_with(part, name, fields[name].reveal()):
            raise CredentialRefused(f"The field `{name}` {wrong}.")
    certificate, key = (fields.get(name) for name in FOR_TLS)
    if certificate is not None and key is not None:
        _require_key_pair(certificate.reveal(), key.reveal())


def _places(provider: Provider) -> Iterator[tuple[str, AttachPart | None]]:
    """Each field with the part of a call that it fills; what a token is obtained with fills none."""
    if provider.token_grant is not None:
        yield from ((name, None) for name in provider.token_grant.fields if name not in FOR_TLS)
        return
    if provider.login is not None:
        yield from ((name, None) for name in provider.login.fields)
    for part in provider.attach:
        if provider.login is None or ACCESS_TOKEN not in fields_of((part,)):
            yield from ((name, part) for name in fields_of((part,)))
    if provider.sign is not None:
        keys = keys_of(provider.sign)
        yield from ((name, None) for name in provider.sign.fields if name not in keys)


def _wrong_with(part: AttachPart | None, name: str, value: bytes) -> Iterator[str]:
    if not value:
        yield "is empty"
    if len(value) > FIELD_BYTES_MAX:
        yield f"is longer than {FIELD_BYTES_MAX} bytes"
    if b"\r" in value or b"\n" in value:
        yield "holds a line break; give the secret alone, on one line"
    if _CONTROL.search(value):
        yield "holds a control character; copy the secret again"
    if value != value.strip():
        yield "begins or ends with a space"
    if check_format(value.decode("ascii", "replace")):
        yield "is an access token of Tidegate; what belongs here is the provider's own secret"
    yield from _wrong_in_place(part, name, value)


def _wrong_in_place(part: AttachPart | None, name: str, value: bytes) -> Iterator[str]:
    match part:
        case AttachHeader(prefix=prefix):
            if not _VISIBLE.fullmatch(value):
                yield "holds a character that cannot stand in a header field"
            if prefix and value.lower().startswith(prefix.lower().encode()):
                yield f"begins with `{prefix.strip()}`, which Tidegate puts before it; leave it out"
        case AttachBasic(username_field=username_field):
            if name == username_field and b":" in value:
                yield "holds `:`, which ends the user name in HTTP Basic"
        case AttachCookie():
            if not _COOKIE_VALUE.fullmatch(value):
                yield "holds a character that cannot stand in a cookie"
        case _:
            pass
    if not _is_utf8(value):
        yield "is no text in UTF-8"


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _require_key_pair(certificate_pem: bytes, key_pem: bytes) -> None:
    if max(len(certificate_pem), len(key_pem)) > PEM_BYTES_MAX:
        raise CredentialRefused(f"A certificate or key is longer than {PEM_BYTES_MAX} bytes.")
    # The parsers' own words are left out: they may quote what they read.
    try:
        chain = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError:
        raise CredentialRefused(
            f"The field `{FOR_TLS[0]}` is no certificate in PEM (`-----BEGIN CERTIFICATE`)."
        ) from None
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise CredentialRefused(
            f"The field `{FOR_TLS[1]}` is protected by a passphrase; the vault seals it, so take "
            "that off first (`openssl pkey`)."
        ) from None
    except ValueError:
        raise CredentialRefused(
            f"The field `{FOR_TLS[1]}` is no private key in PEM (`-----BEGIN PRIVATE KEY`)."
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise CredentialRefused(
            f"The first certificate in `{FOR_TLS[0]}` is not that of `{FOR_TLS[1]}`."
        )
