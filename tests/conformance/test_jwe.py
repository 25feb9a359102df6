"""What is encrypted to a provider's key is opened by two implementations that are not ours.

`joserfc` (Python) and `jose` (npm) are told which algorithms the key is for, and take no others. The engine's own
tests hold it against RFC 7518 appendix C, the RFC 7520 cookbook and Wycheproof.
"""

from __future__ import annotations

import base64
import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwe, jwk
from support.servers import program

from tidegate.catalog.encrypting_form import JweEntry
from tidegate.catalog.recipient_keys import read_recipient_key
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.protection import Encrypt, FieldRule, Protection
from tidegate.engine.protect import Sample, try_sample
from tidegate.snapshot import compile_snapshot

SCRIPT = Path(__file__).parent / "scripts/open_jwe.mjs"
VALUE = "4242 4242 4242 4242, Jos\u00e9 \U0001f600"
_ENCS = ("A128GCM", "A256GCM")


def private_keys() -> dict[str, dict[str, Any]]:
    keys: dict[str, jwk.RSAKey | jwk.ECKey | jwk.OKPKey] = {
        "rsa2048": jwk.RSAKey.generate_key(2_048),
        "rsa3072": jwk.RSAKey.generate_key(3_072),
        "p256": jwk.ECKey.generate_key("P-256"),
        "p384": jwk.ECKey.generate_key("P-384"),
        "p521": jwk.ECKey.generate_key("P-521"),
        "x25519": jwk.OKPKey.generate_key("X25519"),
    }
    return {name: dict(key.as_dict(private=True)) for name, key in keys.items()}


def public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The value, as each way to encrypt it to each key has it."""
    folder = tmp_path_factory.mktemp("keys")
    cases: list[dict[str, Any]] = []
    rules: list[FieldRule] = []
    for name, key in private_keys().items():
        (folder / name).write_text(json.dumps(public(key)))
        algs = ("RSA-OAEP-256",) if key["kty"] == "RSA" else ("ECDH-ES", "ECDH-ES+A256KW")
        for alg, enc in product(algs, _ENCS):
            entry = JweEntry.model_validate({"key": name, "alg": alg, "enc": enc, "kid": name})
            action = Encrypt(read_recipient_key(folder / name, entry))
            rules.append(FieldRule(f"body $.v{len(cases)}", action))
            cases.append({"jwk": key, "alg": alg, "enc": enc, "kid": name})
    provider = Provider(
        "there", "", ("https://there.example",), (), (Operation("Post", "POST", "/x"),)
    )
    policy = Protection("p", (("there", "Post"),), "x", tuple(rules))
    declaration = Declaration(providers=(provider,), protection=(policy,))
    body = json.dumps({f"v{number}": VALUE for number in range(len(cases))}).encode()
    sample = Sample("POST", "/there/x", "", (("content-type", "application/json"),), body)
    tried = try_sample(compile_snapshot(declaration, 1, (), ()), sample)
    assert tried.after is not None, tried.detail
    sent = json.loads(tried.after.body)
    return [case | {"jwe": sent[f"v{number}"]} for number, case in enumerate(cases)]


def test_joserfc_opens_each(encrypted: list[dict[str, Any]]):
    assert len(encrypted) == 20
    for one in encrypted:
        registry = jwe.JWERegistry(algorithms=[one["alg"], one["enc"]])
        opened = jwe.decrypt_compact(one["jwe"], jwk.import_key(one["jwk"]), registry=registry)
        assert opened.plaintext == VALUE.encode()
        said = {name: opened.protected.get(name) for name in ("alg", "enc", "kid")}
        assert said == {name: one[name] for name in ("alg", "enc", "kid")}
        assert VALUE.encode() not in base64.urlsafe_b64decode(one["jwe"].split(".")[3] + "==")


def test_jose_opens_each(encrypted: list[dict[str, Any]]):
    ended = subprocess.run(
        [program("node", package="nodejs"), str(SCRIPT)],
        input=json.dumps(encrypted),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [VALUE] * len(encrypted)


def test_no_two_are_equal(encrypted: list[dict[str, Any]]):
    contents = {tuple(one["jwe"].split(".")[2:4]) for one in encrypted}
    assert len(contents) == len(encrypted)
