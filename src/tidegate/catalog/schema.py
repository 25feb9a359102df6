"""The form of `tidegate.yaml`, as pydantic models: what may stand where, and what it means.

The models check one file's form and nothing that needs another entry: `resolve` follows references.
`json_schema` gives the same form to editors.
"""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic.functional_validators import AfterValidator, model_validator

from tidegate.catalog.cache_form import CacheEntry
from tidegate.catalog.checking_form import AnswersEntry, SchemaEntry, types_alone
from tidegate.catalog.dialect_form import ProviderLimitsEntry
from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import listed, shown
from tidegate.catalog.fields import (
    Address,
    AddressRange,
    BasePath,
    Bind,
    CallText,
    CertificateName,
    Date,
    Duration,
    FieldName,
    HeaderName,
    Host,
    IssuerUrl,
    LongDuration,
    Name,
    NumberAsText,
    OriginText,
    Pattern,
    Pin,
    Prefix,
    PriceText,
    PublicUrl,
    RateText,
    Region,
    Size,
    TokenUrl,
    VariableName,
    check_fixed_headers,
    refuse,
)
from tidegate.catalog.login_form import LoginAuth
from tidegate.catalog.party_form import (
    ContactForm,
    ErasureForms,
    PartyEntry,
    SuppressedWord,
    Text,
)
from tidegate.catalog.protection_form import ProtectionEntry
from tidegate.catalog.quota_form import QuotaEntry
from tidegate.catalog.resilience_form import (
    BreakerEntry,
    BulkheadEntry,
    HedgeEntry,
    IdempotencyEntry,
    OperationDeadlinesEntry,
    Plain,
    RetryEntry,
)
from tidegate.catalog.rotation_form import RotationEntry
from tidegate.catalog.shared_form import SharedEntry
from tidegate.catalog.templates import WrongTemplateError, read_template
from tidegate.catalog.yaml_source import Path
from tidegate.domain.protection import Unprotected

GIBIBYTE = 1024**3


class LimitEntry(Entry):
    """How often calls may come, and how many may be under way."""

    rate: RateText | None = None
    """So many calls in a time: `50/s`, `600/m`, `150/30s`."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """How many of them may come at once after a rest; all where absent."""
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)
    """How many calls may be under way."""
    shared: bool = False
    """Count the calls for all clients together, instead of each client's apart."""

    @model_validator(mode="after")
    def _limits_something(self) -> LimitEntry:
        if self.rate is None and self.concurrency is None:
            refuse("this limits nothing", "give a `rate`, a `concurrency` or both")
        if self.rate is None and self.burst is not None:
            refuse("`burst` is a part of a `rate`, and there is none", "give the `rate`")
        return self


def _rate_alone(value: Any) -> Any:
    return {"rate": value} if isinstance(value, str) else value


LimitForm = Annotated[
    LimitEntry, BeforeValidator(_rate_alone, json_schema_input_type=LimitEntry | RateText)
]


class ClientEntry(PartyEntry):
    """A tenant: one client of the agency, or the business itself. `acme:` alone is enough."""

    name: str = ""
    """What people call the client."""
    region: str = ""
    """Where the client's data belongs (`eu`, `us`, `de`); agreements say where it may go from there."""
    residency: list[Region] = []
    """The regions that its personal data may not leave, whatever an agreement says."""
    phi: bool = False
    """Whether its health data is protected by HIPAA; in region `us` it always is."""
    limit: LimitForm | None = None
    """How often all consumers together may call for it: `600/m`, or a mapping."""
    suppressed: SuppressedWord = "refuse"
    """`report` lets calls about subjects that were erased through, and records them."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _one_client(self) -> ClientEntry:
        if self.limit is not None and self.limit.shared:
            refuse("a client's limit is that client's alone", "leave `shared` out")
        return self


def _listed(value: Any) -> Any:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


class CertificateIdentityEntry(Entry):
    """Known by the certificate that it connects with, on a listener with a `client_ca`."""

    certificate: CertificateName
    """A name in it: `spiffe://corp.example/shop`, or a DNS name."""


class TokenIdentityEntry(Entry):
    """Known by a JWT that an issuer has signed."""

    issuer: Name
    """Which of the `issuers`."""
    claims: dict[str, str] = Field(min_length=1)
    """What the token must say, all of it: `{sub: "repo:acme/shop:ref:refs/heads/main"}`."""


def _identity_form(value: Any) -> str:
    if isinstance(value, dict):
        return "certificate" if "certificate" in value else "token"
    return "certificate" if isinstance(value, CertificateIdentityEntry) else "token"


IdentityForm = Annotated[
    Annotated[CertificateIdentityEntry, Tag("certificate")]
    | Annotated[TokenIdentityEntry, Tag("token")],
    Discriminator(_identity_form),
]


class ConsumerEntry(Entry):
    """A workload that calls through Tidegate: an app, a job, an agent."""

    clients: Annotated[
        Annotated[list[Name], Tag("list")] | Annotated[Literal["all"], Tag("all")],
        Discriminator(lambda value: "all" if isinstance(value, str) else "list"),
    ]
    """The clients it may act for, or `all`."""
    identities: list[IdentityForm] = []
    """What it is known by, besides access tokens."""
    limit: LimitForm | None = None
    """How often it may call, for each client apart: `50/s`, or a mapping."""


class IssuerEntry(Entry):
    """Somebody whose JWTs say which consumer calls: a CI, a cluster, an identity provider."""

    issuer: IssuerUrl
    """The `iss` of its tokens, character by character."""
    audience: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed)] = (
        Field(min_length=1)
    )
    """For whom its tokens must be (`aud`): one text, or several."""
    algorithms: list[Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"]] = ["RS256", "ES256"]
    """How they may be signed."""
    jwks_url: TokenUrl | None = None
    """Where its keys are; where absent, its metadata says it."""
    ca: str | None = None
    """A PEM file of certificates that replace the public roots for this issuer alone."""
    allow_private: list[AddressRange] = []
    """Private ranges in which it may be."""


class HeaderAuth(Entry):
    """The credential in a header."""

    header: HeaderName
    """The header's name."""
    prefix: Prefix = ""
    """What stands before the credential, with its space (`Bearer `)."""
    field: FieldName = "key"
    """The field of the connection's credential that goes there."""


class BasicHalves(Entry):
    """User and password of HTTP Basic: each a field of the credential or a fixed text."""

    username_field: FieldName | None = None
    """The field of the credential that is the user."""
    username: str = ""
    """A fixed user, where the provider asks for one (`api`)."""
    password_field: FieldName | None = None
    """The field of the credential that is the password."""
    password: str = ""
    """A fixed password that is no secret (`X`); usually empty."""

    @model_validator(mode="after")
    def _one_of_each(self) -> BasicHalves:
        if self.username_field is None and self.password_field is None:
            refuse(
                "neither half is a credential", "name `username_field`, `password_field` or both"
            )
        if self.username_field and self.username:
            refuse("the user is named twice", "keep `username` or `username_field`")
        if self.password_field and self.password:
            refuse("the password is named twice", "keep `password` or `password_field`")
        return self


class BasicAuth(Entry):
    """HTTP Basic, with a say in what its halves are."""

    basic: BasicHalves
    """Its two halves."""


class QueryAuth(Entry):
    """The credential in a query parameter."""

    query: str = Field(min_length=1)
    """The parameter's name."""
    field: FieldName = "key"
    """The field of the connection's credential that goes there."""


class CookieAuth(Entry):
    """The credential in a cookie."""

    cookie: HeaderName
    """The cookie's name."""
    field: FieldName = "key"
    """The field of the connection's credential that goes there."""


class AssertionEntry(Entry):
    """What the JWTs say that Tidegate signs with the connection's key (RFC 7523)."""

    algorithm: Literal["RS256", "PS256", "ES256"] = "RS256"
    """How they are signed."""
    audience: str = ""
    """For whom they are; the issuer, or else the token endpoint, where absent."""
    subject: bool = False
    """The credential has a field `subject`: for whom tokens are asked, if not the client itself."""
    key_id: bool = False
    """The credential has a field `key_id`, by which the provider knows the key."""
    claims: dict[str, str] = {}
    """What else they say (`scope`)."""

    @model_validator(mode="after")
    def _no_second_claim(self) -> AssertionEntry:
        for name in sorted({"iss", "sub", "aud", "exp", "iat", "nbf", "jti"} & self.claims.keys()):
            refuse(f"`{name}` is not for `claims`: Tidegate says it")
        return self


_SENT_BY_US = frozenset(
    {
        "assertion",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "device_code",
        "dpop_jkt",
        "grant_type",
        "nonce",
        "redirect_uri",
        "refresh_token",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "subject_token",
    }
)
_ACCOUNT = r"(id_token|token)(\.[A-Za-z0-9_-]{1,64}){1,4}"


class ExpiryEntry(Entry):
    """Where a token's answer says when it expires."""

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")] = "expires_in"
    """The member's name."""
    unit: Literal["s", "ms", "epoch_s", "epoch_ms", "rfc3339"] = "s"
    """What it tells: the time that is left, or the moment, as a Unix time or by RFC 3339."""


class TokenGrantEntry(Entry):
    """How access tokens are obtained, and refreshed before they expire."""

    grant: Literal[
        "client_credentials",
        "refresh_token",
        "authorization_code",
        "device_code",
        "jwt_bearer",
        "token_exchange",
    ]
    """What tokens come from: the client's own credentials, or a person's consent."""
    token_url: TokenUrl | None = None
    """The provider's token endpoint, `https://host/path`."""
    issuer: IssuerUrl | None = None
    """The provider's issuer: endpoints that are not named here are read from its metadata."""
    authorize_url: TokenUrl | None = None
    """Where a person is asked for consent (`authorization_code`)."""
    par_url: TokenUrl | None = None
    """Where the question is handed in beforehand, instead of in the person's address bar."""
    device_url: TokenUrl | None = None
    """Where a code for another device is had (`device_code`)."""
    revocation_url: TokenUrl | None = None
    """Where `tidegate disconnect` ends the consent."""
    iss: bool = False
    """The provider names its issuer when it sends a person back (RFC 9207): then it must."""
    client_auth: Literal[
        "basic", "post", "none", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"
    ] = "basic"
    """How the client shows who it is: a secret by HTTP Basic or in the body, a signed JWT, the
    connection's client certificate (RFC 8705), or not."""
    dpop: Literal["ES256", "EdDSA"] | None = None
    """Bind tokens to a key that Tidegate makes for each connection, with proofs signed so (RFC 9449)."""
    assertion: AssertionEntry = AssertionEntry()
    """What signed JWTs say (`jwt_bearer`, `private_key_jwt`)."""
    scopes: list[str] = []
    """What is asked for."""
    scope_separator: str = " "
    """What stands between two scopes; a space by the standard."""
    parameters: dict[str, str] = {}
    """What else is sent along to the token endpoint (`audience`); it may hold that address's variables."""
    authorize_parameters: dict[str, str] = {}
    """What else is sent along when a person is asked (`access_type`)."""
    account: Annotated[str, Field(pattern=f"^{_ACCOUNT}$")] | None = None
    """What tells the provider's accounts apart: a claim of the ID token (`id_token.sub`) or a part of
    the token's answer (`token.team.id`). A later consent must be for the same."""
    lifetime: LongDuration = 3_600_000
    """How long a token lives where the provider does not say."""
    expiry: ExpiryEntry = ExpiryEntry()
    """Where the provider says how long, if not in seconds as `expires_in`."""
    request: Literal["form", "json", "query"] = "form"
    """How endpoints are asked: a form by the standard. In the query, secrets are in what servers log."""
    idle: LongDuration = 0
    """After how long without a refresh the consent ends: one is made at half of it."""
    reuse: Duration = 0
    """For how long the provider takes a refresh token again that it has replaced already."""
    header: HeaderName = "Authorization"
    """The header that carries the access token on a call."""
    prefix: Prefix = "Bearer "
    """What stands before it, with its space; `DPoP ` where absent and `dpop` is declared."""

    @model_validator(mode="after")
    def _no_second_grant(self) -> TokenGrantEntry:
        for key in ("parameters", "authorize_parameters"):
            for name in sorted(_SENT_BY_US & getattr(self, key).keys()):
                refuse(f"`{name}` is not for `{key}`: Tidegate sends it")
        return self

    @model_validator(mode="after")
    def _endpoints(self) -> TokenGrantEntry:
        if self.issuer is None:
            wanted = {"authorization_code": "authorize_url", "device_code": "device_url"}
            needed = ["token_url", *([wanted[self.grant]] if self.grant in wanted else [])]
            for name in needed:
                if getattr(self, name) is None:
                    refuse(f"`{self.grant}` needs `{name}`", "or an `issuer` whose metadata has it")
            if self.iss:
                refuse("`iss` needs an `issuer` to compare with", "name the provider's `issuer`")
        if self.client_auth == "none" and self.grant == "client_credentials":
            refuse("with `client_auth: none` there are no client credentials")
        return self


class OAuthAuth(Entry):
    """An access token that Tidegate obtains and keeps fresh (OAuth 2.0)."""

    oauth2: TokenGrantEntry
    """Where it comes from, and where it goes."""


class SigV4Entry(Entry):
    """AWS Signature Version 4: which service and region calls are signed for."""

    service: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    """The service's name in signatures (`s3`, `execute-api`)."""
    region: str = Field("", pattern=r"^([a-z0-9-]{1,64})?$")
    """The region (`eu-central-1`); without it, what the host says (`email.eu-central-1.amazonaws.com`)."""
    payload: Literal["hashed", "unsigned"] = "hashed"
    """Sign the body, which is then held up to 8 MiB, or let it stream under TLS alone."""
    session_token: bool = False
    """The credential has a `session_token` too."""


class SigV4Auth(Entry):
    """Calls signed as AWS asks."""

    sigv4: SigV4Entry
    """What is signed for."""


class HmacEntry(Entry):
    """A signature of the provider's own making: the HMAC of a text."""

    message: str = Field(min_length=1)
    """The text, with placeholders: `{timestamp}{method}{target}{body}`."""
    key: FieldName | None = None
    """The field of the credential that is the key; without one, the text is hashed as it is."""
    key_encoding: Literal["text", "hex", "base64"] = "text"
    """How that field writes the key."""
    hash: Literal["sha1", "sha256", "sha512"] = "sha256"
    """The hash."""
    output: Literal["hex", "base64", "base64url", "hex_base64"] = "hex"
    """How the signature is written."""
    headers: dict[HeaderName, str] = {}
    """Header fields: `{X-Signature: "{signature}", X-Time: "{timestamp}"}`."""
    query: dict[str, str] = {}
    """Query parameters, of the same making."""
    timestamp: Literal["unix", "unix_ms", "rfc3339", "http_date"] = "unix"
    """How `{timestamp}` is written."""

    @model_validator(mode="after")
    def _shown(self) -> HmacEntry:
        texts = [*self.headers.values(), *self.query.values()]
        if not any("{signature}" in text or "{basic:" in text for text in texts):
            refuse(
                "the signature goes nowhere", 'write it in `headers`: `X-Signature: "{signature}"`'
            )
        for text, signed in [(self.message, False), *((text, True) for text in texts)]:
            try:
                read_template(text, signed=signed)
            except WrongTemplateError as wrong:
                refuse(str(wrong), wrong.hint)
        if self.key is None and "{field:" not in self.message:
            refuse("nothing secret is in the signature", "name the `key`")
        return self


class HmacAuth(Entry):
    """Calls signed as the provider made up."""

    hmac: HmacEntry
    """What is signed, and where the signature goes."""


_DERIVED = (
    "@method",
    "@authority",
    "@scheme",
    "@path",
    "@query",
    "@request-target",
    "@target-uri",
)


def _check_component(text: str) -> str:
    if text in _DERIVED or re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}", text):
        return text
    return refuse(
        f"{shown(text)} cannot be covered",
        f"name a header field in small letters, or {listed(_DERIVED)}",
    )


class HttpSignatureEntry(Entry):
    """HTTP Message Signatures (RFC 9421)."""

    components: list[Annotated[str, AfterValidator(_check_component)]] = Field(min_length=1)
    """What is covered: `@method`, `@authority`, `@path` …, and header fields in small letters."""
    algorithm: Literal[
        "hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256"
    ]
    """The algorithm, by its name in the RFC."""
    label: str = Field("sig1", pattern=r"^[a-z*][a-z0-9_.*-]{0,63}$")
    """The signature's label."""

    @model_validator(mode="after")
    def _each_once(self) -> HttpSignatureEntry:
        if len(set(self.components)) < len(self.components):
            refuse("a component is covered twice")
        return self


class HttpSignatureAuth(Entry):
    """Calls signed by RFC 9421."""

    http_signature: HttpSignatureEntry
    """What is covered, and how."""


class OAuth1Entry(Entry):
    """OAuth 1.0, with a token that was given once."""

    signature: Literal["HMAC-SHA1", "HMAC-SHA256"] = "HMAC-SHA256"
    """The signature method."""
    realm: str = Field("", pattern=r'^[^"\\\x00-\x1f\x7f]{0,200}$')
    """What is said as `realm`, where the provider wants one."""


class OAuth1Auth(Entry):
    """Calls signed by OAuth 1.0."""

    oauth1: OAuth1Entry
    """How."""


class DigestEntry(Entry):
    """HTTP Digest (RFC 7616), by SHA-256 or better."""

    md5: bool = False
    """Also where the provider offers nothing better than MD5. A weakening."""


class DigestAuth(Entry):
    """A user name and a password that is proven and never sent."""

    digest: DigestEntry
    """With what."""


_NEVER_A_HOOKS = frozenset(
    {
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "host",
        "http2-settings",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _check_hook(text: str) -> str:
    part = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
    if re.fullmatch(rf"{part}(\.{part}){{0,15}}:{part}", text):
        return text
    return refuse(
        f"{shown(text)} names no function", "write `package.module:function`, as Python imports it"
    )


class HookAuth(Entry):
    """Calls signed by a Python function of your own, for what no template can say. It runs code."""

    hook: Annotated[str, AfterValidator(_check_hook)]
    """The function, `package.module:function`, on the Python path of the gateway."""
    fields: list[FieldName] = Field(min_length=1)
    """The fields of the connection's credential that it sees, in clear."""
    headers: list[HeaderName] = []
    """The header fields that it may set."""
    query: list[Annotated[str, Field(min_length=1)]] = []
    """The query parameters that it may add."""
    body: bool = False
    """Show it the body too, which is then held up to 8 MiB."""
    timeout: Duration = 1_000
    """How long it may take; a later answer counts for nothing."""

    @model_validator(mode="after")
    def _adds(self) -> HookAuth:
        if not self.headers and not self.query:
            refuse("the hook may add nothing", "name what it sets, in `headers` or `query`")
        for name in self.headers:
            if name.lower() in _NEVER_A_HOOKS:
                refuse(f"`{name}` frames or routes the call; no hook sets it", "leave it out")
        return self


AuthName = Literal["bearer", "basic", "none"]
_AUTH_FORMS = {
    # First: it may name a `query` too.
    "hook": "HookAuth",
    "header": "HeaderAuth",
    "basic": "BasicAuth",
    "query": "QueryAuth",
    "cookie": "CookieAuth",
    "oauth2": "OAuthAuth",
    "login": "LoginAuth",
    "sigv4": "SigV4Auth",
    "hmac": "HmacAuth",
    "http_signature": "HttpSignatureAuth",
    "oauth1": "OAuth1Auth",
    "digest": "DigestAuth",
}


def _auth_form(value: Any) -> str | None:
    if isinstance(value, str):
        return "AuthName"
    if isinstance(value, dict):
        return next((form for key, form in _AUTH_FORMS.items() if key in value), None)
    return type(value).__name__ if isinstance(value, Entry) else None


AuthForm = Annotated[
    Annotated[AuthName, Tag("AuthName")]
    | Annotated[HeaderAuth, Tag("HeaderAuth")]
    | Annotated[BasicAuth, Tag("BasicAuth")]
    | Annotated[QueryAuth, Tag("QueryAuth")]
    | Annotated[CookieAuth, Tag("CookieAuth")]
    | Annotated[OAuthAuth, Tag("OAuthAuth")]
    | Annotated[LoginAuth, Tag("LoginAuth")]
    | Annotated[SigV4Auth, Tag("SigV4Auth")]
    | Annotated[HmacAuth, Tag("HmacAuth")]
    | Annotated[HttpSignatureAuth, Tag("HttpSignatureAuth")]
    | Annotated[OAuth1Auth, Tag("OAuth1Auth")]
    | Annotated[DigestAuth, Tag("DigestAuth")]
    | Annotated[HookAuth, Tag("HookAuth")],
    Discriminator(
        _auth_form,
        custom_error_type="auth_form",
        custom_error_message=(
            "auth is `bearer`, `basic`, `none`, or a mapping with `header`, `basic`, `query`, "
            "`cookie`, `oauth2`, `login`, `sigv4`, `hmac`, `http_signature`, `oauth1`, `digest` or "
            "`hook`"
        ),
    ),
]


class VariableEntry(Entry):
    """A `{variable}` in the origin's host, which each connection fills."""

    pattern: Pattern = ""
    """A regular expression that a value must match whole; without one, one host label."""
    description: str = ""
    """What to enter, for the person who connects."""


class TlsEntry(Entry):
    """How the provider's TLS is verified. Nothing here turns verification off."""

    ca: str | None = None
    """A PEM file of certificates that replace the public roots for this provider alone."""
    pins: list[Pin] = []
    """Public keys, one of which the provider's chain must hold (`sha256/<base64>`)."""
    min_version: Annotated[Literal["1.2", "1.3"], NumberAsText] = "1.2"
    """The oldest TLS version that is accepted."""
    client_certificate: bool = False
    """The connection's credential has a certificate and key for mutual TLS."""


class DeadlinesEntry(Entry):
    """How long a call may wait."""

    connect: Duration = 5_000
    """For a connection, TLS included."""
    first_byte: Duration = 60_000
    """For the first byte of the answer."""
    idle: Duration = 60_000
    """Between two bytes of a body, either way."""
    total: Duration = 600_000
    """For the whole call; a consumer asks for less by `Tidegate-Timeout`."""
    operations: list[OperationDeadlinesEntry] = []
    """Others for some operations."""


class BoundsEntry(Entry):
    """How much a call may carry."""

    request_body: Size = 8 * GIBIBYTE
    """Bytes of a request's body."""
    response_body: Size = 8 * GIBIBYTE
    """Bytes of an answer's body."""


def _calls_form(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping"


class ObserveEntry(Entry):
    """How many calls of operations that have no policy are looked at, to draft one."""

    one_in: int = Field(default=10, ge=1, le=1_000_000)
    """One of so many, chosen by chance."""


def _observed(value: Any) -> Any:
    if isinstance(value, bool):
        return ObserveEntry() if value else None
    return value


class ProviderEntry(Entry):
    """An organisation's API: a preset, a document, or operations by hand."""

    preset: str | None = None
    """The built-in declaration to start from; what stands here beside it wins."""
    title: str = ""
    """What people call the provider."""
    origin: OriginText | None = None
    """Where the API is: `https://host`, which may hold `{variables}`; it serves all operations."""
    origins: list[OriginText] = []
    """Several origins; the first serves operations that name no other."""
    auth: Annotated[
        list[AuthForm], BeforeValidator(_listed, json_schema_input_type=AuthForm | list[AuthForm])
    ] = []
    """Where the credential goes on a call; a list where the provider wants several."""
    openapi: str | None = None
    """An OpenAPI 3.0, 3.1 or Swagger 2 document: a file beside this one, or an https URL."""
    operations: Annotated[
        Annotated[list[CallText], Tag("list")] | Annotated[dict[str, CallText], Tag("mapping")],
        Discriminator(_calls_form),
    ] = []
    """Operations by hand: `METHOD /path`, in a list or by name."""
    base_path: BasePath | None = None
    """What stands before every path; replaces the document's own base path."""
    headers: Annotated[dict[str, str], AfterValidator(check_fixed_headers)] = {}
    """Headers sent where the consumer sends none of that name (version pins)."""
    hosts: list[Host] = []
    """Host names by which consumers may address the provider, without its path prefix."""
    variables: dict[VariableName, VariableEntry] = {}
    """What the `{variables}` of the origins may be."""
    allow_private: list[AddressRange] = []
    """Private address ranges that the provider may resolve to. A weakening."""
    http: Annotated[Literal["auto", "1.1", "2"], NumberAsText] = "auto"
    """The HTTP version towards the provider."""
    tls: TlsEntry = TlsEntry()
    """How its TLS is verified."""
    deadlines: DeadlinesEntry = DeadlinesEntry()
    """How long its calls may wait."""
    bounds: BoundsEntry = BoundsEntry()
    """How much its calls may carry."""
    idempotency: IdempotencyEntry | None = None
    """How it knows that two requests are one."""
    retry: Annotated[RetryEntry | None, Plain] = None
    """When a call goes out again; never where this is absent."""
    failover: list[OriginText] = []
    """Origins that stand for one another: when one fails, the next is tried."""
    breaker: Annotated[BreakerEntry | None, Plain] = None
    """When calls to an origin that fails stop for a while; never where this is absent."""
    bulkhead: BulkheadEntry | None = None
    """How many calls are at it at once; unbounded where this is absent."""
    hedge: HedgeEntry | None = None
    """What is asked a second time when an answer is late; nothing where this is absent."""
    encoded_slash: bool = False
    """Let `%2F` stand inside a path parameter. A weakening."""
    echo: Literal["redact", "refuse"] = "redact"
    """Strike the credential out of an answer that holds it, or refuse the answer."""
    limits: ProviderLimitsEntry | None = None
    """What its answers say of its limits."""
    rotation: RotationEntry = RotationEntry()
    """How its credentials are replaced, and how old they may become."""
    quotas: dict[Name, QuotaEntry | None] = {}
    """How much it allows, by names of your own; `null` leaves out one of the preset's."""
    cache: CacheEntry | None = None
    """What may be stored of its answers; nothing where absent."""
    schema_: SchemaEntry | None = Field(default=None, alias="schema")
    """What becomes of requests and answers that do not fit the document; nothing where absent."""
    answers: Annotated[
        AnswersEntry | None,
        BeforeValidator(types_alone, json_schema_input_type=AnswersEntry | list[str] | None),
    ] = None
    """What answers may be and hold, and what of them is passed on; all where absent."""
    price: PriceText | None = None
    """What a call costs, with its currency (`0.002 EUR`): `usage` says what was saved."""
    prices: dict[str, PriceText] = {}
    """What calls cost that cost something else, by operation id or `METHOD /path` (with `*`)."""
    legal_name: Text | None = None
    """The name under which it is registered, for the records."""
    contact: ContactForm | None = None
    """Whom to write to there: an e-mail address, or a mapping."""
    erasure: ErasureForms = []
    """How it is asked to forget somebody; a list where that differs by kind of subject."""
    unprotected: Unprotected = "observe"
    """`refuse` calls of operations that have no policy under `protection`."""
    observe: Annotated[
        ObserveEntry | None,
        BeforeValidator(_observed, json_schema_input_type=ObserveEntry | bool | None),
    ] = None
    """Learn the shapes of such calls, never values, for `tidegate protect suggest`: `true`, or `{one_in: 10}`."""

    @model_validator(mode="after")
    def _origin_once(self) -> ProviderEntry:
        if self.origin and self.origins:
            refuse("the origin is named twice", "keep `origin` or `origins`")
        return self


class GrantEntry(Entry):
    """This consumer may call these operations of this provider for these clients."""

    name: Name | None = None
    """How decisions and problems call this grant; its place in the file where absent."""
    consumer: Name
    """Who may call."""
    provider: Name
    """Whose operations."""
    operations: list[str] = Field(min_length=1)
    """Operation ids or `METHOD /path`, either with `*` for any text."""
    clients: list[Name] = []
    """For which of the consumer's clients; all of them where absent."""
    mode: Literal["enforce", "report"] = "enforce"
    """`report` lets calls that no grant covers through and records them."""
    enforce_from: Date | None = None
    """The day from which a `report` grant enforces."""
    limit: LimitForm | None = None
    """How often the calls that it covers may come, for each client apart: `50/s`, or a mapping."""
    call_class: Literal["interactive", "normal", "batch"] = Field("normal", alias="class")
    """Who goes first where calls wait; a call may say that it is less urgent (`Tidegate-Class`)."""
    unprotected: Unprotected = "observe"
    """`refuse` calls of operations that have no policy under `protection`."""

    @model_validator(mode="after")
    def _date_for_report(self) -> GrantEntry:
        if self.enforce_from is not None and self.mode != "report":
            refuse("`enforce_from` is for a grant in mode `report`; this one enforces already")
        return self


class DenyEntry(Entry):
    """A denial that wins over every grant."""

    name: Name | None = None
    """How decisions and problems call this denial; its place in the file where absent."""
    provider: Name
    """Whose operations."""
    operations: list[str] = Field(min_length=1)
    """Operation ids or `METHOD /path`, either with `*` for any text."""
    reason: str = Field(min_length=1)
    """Why, for the person whose call is refused."""
    consumers: list[Name] = []
    """Whom it binds; everyone where absent."""
    clients: list[Name] = []
    """For which clients; all of them where absent."""


class ListenTlsEntry(Entry):
    """The gateway's own certificate."""

    certificate: str = Field(min_length=1)
    """A PEM file with the certificate and its chain."""
    key: str = Field(min_length=1)
    """A PEM file with the key, readable by the gateway alone."""
    client_ca: str | None = None
    """A PEM file of authorities; consumers must then show a certificate of theirs."""
    client_crl: str | None = None
    """A PEM file with the list of revoked certificates (RFC 5280) of each of these authorities."""


class ListenEntry(Entry):
    """One address the gateway listens on."""

    bind: Bind
    """`address:port`."""
    tls: ListenTlsEntry | None = None
    """With it, TLS; without it, plain HTTP for consumers on this machine."""


class PagesTlsEntry(Entry):
    """The consent pages' own certificate."""

    certificate: str = Field(min_length=1)
    """A PEM file with the certificate and its chain."""
    key: str = Field(min_length=1)
    """A PEM file with the key, readable by the gateway alone."""


class ConsentEntry(Entry):
    """Pages on which people consent: `tidegate connect --link` makes links to them."""

    public_url: PublicUrl
    """Where people reach them, `https://connect.example.com`; providers send people back there."""
    bind: Bind
    """`address:port` to listen on, apart from the calls."""
    tls: PagesTlsEntry | None = None
    """With it, TLS; without it, a proxy before it ends TLS."""


class MetricsEntry(Entry):
    """Numbers for Prometheus: `GET /metrics`, on an address of its own."""

    bind: Bind
    """`address:port`; whoever reaches it reads the names of clients and providers, and how much is called."""


class ResolverEntry(Entry):
    """How names of providers are resolved."""

    servers: list[Address] = []
    """Addresses of name servers; those of the machine where absent."""
    hosts: dict[Host, list[Address]] = {}
    """Names with fixed addresses, checked like any others."""
    timeout: Duration = 2_000
    """For an answer."""


_DISK_MIN_ANSWERS: Final = 8


class CacheBoundsEntry(Entry):
    """How much is stored of answers: in memory, and on disk."""

    memory: Size = 256 * 1024**2
    """Of all clients together."""
    per_client: Size = 64 * 1024**2
    """Of one client; what is shared by all counts as one."""
    answer: Size = 4 * 1024**2
    """Of one answer's body; larger ones pass and are not stored."""
    disk: Size | None = None
    """On disk besides, sealed by each client's key; nothing where absent."""
    folder: str | None = Field(default=None, min_length=1)
    """Where on disk, from this file's folder; below Tidegate's data where absent."""

    @model_validator(mode="after")
    def _fits(self) -> CacheBoundsEntry:
        if self.per_client > self.memory:
            refuse("one client may store more than there is room for", "lower `per_client`")
        if self.answer > self.per_client // 4:
            refuse("one answer may take more than a quarter of its client's room", "lower `answer`")
        if self.folder is not None and self.disk is None:
            refuse(
                "`folder` is where `disk` is kept, and there is none", "say how much: `disk: 10GiB`"
            )
        if self.disk is not None and self.disk < _DISK_MIN_ANSWERS * self.answer:
            refuse("one answer may take more than an eighth of the disk's room", "raise `disk`")
        return self


class GatewayEntry(Entry):
    """How `tidegate up` runs on this machine; no part of a revision."""

    listen: list[ListenEntry] = Field(default=[ListenEntry(bind="127.0.0.1:8080")], min_length=1)
    """Where consumers call."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Engine threads; one for each core where absent."""
    connections_max: int = Field(default=20_000, ge=1, le=1_000_000)
    """Consumer connections at once."""
    calls_max: int = Field(default=10_000, ge=1, le=1_000_000)
    """Calls under way at once."""
    head_timeout: Duration = 10_000
    """For a request's head."""
    idle_timeout: Duration = 75_000
    """For a connection without a request."""
    body_idle_timeout: Duration = 30_000
    """Between two bytes of a request's body."""
    spool_max: Size = 4 * GIBIBYTE
    """Disk that unstored records may take."""
    resolver: ResolverEntry = ResolverEntry()
    """How names are resolved."""
    consent: ConsentEntry | None = None
    """Pages on which people consent; none where absent."""
    metrics: MetricsEntry | None = None
    """Numbers for Prometheus; none where absent."""
    cache: CacheBoundsEntry = CacheBoundsEntry()
    """How much is stored of answers, where providers declare a `cache`."""
    shared: SharedEntry | None = None
    """Where several gateways count together; this one counts alone where absent."""


class File(Entry):
    """What Tidegate is told: who may call what, for whom, and how."""

    version: Literal[1]
    """The version of this file's form."""
    include: list[str] = []
    """Further files of this form, below this one's folder: paths or patterns (`teams/*.yaml`)."""
    organisation: PartyEntry = PartyEntry()
    """Who runs this Tidegate, for the records of processing; in the first file only."""
    clients: dict[Name, ClientEntry] = {}
    """The tenants, by name."""
    issuers: dict[Name, IssuerEntry] = {}
    """Whose JWTs count, by name."""
    consumers: dict[Name, ConsumerEntry] = {}
    """The workloads that call, by name."""
    providers: dict[Name, ProviderEntry] = {}
    """The APIs they may call, by the name that begins a call's path."""
    grants: list[GrantEntry] = []
    """Who may call what."""
    deny: list[DenyEntry] = []
    """What nobody may call, whatever a grant says."""
    protection: list[ProtectionEntry] = []
    """What of requests goes to providers, and in which form."""
    unprotected: Unprotected = "observe"
    """`refuse` all calls of operations that have no policy under `protection`, in whichever file."""
    gateway: GatewayEntry = GatewayEntry()
    """How `tidegate up` runs; in the first file only."""


def json_schema() -> dict[str, Any]:
    """The form as JSON Schema 2020-12, for editors."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**dialect, **File.model_json_schema(mode="validation"), "title": "tidegate.yaml"}


def keys_known_at(path: Path) -> tuple[str, ...]:
    """The keys that may stand in the mapping at a path of a validation error."""
    form: Any = File
    for part in path:
        form = _inner_form(form, part)
    entry = _entry_in(form)
    if entry is None:
        return ()
    return tuple(field.alias or name for name, field in entry.model_fields.items())


def _entry_in(form: Any) -> type[Entry] | None:
    """The entry that a form is, or may be beside something else."""
    if isinstance(form, type):
        return form if issubclass(form, Entry) else None
    if get_origin(form) in {Annotated, Union, UnionType}:
        inner = (_entry_in(argument) for argument in get_args(form))
        return next((found for found in inner if found is not None), None)
    return None


def _inner_form(form: Any, part: str | int) -> Any:
    """Step from a form to that of one of its parts, as pydantic's paths go."""
    if get_origin(form) is Annotated:
        tagged = [tag.tag for tag in form.__metadata__ if isinstance(tag, Tag)]
        bare = get_args(form)[0]
        return bare if tagged == [part] else _inner_form(bare, part)
    if isinstance(form, type) and issubclass(form, Entry):
        named = (
            field for name, field in form.model_fields.items() if (field.alias or name) == part
        )
        field = next(named, None)
        return field.annotation if field else None
    arguments = get_args(form)
    if get_origin(form) in {Union, UnionType}:
        inner = (_inner_form(argument, part) for argument in arguments)
        return next((found for found in inner if found is not None), None)
    return arguments[-1] if get_origin(form) in {dict, list} else None
