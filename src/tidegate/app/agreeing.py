"""Tell in time that an agreement ends, and at once that the register is not what it was."""

from __future__ import annotations

import time
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate.app.logs import Trouble
from tidegate.app.services import Services
from tidegate.privacy import ActsAltered, Warned
from tidegate.vault import VaultError

EVERY_S: Final = 60.0
_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate")


class AgreementWatch:
    """Looks at the register once a minute, and says each thing once."""

    def __init__(self, state: Services) -> None:
        self._state = state
        self._looked_at: float | None = None
        self._told = set[tuple[str, int | None, str]]()
        self._altered = Trouble(_log, "acts_altered", "acts_verified_again")

    def look(self) -> None:
        """Look, if it is time."""
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        try:
            found = self._state.agreements.warnings()
        except (ActsAltered, VaultError) as refused:
            hint = "no personal data goes out: `tidegate acts verify` says more"
            self._altered.met(reason=str(refused), hint=hint)
            return
        self._altered.over()
        for one in found:
            self._tell(one)

    def _tell(self, one: Warned) -> None:
        # The days left change with every look; the threshold does not.
        key = (one.agreement.name, one.days, "" if one.days else one.what)
        if key in self._told:
            return
        self._told.add(key)
        name, provider = one.agreement.name, one.agreement.provider
        if one.days is None:
            _log.warning(
                "subprocessor_not_reviewed", agreement=name, provider=provider, what=one.what
            )
        else:
            ends = one.agreement.ends.isoformat() if one.agreement.ends else ""
            _log.warning(
                "agreement_ends", agreement=name, provider=provider, ends=ends, within_days=one.days
            )
