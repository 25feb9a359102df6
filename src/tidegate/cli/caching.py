"""`cache …`: ask the running gateway what it has stored of answers, and take some out."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.terminal import NAME, QUIET, WEAK, counted, json_out, say, table

cache = App(name="cache", help="Ask what is stored of answers, and take some out.")

_MIB = 1024**2


@cache.command
def stats(
    *, as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False
) -> int:
    """Say how many answers the running gateway has stored, and for whom.

    `shared` are those that more than one client may be given.
    """
    from tidegate.app import Home
    from tidegate.app.asking import ask

    found = ask(Home.from_environment(), "cache-stats")
    if as_json:
        json_out(found)
        return DONE
    table(
        ("client", ("answers", "right"), ("MiB", "right")),
        [
            (
                (one["client"], NAME) if one["client"] is not None else ("shared", QUIET),
                f"{one['answers']:,}",
                f"{one['bytes'] / _MIB:,.1f}",
            )
            for one in found["clients"]
        ],
    )
    most, share = found["bytes_max"] / _MIB, found["client_bytes_max"] / _MIB
    say((f"{found['bytes'] / _MIB:,.1f} of {most:,.0f} MiB; {share:,.0f} MiB a client", QUIET))
    if disk := found["disk"]:
        held, room = disk["bytes"] / _MIB, disk["bytes_max"] / _MIB
        say(
            (
                f"on disk: {held:,.1f} of {room:,.0f} MiB, {counted(disk['answers'], 'answer')}",
                QUIET,
            )
        )
    if (shared := found["shared"]) is not None:
        state = "connected" if shared["connected"] else "away"
        counts = f"{shared['hits']:,} hits, {shared['kept']:,} sent"
        say((f"shared with other gateways: {state}, {counts}", QUIET))
        if shared["refused"]:
            say((f"{shared['refused']:,} did not open: somebody else writes to the store", WEAK))
    return DONE


@cache.command
def purge(
    *,
    client: Annotated[str | None, Parameter(metavar="CLIENT", help="Only this client's.")] = None,
    provider: Annotated[
        str | None, Parameter(metavar="PROVIDER", help="Only of this provider.")
    ] = None,
    operation: Annotated[
        str | None, Parameter(metavar="OPERATION", help="Only of this operation.")
    ] = None,
    key: Annotated[
        str | None, Parameter(metavar="KEY", help="The one under this key, as `explain` shows it.")
    ] = None,
    group: Annotated[
        str | None, Parameter(metavar="GROUP", help="Only of a group that the provider names.")
    ] = None,
    everything: Annotated[
        bool, Parameter(name="--all", negative="", help="All that is stored.")
    ] = False,
) -> int:
    """Take stored answers out of the running gateway: those for which all that is named holds."""
    from tidegate.app import Home
    from tidegate.app.asking import ask

    named = {
        "client": client,
        "provider": provider,
        "operation": operation,
        "key": key,
        "group": group,
    }
    if not everything and not any(named.values()):
        raise Refusal("nothing is named", "say which answers are meant, or `--all`")
    if everything and any(named.values()):
        raise Refusal("`--all` stands alone", "leave it out, or what is beside it")
    gone = ask(Home.from_environment(), "cache-purge", **named, all=everything)
    say(f"{counted(gone, 'answer')} taken out")
    return DONE
