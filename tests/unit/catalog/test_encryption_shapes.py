"""A place is encrypted as one in its provider's shape; a shape that nobody could open is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.declared import CRM

from tidegate.catalog import ConfigErrors, load
from tidegate.catalog.encryption_shapes import encryption_shapes
from tidegate.domain.declaration import Declaration
from tidegate.domain.protection import Seal
from tidegate.snapshot import compile_snapshot

KEY = rsa.generate_private_key(65_537, 2_048)
FINGERPRINT = hashlib.sha256(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).hexdigest()


def declared(folder: Path, encrypt: str, at: str = "body $.card") -> Declaration:
    form = PublicFormat.SubjectPublicKeyInfo
    (folder / "rsa.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, form))
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "ec.pem").write_bytes(curve.public_bytes(Encoding.PEM, form))
    rule = f"[{{at: '{at}', do: {{encrypt: {encrypt}}}}}]"
    policy = (
        f"protection:\n  - {{operations: ['crm:PostPeople'], purpose: sales, fields: {rule}}}\n"
    )
    (folder / "tidegate.yaml").write_text(CRM + policy)
    return load(folder)


def sealed(folder: Path, encrypt: str, at: str = "body $.card") -> dict[str, Any]:
    """What the engine is told."""
    declaration = declared(folder, encrypt, at)
    assert isinstance(declaration.protection[0].fields[0].do, Seal)
    provider = json.loads(compile_snapshot(declaration, 1, (), ()))["providers"][0]
    return provider["protection"][0]["fields"][0]["do"]["seal"]


def test_mastercard_gets_an_object_with_a_jwe_that_names_the_key(tmp_path: Path):
    told = sealed(tmp_path, "{jwe: {key: rsa.pem}, as: mastercard, into: encryptedCard}")
    assert told["members"] == [["encryptedData", "jwe"]]
    assert told["into"] == "encryptedCard"
    assert "may_be_absent" not in told
    jwe = told["by"]["jwe"]
    assert (jwe["alg"], jwe["kid"]) == ("RSA-OAEP-256", FINGERPRINT)
    assert jwe["header"] == {"cty": "application/json"}
    assert hashlib.sha256(base64.b64decode(jwe["spki"])).hexdigest() == FINGERPRINT
    own = sealed(tmp_path, "{jwe: {key: rsa.pem, kid: k1}, as: mastercard, absent: allow}")
    assert (own["by"]["jwe"]["kid"], own["may_be_absent"]) == ("k1", True)


def test_mastercards_older_form_says_hash_and_key_beside_it(tmp_path: Path):
    told = sealed(tmp_path, "{rsa_cbc: {key: rsa.pem, oaep: SHA-512}, as: mastercard_fields}")
    assert told["members"] == [
        ["encryptedData", "data"],
        ["encryptedKey", "key"],
        ["iv", "iv"],
        ["oaepHashingAlgorithm", {"text": "SHA512"}],
        ["publicKeyFingerprint", {"text": FINGERPRINT}],
    ]
    assert (told["by"]["cbc"]["oaep"], told["by"]["cbc"]["encoding"]) == ("SHA-512", "hex")


def test_visa_is_told_the_key_in_the_header_and_when(tmp_path: Path):
    told = sealed(tmp_path, "{jwe: {key: rsa.pem, kid: k1, enc: A128GCM}, as: visa}", "body $")
    assert told["members"] == [["encData", "jwe"]]
    assert told["headers"] == [["keyId", "k1"]]
    jwe = told["by"]["jwe"]
    assert (jwe["enc"], jwe["iat"], jwe["kid"]) == ("A128GCM", "milliseconds", "k1")


def test_a_shape_of_ones_own_is_data(tmp_path: Path):
    shape = "{members: {v: kid, x: jwe}, header: {typ: JOSE}, request: {X-Key: key_fingerprint}}"
    told = sealed(tmp_path, f"{{jwe: {{key: ec.pem, kid: k1}}, as: {shape}}}")
    assert told["members"] == [["v", {"text": "k1"}], ["x", "jwe"]]
    assert told["headers"][0][0] == "X-Key"
    assert told["by"]["jwe"]["alg"] == "ECDH-ES"


def test_every_shape_is_one_that_could_be_opened():
    assert set(encryption_shapes()) == {"mastercard", "mastercard_fields", "visa"}


@pytest.mark.parametrize(
    ("encrypt", "at", "said"),
    [
        ("{jwe: {key: rsa.pem}, as: mastercart}", "body $.card", "`mastercard`"),
        ("{jwe: {key: rsa.pem}, as: visa}", "body $", "declare `kid`"),
        ("{jwe: {key: rsa.pem}, as: mastercard_fields}", "body $", "parts of `rsa_cbc`"),
        ("{rsa_cbc: {key: rsa.pem}, as: mastercard}", "body $", "holds a JWE"),
        ("{rsa_cbc: {key: ec.pem}, as: mastercard_fields}", "body $", "no RSA key"),
        ("{rsa_cbc: {key: rsa.pem}}", "body $", "say its shape"),
        ("{jwe: {key: rsa.pem}, rsa_cbc: {key: rsa.pem}}", "body $", "in one form"),
        ("{as: visa}", "body $", "in one form"),
        ("{jwe: {key: rsa.pem}, into: x}", "body $.a", "goes with a shape"),
        ("{jwe: {key: rsa.pem}, absent: refuse}", "body $.a", "goes with a shape"),
        ("{jwe: {key: rsa.pem}, as: mastercard}", "form card", "stands in a JSON body"),
        ("{jwe: {key: rsa.pem}, as: mastercard, into: x}", "body $", "only a member"),
        ("{jwe: {key: rsa.pem}, as: mastercard, into: x}", "body $.a[*]", "only a member"),
        ("{jwe: {key: rsa.pem}, as: mastercard, into: x}", "body $..a", "only a member"),
        ("{jwe: {key: rsa.pem}, as: {members: {a: data, b: key}}}", "body $", "nobody could open"),
        ("{jwe: {key: rsa.pem}, as: {members: {a: jwe, b: iv}}}", "body $", "itself"),
        ("{jwe: {key: rsa.pem}, as: {members: {a: jwe}, encoding: hex}}", "body $", "one way"),
        ("{jwe: {key: rsa.pem}, as: {members: {a: jwe}, header: {alg: x}}}", "body $", "`alg`"),
        ("{jwe: {key: rsa.pem}, as: {members: {a: jwe}, request: {a b: kid}}}", "body $", "field"),
        (
            "{rsa_cbc: {key: rsa.pem}, as: {members: {a: data, b: key, c: iv}, iat: seconds}}",
            "body $",
            "are a JWE's",
        ),
        ("{jwe: {key: none.pem}, as: mastercard}", "body $", "cannot be read"),
    ],
)
def test_what_could_not_work_is_refused(tmp_path: Path, encrypt: str, at: str, said: str):
    with pytest.raises(ConfigErrors) as caught:
        declared(tmp_path, encrypt, at)
    errors = [f"{one.message} {one.hint}" for one in caught.value.errors]
    assert any(said in error for error in errors), errors
