"""Talk to a provider about its keys: each request of a rotation, made with the credential it needs.

A credential goes to the origins that it is bound to and nowhere else: a hook names an origin by its
number among those of the connection whose credential it is made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidegate.credentials.asking import ASK_MS, Ask, post
from tidegate.credentials.attaching import attached
from tidegate.credentials.hooks import (
    Key,
    Query,
    UnknownValueError,
    UnreadableError,
    Values,
    document_of,
    fill,
    id_in_field,
    read_id,
    read_keys,
    read_last_used,
    read_new,
)
from tidegate.credentials.refresh import was_not_sent
from tidegate.credentials.token_endpoint import TokenRefusedError, read_answer, token_request
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import bound_grant
from tidegate.domain.rotation import Hook, Rotation
from tidegate.domain.secret import Secret
from tidegate.engine import Fetched, FetchError, FetchOptions, Signing

ANSWER_BYTES_MAX: Final = 1024**2
PAGES_MAX: Final = 50

_OK: Final = range(200, 300)
_GONE: Final = frozenset({404, 410})
_TOO_MANY: Final = 429
_TIMEOUT: Final = 408
_SERVER_ERROR: Final = 500


class RefusedError(Exception):
    """The provider said no, or was not reached. `word` holds no secret.

    `unknown`: whether the request was carried out is not known.
    """

    def __init__(self, word: str, *, unknown: bool, passing: bool = True) -> None:
        super().__init__(word)
        self.word = word
        self.unknown = unknown
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Holder:
    """A credential with what it is for: whose account, where, how it is shown."""

    connection: Connection
    provider: Provider
    fields: Mapping[str, Secret]


class ProviderSide:
    """The requests of one rotation."""

    def __init__(self, engine: Ask, rotation: Rotation, values: Values) -> None:
        self._engine = engine
        self._rotation = rotation
        self._values = values

    def create(self, admin: Holder) -> tuple[dict[str, Secret], str | None]:
        """Have a key made.

        Raises:
            RefusedError: there is none, or whether there is one is not known.
        """
        create = self._rotation.create
        if create is None:
            raise RefusedError("no_create_hook", unknown=False, passing=False)
        answer = self._ask(create.hook, admin)
        try:
            return read_new(create, answer.body, self._rotation.id_pattern)
        except UnreadableError as error:
            # A key was made, and its value is lost.
            raise RefusedError(str(error), unknown=True) from None

    def keys(self, admin: Holder) -> tuple[Key, ...] | None:
        """List all keys; None where the provider offers no list.

        Raises:
            RefusedError: they are not known.
        """
        listing = self._rotation.list
        if listing is None:
            return None
        found: dict[str, Key] = {}
        cursor: Query = ()
        for number in range(listing.page_from, listing.page_from + PAGES_MAX):
            if listing.page_as:
                cursor = ((listing.page_as, str(number)),)
            answer = self._ask(listing.hook, admin, cursor=cursor)
            try:
                page, more = read_keys(listing, answer.body, self._rotation.id_pattern)
            except UnreadableError as error:
                raise RefusedError(str(error), unknown=True) from None
            new = {key.id: key for key in page if key.id not in found}
            found |= new
            # Numbered pages end with one that has nothing new: also at who ignores the number.
            if not (new if listing.page_as else more):
                return tuple(found.values())
            cursor = more
        raise RefusedError(f"more than {PAGES_MAX} pages of keys", unknown=True, passing=False)

    def delete(self, admin: Holder, key: str) -> None:
        """Delete a key; one that is gone already is no error.

        Raises:
            RefusedError: it may still be there.
        """
        hook = self._rotation.delete
        if hook is None:
            raise RefusedError("no_delete_hook", unknown=False, passing=False)
        if self._rotation.deactivate is not None:
            try:
                self._ask(self._rotation.deactivate, admin, key=key, fine=_GONE)
            except RefusedError as refused:
                # One that is inactive already may be refused; whether it is gone, `delete` tells.
                if refused.passing:
                    raise
        self._ask(hook, admin, key=key, fine=_GONE)

    def last_used(self, admin: Holder, key: str) -> datetime | None:
        """Ask when a key was used last; None: never, or the provider does not say.

        Raises:
            RefusedError: the provider says it, and it is not known now.
        """
        hook = self._rotation.last_used
        if hook is not None:
            answer = self._ask(hook.hook, admin, key=key)
            try:
                return read_last_used(hook, answer.body)
            except UnreadableError as error:
                raise RefusedError(str(error), unknown=True) from None
        if self._rotation.list is not None and self._rotation.list.last_used_at:
            return next((k.last_used for k in self.keys(admin) or () if k.id == key), None)
        return None

    def test(self, holder: Holder) -> None:
        """Make the call that shows that a credential works.

        Raises:
            RefusedError: it does not, or not yet.
        """
        declared = holder.provider.token_grant
        grant = None if declared is None else bound_grant(declared, holder.connection.scheme)
        if grant is not None:
            request = token_request(grant, holder.fields)
            try:
                answer = post(self._engine, holder.provider, grant.token_url, request)
                read_answer(grant, answer.status, answer.headers, answer.body)
            except FetchError as error:
                raise _unreached(error) from None
            except TokenRefusedError as refused:
                raise RefusedError(refused.word, unknown=False) from None
        elif self._rotation.test is not None:
            self._ask(self._rotation.test, holder)

    def identify(self, holder: Holder, keys: Sequence[Key] | None) -> str | None:
        """Find out the id of a key that is in use; None where that cannot be told.

        Raises:
            RefusedError: the provider was asked and did not say.
        """
        how = self._rotation.identify
        if how is None:
            return None
        if how.hook is not None:
            answer = self._ask(how.hook, holder)
            try:
                document = document_of(how.hook, answer.body)
                return read_id(document, how.id_at, self._rotation.id_pattern)
            except UnreadableError as error:
                raise RefusedError(str(error), unknown=False) from None
        if how.only:
            return keys[0].id if keys is not None and len(keys) == 1 else None
        if self._rotation.list is not None and self._rotation.list.suffix_at:
            text = holder.fields[how.field].reveal().decode("utf-8", "replace")
            fits = [k.id for k in keys or () if k.suffix and text.endswith(k.suffix)]
            return fits[0] if len(fits) == 1 else None
        return id_in_field(how, holder.fields)

    def _ask(
        self,
        hook: Hook,
        holder: Holder,
        *,
        key: str | None = None,
        cursor: Query = (),
        fine: frozenset[int] = frozenset(),
    ) -> Fetched:
        values = self._values if key is None else {**self._values, "id": key}
        try:
            filled = fill(hook, values, cursor)
        except UnknownValueError as error:
            raise RefusedError(str(error), unknown=False, passing=False) from None
        headers, secret_query = attached(holder.provider.attach, holder.fields)
        named = {name.lower() for name, _ in filled.headers}
        fixed = [(n, v) for n, v in holder.provider.headers if n.lower() not in named]
        query = "&".join([*([filled.query] if filled.query else []), *secret_query])
        url = holder.connection.origins[hook.origin] + filled.path + (f"?{query}" if query else "")
        signer = holder.provider.sign
        answer = self._fetch(
            filled.method,
            url,
            [*filled.headers, *fixed, *headers],
            filled.body,
            holder,
            signing=None if signer is None else Signing(signer, holder.fields),
        )
        if answer.status in _OK or answer.status in fine:
            return answer
        away = answer.status in {_TOO_MANY, _TIMEOUT} or answer.status >= _SERVER_ERROR
        unknown = away and answer.status != _TOO_MANY
        raise RefusedError(f"status_{answer.status}", unknown=unknown, passing=away)

    def _fetch(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        holder: Holder,
        *,
        signing: Signing | None = None,
    ) -> Fetched:
        options = FetchOptions(
            timeout_ms=ASK_MS,
            max_bytes=ANSWER_BYTES_MAX,
            allow_private=holder.provider.allow_private,
            ca_pem=holder.provider.tls.ca_pem,
            pins=holder.provider.tls.pins,
            signing=signing,
        )
        try:
            return self._engine.fetch(method, url, headers, body, options)
        except FetchError as error:
            raise _unreached(error) from None


def _unreached(error: FetchError) -> RefusedError:
    return RefusedError(error.problem.code, unknown=not was_not_sent(error))
