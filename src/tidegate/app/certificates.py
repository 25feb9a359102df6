"""Take up the listeners' certificates, and lists of revoked ones, when their files are renewed."""

from __future__ import annotations

from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate.app.startup import read_listener
from tidegate.app.watching import FilesWatch
from tidegate.catalog import Listener
from tidegate.engine import Engine, EngineError

_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate.app")


class Certificates:
    """Follows the files of each listener that has TLS; what cannot be used changes nothing."""

    def __init__(self, engine: Engine, listeners: tuple[Listener, ...]) -> None:
        self._engine = engine
        self._watched = [(one, FilesWatch(one.files)) for one in listeners if one.files]

    def look(self) -> None:
        """Take up what has changed since the last look. To be called often."""
        for listener, watch in self._watched:
            if watch.changed():
                self._renew(listener)

    def _renew(self, listener: Listener) -> None:
        try:
            self._engine.renew(read_listener(listener))
        except (OSError, UnicodeDecodeError, EngineError) as error:
            # An EngineError names the listener and what is wrong of it, never what a file holds.
            reason = str(error) if isinstance(error, EngineError) else type(error).__name__
            hint = "the certificate that was in force stays; mend the files and they are read again"
            _log.error("listener_not_renewed", listener=listener.name, reason=reason, hint=hint)
        else:
            _log.info("listener_renewed", listener=listener.name)
