"""How values are hashed, tokenised and encrypted is declared; what is not safe is refused."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwk
from support.declared import CRM

from tidegate.catalog import ConfigErrors, load, weaknesses
from tidegate.catalog.hash_profiles import hash_profiles, words
from tidegate.domain.declaration import Declaration
from tidegate.domain.protection import Encrypt, Hash, RecipientKey, Restoration, Tokenise
from tidegate.snapshot import compile_snapshot

HEAD = f"""{CRM}protection:
  - operations: ["crm:PostPeople"]
    purpose: sales
"""


def declared(folder: Path, fields: str, more: str = "") -> Declaration:
    (folder / "tidegate.yaml").write_text(f"{HEAD}    fields: {fields}\n{more}")
    return load(folder)


def action(folder: Path, do: str, at: str = "body $.x") -> Any:
    return declared(folder, f"[{{at: '{at}', do: {do}}}]").protection[0].fields[0].do


def mistake(folder: Path, do: str, at: str = "body $.x") -> str:
    with pytest.raises(ConfigErrors) as caught:
        action(folder, do, at)
    (error,) = caught.value.errors
    return f"{error.message} {error.hint}"


def snapshot(declaration: Declaration) -> dict[str, Any]:
    return json.loads(compile_snapshot(declaration, 1, (), ()))["providers"][0]


def test_every_profile_says_where_it_is_from_and_steps_the_engine_knows():
    known = {
        "trim", "lowercase", "no_spaces", "no_punctuation", "digits", "email", "gmail_dots",
        "gmail_suffix", "phone", "plus", "date", "us_postal_code",
    }  # fmt: skip
    for profile in hash_profiles().values():
        assert profile.title
        assert profile.source
        assert not profile.in_clear & profile.kinds.keys()
        for steps in profile.kinds.values():
            assert steps
            assert set(steps) <= known
    assert {name for name, one in hash_profiles().items() if not one.is_read} == {
        "tiktok",
        "pinterest",
        "linkedin",
    }


def test_hashes_are_declared_by_product_and_kind(tmp_path: Path):
    assert action(tmp_path, "{hash: meta.email}") == Hash(
        "meta.email", ("trim", "lowercase", "email")
    )
    found = action(tmp_path, '{hash: {of: snap.phone, calling_code: "49", already_hashed: allow}}')
    assert found == Hash("snap.phone", ("phone",), already_hashed=True, calling_code="49")
    keyed = action(tmp_path, "{hash: {of: keyed.pan, root: 2}}")
    assert keyed == Hash("keyed.pan", ("digits",), keyed=2)
    for of in words():
        assert action(tmp_path, f"{{hash: {of}}}").of == of


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("{hash: meta.emial}", "meta.email"),
        ("{hash: meta}", "there is no hash `meta`"),
        ("{hash: meta.ip}", "wants `ip` as it is"),
        ("{hash: google_data_manager.postal_code}", "`do: allow`"),
        ('{hash: {of: meta.email, calling_code: "49"}}', "no telephone number"),
        ('{hash: {of: meta.phone, calling_code: "049"}}', "is no calling code"),
        ("{hash: {of: keyed.pan, already_hashed: allow}}", "no keyed hash"),
        ("{hash: {of: meta.email, root: 2}}", "go with `keyed`"),
        ("{tokenise: aes}", "aead"),
        ("{tokenise: siv, root: 2}", "goes with `ff1`"),
        ("{tokenise: aead, restore_in: [GetPeople]}", "matches no operation to restore in"),
        ("{tokenise: aead, restore_in: ['crn:GetPerson']}", "there is no provider `crn`"),
        ("{tokenise: aead, restore_in: [{operations: [GetPerson], at: query x}]}", "body"),
        ("{encrypt: {jwe: {key: none.pem}}}", "cannot be read"),
        ("{encrypt: {pgp: {key: x}}}", "fingerprint"),
        ("{encrypt: {cms: {key: x}}}", "jwe"),
        ("{scramble: 1}", "`tokenise`"),
        ("{tokenise: siv, subject_key: true}", "`subject_key` goes with `aead`"),
    ],
)
def test_what_could_not_work_is_refused(tmp_path: Path, do: str, said: str):
    with pytest.raises(ConfigErrors) as caught:
        action(tmp_path, do)
    assert any(said in f"{one.message} {one.hint}" for one in caught.value.errors), [
        f"{one.message} {one.hint}" for one in caught.value.errors
    ]


def test_tokens_come_back_where_it_is_declared(tmp_path: Path):
    form = "{tokenise: aead, field: mail, restore_in: [GetPerson, {operations: ['crm:Get*'], at: body $.y}]}"
    assert action(tmp_path, form) == Tokenise(
        "aead",
        "mail",
        1,
        (Restoration("", "GetPerson", "body $.x"), Restoration("crm", "Get*", "body $.y")),
    )
    compiled = snapshot(declared(tmp_path, f"[{{at: body $.x, do: {form}}}]"))
    assert compiled["restore"] == [
        {"operations": [1], "at": "body $.x", "field": "mail"},
        {"operations": [1], "at": "body $.y", "field": "mail"},
    ]
    said = mistake(tmp_path, "{tokenise: aead, restore_in: [GetPerson]}", "form x")
    assert "says no place in an answer" in said
    plain = declared(tmp_path, "[{at: body $.x, do: {tokenise: siv}}]")
    assert plain.protection[0].needs_keys
    assert "restore" not in snapshot(plain)
    assert (
        not declared(tmp_path, "[{at: body $.x, do: {hash: meta.email}}]").protection[0].needs_keys
    )


def test_a_token_that_ends_with_a_person_says_so_to_the_engine_and_others_do_not(tmp_path: Path):
    fields = "[{at: body $.x, do: {tokenise: aead, subject_key: true}}, {at: body $.y, do: {tokenise: aead}}]"
    (policy,) = snapshot(declared(tmp_path, fields))["protection"]
    assert [rule["do"]["tokenise"].get("subject_key") for rule in policy["fields"]] == [True, None]


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(key: Any, days: int) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "psp")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
    )
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_key_is_read_with_the_algorithm_that_it_is_for(tmp_path: Path):
    key = rsa.generate_private_key(65_537, 2_048)
    (tmp_path / "key.pem").write_bytes(public_pem(key))
    found = action(tmp_path, "{encrypt: {jwe: {key: key.pem, kid: k1}}}")
    assert isinstance(found, Encrypt)
    assert (found.key.alg, found.key.kid, found.key.expires) == ("RSA-OAEP-256", "k1", None)
    assert found.key.thumbprint == jwk.import_key(key.public_key(), "RSA").thumbprint()
    curve = ec.generate_private_key(ec.SECP384R1())
    said = jwk.import_key(curve.public_key(), "EC").as_dict(private=False)
    (tmp_path / "key.json").write_text(json.dumps(said | {"kid": "k2", "alg": "ECDH-ES+A256KW"}))
    found = action(tmp_path, "{encrypt: {jwe: {key: key.json}}}")
    assert (found.key.alg, found.key.kid) == ("ECDH-ES+A256KW", "k2")
    assert found.key.thumbprint == jwk.import_key(curve.public_key(), "EC").thumbprint()
    written = snapshot(
        declared(tmp_path, "[{at: body $.x, do: {encrypt: {jwe: {key: key.json}}}}]")
    )
    assert written["protection"][0]["fields"][0]["do"]["encrypt"]["spki"] == found.key.spki
    der = curve.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert base64.b64decode(found.key.spki) == der


def test_a_key_is_refused_that_is_another_private_or_not_fit(tmp_path: Path):
    key = rsa.generate_private_key(65_537, 2_048)
    pinned = f"{{encrypt: {{jwe: {{key: key, thumbprint: {'A' * 43}}}}}}}"
    file, plain = tmp_path / "key", "{encrypt: {jwe: {key: key}}}"
    file.write_bytes(public_pem(key))
    assert jwk.import_key(key.public_key(), "RSA").thumbprint() in mistake(tmp_path, pinned)
    said = jwk.import_key(key, "RSA").as_dict(private=True)
    public = jwk.import_key(key.public_key(), "RSA").as_dict(private=False)
    for content, why in (
        (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
        (json.dumps(said).encode(), "private key"),
        (json.dumps(public | {"alg": "RSA1_5"}).encode(), "does not go with the key"),
        (json.dumps(public | {"alg": "ECDH-ES"}).encode(), "does not go with the key"),
        (json.dumps(public | {"use": "sig"}).encode(), "for signatures"),
        (json.dumps({"keys": [public]}).encode(), "key set"),
        (json.dumps({"kty": "oct", "k": "AAAA"}).encode(), "private key"),
        (public_pem(rsa.generate_private_key(65_537, 1_024)), "1024 bits"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "of this kind"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "of this kind"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key"),
        (b"{", "neither PEM nor a JWK"),
        (b'{"kty":"RSA"}', "no public key"),
    ):
        file.write_bytes(content)
        assert why in mistake(tmp_path, plain), content
        assert hashlib.sha256(content).hexdigest() not in mistake(tmp_path, plain)


def test_a_key_that_ends_soon_is_told_of(tmp_path: Path):
    key = rsa.generate_private_key(65_537, 2_048)
    form = "[{at: body $.x, do: {encrypt: {jwe: {key: key.pem}}}}]"
    for days, said in ((200, None), (20, "expires on"), (-2, "has expired")):
        (tmp_path / "key.pem").write_bytes(certificate(key, days))
        found = declared(tmp_path, form)
        do = found.protection[0].fields[0].do
        assert isinstance(do, Encrypt)
        assert isinstance(do.key, RecipientKey)
        assert do.key.expires is not None
        told = [one.what for one in weaknesses(found) if "key.pem" in one.what]
        assert bool(told) == (said is not None)
        assert said is None or said in told[0]


def test_what_is_asserted_absent_reaches_the_engine(tmp_path: Path):
    plain = declared(tmp_path, "[]")
    assert plain.protection[0].assert_absent == ("pan", "secret")
    more = declared(tmp_path, "[]", "    assert_absent: [iban, iban, entropy]\n")
    assert snapshot(more)["protection"][0]["assert_absent"] == ["iban", "entropy"]
