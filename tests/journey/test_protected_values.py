"""Values go out as hashes, tokens and encryptions, and come back to those whose they are."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwe, jwk
from joserfc.registry import HeaderParameter
from support.canaries import plant
from support.crm import Front, protecting
from support.running import wait_until

EMAIL = "jane.q.canary@example.com"
PHONE = "+44 844 412 4653"
ACCOUNT = "8471936205118264"
AGE = 4711.50

POLICY = """
  - operations: ["crm:PostPeople", "mail:PostPeople"]
    purpose: sales
    fields:
      - {at: body $.email, category: contact.email, do: {tokenise: aead, field: email, restore_in: [GetPerson]}}
      - at: body $.login
        category: contact.email
        do: {tokenise: siv, restore_in: [{operations: ["crm:GetPerson"], at: body $.login}]}
      - {at: body $.age, category: demographic.age, do: {tokenise: aead, restore_in: [GetPerson]}}
      - {at: body $.account, category: financial.account_number, do: {tokenise: ff1, restore_in: [GetPerson]}}
      - {at: body $.hashed.email, category: contact.email, do: {hash: meta.email}}
      - at: body $.hashed.phone
        category: contact.phone_number
        do: {hash: {of: snap.phone, already_hashed: allow}}
      - {at: body $.pan, category: payment.card, do: {hash: keyed.pan}}
      - {at: body $.rsa, category: payment.card, do: {encrypt: {jwe: {key: rsa.pem}}}}
      - {at: body $.ec, category: payment.card, do: {encrypt: {jwe: {key: ec.json}}}}
      - {at: body $.x, category: payment.card, do: {encrypt: {jwe: {key: x.json, kid: k2}}}}
      - at: body $.mastercard
        category: payment.card
        do: {encrypt: {jwe: {key: rsa.pem}, as: mastercard, into: encryptedCard, absent: allow}}
      - at: body $.older
        category: payment.card
        do: {encrypt: {rsa_cbc: {key: rsa.pem}, as: mastercard_fields, absent: allow}}
      - {at: body $.note, do: allow}
  - operations: ["crm:PostNotes"]
    purpose: payment
    categories: [payment.card]
    fields: [{at: body $, do: {encrypt: {jwe: {key: rsa.pem, kid: visa-1, enc: A128GCM}, as: visa}}}]
"""


class Keys:
    """The provider's private keys."""

    def __init__(self, folder: Path) -> None:
        self.rsa = rsa.generate_private_key(65_537, 2_048)
        self.rsa_pem = self.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.x = x25519.X25519PrivateKey.generate()
        folder.mkdir(parents=True, exist_ok=True)
        public = self.rsa.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "rsa.pem").write_bytes(pem)
        said = jwk.import_key(self.ec.public_key(), "EC").as_dict(private=False)
        wrapped = said | {"kid": "k1", "alg": "ECDH-ES+A256KW", "use": "enc"}
        (folder / "ec.json").write_text(json.dumps(wrapped))
        x = base64.urlsafe_b64encode(self.x.public_key().public_bytes_raw()).rstrip(b"=").decode()
        (folder / "x.json").write_text(json.dumps({"kty": "OKP", "crv": "X25519", "x": x}))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.getbasetemp() / "protected" / "home")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Front]:
    assert keys
    for value in (EMAIL, ACCOUNT):
        plant(value)
    with protecting(tmp_path_factory.getbasetemp() / "protected", POLICY) as front:
        yield front


def test_a_provider_keeps_tokens_and_its_client_reads_values(front: Front):
    person = {"email": EMAIL, "login": EMAIL, "age": AGE, "account": ACCOUNT, "note": "hello"}
    assert front.send(person).status_code == 200
    kept = front.crm.last
    assert kept["note"] == "hello"
    assert kept["email"].startswith("tdgt1.a")
    assert kept["login"].startswith("tdgt1.s")
    assert kept["account"] != ACCOUNT
    assert len(kept["account"]) == len(ACCOUNT)
    assert kept["account"].isdigit()
    assert EMAIL.encode() not in front.crm.people[-1]
    answer = front.look()
    assert answer.json() == person
    assert int(answer.headers["content-length"]) == len(answer.content)
    # What the provider said without a token in it passes as it came.
    front.crm.answer = b' {"note" : "as it was"}'
    assert front.look().content == front.crm.answer
    front.crm.answer = None


def test_equal_values_have_equal_tokens_only_where_that_is_declared(front: Front):
    kept: list[dict[str, str]] = []
    for _ in range(2):
        front.send({"email": EMAIL, "login": EMAIL})
        kept.append(front.crm.last)
    assert kept[0]["login"] == kept[1]["login"]
    assert kept[0]["email"] != kept[1]["email"]


def test_a_new_root_protects_and_those_before_restore(front: Front):
    front.send({"email": EMAIL})
    before = front.crm.people[-1]
    assert front.gateway.state.vault.rotate_protection("acme") == 2

    def protects_by_the_new_one() -> bool:
        front.send({"email": EMAIL})
        return front.crm.last["email"].startswith("tdgt1.a2.")

    wait_until(protects_by_the_new_one)
    front.crm.answer = before
    assert front.look().json() == {"email": EMAIL}
    front.crm.answer = None


def test_hashes_are_those_that_products_publish(front: Front):
    front.send({"hashed": {"email": " John_Smith@gmail.com", "phone": PHONE}})
    assert front.crm.last["hashed"] == {
        "email": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
        "phone": "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383",
    }
    once = hashlib.sha256(b"448444124653").hexdigest()
    front.send({"hashed": {"phone": once.upper()}})
    assert front.crm.last["hashed"]["phone"] == once


def test_a_keyed_hash_is_the_clients_own(front: Front):
    made: list[str] = []
    for client in ("acme", "acme", "globex"):
        front.send({"pan": "4111 1111 1111 1111"}, client=client)
        made.append(front.crm.last["pan"])
    assert made[0] == made[1] != made[2]
    assert hashlib.sha256(b"4111111111111111").hexdigest() not in made


def test_only_the_provider_opens_what_is_encrypted_to_it(front: Front, keys: Keys):
    pan = "4242424242424242"
    front.send(dict.fromkeys(("rsa", "ec", "x"), pan))
    kept = front.crm.last
    x = base64.urlsafe_b64encode(keys.x.private_bytes_raw()).rstrip(b"=").decode()
    public = base64.urlsafe_b64encode(keys.x.public_key().public_bytes_raw()).rstrip(b"=").decode()
    for name, key, alg, kid in (
        ("rsa", jwk.import_key(keys.rsa, "RSA"), "RSA-OAEP-256", None),
        ("ec", jwk.import_key(keys.ec, "EC"), "ECDH-ES+A256KW", "k1"),
        (
            "x",
            jwk.import_key({"kty": "OKP", "crv": "X25519", "x": public, "d": x}),
            "ECDH-ES",
            "k2",
        ),
    ):
        registry = jwe.JWERegistry(algorithms=[alg, "A256GCM"])
        opened = jwe.decrypt_compact(kept[name], key, registry=registry)
        assert opened.plaintext == pan.encode()
        assert opened.protected["alg"] == alg
        assert opened.protected.get("kid") == kid


CARD = {"pan": "4242424242424242", "expiry": {"month": 12, "year": 2030}}


def opened(jwe_text: str, keys: Keys, enc: str) -> jwe.CompactEncryption:
    registry = jwe.JWERegistry(
        algorithms=["RSA-OAEP-256", enc], header_registry={"iat": HeaderParameter("", "int")}
    )
    return jwe.decrypt_compact(jwe_text, jwk.RSAKey.import_key(keys.rsa_pem), registry=registry)


def test_mastercard_gets_a_card_as_one_jwe(front: Front, keys: Keys):
    assert front.send({"mastercard": CARD, "note": "n"}).status_code == 200
    kept = front.crm.last
    assert kept.keys() == {"encryptedCard", "note"}
    assert kept["encryptedCard"].keys() == {"encryptedData"}
    read = opened(kept["encryptedCard"]["encryptedData"], keys, "A256GCM")
    assert json.loads(read.plaintext or b"") == CARD
    der = keys.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read.protected["kid"] == hashlib.sha256(der).hexdigest()
    assert read.protected["cty"] == "application/json"


def test_mastercards_older_form_is_opened_with_what_stands_beside_it(front: Front, keys: Keys):
    front.send({"older": CARD})
    kept = front.crm.last["older"]
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    key = keys.rsa.decrypt(bytes.fromhex(kept["encryptedKey"]), oaep)
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes.fromhex(kept["iv"]))).decryptor()
    padded = cipher.update(bytes.fromhex(kept["encryptedData"])) + cipher.finalize()
    unpadder = PKCS7(128).unpadder()
    assert json.loads(unpadder.update(padded) + unpadder.finalize()) == CARD
    assert kept["oaepHashingAlgorithm"] == "SHA256"


def test_visa_gets_the_whole_body_as_one_jwe_and_is_told_by_which_key(front: Front, keys: Keys):
    began = time.time()
    forged = front.send(CARD, to="crm/notes", keyId="another")
    assert forged.status_code == 200
    kept = front.crm.last
    assert kept.keys() == {"encData"}
    read = opened(kept["encData"], keys, "A128GCM")
    assert json.loads(read.plaintext or b"") == CARD
    assert read.protected["kid"] == "visa-1"
    assert abs(read.protected["iat"] / 1000 - began) < 60
    fields = [
        line for line in front.crm.heads[-1].lower().splitlines() if line.startswith(b"keyid")
    ]
    assert fields == [b"keyid: visa-1"]
