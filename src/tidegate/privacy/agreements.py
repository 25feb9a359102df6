"""The register of agreements: what operators' acts add to it, end in it, and lift for some hours.

There is no table of agreements that somebody could edit: the register is made of the acts each time
it is read, so that every line of it is as authentic as the act that it comes from.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.domain.act import Act
from tidegate.domain.agreement import OVERRIDE_MAX, Agreement, Override, Register
from tidegate.domain.category import covers
from tidegate.privacy.acts import Acts, ActsAltered, Operator
from tidegate.privacy.errors import PrivacyRefused
from tidegate.snapshot.covering import holds

WARNED_DAYS: Final = (60, 30, 7)
"""How many days before an agreement ends its operator hears of it."""

ENDED_DAYS: Final = 30
"""For how many days it is told that an agreement has ended, and that nothing does what it did."""

REVIEW_AGE: Final = timedelta(days=365)
"""A subprocessor that nobody looked at for longer is warned of."""

ADDED: Final = "agreement.add"
ENDED: Final = "agreement.end"
ASKED: Final = "override.ask"
APPROVED: Final = "override.approve"
REVOKED: Final = "override.revoke"

_AGREEMENT: Final = TypeAdapter(Agreement)
_REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Warned:
    """An agreement that needs somebody. `days` is the threshold before its end that it passed, 0: it ended."""

    agreement: Agreement
    days: int | None
    what: str


class Agreements:
    """The register of one installation, and the acts that change it."""

    def __init__(self, acts: Acts, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._acts = acts
        self._now = now

    def register(self) -> Register:
        """Return what is on record.

        Raises:
            ActsAltered: it is not what was written; none of it counts.
        """
        return _register(self._acts.verified().acts)

    def trusted(self) -> Register:
        """Return what is on record; where it was altered, nothing but why it does not count."""
        try:
            return self.register()
        except ActsAltered as altered:
            return Register(distrusted=str(altered))

    def history(self, name: str) -> tuple[Act, ...]:
        """Return every act about one agreement or override, oldest first."""
        return tuple(act for act in self._acts.verified().acts if act.subject == name)

    def add(self, operator: Operator, agreement: Agreement) -> Act:
        """Record an agreement. Its name is its own for ever.

        Raises:
            PrivacyRefused: there is one of that name.
        """

        def decide(acts: tuple[Act, ...]) -> tuple[str, str, Mapping[str, Any]]:
            if any(one.name == agreement.name for one in _register(acts).agreements):
                raise PrivacyRefused(
                    f"there is an agreement `{agreement.name}` already",
                    "a new document is a new agreement: give it a name of its own, and end the old",
                )
            return ADDED, agreement.name, _AGREEMENT.dump_python(agreement, mode="json")

        return self._acts.append(operator, decide, at=self._now())

    def end(self, operator: Operator, name: str, at: datetime | None = None) -> Act:
        """End an agreement now, or at a later time that is before its own end.

        Raises:
            PrivacyRefused: there is none, or it would not end sooner.
        """
        now = self._now()

        def decide(acts: tuple[Act, ...]) -> tuple[str, str, Mapping[str, Any]]:
            known = {one.name: one for one in _register(acts).agreements}
            found = known.get(name)
            if found is None:
                message = f"there is no agreement {shown(name)}"
                raise PrivacyRefused(message, did_you_mean(name, known))
            ends = max(at or now, now)
            if found.ends is not None and ends >= found.ends:
                raise PrivacyRefused(
                    f"`{name}` ends at {found.ends.isoformat()} already",
                    "an agreement can be ended sooner, never later: add the one that follows it",
                )
            return ENDED, name, {"ends": ends.isoformat()}

        return self._acts.append(operator, decide, at=now)

    def ask(
        self,
        operator: Operator,
        *,
        client: str,
        provider: str,
        categories: Iterable[str],
        purposes: Iterable[str],
        hours: int,
        reason: str,
    ) -> Override:
        """Ask for leave to send without an agreement. Nothing goes until somebody else approves.

        Raises:
            PrivacyRefused: it is too long, or has no reason.
        """
        most = int(OVERRIDE_MAX.total_seconds()) // 3600
        if not 0 < hours <= most:
            raise PrivacyRefused(f"an override lasts between 1 and {most} hours")
        if not reason.strip() or len(reason) > _REASON_MAX or not reason.isprintable():
            raise PrivacyRefused(f"an override has a reason, of {_REASON_MAX} characters at most")
        details = {
            "client": client,
            "provider": provider,
            "categories": sorted(set(categories)),
            "purposes": sorted(set(purposes)),
            "hours": hours,
            "reason": reason.strip(),
        }
        if not details["categories"] or not details["purposes"]:
            raise PrivacyRefused("an override names the categories and the purposes that it is for")
        made = f"ovr_{secrets.token_hex(6)}"
        act = self._acts.append(operator, lambda _: (ASKED, made, details), at=self._now())
        return _override(act)

    def approve(self, operator: Operator, override: str) -> Override:
        """Let an override come into force. Whoever asked for it cannot.

        Raises:
            PrivacyRefused: there is none that waits, or it is the same person.
        """
        now = self._now()

        def decide(acts: tuple[Act, ...]) -> tuple[str, str, Mapping[str, Any]]:
            found = _find(acts, override)
            if found.approved_at is not None or found.revoked_at is not None:
                raise PrivacyRefused(f"`{override}` was decided already")
            if found.lapses <= now:
                raise PrivacyRefused(f"`{override}` has waited for too long", "ask anew")
            if operator.is_same_as(found.asked_by):
                raise PrivacyRefused(
                    f"`{override}` was asked for by `{found.asked_by}`, who cannot approve it",
                    "another person does",
                )
            return APPROVED, override, {}

        self._acts.append(operator, decide, at=now)
        return _find(self._acts.verified().acts, override)

    def revoke(self, operator: Operator, override: str) -> Override:
        """End an override, or a question for one. One person is enough for that.

        Raises:
            PrivacyRefused: there is none, or it has ended.
        """
        now = self._now()

        def decide(acts: tuple[Act, ...]) -> tuple[str, str, Mapping[str, Any]]:
            found = _find(acts, override)
            if found.revoked_at is not None or (found.ends is not None and found.ends <= now):
                raise PrivacyRefused(f"`{override}` has ended already")
            return REVOKED, override, {}

        self._acts.append(operator, decide, at=now)
        return _find(self._acts.verified().acts, override)

    def warnings(self) -> list[Warned]:
        """Name the agreements that end soon or did lately, and subprocessors nobody looked at for a year."""
        return list(warnings(self.register().agreements, self._now()))


def warnings(agreements: Iterable[Agreement], now: datetime) -> Iterable[Warned]:
    """Name what needs somebody: what has ended, then the next to end first."""
    known = list(agreements)
    current = [one for one in known if not one.has_ended(now)]
    for one in known:
        if one.ends is None or not timedelta() <= now - one.ends <= timedelta(days=ENDED_DAYS):
            continue
        if not any(other.is_in_force(now) and _does_as(other, one) for other in current):
            yield Warned(one, 0, f"ended at {one.ends:%Y-%m-%d %H:%M} UTC, and none follows it")
    ending = sorted((one.ends, one.name, one) for one in current if one.ends is not None)
    for ends, _, one in ending:
        left = ends - now
        passed = [days for days in WARNED_DAYS if left <= timedelta(days=days)]
        if passed:
            whole = max(0, left.days)
            what = f"ends in {whole} day{'' if whole == 1 else 's'}, at {ends:%Y-%m-%d %H:%M} UTC"
            yield Warned(one, min(passed), what)
    for one in current:
        for employed in one.subprocessors:
            if now.date() - employed.reviewed > REVIEW_AGE:
                what = f"subprocessor `{employed.name}` was last reviewed {employed.reviewed}"
                yield Warned(one, None, what)


def _does_as(other: Agreement, one: Agreement) -> bool:
    """Whether an agreement lets go all that another one did."""
    return (
        all(other.is_for(client, one.provider) for client in one.clients)
        and all(any(covers(wide, word) for wide in other.categories) for word in one.categories)
        and all(any(holds(wide, word) for wide in other.purposes) for word in one.purposes)
    )


def _register(acts: Iterable[Act]) -> Register:
    agreements: dict[str, Agreement] = {}
    overrides: dict[str, Override] = {}
    for act in acts:
        details: dict[str, Any] = json.loads(act.details)
        match act.act:
            case "agreement.add":
                agreements[act.subject] = _AGREEMENT.validate_python(details)
            case "agreement.end":
                ends = datetime.fromisoformat(details["ends"])
                agreements[act.subject] = replace(agreements[act.subject], ends=ends)
            case "override.ask":
                overrides[act.subject] = _override(act)
            case "override.approve":
                found = overrides[act.subject]
                overrides[act.subject] = replace(
                    found, approved_by=act.operator, approved_at=act.at
                )
            case "override.revoke":
                found = overrides[act.subject]
                overrides[act.subject] = replace(found, revoked_at=act.at)
            case _:
                pass
    return Register(tuple(agreements.values()), tuple(overrides.values()))


def _override(act: Act) -> Override:
    details: dict[str, Any] = json.loads(act.details)
    return Override(
        id=act.subject,
        client=details["client"],
        provider=details["provider"],
        categories=tuple(details["categories"]),
        purposes=tuple(details["purposes"]),
        reason=details["reason"],
        hours=details["hours"],
        asked_by=act.operator,
        asked_at=act.at,
    )


def _find(acts: tuple[Act, ...], override: str) -> Override:
    known = {one.id: one for one in _register(acts).overrides}
    found = known.get(override)
    if found is None:
        raise PrivacyRefused(
            f"there is no override {shown(override)}", did_you_mean(override, known)
        )
    return found
