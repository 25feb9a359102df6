"""Have a person consent, in their own browser, and seal what the provider gives for it.

    1. ask      the operator's link is made; what tokens are asked for with is sealed beside it
    2. look     the page behind the link says who asks for what; looking uses nothing up
    3. begin    the link is used up, and the browser that used it is remembered
    4. finish   that browser brings the answer; state, issuer and browser are judged before the code
    5. seal     the tokens replace the connection's credential, if the account is still the same

A link, a state and a browser's mark are told from others by keyed hashes: the store alone is of no use
to whoever steals it.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn
from urllib.parse import urlsplit

import structlog

from tidegate.credentials.account import account_of
from tidegate.credentials.asking import Ask, post
from tidegate.credentials.authorization import (
    ConsentRefused,
    Question,
    Why,
    address,
    once,
    parameters_of,
    read_code,
    read_pushed,
)
from tidegate.credentials.connections import Connections
from tidegate.credentials.device import DeviceCode, ask_device, wait_for_device
from tidegate.credentials.discovery import with_endpoints
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.fields import made_fields, require_entered
from tidegate.credentials.refresh import issued_fields
from tidegate.credentials.revoke import revoke
from tidegate.credentials.token_endpoint import (
    TokenAnswer,
    TokenRefusedError,
    Trouble,
    answer_object,
    client_request,
    code_request,
    read_answer,
)
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.oauth import ACCOUNT, REFRESH_TOKEN, TokenGrant, bound_grant
from tidegate.domain.secret import Secret
from tidegate.domain.template import values_in
from tidegate.engine import FetchError
from tidegate.store import Consent, Store, StoreConflict
from tidegate.vault import Vault, VaultRefused

LINK: Final = timedelta(hours=24)
LINK_MAX: Final = timedelta(days=7)
ANSWER: Final = timedelta(minutes=15)
"""How long a person may take at the provider."""

_LINK_BYTES: Final = 32
_log = structlog.stdlib.get_logger("tidegate.credentials")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was made. `link` is what its address ends with, and is shown once."""

    consent: Consent
    link: Secret


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page behind a link says. `host` is where the person will sign in."""

    consent: str
    client: str
    provider: str
    host: str
    scopes: tuple[str, ...]
    again: bool


class Consents:
    """The questions of one store. Threads may share it.

    `base` is where the pages are: the public address, or a loopback listener's.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        engine: Ask,
        declaration: Callable[[], Declaration],
        base: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._declaration = declaration
        self._base = base
        self._clock = clock
        self._key = vault.link_key()

    def redirect_uri(self, provider: str) -> str:
        """Name where the provider sends the browser: an address of each provider's own.

        So the answer of one provider cannot be passed off as another's, also where they do not name
        themselves (RFC 9700 §4.4.2).
        """
        return f"{self._base}/callback/{provider}"

    def ask(
        self,
        provider: str,
        client: str,
        name: str,
        fields: Mapping[str, Secret],
        variables: Mapping[str, str],
        *,
        expires: timedelta = LINK,
    ) -> Asked:
        """Make a link for somebody who may consent.

        Raises:
            CredentialRefused: something does not fit what is declared.
            StoreConflict: too many are open.
        """
        connections = Connections(self._store, self._vault)
        now = self._clock()
        draft, declared = connections.draft(
            self._declaration(), provider, client, name, variables, now
        )
        grant = _consent_grant(declared)
        require_entered(declared, fields)
        complete = with_endpoints(self._engine, declared, grant)
        fields = {**fields, **made_fields(declared)}
        draft = replace(draft, scheme=complete.scheme, fields=tuple(sorted(fields)))
        consent = Consent(f"ask_{secrets.token_hex(8)}", draft, now, now + min(expires, LINK_MAX))
        sealed = self._vault.seal_pending(draft, consent.id, fields)
        link = Secret(secrets.token_urlsafe(_LINK_BYTES))
        consent = replace(consent, sealed=sealed)
        self._store.consents.add(consent, self._hmac("link", link))
        return Asked(consent, link)

    def look(self, link: Secret) -> Shown:
        """Say what a link asks for. Looking uses nothing up: mail programs look at links too.

        Raises:
            ConsentRefused: it leads to nothing that is open.
        """
        consent = self._by_link(link)
        _, grant = self._declared(consent.draft)
        client, provider = self.titles(consent.draft)
        return Shown(
            consent=consent.id,
            client=client,
            provider=provider,
            host=urlsplit(grant.authorize_url).netloc,
            scopes=tuple(grant.scope.replace(",", " ").split()),
            again=consent.draft.version > 1,
        )

    def titles(self, connection: Connection) -> tuple[str, str]:
        """Say what people call a connection's client and provider."""
        declaration = self._declaration()
        clients = {client.name: client.title for client in declaration.clients}
        providers = {provider.name: provider.title for provider in declaration.providers}
        return (
            clients.get(connection.client) or connection.client,
            providers.get(connection.provider) or connection.provider,
        )

    def begin(self, link: Secret, browser: Secret) -> str:
        """Use a link up, and return the provider's address to send this browser to.

        Raises:
            ConsentRefused: it leads to nothing that is open, or the provider does not take it.
        """
        consent = self._by_link(link)
        declared, grant = self._declared(consent.draft)
        fields = self._open(consent)
        question = Question.new()
        kept = fields | {"verifier": question.verifier, "nonce": question.nonce}
        now = self._clock()
        began = self._store.consents.begin(
            consent.id,
            now=now,
            until=now + ANSWER,
            state_hmac=self._hmac("state", question.state),
            browser_hmac=self._hmac("browser", browser),
            sealed=self._vault.seal_pending(consent.draft, consent.id, kept),
        )
        if not began:
            raise ConsentRefused(Why.LINK_USED)
        asked = parameters_of(grant, fields, self.redirect_uri(declared.name), question)
        if grant.par_url:
            try:
                asked = self._push(declared, grant, fields, asked)
            except ConsentRefused as refused:
                self._refuse(consent, refused)
        return address(grant, asked)

    def finish(
        self, provider: str, pairs: Iterable[tuple[str, str]], browser: Secret | None
    ) -> Connection:
        """Take the answer that a browser brings to a provider's callback, and seal what it is worth.

        Raises:
            ConsentRefused: it is worth nothing.
        """
        said = once(pairs)
        state = said.get("state", "")
        consent = self._store.consents.by_state(self._hmac("state", Secret(state)))
        # 1. It answers a question of ours that is open, at the address of the provider it was put to.
        if not state or consent is None or consent.draft.provider != provider:
            raise ConsentRefused(Why.STATE_UNKNOWN)
        # 2. The browser is the one that began: else somebody else's consent would be slipped in.
        mark = "" if browser is None else self._hmac("browser", browser)
        if not hmac.compare_digest(mark, consent.browser_hmac or "-"):
            _log.warning("consent_refused", **_named(consent.draft), reason=Why.OTHER_BROWSER.value)
            raise ConsentRefused(Why.OTHER_BROWSER)
        # 3. From here on nobody else can answer.
        sealed = consent.sealed
        if not self._store.consents.take(consent.id, now=self._clock()) or sealed is None:
            raise ConsentRefused(Why.STATE_UNKNOWN)
        try:
            return self._finish(consent, said)
        except ConsentRefused as refused:
            self._refuse(consent, refused)

    def ask_device(self, asked: Asked) -> DeviceCode:
        """Have a code made that a person types on another device (RFC 8628).

        Raises:
            ConsentRefused: the provider makes none.
        """
        declared, grant = self._declared(asked.consent.draft)
        return ask_device(self._engine, declared, grant, self._open(asked.consent))

    def wait_for_device(self, asked: Asked, code: DeviceCode) -> Connection:
        """Wait until it was typed there, and seal what it is worth.

        Raises:
            ConsentRefused: the person said no, or took too long.
        """
        declared, grant = self._declared(asked.consent.draft)
        fields = self._open(asked.consent)
        try:
            answer, said = wait_for_device(self._engine, declared, grant, fields, code)
            nonce = Secret(b"")
            return self._given(asked.consent, declared, grant, fields, answer, said, nonce)
        except ConsentRefused as refused:
            self._refuse(asked.consent, refused)

    def form_mark(self, link: Secret, browser: Secret) -> str:
        """Mark a page's form for one browser, so that no other page can send it (CSRF)."""
        return self._hmac("form", Secret(link.reveal() + b" " + browser.reveal()))

    def outcome(self, consent_id: str) -> Consent | None:
        """Find what has become of a question."""
        return self._store.consents.get(consent_id)

    def _finish(self, consent: Consent, said: Mapping[str, str]) -> Connection:
        declared, grant = self._declared(consent.draft)
        kept = self._open(consent)
        verifier, nonce = kept.pop("verifier"), kept.pop("nonce")
        # 4. The issuer is the one that was asked, before the code goes anywhere.
        code = read_code(grant, said)
        redirect_uri = self.redirect_uri(declared.name)
        request = code_request(grant, kept, code, verifier, redirect_uri)
        try:
            fetched = post(self._engine, declared, grant.token_url, request)
            answer = read_answer(grant, fetched.status, fetched.headers, fetched.body)
        except FetchError as error:
            raise ConsentRefused(Why.PROVIDER_AWAY, error.problem.code) from None
        except TokenRefusedError as refused:
            raise _consent_refused(refused) from None
        return self._given(
            consent, declared, grant, kept, answer, answer_object(fetched.body), nonce
        )

    def _given(  # noqa: PLR0917 - all that one answer is judged by
        self,
        consent: Consent,
        declared: Provider,
        grant: TokenGrant,
        fields: Mapping[str, Secret],
        answer: TokenAnswer,
        said: Mapping[str, object],
        nonce: Secret,
    ) -> Connection:
        now = self._clock()
        issued = issued_fields(answer, {})
        try:
            account = account_of(
                grant,
                said,
                fields["client_id"].reveal().decode(),
                nonce.reveal().decode(),
                now.timestamp(),
            )
            before = self._store.connections.find(
                consent.draft.client, consent.draft.provider, consent.draft.name
            )
            self._require_same_account(before, account)
        except ConsentRefused:
            # Nobody will use these tokens, so they had better not be good any more.
            revoke(self._engine, declared, grant, {**fields, **issued})
            raise
        whole = dict(fields)
        if answer.refresh_token is not None:
            whole[REFRESH_TOKEN] = answer.refresh_token
        if account is not None:
            whole[ACCOUNT] = Secret(account)
        made = replace(consent.draft, fields=tuple(whole), rotated_at=now, version=1)
        if before is not None:
            made = replace(
                made, id=before.id, version=before.version + 1, created_at=before.created_at
            )
        try:
            expires_at = now + timedelta(seconds=answer.lifetime_s)
            self._vault.seal(made, whole, (issued, now, expires_at))
        except StoreConflict:
            revoke(self._engine, declared, grant, {**fields, **issued})
            raise
        self._store.consents.end(consent.id, "given", now=now)
        _log.info("consent_given", **_named(made), version=made.version)
        return made

    def _require_same_account(self, before: Connection | None, account: str | None) -> None:
        if before is None or account is None or ACCOUNT not in before.fields:
            return
        try:
            known = self._vault.open(before)[ACCOUNT]
        except VaultRefused:
            # What cannot be compared is not the same; `disconnect` clears the way.
            raise ConsentRefused(Why.ACCOUNT_DIFFERS) from None
        if not known.matches(Secret(account)):
            raise ConsentRefused(Why.ACCOUNT_DIFFERS)

    def _push(
        self,
        declared: Provider,
        grant: TokenGrant,
        fields: Mapping[str, Secret],
        asked: Mapping[str, str],
    ) -> dict[str, str]:
        """Hand the question in beforehand, so that nobody can change it on its way (RFC 9126)."""
        request = client_request(grant, grant.par_url, asked, fields)
        try:
            fetched = post(self._engine, declared, grant.par_url, request)
            reference = read_pushed(fetched.status, fetched.headers, fetched.body)
        except FetchError as error:
            raise ConsentRefused(Why.PROVIDER_AWAY, error.problem.code) from None
        except TokenRefusedError as refused:
            away = refused.trouble is Trouble.AWAY
            why = Why.PROVIDER_AWAY if away else Why.PROVIDER_REFUSED
            raise ConsentRefused(why, refused.word) from None
        return {"client_id": asked["client_id"], "request_uri": reference}

    def _by_link(self, link: Secret) -> Consent:
        consent = self._store.consents.by_link(self._hmac("link", link))
        if consent is None:
            raise ConsentRefused(Why.LINK_UNKNOWN)
        if consent.begun_at is not None or consent.ended_at is not None:
            raise ConsentRefused(Why.LINK_USED)
        if consent.expires_at <= self._clock() or consent.sealed is None:
            raise ConsentRefused(Why.LINK_EXPIRED)
        return consent

    def _declared(self, draft: Connection) -> tuple[Provider, TokenGrant]:
        """Find the provider as it was when the link was made: nothing goes to what it became since."""
        for declared in self._declaration().providers:
            grant = declared.token_grant
            if declared.name != draft.provider or grant is None or not grant.asks_a_person:
                continue
            bound = bound_grant(grant, draft.scheme)
            # What is declared outright must be what the link was made for.
            declares = grant.authorize_url or grant.device_url
            if bound is not None and (
                not declares
                or values_in(declares, bound.authorize_url or bound.device_url) is not None
            ):
                return declared, bound
        raise ConsentRefused(Why.PROVIDER_CHANGED)

    def _open(self, consent: Consent) -> dict[str, Secret]:
        if consent.sealed is None:
            raise ConsentRefused(Why.LINK_EXPIRED)
        return self._vault.open_pending(consent.draft, consent.id, consent.sealed)

    def _refuse(self, consent: Consent, refused: ConsentRefused) -> NoReturn:
        self._store.consents.end(consent.id, _outcome(refused), now=self._clock())
        _log.warning("consent_refused", **_named(consent.draft), reason=_outcome(refused))
        raise refused

    def _hmac(self, kind: str, value: Secret) -> str:
        framed = json.dumps([kind]).encode() + value.reveal()
        return hmac.digest(self._key.reveal(), framed, "sha256").hex()


def _consent_grant(declared: Provider) -> TokenGrant:
    grant = declared.token_grant
    if grant is None or not grant.asks_a_person:
        raise CredentialRefused(
            f"Provider `{declared.name}` is connected without a person's consent; leave `--link` out."
        )
    return grant


def _consent_refused(refused: TokenRefusedError) -> ConsentRefused:
    away = refused.trouble is Trouble.AWAY
    return ConsentRefused(Why.PROVIDER_AWAY if away else Why.TOKEN_REFUSED, refused.word)


def _outcome(refused: ConsentRefused) -> str:
    return f"{refused.why.value}: {refused.word}" if refused.word else refused.why.value


def _named(connection: Connection) -> dict[str, str]:
    return {
        "client": connection.client,
        "provider": connection.provider,
        "connection": connection.name,
    }
