"""Run the signing hooks that are declared: each on threads of its own, so that one that hangs holds up no other.

A hook runs operators' code. Whatever it raises refuses the call it was to sign; what it was goes to the
call's record, without the secrets that it was given.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

import structlog

from tidegate.domain.declaration import Declaration
from tidegate.domain.hook import Signed, SigningCall
from tidegate.domain.secret import Secret
from tidegate.domain.sign import HookSigner

THREADS: Final = 4
"""How many calls one hook signs at a time."""

_WAIT_S: Final = 0.3
_DETAIL_MAX: Final = 400
_log = structlog.stdlib.get_logger("tidegate.hooks")


class HookCalls(Protocol):
    """What running hooks needs of the engine."""

    def take_hook_call(self, hook: str, timeout_s: float) -> tuple[int, SigningCall] | None:
        """Wait for a call that a hook is to sign."""
        ...

    def answer_hook_call(self, call: int, signed: Signed) -> None:
        """Give what the hook adds."""
        ...

    def fail_hook_call(self, call: int, detail: str) -> None:
        """Say what the hook failed with."""
        ...


@dataclass(slots=True)
class _Running:
    ending: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])


class HookSigners:
    """The threads of the hooks that are declared."""

    def __init__(self, engine: HookCalls) -> None:
        self._engine = engine
        self._running: dict[str, _Running] = {}

    def follow(self, declaration: Declaration) -> None:
        """Start the hooks that are declared now, and let those end that are not any more."""
        wanted = {
            one.sign.hook for one in declaration.providers if isinstance(one.sign, HookSigner)
        }
        for name in self._running.keys() - wanted:
            self._running.pop(name).ending.set()
        for name in sorted(wanted - self._running.keys()):
            running = self._running[name] = _Running()
            for number in range(THREADS):
                thread = threading.Thread(
                    target=self._serve,
                    args=(name, running.ending),
                    name=f"tidegate-hook-{number} {name}",
                    # Python cannot end a hook that hangs; it must not hold up a stop either.
                    daemon=True,
                )
                running.threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let all end; a hook that hangs is left behind."""
        for running in self._running.values():
            running.ending.set()
        for running in self._running.values():
            for thread in running.threads:
                thread.join(2 * _WAIT_S)
        self._running.clear()

    def _serve(self, name: str, ending: threading.Event) -> None:
        function: Callable[[SigningCall], object] | None = None
        while not ending.is_set():
            taken = self._engine.take_hook_call(name, _WAIT_S)
            if taken is None:
                continue
            number, call = taken
            try:
                function = function or _resolved(name)
                signed = _checked(function(call))
            except BaseException as error:  # noqa: BLE001 - also what would end the thread
                detail = _told(error, call.fields)
                self._engine.fail_hook_call(number, detail)
                _log.error("hook_failed", hook=name, kind=type(error).__name__)
            else:
                self._engine.answer_hook_call(number, signed)


def _resolved(name: str) -> Callable[[SigningCall], object]:
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function)
    if not callable(found):
        raise TypeError(f"`{name}` cannot be called")
    return cast("Callable[[SigningCall], object]", found)


def _checked(signed: object) -> Signed:
    if not isinstance(signed, Signed):
        raise TypeError(f"a hook gives a `Signed`, not a `{type(signed).__name__}`")
    for kind, pairs in (("header", signed.headers), ("parameter", signed.query)):
        for name, value in dict(pairs).items():
            if not (isinstance(name, str) and isinstance(value, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a {kind} of a `Signed` is a text with a text")
    return signed


def _told(error: BaseException, fields: Mapping[str, Secret]) -> str:
    """What it raised and where, without the fields' values; the engine looks for their other forms."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - its own words fail, too
        message = ""
    for value in fields.values():
        text = value.reveal().decode("utf-8", "replace")
        if text:
            message = message.replace(text, "*" * len(text))
    return f"{type(error).__name__} at {place}: {message}"[:_DETAIL_MAX]
