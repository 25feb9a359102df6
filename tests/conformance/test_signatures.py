"""Calls that are signed: a provider that checks each signature by another implementation takes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures import algorithms as rfc9421
from oauthlib.oauth1 import Client as OAuth1Client
from requests import Request as SentRequest
from support.running import Running, running
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

BODY = b'{"amount": 12, "note": "\xc3\xa9"}'
FORM = b"b=2+3&a=%C3%A9&c2&a=1"
TARGETS = ["/v1/things", "/v1/things?b=2&a=1&a=0&empty=&n%C3%A4me=a%20b", "/v1/a%20b~c-d_e.f"]


@dataclass
class Seen:
    """One request, as the provider read it."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


@dataclass
class Provider:
    """Keeps the last request; answers all."""

    requests: list[Seen] = field(default_factory=list[Seen])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                line, *lines = head.decode().split("\r\n")
                method, target, _ = line.split(" ")
                fields = {
                    name.lower(): value
                    for name, _, value in (one.partition(": ") for one in lines if one)
                }
                body = wire.read(int(fields.get("content-length", "0")))
                with self.lock:
                    self.requests.append(Seen(method, target, fields, body))
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass(frozen=True)
class Signed:
    """A gateway before the provider."""

    gateway: Running
    provider: Provider
    origin: str
    token: str

    def call(
        self,
        method: str,
        target: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Seen:
        answer = httpx.request(
            method,
            f"{self.gateway.url}/bank{target}",
            content=content,
            headers={"Tidegate-Token": self.token, **(headers or {})},
            trust_env=False,
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        return self.provider.requests[-1]


@contextmanager
def signed(folder: Path, auth: str, fields: dict[str, str]) -> Iterator[Signed]:
    authority, provider = Authority(), Provider()
    ca = authority.write(folder / "ca.pem")
    with scripted(authority, provider) as origin:
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  bank:
    origin: {origin}
    auth: {auth}
    operations: ["GET /v1/{{name}}", "POST /v1/{{name}}"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: app, provider: bank, operations: ["*"]}}
"""
        with running(folder / "home", declared, {("bank", "acme"): fields}) as gateway:
            yield Signed(gateway, provider, origin, gateway.token("app"))


def calls(bank: Signed) -> Iterator[Seen]:
    for target in TARGETS:
        yield bank.call("GET", target)
    yield bank.call("POST", TARGETS[1], BODY, {"Content-Type": "application/json"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    yield bank.call("POST", TARGETS[1], FORM, form)


AWS = {
    "access_key_id": "AKIDEXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}


@pytest.mark.parametrize("service", ["execute-api", "s3"])
@pytest.mark.parametrize("session", ["", "session/+="], ids=["lasting key", "session"])
def test_aws_signatures(tmp_path: Path, service: str, session: str):
    fields = AWS | ({"session_token": session} if session else {})
    more = ", session_token: true" if session else ""
    auth = f"{{sigv4: {{service: {service}, region: eu-central-1{more}}}}}"
    with signed(tmp_path, auth, fields) as bank:
        for seen in calls(bank):
            names = seen.fields["authorization"].split("SignedHeaders=")[1].split(",")[0]
            request = AWSRequest(
                seen.method,
                bank.origin + seen.target,
                {name: seen.fields[name] for name in names.split(";")},
                seen.body,
            )
            request.context["timestamp"] = seen.fields["x-amz-date"]
            keys = Credentials(AWS["access_key_id"], AWS["secret_access_key"])
            signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, "eu-central-1")
            canonical = signer.canonical_request(request)
            signature = signer.signature(signer.string_to_sign(request, canonical), request)
            assert seen.fields["authorization"].endswith(f"Signature={signature}"), seen
            assert ("x-amz-security-token" in names.split(";")) == bool(session)


def test_an_unsigned_payload_streams(tmp_path: Path):
    auth = "{sigv4: {service: s3, region: eu-central-1, payload: unsigned}}"
    with signed(tmp_path, auth, AWS) as bank:
        seen = bank.call("POST", TARGETS[0], bytes(9 << 20))
    assert seen.fields["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert len(seen.body) == 9 << 20


def test_a_body_that_is_too_large_to_be_signed_is_refused(tmp_path: Path):
    auth = "{sigv4: {service: s3, region: eu-central-1}}"
    with signed(tmp_path, auth, AWS) as bank:
        answer = httpx.post(
            f"{bank.gateway.url}/bank/v1/things",
            content=bytes(9 << 20),
            headers={"Tidegate-Token": bank.token},
            trust_env=False,
            timeout=20,
        )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert bank.provider.requests == []


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
def test_oauth1_signatures(tmp_path: Path, method: str):
    fields = {
        "consumer_key": "ck +&",
        "consumer_secret": "cs/+=&%",
        "token": "tk-1",
        "token_secret": "ts é".encode().decode(),
    }
    auth = f"{{oauth1: {{signature: {method}, realm: '1234567_SB1'}}}}"
    with signed(tmp_path, auth, fields) as bank:
        for seen in calls(bank):
            pairs = seen.fields["authorization"].removeprefix("OAuth ").split(", ")
            said = {name: value.strip('"') for name, _, value in (p.partition("=") for p in pairs)}
            assert said["realm"] == "1234567_SB1"
            client = OAuth1Client(
                fields["consumer_key"],
                fields["consumer_secret"],
                fields["token"],
                fields["token_secret"],
                signature_method=method,
                nonce=said["oauth_nonce"],
                timestamp=said["oauth_timestamp"],
            )
            kind = seen.fields.get("content-type", "")
            form = kind.startswith("application/x-www-form-urlencoded")
            _, headers, _ = client.sign(
                bank.origin + seen.target,
                seen.method,
                seen.body.decode() if form else None,
                {"Content-Type": kind} if form else {},
            )
            assert f'oauth_signature="{said["oauth_signature"]}"' in headers["Authorization"]


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, public: bytes) -> None:
        self._public = public

    def resolve_public_key(self, key_id: str) -> bytes:
        assert key_id == "key-1"
        return self._public


def pem(private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key, public


SHARED = base64.b64encode(b"a shared secret of 32 bytes, yes").decode()
KINDS: dict[str, tuple[type, Callable[[], tuple[str, bytes]]]] = {
    "hmac-sha256": (rfc9421.HMAC_SHA256, lambda: (SHARED, base64.b64decode(SHARED))),
    "ed25519": (rfc9421.ED25519, lambda: pem(ed25519.Ed25519PrivateKey.generate())),
    "ecdsa-p256-sha256": (
        rfc9421.ECDSA_P256_SHA256,
        lambda: pem(ec.generate_private_key(ec.SECP256R1())),
    ),
    "rsa-pss-sha512": (
        rfc9421.RSA_PSS_SHA512,
        lambda: pem(rsa.generate_private_key(65537, 2048)),
    ),
    "rsa-v1_5-sha256": (
        rfc9421.RSA_V1_5_SHA256,
        lambda: pem(rsa.generate_private_key(65537, 2048)),
    ),
}


@pytest.mark.parametrize("algorithm", KINDS)
def test_http_message_signatures(tmp_path: Path, algorithm: str):
    kind, make = KINDS[algorithm]
    private, public = make()
    components = '["@method", "@authority", "@path", "@query", "content-digest", "x-app"]'
    auth = f"{{http_signature: {{components: {components}, algorithm: {algorithm}}}}}"
    with signed(tmp_path, auth, {"key": private, "key_id": "key-1"}) as bank:
        verifier = HTTPMessageVerifier(signature_algorithm=kind, key_resolver=Keys(public))
        own = {"X-App": "shop", "Signature": "sig1=:AA==:", "Content-Digest": "sha-256=:AA==:"}
        for method, body in (("GET", b""), ("POST", BODY)):
            seen = bank.call(method, TARGETS[1], body, own)
            sent = SentRequest(
                method, bank.origin + seen.target, headers=seen.fields, data=seen.body
            )
            (result,) = verifier.verify(sent.prepare(), max_age=None)
            assert result.covered_components['"content-digest"'] == seen.fields["content-digest"]
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            assert seen.fields["content-digest"] == f"sha-256=:{digest}:"


def test_a_template_in_headers(tmp_path: Path):
    secret = base64.b64encode(b"0123456789abcdef").decode()
    auth = """
      - header: CB-ACCESS-PASSPHRASE
        field: passphrase
      - hmac:
          key: secret
          key_encoding: base64
          message: "{timestamp}{method}{target}{body}"
          output: base64
          headers:
            CB-ACCESS-SIGN: "{signature}"
            CB-ACCESS-TIMESTAMP: "{timestamp}"
            CB-ACCESS-KEY: "{field:key_id}"
"""
    fields = {"secret": secret, "key_id": "k-1", "passphrase": "a passphrase"}
    with signed(tmp_path, auth, fields) as bank:
        for seen in calls(bank):
            stamp = seen.fields["cb-access-timestamp"]
            message = stamp.encode() + seen.method.encode() + seen.target.encode() + seen.body
            made = hmac.new(b"0123456789abcdef", message, hashlib.sha256).digest()
            assert seen.fields["cb-access-sign"] == base64.b64encode(made).decode()
            assert seen.fields["cb-access-key"] == "k-1"
            assert seen.fields["cb-access-passphrase"] == "a passphrase"


def test_a_template_in_the_query(tmp_path: Path):
    auth = """
      hmac:
        key: secret
        message: "{query}"
        hash: sha512
        timestamp: unix_ms
        query: {signature: "{signature}", timestamp: "{timestamp}"}
"""
    with signed(tmp_path, auth, {"secret": "a secret of the exchange"}) as bank:
        # What the application says of these is dropped.
        seen = bank.call("GET", "/v1/things?symbol=X&signature=forged&timestamp=1")
    query = seen.target.partition("?")[2]
    covered, _, signature = query.rpartition("&signature=")
    assert covered.startswith("symbol=X&timestamp=17")
    made = hmac.new(b"a secret of the exchange", covered.encode(), hashlib.sha512).hexdigest()
    assert signature == made
    assert "forged" not in seen.target


def test_a_secret_that_is_hashed_with_a_nonce(tmp_path: Path):
    auth = """
      hmac:
        message: "{nonce}{timestamp}{field:secret}"
        hash: sha1
        output: hex_base64
        timestamp: rfc3339
        headers:
          X-WSSE: >-
            UsernameToken Username="{field:username}", PasswordDigest="{signature}",
            Nonce="{nonce}", Created="{timestamp}"
"""
    with signed(tmp_path, auth, {"secret": "s3cr3t-of-them", "username": "customer001"}) as bank:
        seen = [bank.call("GET", "/v1/things") for _ in range(2)]
    tokens = [
        dict(
            pair.split("=", 1)
            for pair in one.fields["x-wsse"].removeprefix("UsernameToken ").split(", ")
        )
        for one in seen
    ]
    for token in tokens:
        said = {name: json.loads(value) for name, value in token.items()}
        text = f"{said['Nonce']}{said['Created']}s3cr3t-of-them".encode()
        hexed = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        assert said["PasswordDigest"] == base64.b64encode(hexed.encode()).decode()
        assert said["Username"] == "customer001"
    assert tokens[0]["Nonce"] != tokens[1]["Nonce"]
