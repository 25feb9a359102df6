"""How a running gateway tells what happens: lines for people on a terminal, JSON lines elsewhere.

What is logged are names, numbers and rules. Values from calls and secrets never reach a logger; and
a crash report has no local variables, which might hold one.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_INFO = 20


def configure_logs(stream: TextIO = sys.stderr) -> None:
    """Write logs to `stream` from now on."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if stream.isatty():
        # Not rich's tracebacks, which show local variables.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=plain))
    else:
        processors.append(structlog.processors.format_exc_info)
        processors.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class Trouble:
    """Something that can go wrong many times a second; told when it begins and when it is over."""

    def __init__(self, log: FilteringBoundLogger, begins: str, ends: str) -> None:
        self._log = log
        self._begins = begins
        self._ends = ends
        self._since: float | None = None

    def met(self, **what: object) -> None:
        """Note that it is so."""
        if self._since is None:
            self._since = time.monotonic()
            self._log.warning(self._begins, **what)

    def over(self) -> None:
        """Note that it is not, or no longer."""
        if self._since is not None:
            self._log.info(self._ends, lasted_s=round(time.monotonic() - self._since, 1))
            self._since = None
