"""Say who acts, and look at what operators did: `acts`."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE
from tidegate.cli.reading import open_state
from tidegate.cli.terminal import GOOD, NAME, QUIET, json_out, moment, say, table

if TYPE_CHECKING:
    from tidegate.domain.act import Act
    from tidegate.privacy import Operator

acts = App(name="acts", help="List what operators did, and verify that nobody altered it.")

As = Annotated[
    str | None,
    Parameter(
        name="--as",
        metavar="NAME",
        help="Who acts, where several people share a user of the machine.",
    ),
]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def operator(name: str | None) -> Operator:
    """Name whoever runs the command, by the machine's word and their own."""
    from tidegate.privacy import Operator

    login = _login()
    return Operator(login if name is None else name, login)


@acts.command(name="list")
def list_acts(*, as_json: _Json = False) -> int:
    """List what operators did, oldest first; refused if it was altered."""
    with open_state() as state:
        known = state.acts.verified().acts
    if as_json:
        fields = ("seq", "at", "operator", "login", "act", "subject", "details")
        json_out([{field: getattr(act, field) for field in fields} for act in known])
        return DONE
    columns = (("act", "right"), "at", "by", "what", "to what")
    table(columns, [_row(act) for act in known])
    return DONE


@acts.command
def verify(
    *,
    head: Annotated[
        str,
        Parameter(
            metavar="HEAD",
            help="A head that was noted earlier: the entry that it names must still be there.",
        ),
    ] = "",
    as_json: _Json = False,
) -> int:
    """Verify that no act was altered, removed or moved, and show the head to note somewhere else.

    Whoever can write the database may put back an earlier copy of all acts. A head that was noted on
    paper, or on another machine, shows that.
    """
    with open_state() as state:
        found = state.acts.verified_since(head) if head else state.acts.verified()
    if as_json:
        json_out({"ok": True, "acts": len(found.acts), "head": found.head})
        return DONE
    say(("ok", GOOD), f"  {len(found.acts)} acts, each what it was")
    say(("head ", QUIET), found.head)
    return DONE


def _row(act: Act) -> tuple[str | tuple[str, str], ...]:
    by = act.operator if act.operator == act.login else f"{act.operator} (as {act.login})"
    return str(act.seq), moment(act.at), by, act.act, (act.subject, NAME)


def _login() -> str:
    """The user whose process this is: not the environment's word, which anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a user that has no name.
        return f"user {os.getuid()}"
