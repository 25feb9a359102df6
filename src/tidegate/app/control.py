"""Answer questions about the running gateway, on a Unix socket in the installation's own folder.

One line of JSON asks and one answers, any number of times on a connection:

    {"ask": "status", "with": {}}
    {"answer": {…}}   or   {"error": "…", "hint": "…"}

Only the user who runs the gateway and root are answered, by the kernel's word on who is at the other
end, whatever the socket's file would let in. Everything is bounded: lines, connections, waits.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from structlog.typing import FilteringBoundLogger

from tidegate.catalog.errors import did_you_mean, shown

QUESTION_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 16
IDLE_S: Final = 30.0
"""How long a connection may stand without a question."""

_CREDENTIALS: Final = struct.Struct("3i")
_PRIVATE: Final = 0o600
_ROOT: Final = 0
_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate")


class Question(BaseModel):
    """What a question takes; the base of each form. On its own: nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Asked(Question):
    ask: str
    details: dict[str, Any] = Field(default={}, alias="with")


class CannotAnswerError(Exception):
    """The question was understood and has no answer; the message and `hint` go to whoever asked."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


_Form = TypeVar("_Form", bound=Question)
_Answer = Callable[[Any], object]


class Control:
    """The socket, from `start` to `stop`, and what may be asked there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._questions: dict[str, tuple[type[Question], _Answer]] = {}
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept, name="tidegate-control", daemon=True)

    def answers(self, ask: str, form: type[_Form], answer: Callable[[_Form], object]) -> None:
        """Take a question from now on; `answer` gives what `json.dumps` takes.

        It is called on a thread of its own, several at a time, and raises `CannotAnswerError` to
        refuse.
        """
        self._questions[ask] = (form, answer)

    def start(self) -> None:
        """Make the socket and answer from now on.

        The caller is the installation's only gateway (the engine holds its spool), so a socket that
        lies there was left by one that is dead.

        Raises:
            OSError: the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with reachable(self._path) as place:
            listener.bind(place)
        # Nobody can connect before it listens.
        self._path.chmod(_PRIVATE)
        listener.listen(CONNECTIONS_MAX)
        self._listener = listener
        self._thread.start()

    def stop(self) -> None:
        """Take no more questions."""
        if self._listener is None:
            return
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            # Closing alone does not wake an accept that waits.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        listener = cast("socket.socket", self._listener)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not _may_ask(connection) or not self._room.acquire(blocking=False):
                connection.close()
                continue
            name = "tidegate-control-answer"
            threading.Thread(
                target=self._converse, args=(connection,), name=name, daemon=True
            ).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(IDLE_S)
            with connection, connection.makefile("rb") as lines, suppress(OSError):
                while line := lines.readline(QUESTION_BYTES_MAX):
                    told = self._told(line)
                    connection.sendall(json.dumps(told, ensure_ascii=False).encode() + b"\n")
                    if not line.endswith(b"\n"):
                        return
        finally:
            self._room.release()

    def _told(self, line: bytes) -> dict[str, object]:
        try:
            return {"answer": self._answer(line)}
        except CannotAnswerError as refused:
            return {"error": str(refused), "hint": refused.hint}
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and the gateway goes on
            _log.error("question_failed", kind=type(error).__name__, exc_info=error)
            return {"error": "the gateway failed to answer", "hint": "its log says more"}

    def _answer(self, line: bytes) -> object:
        if not line.endswith(b"\n"):
            raise CannotAnswerError(
                f"a question is one line of at most {QUESTION_BYTES_MAX // 1024} KiB"
            )
        try:
            asked = _Asked.model_validate_json(line)
        except ValidationError:
            form = '`{"ask": "…", "with": {…}}`'
            raise CannotAnswerError(f"a question is {form}, in JSON") from None
        ask = asked.ask
        known = self._questions.get(ask)
        if known is None:
            raise CannotAnswerError(
                f"this gateway does not know the question {shown(ask)}",
                did_you_mean(ask, self._questions),
            )
        form, answer = known
        try:
            taken = form.model_validate(asked.details)
        except ValidationError as wrong:
            first = wrong.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "with"
            raise CannotAnswerError(f"`{ask}`, at `{place}`: {first['msg']}") from None
        return answer(taken)


@contextmanager
def reachable(path: Path) -> Generator[str]:
    """Name a socket's path in a form short enough for one (108 bytes), however deep it lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _may_ask(connection: socket.socket) -> bool:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return user in {os.geteuid(), _ROOT}
