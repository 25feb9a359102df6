"""Say how a session is begun at a provider whose tokens are not OAuth's. No secret is in here.

A session's token is issued, kept fresh and replaced like an access token; what asks for it is one
request of the provider's own making, or a JWT that Tidegate signs itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tidegate.domain.oauth import Algorithm
from tidegate.domain.rotation import Hook

LOGIN: Final = "login"
JWT: Final = "jwt"
"""The placeholder that stands for the JWT."""


@dataclass(frozen=True, slots=True)
class TokenAt:
    """Where an answer has the token: at a JSON Pointer (RFC 6901), in a header field or in a cookie."""

    kind: Literal["json", "header", "cookie"]
    at: str


@dataclass(frozen=True, slots=True)
class SignedJwt:
    """A JWT (RFC 7519) by the credential's `private_key`. Values hold `{placeholders}`.

    `iat` is put `backdate_s` back, because some providers refuse what seems to come from later.
    """

    algorithm: Algorithm
    claims: tuple[tuple[str, str], ...]
    header: tuple[tuple[str, str], ...] = ()
    lifetime_s: int = 600
    backdate_s: int = 60


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The request that begins a session, or ends it.

    `basic` are the credential's fields for HTTP Basic; `bearer` a text for `Authorization: Bearer`.
    """

    hook: Hook
    basic: tuple[str, str] | None = None
    bearer: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """How the tokens of a provider's connections are had.

    Without `request` the JWT is the token. `expires_at` and `expires_in` are places in the answer: a
    moment, or a number of `unit_s` seconds; where neither is there, a token lives for `lifetime_s`.
    `replaces` are fields of the credential that an answer has anew (a token that is exchanged for the
    next one), each with its place. `fields` are what a person enters to log in with; `beside` those
    that stand on calls beside the token. `over` are the statuses by which the provider says that the
    session is over.
    """

    request: LoginRequest | None
    token: TokenAt | None
    fields: tuple[str, ...]
    jwt: SignedJwt | None = None
    expires_at: str = ""
    expires_in: str = ""
    unit_s: float = 1.0
    lifetime_s: int = 1_800
    replaces: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()
    logout: LoginRequest | None = None
    over: tuple[int, ...] = (401,)

    @property
    def entered(self) -> tuple[str, ...]:
        """Name the fields of a connection's credential."""
        return tuple(dict.fromkeys((*self.fields, *self.beside)))

    @property
    def scheme(self) -> str:
        """Name the scheme, with what of the credential goes to the engine beside the token."""
        return " ".join([LOGIN, *self.beside])

    @property
    def is_used_up(self) -> bool:
        """Whether logging in may use up what is entered, as a refresh token is."""
        return bool(self.replaces)
