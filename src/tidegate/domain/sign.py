"""Say how a call is signed, where a provider asks for it. No secret is in here.

The engine signs last, over the bytes that go out. What is signed with are fields of the connection's
credential, as for the parts of `attach`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidegate.domain.attach import PUBLIC_FIELDS
from tidegate.domain.oauth import DPOP_KEY, ProofAlgorithm

Part = str | tuple[str, str]
"""A piece of a text: what it is, or with what (`("field", "key_id")`, `("literal", "\\n")`)."""


@dataclass(frozen=True, slots=True)
class SigV4:
    """AWS Signature Version 4. `payload` unsigned: the body streams, protected by TLS alone."""

    service: str
    region: str
    payload: Literal["hashed", "unsigned"] = "hashed"
    session_token: bool = False
    kind: Literal["sigv4"] = "sigv4"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        session = ("session_token",) if self.session_token else ()
        return ("access_key_id", "secret_access_key", *session)


@dataclass(frozen=True, slots=True)
class HmacTemplate:
    """A signature of a provider's own making: the HMAC, or without `key` the hash, of `message`.

    `query` is added to the call's: first what holds no signature, so that the signature covers it.
    """

    message: tuple[Part, ...]
    headers: tuple[tuple[str, tuple[Part, ...]], ...]
    query: tuple[tuple[str, tuple[Part, ...]], ...] = ()
    key: str | None = None
    key_encoding: Literal["text", "hex", "base64"] = "text"
    hash: Literal["sha1", "sha256", "sha512"] = "sha256"
    output: Literal["hex", "base64", "base64url", "hex_base64"] = "hex"
    timestamp: Literal["unix", "unix_ms", "rfc3339", "http_date"] = "unix"
    kind: Literal["hmac"] = "hmac"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        texts = [self.message, *(text for _, text in (*self.headers, *self.query))]
        named = [
            part[1]
            for text in texts
            for part in text
            if isinstance(part, tuple) and part[0] in {"field", "basic_signature"}
        ]
        return tuple(dict.fromkeys([*([self.key] if self.key else []), *named]))


@dataclass(frozen=True, slots=True)
class HttpSignature:
    """HTTP Message Signatures (RFC 9421); `content-digest` among the components covers the body.

    The credential has `key_id` and `key`: a private key in PEM, for the HMAC the key in base64.
    """

    components: tuple[str, ...]
    algorithm: Literal[
        "hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256"
    ]
    label: str = "sig1"
    kind: Literal["http_signature"] = "http_signature"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        return ("key_id", "key")


@dataclass(frozen=True, slots=True)
class OAuth1:
    """OAuth 1.0 (RFC 5849) with a token that was given once; `realm` is an account at some."""

    signature: Literal["HMAC-SHA1", "HMAC-SHA256"] = "HMAC-SHA256"
    realm: str = ""
    kind: Literal["oauth1"] = "oauth1"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        return ("consumer_key", "consumer_secret", "token", "token_secret")


@dataclass(frozen=True, slots=True)
class Digest:
    """HTTP Digest (RFC 7616). `md5`: also where the provider offers nothing better."""

    md5: bool = False
    kind: Literal["digest"] = "digest"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        return ("username", "password")


@dataclass(frozen=True, slots=True)
class HookSigner:
    """A Python function that signs. It adds these `headers` and parameters, and nothing else.

    `given` are the credential's fields that it sees in clear; `body`: it sees the body too.
    """

    hook: str
    given: tuple[str, ...]
    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    body: bool = False
    timeout_ms: int = 1_000
    kind: Literal["hook"] = "hook"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields."""
        return self.given


@dataclass(frozen=True, slots=True)
class Dpop:
    """A proof, with each call, of the key that the access token is bound to (RFC 9449)."""

    algorithm: ProofAlgorithm
    kind: Literal["dpop"] = "dpop"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the credential's fields; it is none of those that a person enters."""
        return (DPOP_KEY,)


Signer = SigV4 | HmacTemplate | HttpSignature | OAuth1 | Digest | HookSigner | Dpop


def signing_secrets(signer: Signer) -> tuple[str, ...]:
    """Name the fields that no answer may hold."""
    own = ("consumer_key",) if isinstance(signer, OAuth1) else ()
    return tuple(name for name in signer.fields if name not in PUBLIC_FIELDS and name not in own)
