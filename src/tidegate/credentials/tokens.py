"""Make, list and revoke the access tokens that consumers show Tidegate.

`tdg_`, 30 random base62 characters (178 bits), then 6 that check the rest: junk is told from tokens
without a look-up, and a secret scanner finds a leaked one by `tdg_[0-9A-Za-z]{36}`. A token is
shown once. What stays is its HMAC under a key that only the vault opens; with so much randomness
nothing slower is needed.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

from tidegate.catalog.errors import listed, shown
from tidegate.credentials.errors import CredentialRefused, require_known
from tidegate.domain.connection import AccessToken
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret
from tidegate.store import Store, StoreConflict
from tidegate.vault import Vault

DAYS_MAX: Final = 90
"""How long a token may be valid, unless a longer life is allowed expressly."""

LIVE_MAX: Final = 2
"""How many tokens of one scope may be valid at a time: the one in use, and the one replacing it."""

_PREFIX: Final = "tdg_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 30
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(rf"{_PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")


class AccessTokens:
    """The access tokens of one store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def create(
        self,
        declaration: Declaration,
        consumer: str,
        *,
        client: str | None = None,
        providers: tuple[str, ...] = (),
        days: int = 30,
        allow_long: bool = False,
        now: datetime | None = None,
    ) -> tuple[AccessToken, Secret]:
        """Make a token; the secret is the token itself, and is kept nowhere.

        Raises:
            CredentialRefused: the scope is not declared, the life too long, or two live already.
        """
        _require_scope(declaration, consumer, client, providers)
        _require_days(days, allow_long=allow_long)
        created_at = now or datetime.now(UTC)
        secret = Secret(_new_token())
        token = AccessToken(
            id=f"tok_{secrets.token_hex(8)}",
            consumer=consumer,
            hmac_hex=hmac.digest(self._vault.token_key().reveal(), secret.reveal(), "sha256").hex(),
            created_at=created_at,
            expires_at=created_at + timedelta(days=days),
            client=client,
            providers=tuple(sorted(set(providers))),
        )
        try:
            self._store.tokens.add(token, live_max=LIVE_MAX)
        except StoreConflict:
            raise CredentialRefused(self._too_many(token)) from None
        return token, secret

    def list(self) -> tuple[AccessToken, ...]:
        """Return all tokens, oldest first, without the tokens themselves."""
        return self._store.tokens.all()

    def revoke(self, token_id: str, *, now: datetime | None = None) -> AccessToken:
        """End a token's validity for good; once more changes nothing.

        Raises:
            CredentialRefused: there is no such token.
        """
        self._store.tokens.revoke(token_id, now or datetime.now(UTC))
        revoked = self._store.tokens.get(token_id)
        if revoked is None:
            if check_format(token_id):
                raise CredentialRefused(
                    "That is an access token itself. Revoke it by its id (`tok_…`), which "
                    "`tidegate token list` shows; and do not leave it in your shell's history."
                )
            require_known("access token", token_id, (token.id for token in self.list()))
            raise CredentialRefused(f"The access token `{token_id}` was removed just now.")
        return revoked

    def _too_many(self, wanted: AccessToken) -> str:
        live = [token for token in self.list() if _is_live_beside(token, wanted)]
        # The one that was not used for longest is the one that its consumer has left behind.
        live.sort(key=lambda token: token.last_used_at or token.created_at)
        those = ", ".join(f"`{token.id}` ({_use_of(token)})" for token in live)
        return (
            f"Consumer `{wanted.consumer}` has {LIVE_MAX} live tokens of this scope already, which "
            f"is what replacing one takes. Revoke the one that is not in use: {those}."
        )


def check_format(text: str) -> bool:
    """Whether a text is an access token by its form and checksum; it may still be unknown."""
    if not _FORM.fullmatch(text):
        return False
    return _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def _new_token() -> str:
    body = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _is_live_beside(token: AccessToken, other: AccessToken) -> bool:
    scope = (token.consumer, token.client, token.providers)
    return (
        scope == (other.consumer, other.client, other.providers)
        and token.revoked_at is None
        and token.expires_at > other.created_at
    )


def _use_of(token: AccessToken) -> str:
    if token.last_used_at is None:
        return "never used"
    return f"last used {token.last_used_at:%Y-%m-%d %H:%M} UTC"


def _require_scope(
    declaration: Declaration, consumer: str, client: str | None, providers: tuple[str, ...]
) -> None:
    consumers = {declared.name: declared for declared in declaration.consumers}
    require_known("consumer", consumer, consumers)
    if client is not None and client not in (theirs := consumers[consumer].clients):
        raise CredentialRefused(
            f"Consumer `{consumer}` does not act for client {shown(client)}, only for "
            f"{listed(theirs) or 'none'}."
        )
    for provider in providers:
        require_known("provider", provider, (declared.name for declared in declaration.providers))


def _require_days(days: int, *, allow_long: bool) -> None:
    if days < 1:
        raise CredentialRefused("A token is valid for at least one day.")
    if days > DAYS_MAX and not allow_long:
        raise CredentialRefused(
            f"A token is valid for at most {DAYS_MAX} days: replace it in time, or allow a longer "
            "life expressly."
        )
