"""How calls are signed is declared: what cannot be signed is told where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog import ConfigErrors, load
from tidegate.catalog.templates import WrongTemplateError, read_template
from tidegate.credentials import CredentialRefused
from tidegate.credentials.fields import require_fitting, scheme_of, wanted_fields
from tidegate.domain.declaration import Provider
from tidegate.domain.secret import Secret

SHOWN = 'headers: {X-S: "{signature}"}'

MISTAKES = {
    "{hmac: {key: secret, message: '{body}'}}": ("the signature goes nowhere", "X-Signature"),
    f"{{hmac: {{key: k, message: '{{bodi}}', {SHOWN}}}}}": (
        "no placeholder `bodi`",
        "did you mean `body`?",
    ),
    f"{{hmac: {{key: k, message: 'a}}', {SHOWN}}}}}": ("a brace stands alone", "`}}`"),
    f"{{hmac: {{key: k, message: '{{signature}}', {SHOWN}}}}}": (
        "its own signature",
        "leave it out",
    ),
    f"{{hmac: {{key: k, message: '{{field:}}', {SHOWN}}}}}": (
        "`field:` names nothing",
        "a field's name",
    ),
    f"{{hmac: {{message: '{{body}}', {SHOWN}}}}}": ("nothing secret is in", "`key`"),
    "{http_signature: {components: ['@path', '@path'], algorithm: ed25519}}": ("covered twice", ""),
    "{http_signature: {components: ['@status'], algorithm: ed25519}}": (
        "`@status` cannot be covered",
        "`@method`",
    ),
    "{http_signature: {components: ['@path'], algorithm: none}}": ("this is one of", ""),
    "[{oauth1: {}}, {sigv4: {service: s3}}]": ("two signatures", "signed once"),
    "{sigv4: {}}": ("`service` is missing", ""),
}


def declared(folder: Path, auth: str) -> Provider:
    file = folder / "tidegate.yaml"
    file.write_text(
        "version: 1\nproviders:\n  bank:\n    origin: https://api.bank.test\n"
        f"    auth: {auth}\n    operations: [GET /v1/accounts]\n"
    )
    return load(file).providers[0]


@pytest.mark.parametrize("auth", MISTAKES)
def test_a_mistake_says_where_what_and_what_instead(tmp_path: Path, auth: str):
    said, right = MISTAKES[auth]
    with pytest.raises(ConfigErrors) as found:
        declared(tmp_path, auth)
    first = found.value.errors[0]
    assert first.line == 5
    assert said in first.message
    assert right in first.hint


PIECES = [
    "{{",
    "}}",
    "{body}",
    "{field:key_id}",
    "{header:x-a}",
    "{basic:user}",
    "{signature}",
    "é\n",
    "x",
]
WRITTEN = {"basic_signature": "basic", "field": "field", "header": "header"}


@given(st.lists(st.sampled_from(PIECES)))
def test_a_template_is_read_as_it_is_written(pieces: list[str]):
    parts = read_template("".join(pieces), signed=True)
    again = ""
    for part in parts:
        if isinstance(part, str):
            again += f"{{{part}}}"
        elif part[0] == "literal":
            again += part[1].replace("{", "{{").replace("}", "}}")
        else:
            again += f"{{{WRITTEN[part[0]]}:{part[1]}}}"
    assert again == "".join(pieces)


@given(st.text())
def test_any_text_is_a_template_or_is_refused_with_a_hint(text: str):
    try:
        read_template(text, signed=True)
    except WrongTemplateError as wrong:
        hint = wrong.hint
    else:
        hint = "none is needed"
    assert hint


@pytest.mark.parametrize(
    ("auth", "fields", "scheme"),
    [
        ("{sigv4: {service: s3}}", ("access_key_id", "secret_access_key"), "sigv4"),
        (
            "[{header: X-Key, field: key_id}, {hmac: {key: secret, message: '{field:key_id}', "
            + SHOWN
            + "}}]",
            ("key_id", "secret"),
            "header+hmac",
        ),
        (
            "{http_signature: {components: ['@path'], algorithm: ed25519}}",
            ("key_id", "key"),
            "http_signature",
        ),
        ("oauth1: {}", ("consumer_key", "consumer_secret", "token", "token_secret"), "oauth1"),
    ],
)
def test_a_connection_has_the_fields_that_are_signed_with(
    tmp_path: Path, auth: str, fields: tuple[str, ...], scheme: str
):
    provider = declared(tmp_path, auth if auth[0] in "{[" else f"{{{auth}}}")
    assert wanted_fields(provider) == fields
    assert scheme_of(provider) == scheme


def pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


ED25519 = pem(ed25519.Ed25519PrivateKey.generate())
P256 = pem(ec.generate_private_key(ec.SECP256R1()))
P384 = pem(ec.generate_private_key(ec.SECP384R1()))
RSA = pem(rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(
    ("algorithm", "fits", "others"),
    [
        ("ed25519", ED25519, [P256, RSA, "text", ED25519[:60]]),
        ("ecdsa-p256-sha256", P256, [P384, ED25519]),
        ("rsa-pss-sha512", RSA, [P256]),
        ("hmac-sha256", "c2VjcmV0", ["no base64", ""]),
    ],
)
def test_a_key_of_another_kind_is_refused_and_not_shown(
    tmp_path: Path, algorithm: str, fits: str, others: list[str]
):
    auth = f"{{http_signature: {{components: ['@path'], algorithm: {algorithm}}}}}"
    provider = declared(tmp_path, auth)
    require_fitting(provider, {"key": Secret(fits), "key_id": Secret("one")})
    for other in others:
        with pytest.raises(CredentialRefused, match="`key`") as refused:
            require_fitting(provider, {"key": Secret(other), "key_id": Secret("one")})
        assert len(other) < 5 or other not in str(refused.value)
