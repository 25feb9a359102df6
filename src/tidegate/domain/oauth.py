"""Say how a provider's access tokens are obtained (RFC 6749). No secret is in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from tidegate.domain.attach import FOR_TLS
from tidegate.domain.template import values_in

ACCESS_TOKEN: Final = "access_token"  # noqa: S105 - a field's name
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - a field's name
ACCOUNT: Final = "account"
"""The field that tells whose account a consent was given for."""
PRIVATE_KEY: Final = "private_key"
DPOP_KEY: Final = "dpop_key"
"""The field of the key that tokens are bound to (RFC 9449); Tidegate makes it."""
SUBJECT_TOKEN: Final = "subject_token"  # noqa: S105 - a field's name

GrantName = Literal[
    "client_credentials",
    "refresh_token",
    "authorization_code",
    "device_code",
    "jwt_bearer",
    "token_exchange",
]
ClientAuth = Literal[
    "basic", "post", "none", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"
]
Algorithm = Literal["RS256", "PS256", "ES256"]
ProofAlgorithm = Literal["ES256", "EdDSA"]
RequestForm = Literal["form", "json", "query"]
ExpiryUnit = Literal["s", "ms", "epoch_s", "epoch_ms", "rfc3339"]
_OAUTH: Final = "oauth2"
_IN_SCHEME: Final = ("issuer", "authorize_url", "par_url", "device_url", "revocation_url")


@dataclass(frozen=True, slots=True)
class Assertion:
    """What the JWTs that Tidegate signs say (RFC 7523 §3). `audience` empty: the issuer or endpoint.

    `subject`: the credential has a field `subject`, for whom tokens are asked; else the client itself.
    `key_id`: it has a field `key_id`, which names the key to the provider.
    """

    algorithm: Algorithm = "RS256"
    audience: str = ""
    subject: bool = False
    key_id: bool = False
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Expiry:
    """Where a token's answer says when it expires, and how: a time that is left, or a moment."""

    field: str = "expires_in"
    unit: ExpiryUnit = "s"


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The grant that a connection's access tokens come from.

    `client_credentials` (§4.4), `jwt_bearer` (RFC 7523) and `token_exchange` (RFC 8693) need nobody's
    consent; `refresh_token` (§6) lives on a consent that was given once; `authorization_code` (§4.1)
    and `device_code` (RFC 8628) ask a person for it. `parameters` are sent along to the token endpoint,
    `authorize_parameters` with the question for consent. `lifetime_s` is how long a token lives where
    the provider does not say. `reuse_s` is for how long the provider takes a refresh token again that
    it has replaced already. `account` names what tells accounts apart: `id_token.sub`, `token.team.id`.

    Endpoints and issuer may hold `{variables}`, which each connection fills: its scheme has what they
    became, and parameters may hold those of the token endpoint (else of the issuer). With `issuer`,
    endpoints that are not declared are found in its metadata (RFC 8414) when somebody connects, and kept
    in the connection's scheme. `iss`: it names itself in its answers (RFC 9207).
    `dpop`: tokens are bound to a key of the credential's, and how proofs of it are signed (RFC 9449).
    `request` is how endpoints are asked. `idle_s`: the provider ends a consent that is not used for so
    long; 0: it does not.
    """

    grant: GrantName
    token_url: str = ""
    client_auth: ClientAuth = "basic"
    scope: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    lifetime_s: int = 3_600
    reuse_s: int = 0
    issuer: str = ""
    authorize_url: str = ""
    par_url: str = ""
    device_url: str = ""
    revocation_url: str = ""
    iss: bool = False
    authorize_parameters: tuple[tuple[str, str], ...] = ()
    account: str = ""
    assertion: Assertion = Assertion()
    dpop: ProofAlgorithm | None = None
    request: RequestForm = "form"
    expiry: Expiry = Expiry()
    idle_s: int = 0

    @property
    def scheme(self) -> str:
        """Name the scheme with the places that its secrets go to: a credential is bound to them.

        What comes after the token endpoint is `name=value`; a connection may know fewer of them.
        """
        named = (f"{name}={getattr(self, name)}" for name in _IN_SCHEME if getattr(self, name))
        marks = [*(["iss=1"] if self.iss else []), *([f"dpop={self.dpop}"] if self.dpop else [])]
        return " ".join([_OAUTH, self.token_url, *named, *marks])

    @property
    def endpoints(self) -> dict[str, str]:
        """Return where secrets and people are sent, and the issuer; they may hold `{variables}`."""
        named = ("token_url", *_IN_SCHEME)
        return {name: url for name in named if (url := getattr(self, name))}

    @property
    def asks_a_person(self) -> bool:
        """Whether somebody with the account must consent before there is a token."""
        return self.grant in {"authorization_code", "device_code"}

    @property
    def refreshes(self) -> bool:
        """Whether the next token is had for a refresh token."""
        return self.grant in {"refresh_token", "authorization_code", "device_code"}

    @property
    def entered(self) -> tuple[str, ...]:
        """Name the fields that whoever connects enters; the rest comes with the consent."""
        return self._fields if self.asks_a_person else self.fields

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the fields of a credential that tokens are obtained with."""
        return (*self._fields, *([REFRESH_TOKEN] if self.refreshes else []))

    @property
    def made(self) -> tuple[str, ...]:
        """Name the fields that Tidegate makes when somebody connects."""
        return (DPOP_KEY,) if self.dpop else ()

    @property
    def _fields(self) -> tuple[str, ...]:
        names = ["client_id"]
        if self.client_auth in {"basic", "post"} and self.grant != "jwt_bearer":
            names.append("client_secret")
        if self.client_auth == "private_key_jwt" or self.grant == "jwt_bearer":
            names += [PRIVATE_KEY, *(["key_id"] if self.assertion.key_id else [])]
        if self.grant == "jwt_bearer" and self.assertion.subject:
            names.append("subject")
        if self.grant == "token_exchange":
            names.append(SUBJECT_TOKEN)
        if self.client_auth in {"tls_client_auth", "self_signed_tls_client_auth"}:
            names += FOR_TLS
        return tuple(names)


def bound_grant(grant: TokenGrant, scheme: str) -> TokenGrant | None:
    """Read the grant with the endpoints that a connection's credential is bound to.

    None: it is bound to others than are declared now, so that nothing of it may be sent anywhere.
    """
    kind, _, rest = scheme.partition(" ")
    token_url, *named = rest.split(" ")
    known = dict(pair.split("=", 1) for pair in named if "=" in pair)
    if grant.token_url:
        values = values_in(grant.token_url, token_url)
    else:
        values = values_in(grant.issuer, known.get("issuer", ""))
    if kind != _OAUTH or values is None:
        return None
    # A token of the one kind cannot be had, or shown, in the way of the other.
    if known.get("dpop") != grant.dpop:
        return None
    # What is declared since then gets no secret before somebody enters it anew.
    found = {name: known.get(name, "") for name in _IN_SCHEME}
    bound = replace(grant, token_url=token_url, iss="iss" in known, **found)
    return with_values(bound, values)


def with_values(grant: TokenGrant, values: Mapping[str, str]) -> TokenGrant:
    """The grant with the `{variables}` in its parameters filled; what else stands in braces stays."""

    def filled(parameters: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        return tuple((name, _filled(text, values)) for name, text in parameters)

    return replace(
        grant,
        parameters=filled(grant.parameters),
        authorize_parameters=filled(grant.authorize_parameters),
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
