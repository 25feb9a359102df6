"""Tell in time what agreements let go no longer, and at once that the register is not what it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate.app.logs import Trouble
from tidegate.app.services import Services
from tidegate.catalog import Weakness
from tidegate.domain.declaration import Declaration
from tidegate.privacy import ActsAltered, Gap, Warned, gaps, warnings
from tidegate.vault import VaultError

EVERY_S: Final = 60.0
AGAIN_S: Final = 86_400.0
"""After how long a thing that is still so is told again."""

_NAMED_MAX: Final = 20
_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate")


def agreement_weaknesses(state: Services, declaration: Declaration) -> list[Weakness]:
    """Say which agreements need somebody, and what policies let go and no agreement does."""
    now = datetime.now(UTC)
    try:
        register = state.agreements.register()
    except (ActsAltered, VaultError) as refused:
        return [Weakness("agreements", f"nobody can tell what is on record: {refused}")]
    ending = warnings(register.agreements, now)
    return [
        *(Weakness(f"agreements.{one.agreement.name}", one.what) for one in ending),
        *(Weakness(gap.policy, gap.what) for gap in gaps(declaration, register, now)),
    ]


class AgreementWatch:
    """Looks at the register once a minute, and says each thing once a day."""

    def __init__(self, state: Services, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._looked_at: float | None = None
        self._told = dict[object, float]()
        self._altered = Trouble(_log, "acts_altered", "acts_verified_again")

    def look(self, declaration: Declaration) -> None:
        """Look, if it is time."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        try:
            register = self._state.agreements.register()
        except (ActsAltered, VaultError) as refused:
            hint = "no personal data goes out: `tidegate acts verify` says more"
            self._altered.met(reason=str(refused), hint=hint)
            return
        self._altered.over()
        self._told = {what: at for what, at in self._told.items() if now - at < AGAIN_S}
        today = datetime.now(UTC)
        for one in warnings(register.agreements, today):
            # The days left change with every look; the threshold does not.
            if self._is_new((one.agreement.name, one.days or one.what), now):
                _tell(one)
        for gap in gaps(declaration, register, today):
            if self._is_new(gap, now):
                _tell_gap(gap)

    def _is_new(self, what: object, now: float) -> bool:
        return self._told.setdefault(what, now) == now


def _tell(one: Warned) -> None:
    name, provider = one.agreement.name, one.agreement.provider
    ends = one.agreement.ends.isoformat() if one.agreement.ends else ""
    if one.days is None:
        _log.warning("subprocessor_not_reviewed", agreement=name, provider=provider, what=one.what)
    elif one.days == 0:
        _log.warning("agreement_ended", agreement=name, provider=provider, ended=ends)
    else:
        _log.warning(
            "agreement_ends", agreement=name, provider=provider, ends=ends, within_days=one.days
        )


def _tell_gap(gap: Gap) -> None:
    _log.warning(
        "agreement_missing",
        policy=gap.policy,
        provider=gap.provider,
        clients=gap.clients[:_NAMED_MAX],
        categories=gap.categories[:_NAMED_MAX],
        purpose=gap.purpose,
    )
