"""Consumers without an access token: a JWT or a certificate of theirs gets them in, and nobody else's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.canaries import may_hold
from support.certificates import Issued, authority, issue, leaf, private_pem
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.credentials import issuers
from tidegate.sandbox import Authority

ISSUER = "https://issuer.test/realm"
AUDIENCE = "tidegate"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
SUBJECT = "repo:acme/shop:ref:refs/heads/main"


@dataclass
class Idp:
    """Publishes keys; counts who asks for what."""

    keys: dict[str, Any] = field(default_factory=lambda: {"k1": KEY, "p1": P256})
    asked: list[str] = field(default_factory=list[str])
    issuer: str = ""

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                path = head.split()[1].decode()
                self.asked.append(path)
                said: Any = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
                if path.endswith("/keys"):
                    said = {"keys": [jwk(name, key) for name, key in self.keys.items()]}
                body = json.dumps(said).encode()
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


KINDS = {
    rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
    ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
}


def jwk(name: str, key: Any) -> dict[str, Any]:
    kind = next(kind for of, kind in KINDS.items() if isinstance(key, of))
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig"}


@dataclass
class Front:
    """A gateway that knows consumer `ci` by its claims; the provider wants no credential."""

    gateway: Running
    idp: Idp

    def code(self, token: str, header: str = "Authorization") -> str:
        value = f"Bearer {token}" if header == "Authorization" else token
        answer = httpx.get(
            f"{self.gateway.url}/open/x", headers={header: value}, trust_env=False, timeout=20
        )
        return "ok" if answer.status_code == 200 else answer.json()["code"]

    def detail(self, token: str) -> str:
        answer = httpx.get(
            f"{self.gateway.url}/open/x", headers={"Tidegate-Token": token}, trust_env=False
        )
        assert answer.status_code == 401
        assert token not in answer.text
        return answer.json()["detail"]


def claims(front: Front, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    said = {
        "iss": front.idp.issuer,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "ref_type": "branch",
        "iat": now,
        "exp": now + 300,
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def token(front: Front, key: Any = KEY, algorithm: str = "RS256", **changes: Any) -> str:
    header = {"kid": changes.pop("kid", "k1"), **changes.pop("header", {})}
    header = {name: value for name, value in header.items() if value is not None}
    return jwt.encode(claims(front, **changes), key, algorithm=algorithm, headers=header)


def answering(wire: Wire) -> None:
    with suppress(OSError):
        while wire.head():
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextmanager
def in_front(folder: Path, more: str = "") -> Iterator[Front]:
    own, idp = Authority(), Idp()
    ca = own.write(folder / "ca.pem")
    with scripted(own, answering) as origin, scripted(own, idp) as issuer:
        idp.issuer = issuer
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
issuers:
  ci: {{issuer: "{issuer}", audience: {AUDIENCE}, ca: {ca}, allow_private: [127.0.0.0/8]{more}}}
consumers:
  ci:
    clients: [acme]
    identities:
      - {{issuer: ci, claims: {{sub: "{SUBJECT}", ref_type: branch}}}}
  other: {{clients: [acme], identities: [{{issuer: ci, claims: {{sub: other}}}}]}}
providers:
  open:
    origin: {origin}
    auth: none
    operations: ["GET /x"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: ci, provider: open, operations: ["*"]}}
"""
        with running(folder / "home", declared, {}) as gateway:
            front = Front(gateway, idp)
            wait_until(lambda: front.code(token(front)) == "ok")
            yield front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with in_front(tmp_path_factory.mktemp("identity")) as front:
        yield front


@pytest.mark.parametrize("header", ["Authorization", "Tidegate-Token"])
def test_a_jwt_of_a_declared_issuer_names_its_consumer(front: Front, header: str):
    assert front.code(token(front), header) == "ok"
    assert front.code(token(front, P256, "ES256", kid="p1"), header) == "ok"
    assert front.code(token(front, aud=["x", AUDIENCE]), header) == "ok"
    # Another consumer of the same issuer is known, and has no grant.
    assert front.code(token(front, sub="other"), header) == "denied"
    wait_until(lambda: {"ci", "other"} <= {record.consumer for record in front.gateway.records(1)})


def confused(front: Front) -> str:
    """The public key, as everyone has it, taken for the secret of an HMAC."""
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = [{"alg": "HS256", "kid": "k1", "typ": "JWT"}, claims(front)]
    signed = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts
    )
    made = base64.urlsafe_b64encode(hmac.digest(public, signed, hashlib.sha256)).rstrip(b"=")
    return (signed + b"." + made).decode()


def bent(front: Front) -> str:
    head, _, signature = token(front).split(".")
    said = json.dumps(claims(front, sub="other")).encode()
    return ".".join([head, base64.urlsafe_b64encode(said).rstrip(b"=").decode(), signature])


NOW = time.time
FORGED: dict[str, tuple[Callable[[Front], str], str]] = {
    "no signature": (lambda f: jwt.encode(claims(f), None, algorithm="none"), "cannot|no JWT"),
    "the public key as a secret": (confused, "algorithm that is not declared"),
    "another key": (lambda f: token(f, OTHER), "signature is wrong"),
    "another claim": (bent, "signature is wrong"),
    "a key in its header": (
        lambda f: token(f, OTHER, header={"jwk": jwk("k1", OTHER)}),
        "signature is wrong",
    ),
    "an unknown key": (lambda f: token(f, OTHER, kid="../keys"), "does not publish"),
    "no key named": (lambda f: token(f, kid=None), "no JWT|does not publish"),
    "another issuer": (lambda f: token(f, iss="https://evil.test"), "issuer that is not declared"),
    "no issuer": (lambda f: token(f, iss=None), "issuer that is not declared"),
    "another audience": (lambda f: token(f, aud="payments"), "another audience"),
    "no audience": (lambda f: token(f, aud=None), "no JWT|audience"),
    "it has expired": (lambda f: token(f, exp=int(NOW()) - 61), "expired"),
    "it never expires": (lambda f: token(f, exp=None), "no JWT|expired"),
    "it is for later": (lambda f: token(f, nbf=int(NOW()) + 120), "not valid yet"),
    "it was made later": (lambda f: token(f, iat=int(NOW()) + 120), "not valid yet"),
    "other claims": (lambda f: token(f, sub="repo:evil/shop"), "no consumer is known"),
    "one claim too few": (lambda f: token(f, ref_type=None), "no consumer is known"),
    "an algorithm that is not declared": (
        lambda f: token(f, algorithm="PS256"),
        "algorithm that is not declared",
    ),
    "a broken one": (lambda f: token(f)[:-8] + "~~~~~~~~", "."),
    "a huge one": (lambda f: token(f, pad="x" * 9_000), "."),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_jwt_that_proves_nothing_gets_nobody_in(front: Front, name: str):
    make, said = FORGED[name]
    assert re.search(said, front.detail(make(front)))


def test_clocks_may_differ_by_a_minute(front: Front):
    assert front.code(token(front, exp=int(time.time()) - 30)) == "ok"
    assert front.code(token(front, nbf=int(time.time()) + 30)) == "ok"


def test_addresses_in_a_token_are_not_followed(front: Front):
    before = len(front.idp.asked)
    for name in ("jku", "x5u"):
        header = {name: f"{front.idp.issuer}/attacker"}
        assert front.code(token(front, OTHER, header=header)) == "unauthenticated"
    assert "/attacker" not in front.idp.asked
    assert len(front.idp.asked) == before


def test_unknown_keys_have_the_keys_fetched_once_a_minute_whoever_asks(front: Front):
    before = len(front.idp.asked)
    for number in range(200):
        assert front.code(token(front, OTHER, kid=f"k{number + 100}")) == "unauthenticated"
    time.sleep(1.5)
    assert len(front.idp.asked) <= before + 2


def test_a_new_key_is_found_when_a_token_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(issuers, "AGAIN_AFTER", issuers.AGAIN_AFTER / 300)
    with in_front(tmp_path) as front:
        new = ed25519.Ed25519PrivateKey.generate()
        front.idp.keys["k2"] = OTHER
        assert front.code(token(front, OTHER, kid="k2")) == "unauthenticated"
        wait_until(lambda: front.code(token(front, OTHER, kid="k2")) == "ok")
        # A key that is published no more counts no more, as soon as that is seen.
        del front.idp.keys["k1"]
        front.code(token(front, new, "EdDSA", kid="k9"))
        wait_until(lambda: front.code(token(front)) == "unauthenticated")


def test_metadata_of_another_issuer_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(issuers, "AGAIN_AFTER", issuers.AGAIN_AFTER / 300)
    with in_front(tmp_path) as front:
        honest = front.idp.issuer
        front.idp.issuer = "https://evil.test"
        front.idp.keys["k3"] = OTHER
        count = len(front.idp.asked)
        said = {"iss": honest, "kid": "k3"}
        for _ in range(3):
            assert front.code(token(front, OTHER, **said)) == "unauthenticated"
            wait_until(lambda: len(front.idp.asked) > count)
        assert not any(path.endswith("/keys") for path in front.idp.asked[count:])


CALLERS = authority("callers")
FOR_CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SPIFFE = "spiffe://corp.test/ns/prod/sa/shop"


def caller(*names: x509.GeneralName, signed_by: Issued = CALLERS) -> Issued:
    return issue("shop.corp.test", signed_by, ca=False, names=names, usages=FOR_CLIENTS)


@contextmanager
def with_certificates(folder: Path) -> Iterator[Callable[[Issued | None], str]]:
    own, root = Authority(), authority("root")
    ca = own.write(folder / "ca.pem")
    listener = leaf(root, "127.0.0.1")
    (folder / "root.pem").write_text(root.pem)
    (folder / "callers.pem").write_text(CALLERS.pem)
    (folder / "listener.pem").write_text(listener.pem)
    key = may_hold(folder / "listener.key")
    key.write_bytes(private_pem(listener))
    key.chmod(0o600)
    tls = (
        f"tls: {{certificate: {folder}/listener.pem, key: {key}, client_ca: {folder}/callers.pem}}"
    )
    with scripted(own, answering) as origin:
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0", {tls}}}]}}
clients: {{acme: {{}}}}
consumers:
  shop:
    clients: [acme]
    identities: [{{certificate: "{SPIFFE}"}}, {{certificate: shop.corp.test}}]
providers:
  open:
    origin: {origin}
    auth: none
    operations: ["GET /x"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: shop, provider: open, operations: ["*"]}}
"""
        with running(folder / "home", declared, {}) as gateway:
            (address,) = gateway.addresses.values()

            def call(shown: Issued | None, **headers: str) -> str:
                context = ssl.create_default_context(cadata=root.pem)
                if shown is not None:
                    pair = may_hold(folder / "caller.pem")
                    pair.write_bytes(shown.pem.encode() + private_pem(shown))
                    context.load_cert_chain(pair)
                answer = httpx.get(
                    f"https://{address}/open/x", verify=context, headers=headers, trust_env=False
                )
                return "ok" if answer.status_code == 200 else answer.json()["code"]

            yield call


def test_a_certificate_names_its_consumer_by_what_it_was_issued_for(tmp_path: Path):
    uri = x509.UniformResourceIdentifier
    with with_certificates(tmp_path) as call:
        assert call(caller(uri(SPIFFE))) == "ok"
        assert call(caller(x509.DNSName("Shop.corp.test"))) == "ok"
        # The subject's common name is no name (RFC 9525 §2), and parts of one are none either.
        for names in (
            [],
            [uri(f"{SPIFFE}/x")],
            [uri("spiffe://corp.test/ns/prod")],
            [x509.DNSName("x.shop.corp.test")],
            [x509.DNSName("*.corp.test")],
            [x509.RFC822Name("shop.corp.test")],
        ):
            assert call(caller(*names)) == "unauthenticated", names
        # A token that is shown decides.
        assert call(caller(uri(SPIFFE)), **{"Tidegate-Token": "tdg_wrong"}) == "unauthenticated"


def test_nobody_gets_as_far_without_a_certificate_of_the_authority(tmp_path: Path):
    with with_certificates(tmp_path) as call:
        foreign = caller(x509.UniformResourceIdentifier(SPIFFE), signed_by=authority("strangers"))
        for shown in (None, foreign):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
                call(shown)
