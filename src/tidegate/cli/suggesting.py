"""`protect suggest` and `protect shapes`: what operations without a policy send, and a policy drafted of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import DECLARATION, declaration_file, open_state, what_is_declared
from tidegate.cli.terminal import (
    GOOD,
    NAME,
    QUIET,
    STRONG,
    counted,
    json_out,
    listed,
    moment,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.app.suggesting import Target
    from tidegate.domain.declaration import Declaration
    from tidegate.domain.shape import Shape

_Path = Annotated[Path, Parameter(help="tidegate.yaml, or the folder that holds it.")]
_Client = Annotated[
    str | None, Parameter(metavar="CLIENT", help="Only of what was seen of this client's calls.")
]
_NAMED_MAX = 5


def suggest(
    what: Annotated[
        str,
        Parameter(name="PROVIDER[:OPERATION]", help="Whose policy; the operation may have `*`."),
    ],
    path: _Path = DECLARATION,
    /,
    *,
    client: _Client = None,
    purpose: Annotated[
        str | None,
        Parameter(metavar="WORD", help="What it is sent for: a dotted word, like `payment`."),
    ] = None,
    out: Annotated[
        Path | None, Parameter(metavar="FILE", help="Write it to a new file, and not to stdout.")
    ] = None,
) -> int:
    """Draft a policy for operations that have none, for a person to read and to merge.

    Of what was seen of their calls, where the provider is declared with `observe: true`, and of
    what its document says. The draft holds no value. `tidegate check` says what must still be
    filled in.
    """
    from tidegate.app.suggesting import NothingToDraftError, suggested

    if purpose is not None:
        _check_purpose(purpose)
    declaration = what_is_declared(path)
    _check_client(declaration, client)
    target = _target(declaration, what)
    file = declaration_file(path) if path.exists() else None
    today = datetime.now(UTC).date()
    try:
        with open_state() as state:
            made = suggested(
                declaration, file, state.store, target, today, client=client, purpose=purpose
            )
    except NothingToDraftError as nothing:
        raise Refusal(str(nothing), nothing.hint) from None
    except OSError as error:
        raise Refusal(f"the provider's document cannot be read: {error.strerror}") from None
    if out is None:
        # As it is: rich would wrap it, and read it as markup.
        print(made.text, end="", flush=True)
    else:
        _write(out, made.text)
    _tell(made.operations, made.unknown, out)
    return DONE


def shapes(
    what: Annotated[
        str | None, Parameter(name="PROVIDER[:OPERATION]", help="Only these operations'.")
    ] = None,
    path: _Path = DECLARATION,
    /,
    *,
    client: _Client = None,
    delete: Annotated[
        bool, Parameter(negative="", help="Forget them. A gateway that observes learns anew.")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """Show what operations without a policy were seen to send: places and kinds, never values.

    Only what three sampled calls of a client had in common is written down.
    """
    declaration = what_is_declared(path)
    _check_client(declaration, client)
    target = None if what is None else _target(declaration, what)
    provider = None if target is None else target.provider.name
    with open_state() as state:
        known = state.store.shapes
        found = [
            one
            for one in known.of(provider, client=client)
            if target is None or one.operation in target.ids
        ]
        if delete:
            for whose in sorted({(one.provider, one.operation, one.client) for one in found}):
                known.delete(*whose)
            say(("forgotten ", GOOD), counted(sum(bool(one.at) for one in found), "place"))
            return DONE
    if as_json:
        json_out([_as_json(one) for one in found])
    elif found:
        columns = ("operation", "client", "place", "kind", ("seen", "right"), "looked like", "last")
        table(columns, map(_row, found))
    else:
        notice(("none", QUIET), "  `observe: true` at a provider learns them")
    return DONE


def _target(declaration: Declaration, what: str) -> Target:
    from tidegate.app.suggesting import NothingToDraftError, target_of

    try:
        return target_of(declaration, what)
    except NothingToDraftError as nothing:
        raise Refusal(str(nothing), nothing.hint) from None


def _check_client(declaration: Declaration, client: str | None) -> None:
    if client is not None and client not in {one.name for one in declaration.clients}:
        raise Refusal(f"client `{client}` is not declared")


def _check_purpose(purpose: str) -> None:
    from tidegate.domain.category import is_category

    if not is_category(purpose):
        raise Refusal(f"`{purpose}` is not a dotted word", "like `payment` or `marketing.email`")


def _write(out: Path, text: str) -> None:
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise Refusal(
            f"there is a `{out}` already",
            "name a new file; what somebody wrote is not written over",
        ) from None
    except OSError as error:
        raise Refusal(f"`{out}` cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _tell(operations: Sequence[str], unknown: Sequence[str], out: Path | None) -> None:
    where = f" in {out}" if out is not None else ""
    policies = f"{len(operations):,} {'policy' if len(operations) == 1 else 'policies'}"
    notice(
        ("drafted ", GOOD),
        f"{policies}{where}: read it, say the purpose, merge it, `tidegate check`",
    )
    if unknown:
        names = listed(unknown[:_NAMED_MAX])
        more = f" and {len(unknown) - _NAMED_MAX:,} more" if len(unknown) > _NAMED_MAX else ""
        notice(
            ("unknown ", QUIET), f"nothing was seen of {names}{more}, and no document declares it"
        )


def _row(one: Shape) -> tuple[str | tuple[str, str], ...]:
    looked = ", ".join(f"{mark} {count:,}" for mark, count in sorted(one.marks.items()))
    name = (f"{one.provider}:{one.operation}", NAME)
    return name, one.client, (one.at, STRONG), one.kind, f"{one.count:,}", looked, moment(one.last)


def _as_json(one: Shape) -> dict[str, object]:
    return {
        "provider": one.provider,
        "operation": one.operation,
        "client": one.client,
        "place": one.at,
        "kind": one.kind,
        "seen": one.count,
        "looked_like": dict(one.marks),
        "first": one.first,
        "last": one.last,
    }
