"""Judge by which agreements a client's data of one category may go to a provider for one purpose.

Everything but the time is judged here, so that the engine has dates alone to compare:

1. made     an agreement with the provider, for the client, of a kind that its law knows
2. covers   the category and the purpose; a special category (GDPR Art. 9) only in its own words
3. stays    within the client's residency, where one is declared
4. crosses  to another region only by a transfer's tool (GDPR Art. 44 to 46)
5. health   of a client under HIPAA by a business associate agreement besides (45 CFR 164.502(e))

An approved override stands for all of these. What none of them lets go has a sentence that says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidegate.domain.agreement import Agreement, Override, Register
from tidegate.domain.category import bare, covers
from tidegate.domain.declaration import Client

EEA: Final = frozenset({
    "at", "be", "bg", "cy", "cz", "de", "dk", "ee", "es", "fi", "fr", "gr", "hr", "hu", "ie", "is",
    "it", "li", "lt", "lu", "lv", "mt", "nl", "no", "pl", "pt", "ro", "se", "si", "sk",
})  # fmt: skip
"""What `eu` and `eea` hold as regions."""

_ONE_TERRITORY: Final = EEA | {"eu", "eea"}
_UNDER_GDPR: Final = _ONE_TERRITORY | {"uk", "gb", "ch"}
_PROCESSING: Final = frozenset({"dpa", "scc"})
"""The kinds that GDPR Art. 28 knows: clauses by Art. 46(2)(c) of modules 2 and 3 are such a contract too."""
_ELSEWHERE: Final = _PROCESSING | {"ccpa", "baa"}
_HEALTH: Final = ("health", "health_and_medical")


@dataclass(frozen=True, slots=True)
class Need:
    """What an operation's policy sends, and what for."""

    category: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Window:
    """While all of `names` are in force; `ends` is the first instant without one of them."""

    starts: datetime
    ends: datetime | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cover:
    """When a need is covered. `missing` says why never, where there is no window."""

    windows: tuple[Window, ...] = ()
    missing: str = ""


def cover(client: Client, provider: str, need: Need, register: Register) -> Cover:
    """Judge one need of one client."""
    if register.distrusted:
        return Cover(missing=register.distrusted)
    lifted = [_lifted(one) for one in register.overrides if _lifts(one, client, provider, need)]
    made = [one for one in register.agreements if one.is_for(client.name, provider)]
    windows, reasons = _windows(client, need, made)
    found = (*windows, *(window for window in lifted if window is not None))
    if found:
        return Cover(found)
    if not made:
        return Cover(
            missing="none is on record for them; `tidegate agreements add FILE` records one."
        )
    return Cover(missing=f"{'; '.join(dict.fromkeys(reasons))}.")


def _windows(
    client: Client, need: Need, made: Sequence[Agreement]
) -> tuple[list[Window], list[str]]:
    windows: list[Window] = []
    reasons: list[str] = []
    covering = [one for one in made if _covers(one, need)]
    clauses = [one for one in covering if one.kind == "scc" and one.transfer]
    associates = [one for one in covering if one.kind == "baa"]
    for one in made:
        reason = _unfit(client, one) if one in covering else _uncovered(one, need)
        if reason:
            reasons.append(reason)
            continue
        abroad = _abroad(client, one.destinations)
        tools = [one] if not abroad or one.transfer else clauses
        if not tools:
            where = ", ".join(f"`{region}`" for region in abroad)
            reasons.append(
                f"`{one.name}` lets it go from `{client.region}` to {where} without a transfer tool"
            )
            continue
        by_law = associates if _is_phi(client, need) else [one]
        if not by_law:
            reasons.append(
                f"`{one.name}` is no business associate agreement, which health data needs"
            )
        found = (_together((one, tool, law)) for tool in tools for law in by_law)
        windows += [window for window in found if window is not None]
        if by_law and not windows:
            reasons.append(f"`{one.name}` and what it needs besides are never in force together")
    return windows, reasons


def _covers(agreement: Agreement, need: Need) -> bool:
    return any(covers(wider, need.category) for wider in agreement.categories) and any(
        holds(wider, need.purpose) for wider in agreement.purposes
    )


def _uncovered(agreement: Agreement, need: Need) -> str:
    if any(covers(wider, need.category) for wider in agreement.categories):
        return f"`{agreement.name}` does not cover the purpose `{need.purpose}`"
    return f"`{agreement.name}` does not cover the category `{need.category}`"


def _unfit(client: Client, agreement: Agreement) -> str:
    """Why an agreement that covers the need does not count for this client; empty if it does."""
    kinds = _PROCESSING if _country(client.region) in _UNDER_GDPR else _ELSEWHERE
    if agreement.kind not in kinds:
        return f"`{agreement.name}` is of kind `{agreement.kind}`, which lets no data go by itself"
    outside = [
        region
        for region in agreement.destinations
        if client.residency and not any(_within(region, home) for home in client.residency)
    ]
    if outside:
        where = ", ".join(f"`{region}`" for region in outside)
        return f"`{agreement.name}` lets it go to {where}, outside the client's residency"
    return ""


def _abroad(client: Client, destinations: Iterable[str]) -> list[str]:
    if not client.region:
        return []
    return [region for region in destinations if not _within(region, client.region)]


def _within(region: str, home: str) -> bool:
    # One territory for the purposes of Chapter V, whichever member state.
    if _country(home) in _ONE_TERRITORY and _country(region) in _ONE_TERRITORY:
        return True
    return region == home or region.startswith(f"{home}-")


def _country(region: str) -> str:
    """`de` of `de-by`."""
    return region.partition("-")[0]


def _is_phi(client: Client, need: Need) -> bool:
    is_health = bare(need.category).partition(".")[0] in _HEALTH
    return is_health and (client.phi or _country(client.region) == "us")


def _lifts(override: Override, client: Client, provider: str, need: Need) -> bool:
    return (
        override.client == client.name
        and override.provider == provider
        and any(covers(wider, need.category) for wider in override.categories)
        and any(holds(wider, need.purpose) for wider in override.purposes)
    )


def _lifted(override: Override) -> Window | None:
    starts, ends = override.approved_at, override.ends
    if starts is None or ends is None or ends <= starts:
        return None
    return Window(starts, ends, (override.id,))


def _together(agreements: Iterable[Agreement]) -> Window | None:
    """The time in which all of them are in force."""
    found = tuple(agreements)
    starts = max(one.starts for one in found)
    ended = [one.ends for one in found if one.ends is not None]
    ends = min(ended) if ended else None
    if ends is not None and ends <= starts:
        return None
    return Window(starts, ends, tuple(dict.fromkeys(one.name for one in found)))


def holds(wider: str, narrower: str) -> bool:
    """Whether a dotted word is another one, or stands for it."""
    return narrower == wider or narrower.startswith(f"{wider}.")
