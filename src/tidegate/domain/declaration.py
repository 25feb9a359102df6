"""What an operator declares, resolved: presets applied, documents read, references checked.

`catalog` makes it from files, `store` keeps it as a revision, `snapshot` compiles it for the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from tidegate.domain.attach import AttachPart
from tidegate.domain.caching import Caching
from tidegate.domain.checking import Checking
from tidegate.domain.dialect import Dialect
from tidegate.domain.limit import Limit
from tidegate.domain.login import Login
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.operation import Operation
from tidegate.domain.party import NOBODY, Erasure, Party, Suppressing
from tidegate.domain.price import Price
from tidegate.domain.protection import Protection, Unprotected
from tidegate.domain.quota import Quota
from tidegate.domain.resilience import PLAIN, Resilience
from tidegate.domain.rotation import BY_HAND, Rotation
from tidegate.domain.sign import Signer

CallClass = Literal["interactive", "normal", "batch"]
"""Who goes first where calls wait: somebody who is waiting, the rest, what has time."""


@dataclass(frozen=True, slots=True)
class Client:
    """A tenant: the boundary that data never crosses."""

    name: str
    title: str = ""
    region: str = ""
    limit: Limit | None = None
    """How often all consumers together may call for it."""
    residency: tuple[str, ...] = ()
    """The regions that its personal data may not leave, whatever was agreed; empty: no such rule."""
    phi: bool = False
    """Its health data is protected by HIPAA, wherever it is."""
    party: Party = NOBODY
    """Who it is, for the records."""
    suppressed: Suppressing = "refuse"
    """What becomes of calls about subjects that were erased for it."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose signed word on consumers counts (RFC 7519, OpenID Connect).

    `issuer` is the `iss` of its tokens; without `jwks_url` its metadata says where its keys are.
    """

    name: str
    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_url: str = ""
    ca_pem: str | None = None
    allow_private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """A name in the certificate that a consumer connects with: a SPIFFE id, or a DNS name."""

    certificate: str


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Claims that a consumer's JWT has, all of them, signed by an issuer."""

    issuer: str
    claims: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A workload that calls through Tidegate, for the clients it may act for.

    It shows an access token, or is known by one of its `identities`.
    """

    name: str
    clients: tuple[str, ...]
    identities: tuple[CertificateIdentity | TokenIdentity, ...] = ()
    limit: Limit | None = None
    """How often it may call, for each client."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """How a provider's TLS is verified; verification itself has no switch.

    `ca_pem` replaces the public roots for this provider alone. `pins` are `sha256/<base64>` of a
    SubjectPublicKeyInfo in the chain (RFC 7469 §2.4). `client_certificate`: the connection's
    credential has `tls_certificate` and `tls_key` (PEM) for mutual TLS.
    """

    ca_pem: str | None = None
    pins: tuple[str, ...] = ()
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_certificate: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a call may wait, in milliseconds."""

    connect_ms: int = 5_000
    first_byte_ms: int = 60_000
    idle_ms: int = 60_000
    total_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a call may carry, in bytes."""

    request_body_bytes: int = 8 * 1024**3
    response_body_bytes: int = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Variable:
    """A `{name}` in a provider's origins; a connection's value for it matches the pattern whole."""

    name: str
    pattern: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """An organisation's API.

    `origins` may hold `{variable}` parts, which each connection fills by `variable_rules`;
    `variables` are their names. `origins[0]` serves operations that name no other. `headers` are
    sent where the consumer sends none of that name (version pins). `encoded_slash` allows `%2F`
    inside a path parameter. `echo`: what becomes of an answer that holds the credential.
    """

    name: str
    title: str
    origins: tuple[str, ...]
    attach: tuple[AttachPart, ...]
    operations: tuple[Operation, ...]
    preset: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    http: Literal["auto", "1.1", "2"] = "auto"
    tls: TlsPolicy = TlsPolicy()
    deadlines: Deadlines = Deadlines()
    bounds: Bounds = Bounds()
    encoded_slash: bool = False
    echo: Literal["redact", "refuse"] = "redact"
    variable_rules: tuple[Variable, ...] = ()
    token_grant: TokenGrant | None = None
    """How access tokens are obtained, where `attach` wants one."""
    login: Login | None = None
    """How sessions are begun, where `attach` wants a session's token."""
    sign: Signer | None = None
    """How calls are signed, after all of `attach`."""
    rotation: Rotation = BY_HAND
    """How its credentials are replaced."""
    resilience: Resilience = PLAIN
    """What becomes of calls when it fails."""
    dialect: Dialect | None = None
    """How its answers speak of its limits."""
    quotas: tuple[Quota, ...] = ()
    """How much it allows."""
    cache: Caching | None = None
    """What may be stored of its answers."""
    checking: Checking | None = None
    """What its requests and answers are held against."""
    price: Price | None = None
    """What a call costs."""
    prices: tuple[tuple[str, Price], ...] = ()
    """What a call of an operation costs (by id) that costs something else."""
    party: Party = NOBODY
    """Who it is, for the records."""
    erasures: tuple[Erasure, ...] = ()
    """How it is asked to forget somebody."""
    unprotected: Unprotected = "observe"
    """What becomes of calls of its operations that have no policy."""
    observe: int = 0
    """Of how many such calls one is looked at, to learn what they send; 0: none."""

    @property
    def issues(self) -> TokenGrant | Login | None:
        """What its tokens come from; None where a credential is used as it is."""
        return self.token_grant or self.login

    def price_of(self, operation: str) -> Price | None:
        """What a call of an operation costs; None where no price is declared."""
        return dict(self.prices).get(operation, self.price)

    @property
    def idle_s(self) -> int:
        """After how long without a refresh a consent ends; 0: never, or nobody consented."""
        grant = self.token_grant
        return grant.idle_s if grant is not None and grant.refreshes else 0


@dataclass(frozen=True, slots=True)
class Grant:
    """This consumer may call these operations of this provider for these clients.

    `operations` are ids, `METHOD /path` patterns or either with `*`; `clients` empty means all of the
    consumer's. In mode `report` a call that no grant covers is let through and recorded as such, until
    `enforce_from`.
    """

    consumer: str
    provider: str
    operations: tuple[str, ...]
    clients: tuple[str, ...] = ()
    mode: Literal["enforce", "report"] = "enforce"
    enforce_from: date | None = None
    name: str = ""
    limit: Limit | None = None
    """How often the calls that it covers may be made, for each client."""
    call_class: CallClass = "normal"
    """The most urgent that its calls may be, and what they are when they do not say."""
    unprotected: Unprotected = "observe"
    """What becomes of its calls of operations that have no policy."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A global deny: wins over every grant. Empty `consumers` or `clients` means all of them."""

    provider: str
    operations: tuple[str, ...]
    reason: str
    consumers: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything declared, in one value."""

    clients: tuple[Client, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    providers: tuple[Provider, ...] = ()
    grants: tuple[Grant, ...] = ()
    denials: tuple[Denial, ...] = field(default=())
    organisation: Party = NOBODY
    """Who runs this Tidegate, for the records."""
    protection: tuple[Protection, ...] = ()
