"""Hear the signals that a running gateway answers to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """For the time of a `with` block, SIGTERM and SIGINT stop and SIGHUP reads the file again.

    The first signal to stop gives the next one its usual meaning back: whoever cannot wait for the
    calls under way asks twice. What is in the spool by then is taken up by the next start.
    """

    def __init__(self, *, stop: Callable[[], None], reread: Callable[[], None]) -> None:
        self._stop = stop
        self._reread = reread
        # Python hands signals to the main thread; on another one there is nothing to hear.
        self._hears = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._hears:
            for number in _STOPPING:
                signal.signal(number, self._on_stop)
            signal.signal(signal.SIGHUP, self._on_reread)

    def __exit__(self, *_: object) -> None:
        if self._hears:
            # Ignored rather than deadly: a reload that comes while it stops means nothing.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._restore()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._restore()
        self._stop()

    def _on_reread(self, _number: int, _frame: FrameType | None) -> None:
        self._reread()

    def _restore(self) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)
