from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support.samples import declaration, provider

from tidegate.credentials import CredentialRefused
from tidegate.credentials.fields import require_fitting, scheme_of, wanted_fields
from tidegate.credentials.tokens import _new_token
from tidegate.domain.attach import AttachBasic
from tidegate.domain.declaration import TlsPolicy
from tidegate.domain.secret import Secret

PROVIDERS = {one.name: one for one in declaration().providers}
FIELD_OF = {"pay": "token", "maps": "key", "erp": "session"}


def judge(name: str, **fields: bytes | str) -> None:
    require_fitting(PROVIDERS[name], {key: Secret(value) for key, value in fields.items()})


def refusal(name: str, **fields: bytes | str) -> str:
    with pytest.raises(CredentialRefused) as refused:
        judge(name, **fields)
    for value in fields.values():
        text = value if isinstance(value, str) else value.decode("latin-1")
        assert len(text) < 4 or text not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["pay", "maps", "erp"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "is empty"),
        (b"secret\n", "line break"),
        (b"secret\r", "line break"),
        (b"secret\r\nX-Evil: 1", "line break"),
        (b"sec\0ret", "control character"),
        (b"sec\x1bret", "control character"),
        (b"sec\x7fret", "control character"),
        (b"sec\tret", "control character"),
        (b" secret", "begins or ends"),
        (b"secret ", "begins or ends"),
        (b"x" * 8193, "longer than 8192"),
        (b"secret-\xff\xfe", "UTF-8|cannot stand"),
    ],
)
def test_what_could_break_out_of_its_place_is_refused(name: str, value: bytes, message: str):
    assert re.search(message, refusal(name, **{FIELD_OF[name]: value}))


@given(st.binary(max_size=60))
def test_whatever_is_accepted_for_a_header_is_one_visible_line(value: bytes):
    try:
        judge("pay", token=value)
    except CredentialRefused:
        return
    assert value
    assert all(0x20 <= byte < 0x7F for byte in value)
    assert value == value.strip()


def test_common_secrets_fit():
    judge("pay", token="sk_test_4eC39HqLyjWDarjtT1zdp7dc")
    judge("pay", token="ab+/cd==")
    judge("pay", token="key with spaces; and=signs, too")
    judge("maps", key="schlüssel&=?")
    judge("text", account="AC1", secret="pässword: with spaces")


def test_umlauts_do_not_stand_in_a_header_or_a_cookie():
    assert "header field" in refusal("pay", token="schlüssel")
    assert "cookie" in refusal("erp", session="schlüssel")
    assert "cookie" in refusal("erp", session="a;b=c")


def test_a_colon_ends_a_user_name_and_may_be_in_a_password():
    assert "`:`" in refusal("text", account="AC:1", secret="x")
    judge("text", account="AC1", secret="x:y")


def test_the_prefix_is_not_to_be_given_along():
    assert "leave it out" in refusal("pay", token="Bearer sk_test_1")
    assert "leave it out" in refusal("pay", token="bearer sk_test_1")
    judge("pay", token="bearer-sk_test_1")


def test_tidegates_own_token_is_not_a_providers_secret():
    assert "access token of Tidegate" in refusal("pay", token=_new_token())


def test_fields_that_are_missing_or_too_many_are_refused():
    assert "also needs the field `secret`" in refusal("text", account="AC1")
    message = refusal("pay", token="sk_1", sk_live_canary="x")
    assert "1 of the fields" in message
    assert "canary" not in message


def test_a_fixed_half_of_basic_needs_no_field():
    key_as_user = provider("key-as-user", attach=(AttachBasic("key", None),))
    assert wanted_fields(key_as_user) == ("key",)
    require_fitting(key_as_user, {"key": Secret("x")})


def test_schemes_are_named_by_what_is_attached():
    named = {name: scheme_of(one) for name, one in PROVIDERS.items()}
    assert named == {
        "pay": "header",
        "text": "basic",
        "maps": "query",
        "erp": "cookie",
        "store": "header",
        "bank": "header+mtls",
    }
    tls = TlsPolicy(client_certificate=True)
    assert scheme_of(provider("only", attach=(), tls=tls)) == "mtls"
    assert scheme_of(provider("open", attach=())) == "none"


def key_pair(passphrase: bytes | None = None) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    protection = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def bank(certificate: bytes, key: bytes) -> Mapping[str, bytes]:
    return {"token": b"sk_1", "tls_certificate": certificate, "tls_key": key}


def test_a_client_certificate_and_its_key_fit():
    judge("bank", **bank(*key_pair()))


def test_a_key_of_another_certificate_is_refused():
    assert "is not that of" in refusal("bank", **bank(key_pair()[0], key_pair()[1]))


def test_a_key_under_a_passphrase_is_refused():
    assert "passphrase" in refusal("bank", **bank(*key_pair(b"words")))


def test_what_is_no_pem_is_refused():
    certificate, key = key_pair()
    assert "no certificate" in refusal("bank", **bank(b"junk", key))
    assert "no private key" in refusal("bank", **bank(certificate, b"junk"))
    assert "no private key" in refusal("bank", **bank(certificate, certificate))
    assert "longer than" in refusal("bank", **bank(certificate * 200, key))
