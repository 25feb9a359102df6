"""Say how a provider's access tokens are obtained (RFC 6749). No secret is in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ACCESS_TOKEN: Final = "access_token"  # noqa: S105 - a field's name
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - a field's name


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The grant that a connection's access tokens come from.

    `client_credentials` (§4.4) needs nobody's consent; `refresh_token` (§6) lives on a consent that
    was given once. `parameters` are sent along (`audience`, `resource`). `lifetime_s` is how long a
    token lives where the provider does not say. `reuse_s` is for how long the provider takes a
    refresh token again that it has replaced already.
    """

    grant: Literal["client_credentials", "refresh_token"]
    token_url: str
    client_auth: Literal["basic", "post", "none"] = "basic"
    scope: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    lifetime_s: int = 3_600
    reuse_s: int = 0

    @property
    def scheme(self) -> str:
        """Name the scheme with the place that its secrets go to: a credential is bound to both."""
        return f"oauth2 {self.token_url}"

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the fields of a credential that tokens are obtained with."""
        secret = () if self.client_auth == "none" else ("client_secret",)
        refresh = (REFRESH_TOKEN,) if self.grant == "refresh_token" else ()
        return ("client_id", *secret, *refresh)
