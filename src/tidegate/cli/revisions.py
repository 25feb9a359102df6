"""`plan`, `apply`, `revisions` and `rollback`: how a declaration comes into force, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from tidegate.cli.outcome import CHANGES, DONE, Refusal
from tidegate.cli.reading import DECLARATION, author, open_state, read_declaration
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    STRONG,
    WEAK,
    counted,
    json_out,
    moment,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.snapshot import Change
    from tidegate.store import Revision, Store

_OPERATIONS_SHOWN_MAX: Final = 12
_MARKS: Final = {"added": ("+", GOOD), "removed": ("-", BAD), "changed": ("~", WEAK)}
_Path = Annotated[Path, Parameter(help="tidegate.yaml, or the folder that holds it.")]
_Note = Annotated[
    str, Parameter(metavar="TEXT", help="Why, for whoever reads the revisions later.")
]
_Number = Annotated[int, Parameter(name="N", help="The revision's number.")]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]

revisions = App(name="revisions", help="List what was applied, by whom and when.")


def plan(path: _Path = DECLARATION, /, *, as_json: _Json = False) -> int:
    """Show what `apply` would change in what is in force, and change nothing.

    The exit code is 0 when nothing would change, 2 when something would, 1 when the declaration is
    wrong.
    """
    from tidegate.snapshot import changes

    declaration = read_declaration(path)
    with open_state() as state:
        current = state.store.revisions.current()
    found = changes(current.declaration if current else None, declaration)
    if as_json:
        json_out({"revision": current.number if current else None, "changes": _as_json(found)})
    else:
        _show(found)
        since = f"revision {current.number}" if current else "nothing applied yet"
        say((f"{counted(len(found), 'change')} from {since}", STRONG))
    return CHANGES if found else DONE


def apply(path: _Path = DECLARATION, /, *, note: _Note = "") -> int:
    """Store a declaration as the next revision. A running `tidegate up` follows within a second."""
    declaration = read_declaration(path)
    with open_state() as state:
        made = state.apply(declaration, author=author(), note=note)
    if made is None:
        say("nothing to change")
    else:
        say(("applied ", GOOD), f"as revision {made.number}")
    return DONE


@revisions.default
def list_revisions(*, as_json: _Json = False) -> int:
    """List what was applied, by whom and when; the last is in force."""
    with open_state() as state:
        known = state.store.revisions.all()
    if as_json:
        json_out([_revision_as_json(revision) for revision in known])
        return DONE
    rows = [
        ((str(one.number), NAME), moment(one.at), one.author, one.note, (one.digest[:12], QUIET))
        for one in known
    ]
    table((("revision", "right"), "applied", "by", "note", "digest"), rows)
    return DONE


@revisions.command
def show(number: _Number, /, *, as_json: _Json = False) -> int:
    """Show one revision, and what it changed."""
    from tidegate.snapshot import changes

    with open_state() as state:
        one = _revision(state.store, number)
        before = state.store.revisions.get(number - 1)
    found = changes(before.declaration if before else None, one.declaration)
    if as_json:
        json_out({**_revision_as_json(one), "changes": _as_json(found)})
        return DONE
    say((f"revision {one.number}", STRONG), f", applied {moment(one.at)} by {one.author}")
    if one.note:
        say(one.note)
    _show(found)
    return DONE


def rollback(number: _Number, /, *, note: _Note = "") -> int:
    """Apply an earlier revision again, as the next one: nothing is ever taken out of the list.

    A `tidegate up` that watches a file stays on what was rolled back to until the file is edited.
    """
    with open_state() as state:
        _revision(state.store, number)
        made = state.rollback(number, author=author(), note=note)
    if made is None:
        say(f"nothing to change: revision {number} is what is in force")
    else:
        say(("applied ", GOOD), f"revision {number} again, as revision {made.number}")
    return DONE


def _revision(store: Store, number: int) -> Revision:
    found = store.revisions.get(number)
    if found is None:
        raise Refusal(f"there is no revision {number}", "`tidegate revisions` lists them")
    return found


def _show(found: Sequence[Change]) -> None:
    """Print the changes; of a provider's thousand new operations, some stand for all."""
    for group, some in groupby(found, key=_operations_of):
        changed = list(some)
        shown = changed[:_OPERATIONS_SHOWN_MAX] if group else changed
        for change in shown:
            _show_one(change)
        if len(changed) > len(shown):
            say((f"  … {len(changed) - len(shown):,} more in {group}; `--json` lists them", QUIET))


def _operations_of(change: Change) -> str:
    """Name the provider's operations that a change belongs to; empty for any other change."""
    head, found, _ = change.path.partition(".operations.")
    return f"{head}.operations" if found else ""


def _show_one(change: Change) -> None:
    say("  ", _MARKS[change.kind], f" {change.path}")
    for sign, style, text in (("-", BAD, change.before), ("+", GOOD, change.after)):
        if text:
            say((f"      {sign} {text}", style))


def _as_json(found: Sequence[Change]) -> list[dict[str, object]]:
    return [asdict(change) for change in found]


def _revision_as_json(one: Revision) -> dict[str, object]:
    fields = ("number", "at", "author", "note", "digest")
    return {field: getattr(one, field) for field in fields}
