"""`up`: run the gateway until it is stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE
from tidegate.cli.reading import DECLARATION, author, declaration_file
from tidegate.cli.terminal import GOOD, NAME, QUIET, WEAK, facts, notice

if TYPE_CHECKING:
    from tidegate.app.gateway import Started


def up(
    path: Annotated[
        Path, Parameter(help="tidegate.yaml, or the folder that holds it.")
    ] = DECLARATION,
    /,
) -> int:
    """Run the gateway: apply the declaration, take calls, follow what changes.

    An edit of the declaration becomes the next revision and is in force within a second, without a
    call lost; one that is wrong is told, and changes nothing. SIGTERM or Ctrl-C finishes the calls
    under way and keeps their records; SIGHUP reads the declaration again.

    Logs go to standard error: lines at a terminal, JSON elsewhere.
    """
    from tidegate.app import Home
    from tidegate.app.gateway import Gateway
    from tidegate.app.logs import configure_logs

    configure_logs()
    gateway = Gateway(Home.from_environment(), declaration_file(path), author=author())
    # A log gets the same as a line among the others.
    gateway.run(_tell if sys.stderr.isatty() else None)
    return DONE


def _tell(started: Started) -> None:
    listeners = [
        (("listening", QUIET), (f"{name.partition('-')[0]}://{address}", NAME))
        for name, address in started.addresses.items()
    ]
    weak = [(("weak", WEAK), weakness) for weakness in started.weak]
    in_force = (("in force", QUIET), f"revision {started.revision}")
    facts([*listeners, in_force, *weak])
    notice(("ready", GOOD))
