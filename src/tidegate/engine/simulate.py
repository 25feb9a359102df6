"""Play loads against what a snapshot declares, in virtual time, by the engine's own limits and quotas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tidegate.engine import _wire
from tidegate.engine.errors import EngineError
from tidegate.engine.explain import ExplainRequest


@dataclass(frozen=True, slots=True)
class LoadPlayed:
    """Calls of one kind, that come from `from_ms` to `until_ms`.

    `arrival` is `{"kind": "constant", "per_second": 2.5}`, the same with `poisson`, or `{"kind": "bursts",
    "calls": 10, "every_ms": 60000}`.
    """

    call: ExplainRequest
    arrival: dict[str, str | float]
    until_ms: int
    from_ms: int = 0
    takes_ms: int = 200
    call_class: str | None = None
    patience_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of some calls.

    Waits are of those that were sent, in milliseconds; `…_in` count by parts of the play.
    """

    client: str
    asked: int
    sent: int
    waited: int
    wait_p50_ms: int
    wait_p99_ms: int
    refused: dict[str, int]
    asked_in: list[int]
    sent_in: list[int]


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What was used of a provider's quota, of all that it allows in that time."""

    provider: str
    quota: str
    connection: str | None
    part: str | None
    describe: str
    used: int
    allowed: int
    used_percent_in: list[int]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a play. `refused`: loads, by number, that grants or paths refuse; then nothing was played."""

    refused: list[tuple[int, str]]
    loads: list[Tally]
    clients: dict[str, Tally]
    quotas: list[QuotaUse]


def simulate(
    snapshot: bytes,
    loads: Sequence[LoadPlayed],
    *,
    duration_ms: int,
    seed: int,
    begins: int,
    bins: int = 60,
) -> Played:
    """Play `loads` for `duration_ms`, from `begins` (Unix seconds), told in `bins` parts.

    Raises:
        EngineError: the snapshot or the play cannot be read.
    """
    play = {
        "duration_ms": duration_ms,
        "seed": seed,
        "begins": begins,
        "bins": bins,
        "loads": [_as_json(load) for load in loads],
    }
    try:
        found: dict[str, Any] = json.loads(_wire.simulate(snapshot, json.dumps(play)))
    except _wire.EngineError as error:
        raise EngineError(str(error)) from None
    return Played(
        refused=[(number, why) for number, why in found["refused"]],
        loads=[Tally(**one) for one in found["loads"]],
        clients={name: Tally(**one) for name, one in found["clients"].items()},
        quotas=[QuotaUse(**one) for one in found["quotas"]],
    )


def _as_json(load: LoadPlayed) -> dict[str, Any]:
    return asdict(load.call) | {
        "class": load.call_class,
        "arrival": load.arrival,
        "from_ms": load.from_ms,
        "until_ms": load.until_ms,
        "takes_ms": load.takes_ms,
        "patience_ms": load.patience_ms,
    }
