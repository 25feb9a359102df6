"""`status`: ask the running gateway how it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE
from tidegate.cli.terminal import GOOD, NAME, QUIET, WEAK, counted, json_out, moment, say


def status(
    *, as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False
) -> int:
    """Ask the gateway that runs on this installation where it listens and what it is doing.

    It is asked on a socket in the installation's folder, which answers the user who runs the gateway
    and root alone. The exit code is 1 when no gateway runs.
    """
    from tidegate.app import Home
    from tidegate.app.asking import ask

    found = ask(Home.from_environment(), "status")
    if as_json:
        json_out(found)
        return DONE
    ready = ("ready", GOOD) if found["ready"] else ("starting", WEAK)
    say(ready, f"  revision {found['revision']}", (f"  Tidegate {found['version']}", QUIET))
    for name, address in found["addresses"].items():
        say(("listening ", QUIET), (f"{name.partition('-')[0]}://{address}", NAME))
    since = moment(datetime.fromisoformat(found["since"]))
    say(("since     ", QUIET), f"{since}, process {found['process']}")
    calls = counted(found["calls"], "call")
    sockets = counted(found["connections"], "connection")
    say(("carried   ", QUIET), f"{calls}; now {found['in_flight']:,} under way on {sockets}")
    if shared := found["shared"]:
        if shared["state"] == "lost":
            say(("shared    ", WEAK), f"the store is lost: {shared['reason']}; quotas by parts")
        else:
            nodes = f"{shared['present']} of {shared['nodes']} gateways"
            say(("shared    ", QUIET), f"{shared['state']}, {nodes}, {shared['pots']:,} counts")
    if found["events_lost"]:
        say(("lost      ", WEAK), counted(found["events_lost"], "record"))
    return DONE
