"""Replace a connection's credential without a call that fails, and without a key that is forgotten.

    INTENT     on disk before the provider is asked; its id goes into the new key's name
    CREATED    the new credential is sealed, in the transaction that says so
    TESTED     a call with it went well
    PROMOTED   the connection has flipped to it; the old one is still sealed, and still good
    DRAINING   no gateway uses the old one any more; the overlap runs
    REVOKED    the old key is deleted at the provider, and destroyed here
    DONE       no key that bears the rotation's id is left over

Whoever makes a step holds the row for a while, under a fence. A step that was begun and whose
outcome is not known is looked into before anything else: keys that bear the rotation's id are
deleted, because their value is lost. Where that cannot be known (class C, keys without names) the
rotation stops as UNKNOWN and waits for a person; nothing is asked twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidegate.catalog.errors import listed, shown
from tidegate.credentials.errors import CredentialRefused, require_known
from tidegate.credentials.fields import require_fitting
from tidegate.credentials.hooks import Key, Values
from tidegate.credentials.provider_side import Holder, ProviderSide, RefusedError
from tidegate.credentials.refresh import Ask, is_usable
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.oauth import ACCESS_TOKEN, DPOP_KEY
from tidegate.domain.rotation import OverlapClass, ParameterValue, Rotation, RotationState
from tidegate.domain.secret import Secret
from tidegate.snapshot import is_bound
from tidegate.store import KekReplaced, RotationRow, Store, StoreConflict
from tidegate.vault import Vault, VaultError

TURN: Final = timedelta(seconds=90)
"""How long a turn lasts unless the same holder comes back; more than a step's requests take."""

TEST_FOR_MAX: Final = timedelta(seconds=60)
SETTLE: Final = timedelta(seconds=2)
"""How long a request that was sent before a crash may still be on its way when keys are listed."""

ATTEMPTS_MAX: Final = 5
_BACKOFF_MAX_S: Final = 300.0

State = RotationState
_TRIES: Final = 20

_FREE: Final[dict[str, Any]] = {"holder": None, "held_until": None}
_OVER: Final[dict[str, Any]] = {"active": None, "task": None, "retry_at": None, **_FREE}
_CALM: Final[dict[str, Any]] = {"failures": 0, "retry_at": None, "trouble": None, **_FREE}


@dataclass(frozen=True, slots=True)
class _Turn:
    row: RotationRow
    fence: int
    connection: Connection
    provider: Provider
    rotation: Rotation
    declaration: Declaration


class Rotator:
    """Makes the steps of rotations. Threads may share it; other processes have their own."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        engine: Ask,
        *,
        holder: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._holder = holder
        self._clock = clock

    def start(
        self,
        declaration: Declaration,
        connection: Connection,
        *,
        author: str,
        old_id: str | None = None,
    ) -> RotationRow:
        """Keep the intent to replace a connection's credential; `old_id` names the key in use.

        Raises:
            CredentialRefused: the provider's declaration does not allow it, with what to change.
            StoreConflict: a rotation of the connection is under way.
        """
        provider = _provider(declaration, connection)
        if connection.is_reference:
            raise CredentialRefused(
                f"The credential of connection {shown(connection.name)} at {shown(provider.name)} is "
                "kept at OpenBao: replace it there, and the gateway takes it up by itself."
            )
        rotation = provider.rotation
        by_hand = not rotation.has_hook
        if not by_hand:
            self._require_admin(declaration, connection, provider)
            _require_values(provider, connection.client)
        now = self._clock()
        row = RotationRow(
            id=f"rot-{secrets.token_hex(8)}",
            connection=connection.id,
            active=connection.id,
            client=connection.client,
            provider=connection.provider,
            name=connection.name,
            overlap_class=OverlapClass.CONSOLE if by_hand else rotation.overlap_class,
            author=author,
            state=State.INTENT,
            entered=connection.lease_version,
            old_version=connection.version,
            started_at=now,
            state_at=now,
            old_id=old_id or self._known_id(connection),
            task="paste_key" if by_hand else None,
        )
        self._store.rotations.start(row)
        return row

    def give(self, rotation: str, declaration: Declaration, fields: Mapping[str, Secret]) -> None:
        """Seal the key that a person made in the console, as the new credential.

        Raises:
            CredentialRefused: it does not fit, or the rotation does not wait for it.
        """
        row, fence = self._turn_of_person(rotation)
        connection = self._store.connections.get(row.connection)
        if row.state is not State.INTENT or row.task != "paste_key" or connection is None:
            self._store.rotations.leave(row.id, fence)
            raise CredentialRefused("This rotation does not wait for a key.")
        try:
            self._seal_given(row, fence, _provider(declaration, connection), connection, fields)
        except BaseException:
            self._store.rotations.leave(row.id, fence)
            raise

    def _seal_given(
        self,
        row: RotationRow,
        fence: int,
        provider: Provider,
        connection: Connection,
        fields: Mapping[str, Secret],
    ) -> None:
        require_fitting(provider, fields)
        old = self._vault.open(connection)
        if all(old[name].matches(fields[name]) for name in fields):
            raise CredentialRefused("That is the credential that is in use already.")
        grant = provider.token_grant
        made = {} if grant is None else {name: old[name] for name in grant.made}
        fields = {**fields, **made}
        values = {"state": State.CREATED, "state_at": self._clock(), "task": None, **_CALM}
        self._keep_new(row, fence, connection, fields, values)

    def confirm(self, rotation: str) -> None:
        """Take a person's word that what the rotation asked for has been done.

        Raises:
            CredentialRefused: it asks for nothing.
        """
        row, fence = self._turn_of_person(rotation)
        now = self._clock()
        if row.task == "revoke_old":
            self._destroy_old(row, fence, state=State.REVOKED)
        elif row.state is State.UNKNOWN or row.task in {"free_slot", "check_keys", "replace_key"}:
            over = State.DONE if row.promoted_at else State.ROLLED_BACK
            other = row.old_version if row.promoted_at else row.new_version
            self._destroy(row, fence, other, state=over, state_at=now, **_OVER)
        elif row.task == "delete_new":
            self._store.rotations.leave(row.id, fence, **_OVER)
        else:
            self._store.rotations.leave(row.id, fence)
            raise CredentialRefused("This rotation waits for nothing that could be confirmed.")

    def roll_back(self, rotation: str) -> None:
        """Go back to the old credential; the new key is deleted once nobody uses it.

        Raises:
            CredentialRefused: the old one is gone.
        """
        row, fence = self._turn_of_person(rotation)
        connection = self._store.connections.get(row.connection)
        now = self._clock()
        asked = row.asked is not None or row.promoted_at is not None
        late = row.asked == "revoke" or (asked and row.overlap_class is OverlapClass.IN_PLACE)
        if late or row.state in {State.REVOKED, State.UNKNOWN} or connection is None:
            self._store.rotations.leave(row.id, fence)
            raise CredentialRefused("The old credential is gone, or may be: there is no way back.")
        values = {"state": State.ROLLED_BACK, "state_at": now, "task": None, **_CALM}
        try:
            if connection.version != row.new_version:
                self._store.rotations.leave(row.id, fence, **values)
                return
            old = replace(
                connection,
                version=row.old_version,
                entered=row.entered,
                rotated_at=now,
                issued_at=None,
            )
            self._store.rotations.promote(row.id, fence, old, self._vault.flipped(old), **values)
        except StoreConflict as error:
            raise CredentialRefused(str(error)) from None

    def advance(self, rotation: str, declaration: Declaration) -> RotationRow | None:
        """Make the next step, if it is time for it; return how the rotation stands.

        Raises:
            StoreError: the store is away; the step is made when it is back.
        """
        row = self._store.rotations.get(rotation)
        if row is None or not is_due(row, now := self._clock()):
            return row
        fence = self._store.rotations.take(row.id, holder=self._holder, now=now, until=now + TURN)
        row = self._store.rotations.get(rotation)
        if fence is None or row is None:
            return row
        try:
            self._step(row, fence, declaration)
        except StoreConflict:
            # Somebody else came first; the next look shows what there is to do.
            self._store.rotations.leave(row.id, fence)
        except (CredentialRefused, VaultError) as error:
            self._later(row, fence, str(error))
        return self._store.rotations.get(rotation)

    def _step(self, row: RotationRow, fence: int, declaration: Declaration) -> None:
        connection = self._store.connections.get(row.connection)
        if connection is None:
            return self._abandon(row, fence, "the connection was removed", gone=True)
        if connection.lease_version != row.entered and row.state is not State.ROLLED_BACK:
            return self._abandon(row, fence, "the connection was entered anew")
        provider = _provider(declaration, connection)
        turn = _Turn(row, fence, connection, provider, provider.rotation, declaration)
        steps: dict[RotationState, Callable[[_Turn], None]] = {
            State.INTENT: self._create,
            State.CREATED: self._test,
            State.TESTED: self._promote,
            State.PROMOTED: self._follow,
            State.DRAINING: self._revoke,
            State.REVOKED: self._sweep,
            State.ROLLED_BACK: self._delete_new,
        }
        step = steps.get(row.state)
        if step is None:
            self._store.rotations.leave(row.id, fence)
            return None
        try:
            return step(turn)
        except RefusedError as refused:
            return self._later(row, fence, refused.word)

    # INTENT

    def _create(self, turn: _Turn) -> None:
        row, side = turn.row, self._side(turn)
        admin = self._admin(turn)
        if row.asked == "create":
            return self._look_into_creation(turn, side, admin)
        if row.failures >= ATTEMPTS_MAX:
            return self._leave(turn, State.ROLLED_BACK, trouble=row.trouble)
        keys = side.keys(admin)
        old_id = row.old_id or side.identify(self._holding(turn, turn.connection), keys)
        most = turn.rotation.keys_max
        if keys is not None and most is not None and len(keys) >= most:
            others = listed(key.id for key in keys if key.id != old_id)
            trouble = f"no slot is free for a new key; besides the one in use there are {others}"
            return self._leave(turn, State.MANUAL, task="free_slot", trouble=trouble)
        if old_id is not None and row.old_id is None:
            # A request may have to name it.
            side = self._side(replace(turn, row=replace(row, old_id=old_id)))
        known = None if keys is None else tuple(key.id for key in keys)
        now = self._clock()
        self._store.rotations.note(
            row.id, turn.fence, known_ids=known, old_id=old_id, asked="create", asked_at=now
        )
        try:
            fields, new_id = side.create(admin)
        except RefusedError as refused:
            if not refused.unknown:
                self._later(row, turn.fence, refused.word, asked=None)
            elif row.overlap_class is OverlapClass.IN_PLACE:
                self._leave(turn, State.UNKNOWN, task="check_keys", trouble=refused.word)
            else:
                self._later(row, turn.fence, refused.word)
            return None
        return self._keep(turn, fields, new_id)

    def _keep(self, turn: _Turn, made: Mapping[str, Secret], new_id: str | None) -> None:
        """Seal what was made, before anything else can go wrong."""
        row = turn.row
        fields = self._vault.open(turn.connection) | dict(made)
        now = self._clock()
        values: dict[str, Any] = {"asked": None, "asked_at": None, "state_at": now, **_CALM}
        values["new_id"] = new_id
        if row.overlap_class is OverlapClass.IN_PLACE:
            values |= {"state": State.PROMOTED, "promoted_at": now}
        else:
            values |= {"state": State.CREATED}
        self._keep_new(row, turn.fence, turn.connection, fields, values)

    def _look_into_creation(self, turn: _Turn, side: ProviderSide, admin: Holder) -> None:
        """A request for a key was sent and its answer never kept: is there a key without an owner?"""
        row = turn.row
        if row.overlap_class is OverlapClass.IN_PLACE:
            return self._leave(
                turn, State.UNKNOWN, task="check_keys", trouble="the answer to the rotation is lost"
            )
        propagation = timedelta(milliseconds=turn.rotation.propagation_ms)
        listable_at = (row.asked_at or row.state_at) + min(max(SETTLE, propagation), TEST_FOR_MAX)
        if self._clock() < listable_at:
            self._store.rotations.leave(row.id, turn.fence, retry_at=listable_at)
            return None
        keys = side.keys(admin)
        listing = turn.rotation.list
        if keys is None or listing is None:
            return self._leave(
                turn, State.UNKNOWN, task="check_keys", trouble="a key may have been made"
            )
        if listing.name_at:
            for key in _bearing(row, keys):
                side.delete(admin, key.id)
        else:
            # Nothing says whose they are, and a key of somebody else's is not ours to delete.
            strange = [key.id for key in keys if key.id not in (row.known_ids or ())]
            if strange:
                named = listed(strange)
                trouble = f"a key may have been made: {named} came since"
                return self._leave(turn, State.UNKNOWN, task="check_keys", trouble=trouble)
        self._later(row, turn.fence, row.trouble or "the answer was lost", asked=None)
        return None

    # CREATED

    def _test(self, turn: _Turn) -> None:
        row = turn.row
        new = self._version(turn, row.new_version)
        try:
            self._side(turn).test(self._holding(turn, new))
        except RefusedError as refused:
            allowed = timedelta(milliseconds=turn.rotation.propagation_ms)
            if self._clock() - row.state_at < min(allowed, TEST_FOR_MAX):
                self._later(row, turn.fence, refused.word)
            elif row.overlap_class is OverlapClass.CONSOLE:
                # The one who pasted it is there to paste another.
                self._destroy(
                    row, turn.fence, row.new_version,
                    state=State.INTENT, state_at=self._clock(), task="paste_key",
                    **(_CALM | {"trouble": refused.word}),
                )  # fmt: skip
            else:
                self._leave(turn, State.ROLLED_BACK, trouble=refused.word)
            return
        self._leave(turn, State.TESTED)

    # TESTED

    def _promote(self, turn: _Turn) -> None:
        now = self._clock()
        new = replace(
            self._version(turn, turn.row.new_version),
            entered=turn.row.entered,
            rotated_at=now,
            issued_at=turn.row.state_at,
        )
        values = {"state": State.PROMOTED, "state_at": now, "promoted_at": now, **_CALM}
        amend = self._vault.flipped(new)
        self._store.rotations.promote(turn.row.id, turn.fence, new, amend, **values)

    # PROMOTED

    def _follow(self, turn: _Turn) -> None:
        """Wait until no gateway leases the old one any more."""
        row = turn.row
        if row.overlap_class is OverlapClass.IN_PLACE:
            # The old one is dead, so that this is no gate but an alarm.
            try:
                self._side(turn).test(self._holding(turn, turn.connection))
            except RefusedError as refused:
                if self._clock() - row.state_at < TEST_FOR_MAX:
                    return self._later(row, turn.fence, refused.word)
                return self._leave(turn, State.MANUAL, task="replace_key", trouble=refused.word)
            return self._destroy_old(row, turn.fence, state=State.REVOKED)
        if self._store.rotations.behind(row.generation or 0, self._clock()):
            return self._wait(turn, 1.0)
        return self._leave(turn, State.DRAINING)

    # DRAINING

    def _revoke(self, turn: _Turn) -> None:
        row, now = turn.row, self._clock()
        ripe = max(
            row.state_at + drain_of(turn.provider),
            (row.promoted_at or row.state_at) + timedelta(milliseconds=turn.rotation.overlap_ms),
        )
        if now < ripe:
            return self._wait(turn, (ripe - now).total_seconds())
        if row.old_id is None or turn.rotation.delete is None or not turn.rotation.has_hook:
            return self._leave(turn, State.MANUAL, task="revoke_old", trouble=None)
        side, admin = self._side(turn), self._admin(turn)
        used = side.last_used(admin, row.old_id)
        # Until then the gateways' own last calls with it may have been on their way.
        if used is not None and used > row.state_at + drain_of(turn.provider):
            trouble = "the provider still sees the old key in use, by somebody who is not Tidegate"
            return self._later(row, turn.fence, trouble)
        self._store.rotations.note(row.id, turn.fence, asked="revoke", asked_at=now)
        try:
            side.delete(admin, row.old_id)
        except RefusedError as refused:
            if not refused.passing and row.failures >= ATTEMPTS_MAX:
                return self._leave(turn, State.MANUAL, task="revoke_old", trouble=refused.word)
            return self._later(row, turn.fence, refused.word)
        return self._destroy_old(row, turn.fence, state=State.REVOKED)

    # REVOKED

    def _sweep(self, turn: _Turn) -> None:
        """Look once more for keys that bear the rotation's id: a late request may have made one."""
        row, listing = turn.row, turn.rotation.list
        if turn.rotation.has_hook and listing is not None and listing.name_at:
            side, admin = self._side(turn), self._admin(turn)
            for key in _bearing(row, side.keys(admin) or ()):
                if key.id != row.new_id:
                    side.delete(admin, key.id)
        self._leave(turn, State.DONE, **_OVER)

    # ROLLED_BACK

    def _delete_new(self, turn: _Turn) -> None:
        row, now = turn.row, self._clock()
        if row.asked == "create":
            return self._look_into_creation(turn, self._side(turn), self._admin(turn))
        if row.new_version is None:
            return self._leave(turn, State.ROLLED_BACK, trouble=row.trouble, **_OVER)
        if row.promoted_at is not None:
            if self._store.rotations.behind(row.generation or 0, now):
                return self._wait(turn, 1.0)
            ripe = row.state_at + drain_of(turn.provider)
            if now < ripe:
                return self._wait(turn, (ripe - now).total_seconds())
        if row.new_id is None or turn.rotation.delete is None or not turn.rotation.has_hook:
            return self._leave(turn, State.MANUAL, task="delete_new", trouble=row.trouble)
        self._side(turn).delete(self._admin(turn), row.new_id)
        self._destroy(row, turn.fence, row.new_version, **_OVER)
        return None

    # What several steps need

    def _abandon(self, row: RotationRow, fence: int, why: str, *, gone: bool = False) -> None:
        """The connection is another by now; what is left to do is at the provider.

        Before the flip that is a key nobody uses. After it, a person must see which keys are used.
        """
        made = row.new_id is not None or row.asked is not None or row.new_version is not None
        values: dict[str, Any] = {"state": State.ROLLED_BACK, **_CALM}
        if not made:
            values |= _OVER
        elif gone or row.promoted_at is not None:
            values |= {"state": State.MANUAL, "task": "check_keys"}
        now = self._clock()
        self._store.rotations.leave(row.id, fence, **values | {"trouble": why, "state_at": now})

    def _destroy_old(self, row: RotationRow, fence: int, *, state: RotationState) -> None:
        self._destroy(
            row, fence, row.old_version,
            state=state, state_at=self._clock(), task=None, asked=None, asked_at=None, **_CALM,
        )  # fmt: skip

    def _leave(self, turn: _Turn, state: RotationState, **values: Any) -> None:
        known = {**_CALM, "state": state, **values}
        if state is not turn.row.state:
            known["state_at"] = self._clock()
        self._store.rotations.leave(turn.row.id, turn.fence, **known)

    def _later(self, row: RotationRow, fence: int, trouble: str, **values: Any) -> None:
        pause = min(2.0 ** min(row.failures, 16), _BACKOFF_MAX_S)
        retry_at = self._clock() + timedelta(seconds=pause)
        self._store.rotations.leave(
            row.id, fence, failures=row.failures + 1, retry_at=retry_at, trouble=trouble, **values
        )

    def _wait(self, turn: _Turn, pause_s: float) -> None:
        retry_at = self._clock() + timedelta(seconds=pause_s)
        self._store.rotations.leave(turn.row.id, turn.fence, retry_at=retry_at)

    def _turn_of_person(self, rotation: str) -> tuple[RotationRow, int]:
        now = self._clock()
        holder = f"{self._holder} by hand"
        fence = self._store.rotations.take(rotation, holder=holder, now=now, until=now + TURN)
        row = self._store.rotations.get(rotation)
        if row is None or row.active is None:
            raise CredentialRefused("This rotation is over.")
        if fence is None:
            raise CredentialRefused("A step of this rotation is being made just now; try again.")
        return row, fence

    def _keep_new(
        self,
        row: RotationRow,
        fence: int,
        connection: Connection,
        fields: Mapping[str, Secret],
        values: Mapping[str, Any],
    ) -> None:
        """Seal a new version; again, where the client's key is replaced at the same moment."""
        now = self._clock()
        version = self._store.rotations.next_version(connection)
        pending = replace(
            connection, version=version, entered=row.entered, rotated_at=now, issued_at=now
        )
        rotations = self._store.rotations
        for tries_left in reversed(range(_TRIES)):
            sealed = self._vault.sealed(pending, fields)
            try:
                if values["state"] is State.PROMOTED:
                    amend = self._vault.replaced(pending, sealed)
                    rotations.replace_at_once(row.id, fence, pending, sealed, amend, **values)
                else:
                    amend = self._vault.beside(pending, sealed)
                    rotations.keep_new(row.id, fence, pending, sealed, amend, **values)
            except KekReplaced:
                if not tries_left:
                    raise
            else:
                return

    def _destroy(self, row: RotationRow, fence: int, version: int | None, **values: object) -> None:
        amend = self._vault.destroyed(row.client, row.connection, version or 0)
        self._store.rotations.destroy(row, fence, version, amend, **values)

    def _version(self, turn: _Turn, version: int | None) -> Connection:
        return replace(turn.connection, version=version or turn.connection.version)

    def _holding(self, turn: _Turn, connection: Connection) -> Holder:
        own = connection.version == turn.connection.version
        fields = self._vault.open(connection) if own else self._vault.open_beside(connection)
        return Holder(connection, turn.provider, fields)

    def _side(self, turn: _Turn) -> ProviderSide:
        return ProviderSide(self._engine, turn.rotation, _values(turn.rotation, turn.row))

    def _admin(self, turn: _Turn) -> Holder:
        """The credential that makes the requests, opened now: it may be rotated itself."""
        rotation = turn.rotation
        if not rotation.by:
            return self._holding(turn, turn.connection)
        name = rotation.by_provider or turn.connection.provider
        connection, provider = self._require_admin(
            turn.declaration, turn.connection, turn.provider
        ) or (turn.connection, turn.provider)
        fields = self._vault.open(connection)
        if provider.token_grant is not None:
            token = self._store.issued.get(connection.id)
            if token is None or not is_usable(token, connection, self._clock()):
                raise RefusedError(f"`{name}` has no access token now", unknown=False)
            if token.sealed is not None:
                issued = self._vault.open_issued(connection, token.serial, token.sealed)
                kept = (DPOP_KEY,) if DPOP_KEY in fields else ()
                fields = {name: fields[name] for name in kept} | {
                    ACCESS_TOKEN: issued[ACCESS_TOKEN]
                }
        return Holder(connection, provider, fields)

    def _require_admin(
        self, declaration: Declaration, connection: Connection, provider: Provider
    ) -> tuple[Connection, Provider] | None:
        rotation = provider.rotation
        if provider.tls.client_certificate:
            raise CredentialRefused(
                f"Provider `{provider.name}` wants a client certificate, which hooks cannot show."
            )
        if provider.token_grant is not None and provider.token_grant.grant == "refresh_token":
            raise CredentialRefused(
                f"The credential of `{provider.name}` lives on a consent, so a new client secret "
                "cannot be tried without using it up; enter it by `tidegate connect`."
            )
        if not rotation.by:
            return None
        where = rotation.by_provider or connection.provider
        if (where, rotation.by) == (connection.provider, connection.name):
            raise CredentialRefused(
                f"Connection {shown(rotation.by)} rotates the others at {shown(where)}, so it cannot "
                "rotate itself; make its key anew in the provider's console and `tidegate connect`."
            )
        require_known("provider", where, (known.name for known in declaration.providers))
        admin = self._store.connections.find(connection.client, where, rotation.by)
        if admin is None:
            raise CredentialRefused(
                f"Rotation at {shown(connection.provider)} is done by the connection "
                f"{shown(rotation.by)}, which client {shown(connection.client)} does not have. Enter "
                f"a key that may manage keys: `tidegate connect {where} --client "
                f"{connection.client} --name {rotation.by}`."
            )
        if admin.is_reference:
            raise CredentialRefused(
                f"The key of connection {shown(admin.name)} at {shown(where)} is kept at OpenBao, "
                "and what rotates others must be entered here: `tidegate connect`."
            )
        return admin, _provider(declaration, admin)

    def _known_id(self, connection: Connection) -> str | None:
        """The id of the key in use, where a rotation made it."""
        for row in reversed(self._store.rotations.all()):
            if row.connection == connection.id and row.new_version == connection.version:
                return row.new_id
        return None


def is_due(row: RotationRow, now: datetime) -> bool:
    """Whether it is time for the next step, and not a person's turn."""
    if row.active is None or row.state in {State.UNKNOWN, State.MANUAL}:
        return False
    if row.task == "paste_key":
        return False
    return row.retry_at is None or row.retry_at <= now


def drain_of(provider: Provider) -> timedelta:
    """How long after its lease ended a credential may still be on its way to the provider."""
    deadlines = provider.deadlines
    longest = min(deadlines.total_ms, deadlines.connect_ms + deadlines.first_byte_ms)
    return timedelta(milliseconds=longest)


def _bearing(row: RotationRow, keys: tuple[Key, ...]) -> list[Key]:
    return [key for key in keys if key.name == row.key_name]


def _values(rotation: Rotation, row: RotationRow) -> Values:
    values: dict[str, ParameterValue] = {"name": row.key_name}
    if rotation.lifetime_ms is not None:
        ends = row.started_at + timedelta(milliseconds=rotation.lifetime_ms)
        values["expires_on"] = ends.date().isoformat()
        values["expires_at"] = f"{ends.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        values["lifetime_s"] = str(rotation.lifetime_ms // 1_000)
    for one in rotation.parameters:
        value = one.value_for(row.client)
        if value is not None:
            values[one.name] = value
    if row.old_id is not None:
        values["old_id"] = row.old_id
    return values


def _provider(declaration: Declaration, connection: Connection) -> Provider:
    for provider in declaration.providers:
        if provider.name == connection.provider:
            if is_bound(provider, connection):
                return provider
            raise CredentialRefused(
                f"Provider `{provider.name}` has moved since connection `{connection.name}` was "
                "entered; enter it anew first: `tidegate connect`."
            )
    raise CredentialRefused(f"Provider `{connection.provider}` is no longer declared.")


def _require_values(provider: Provider, client: str) -> None:
    missing = [one for one in provider.rotation.parameters if one.value_for(client) is None]
    if missing:
        raise CredentialRefused(
            f"Rotation at `{provider.name}` needs to be told "
            + "; ".join(f"`{one.name}` ({one.description})" for one in missing)
            + f". Set it in `providers.{provider.name}.rotation.values`."
        )
