"""Ask the gateway that runs on this installation; `control` answers."""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from tidegate.app.control import reachable
from tidegate.app.home import Home

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
PATIENCE_S: Final = 30.0


class CannotAskError(Exception):
    """There is no answer: no gateway runs, or it refused. Written for whoever runs the command."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def ask(home: Home, question: str, **details: object) -> Any:
    """Ask one question and return its answer, as JSON has it.

    Raises:
        CannotAskError: no gateway runs here, it is another user's, or it says why not.
    """
    line = json.dumps({"ask": question, "with": details}).encode() + b"\n"
    told = _told(home, line)
    if "error" in told:
        raise CannotAskError(told["error"], told.get("hint", ""))
    return told["answer"]


def _told(home: Home, line: bytes) -> dict[str, Any]:
    path = home.control
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection,
            reachable(path) as place,
        ):
            connection.settimeout(PATIENCE_S)
            connection.connect(place)
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answer = answers.readline(ANSWER_BYTES_MAX)
    except (FileNotFoundError, ConnectionRefusedError):
        raise CannotAskError(
            f"no gateway runs on {home.data}",
            "`tidegate up` starts one; TIDEGATE_HOME says where the one that is meant has its state",
        ) from None
    except PermissionError:
        raise CannotAskError(
            f"the gateway on {home.data} is another user's",
            "ask as the user who runs it, or as root",
        ) from None
    except OSError as error:
        raise CannotAskError(f"the gateway on {home.data} does not answer ({error})") from None
    if not answer.endswith(b"\n"):
        # It closes without a word on users it does not know, and when too many ask at once.
        raise CannotAskError(
            f"the gateway on {home.data} does not answer",
            "ask as the user who runs it, or as root; at most 16 may ask at once",
        )
    return json.loads(answer)
