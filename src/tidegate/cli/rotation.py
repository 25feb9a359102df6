"""`rotate` and `credentials`: replace a credential step by step, and say which ones are too old."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import author, open_state, ready_vault, revision_in_force
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    json_out,
    moment,
    notice,
    say,
    table,
)
from tidegate.domain.connection import DEFAULT_CONNECTION
from tidegate.domain.rotation import RotationState

if TYPE_CHECKING:
    from tidegate.app import Services
    from tidegate.credentials import CredentialAge, Rotator
    from tidegate.domain.connection import Connection
    from tidegate.domain.declaration import Declaration
    from tidegate.domain.rotation import Rotation
    from tidegate.store import RotationRow

WAIT_S: Final = 120.0
"""How long the command stays with a rotation before it leaves it to the gateway."""

_PAUSE_S: Final = 0.2
_COLOURS: Final = {"ok": GOOD, "soon": WEAK, "overdue": BAD, "critical": BAD}
_STATED: Final = {
    RotationState.INTENT: "about to ask for a new key",
    RotationState.CREATED: "the new key is sealed; now it is tried",
    RotationState.TESTED: "the new key works",
    RotationState.PROMOTED: "calls carry the new key",
    RotationState.DRAINING: "calls carry the new key; the old one stays good for the overlap",
    RotationState.REVOKED: "the old key is deleted",
    RotationState.DONE: "done",
    RotationState.ROLLED_BACK: "rolled back; calls carry the old key",
    RotationState.UNKNOWN: "what the provider did is not known",
    RotationState.MANUAL: "waits for a person",
}
_TASKS: Final = {
    "free_slot": "delete a key that is not in use in the provider's console",
    "revoke_old": "end the old key in the provider's console",
    "delete_new": "delete the new key in the provider's console; it is not in use",
    "check_keys": "see in the provider's console which keys there are, and delete what is not in use",
    "replace_key": "make a key in the provider's console and enter it by `tidegate connect`",
}


def rotate(
    provider: Annotated[str, Parameter(help="The provider, as the declaration names it.")],
    /,
    *,
    client: Annotated[str, Parameter(metavar="CLIENT", help="Whose account it is.")],
    name: Annotated[
        str, Parameter(metavar="NAME", help="Tells several accounts at one provider apart.")
    ] = DEFAULT_CONNECTION,
    roll_back: Annotated[
        bool, Parameter(negative="", help="Go back to the old credential while it is still good.")
    ] = False,
    confirm: Annotated[
        bool, Parameter(negative="", help="Say that what was asked for has been done.")
    ] = False,
    old_id: Annotated[
        str | None,
        Parameter(metavar="ID", help="The provider's name of the key in use, to delete it by."),
    ] = None,
    from_file: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="[FIELD=]FILE",
            help="Read a key made in the console from this file; FIELD=FILE reads one field.",
        ),
    ] = (),
) -> int:
    """Replace a connection's credential, or go on with a replacement that was begun.

    Where the provider has a hook the new key is made by it. Elsewhere the command says what to do in
    the provider's console, and takes the key as `connect` does. Calls go on throughout.
    """
    from tidegate.app.services import engine_for_fetching
    from tidegate.credentials import Rotator

    with open_state() as state, engine_for_fetching() as engine:
        declaration = revision_in_force(state).declaration
        ready_vault(state)
        connection = state.store.connections.find(client, provider, name)
        if connection is None:
            raise Refusal(
                f"client `{client}` has no connection `{name}` at `{provider}`",
                "`tidegate connections` lists them; `tidegate connect` makes one",
            )
        holder = f"{socket.gethostname()}:{os.getpid()}"
        rotator = Rotator(state.store, state.vault, engine, holder=holder)
        row = state.store.rotations.active_for(connection.id)
        if roll_back or confirm:
            if row is None:
                raise Refusal("no rotation of this connection is under way")
            (rotator.roll_back if roll_back else rotator.confirm)(row.id)
        elif row is None:
            row = rotator.start(declaration, connection, author=author(), old_id=old_id)
        rotation = _rotation(declaration, provider)
        if row.task == "paste_key" and not roll_back:
            _take_key(state, rotator, declaration, rotation, row, from_file)
        row = _follow(state, rotator, declaration, row.id)
        return _report(row, connection, rotation)


def credentials(
    *, as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False
) -> int:
    """List the credentials by urgency: age, last use, how each is replaced, and what to do.

    Age counts from when a rotation made the key. Nobody knows how old a key is that was only
    entered, so it counts as overdue. Exit code 1 when a credential is overdue.
    """
    from tidegate.credentials import Due, ages

    with open_state() as state:
        declaration = revision_in_force(state).declaration
        known = state.store.connections.all()
        used = state.store.calls.last_used()
        active = state.store.rotations.active()
    found = ages(declaration, known, active, used, datetime.now(UTC))
    if as_json:
        json_out([_as_json(one) for one in found])
    else:
        columns = ("client", "provider", "name", "scheme", "class", "age", "used", "due", "next")
        table(columns, [_row(one) for one in found])
    return REFUSED if any(one.due in {Due.OVERDUE, Due.CRITICAL} for one in found) else DONE


def _rotation(declaration: Declaration, name: str) -> Rotation:
    for provider in declaration.providers:
        if provider.name == name:
            return provider.rotation
    raise Refusal(f"provider `{name}` is not declared any more")


def _take_key(  # noqa: PLR0917 - all that the person is asked for
    state: Services,
    rotator: Rotator,
    declaration: Declaration,
    rotation: Rotation,
    row: RotationRow,
    from_file: tuple[str, ...],
) -> None:
    from tidegate.cli.secrets import read_credential

    notice(f"Make a new key at {row.provider}; the old one stays in use until the new one works.")
    if rotation.console:
        notice(f"Console: {rotation.console}")
    for number, step in enumerate(rotation.steps, start=1):
        notice(f"{number}. {step}")
    wanted = state.connections.fields(declaration, row.provider)
    rotator.give(row.id, declaration, read_credential(wanted, from_file))


def _follow(
    state: Services, rotator: Rotator, declaration: Declaration, rotation: str
) -> RotationRow:
    """Make the steps that can be made now, and say each."""
    ends = time.monotonic() + WAIT_S
    shown: RotationState | None = None
    while True:
        row = rotator.advance(rotation, declaration) or state.store.rotations.get(rotation)
        if row is None:
            raise Refusal("the rotation is not on record any more")
        if row.state is not shown:
            say((f"{row.state.value} ", NAME), _STATED[row.state])
            shown = row.state
        waits = row.retry_at is not None and row.retry_at - datetime.now(UTC) > timedelta(seconds=9)
        held = row.state in {RotationState.UNKNOWN, RotationState.MANUAL} or row.task is not None
        if row.active is None or held or waits or time.monotonic() > ends:
            return row
        time.sleep(_PAUSE_S)


def _report(row: RotationRow, connection: Connection, rotation: Rotation) -> int:
    again = f"tidegate rotate {connection.provider} --client {connection.client}"
    again += "" if connection.name == DEFAULT_CONNECTION else f" --name {connection.name}"
    if row.trouble:
        notice(("reason ", WEAK), row.trouble)
    if row.task == "paste_key":
        raise Refusal("the key that was given does not work", f"`{again}` takes another")
    if row.task is not None:
        if row.task == "revoke_old":
            for number, step in enumerate(rotation.revoke_steps, start=1):
                notice(f"{number}. {step}")
        what = _TASKS.get(row.task, row.task)
        keys = f" (old key {row.old_id or 'unknown'}, new key {row.new_id or 'unknown'})"
        notice(f"To do: {what}{keys}; then `{again} --confirm`.")
        return DONE if row.task == "revoke_old" else REFUSED
    if row.active is not None:
        notice(f"The running gateway goes on with it; without one, `{again}` does.")
        return DONE
    return DONE if row.state is RotationState.DONE else REFUSED


def _row(one: CredentialAge) -> tuple[str | tuple[str, str], ...]:
    connection = one.connection
    age = "unknown" if one.age is None else f"{one.age.days} d of {one.age_max.days}"
    return (
        (connection.client, NAME),
        connection.provider,
        connection.name,
        connection.scheme.partition(" ")[0],
        one.overlap_class.value,
        age,
        moment(one.last_used),
        (one.due.value, _COLOURS[one.due.value]),
        (one.next_act, QUIET),
    )


def _as_json(one: CredentialAge) -> dict[str, object]:
    connection = one.connection
    return {
        "client": connection.client,
        "provider": connection.provider,
        "name": connection.name,
        "scheme": connection.scheme,
        "class": one.overlap_class.value,
        "age_days": None if one.age is None else one.age.days,
        "age_max_days": one.age_max.days,
        "last_used": one.last_used,
        "due": one.due.value,
        "next": one.next_act,
    }
