"""Read a file of loads: who would call what, how often, for `tidegate simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.fields import Duration, LongDuration, Rate, RateText, refuse
from tidegate.catalog.validate import worded
from tidegate.catalog.yaml_source import Source, read_yaml

CALLS_MAX: Final = 2_000_000
LOADS_MAX: Final = 1_000
_DURATION_MS_MAX: Final = 366 * 86_400_000


class BurstsEntry(Entry):
    """So many calls at once, again and again."""

    calls: int = Field(ge=1, le=100_000)
    """How many at once."""
    every: LongDuration
    """How often (`10s`)."""


class ArrivalEntry(Entry):
    """How calls come."""

    constant: RateText | None = None
    """One after another, evenly: `20/s`."""
    poisson: RateText | None = None
    """Independent of each other, so many on average: `20/s`."""
    bursts: BurstsEntry | None = None
    """So many at once, again and again."""

    @model_validator(mode="after")
    def _in_one_way(self) -> ArrivalEntry:
        if sum(one is not None for one in (self.constant, self.poisson, self.bursts)) != 1:
            refuse("calls come in one way", "name one of `constant`, `poisson` and `bursts`")
        return self

    @property
    def per_ms(self) -> float:
        """How many calls come in a millisecond, on average."""
        if self.bursts is not None:
            return self.bursts.calls / self.bursts.every
        rate = self.constant or self.poisson or Rate(0, 1)
        return rate.amount / rate.window_ms


class LoadEntry(Entry):
    """Calls of one kind."""

    consumer: str
    """Who calls."""
    call: Annotated[str, Field(pattern=r"^[A-Za-z]+ \S+$")]
    """Method and URL: a path at the gateway (`GET /stripe/v1/charges`) or the provider's own URL."""
    arrival: ArrivalEntry
    """How the calls come."""
    client: str | None = None
    """For which client, where the consumer acts for several."""
    call_class: Literal["interactive", "normal", "batch"] | None = Field(
        default=None, alias="class"
    )
    """What `Tidegate-Class` would say."""
    takes: Duration = 200
    """How long the provider takes to answer one."""
    patience: Duration | None = None
    """How long a call may take in all, as `Tidegate-Timeout` would say."""
    begin: LongDuration | None = None
    """When the calls begin to come; at once where absent."""
    end: LongDuration | None = None
    """When they end; with the play where absent."""


class LoadsEntry(Entry):
    """The file."""

    duration: LongDuration
    """How long is played: `10m`, `1h`."""
    seed: int = Field(default=1, ge=0, le=2**63)
    """What chance begins with: the same seed gives the same play."""
    loads: list[LoadEntry] = Field(min_length=1, max_length=LOADS_MAX)
    """What is played."""

    @model_validator(mode="after")
    def _within_reason(self) -> LoadsEntry:
        if self.duration > _DURATION_MS_MAX:
            refuse("a play is a year long at most")
        calls = sum(load.arrival.per_ms * self.duration for load in self.loads)
        if calls > CALLS_MAX:
            refuse(
                f"{calls:,.0f} calls would come, and a play has at most {CALLS_MAX:,}",
                "play less time, or fewer calls in it",
            )
        return self


@dataclass(frozen=True, slots=True)
class Loads:
    """What is to be played, and the file that it stands in."""

    entry: LoadsEntry
    source: Source


def read_loads(path: Path) -> Loads:
    """Read a file of loads.

    Raises:
        ConfigErrors: something in it is wrong.
        OSError: it cannot be read.
    """
    source = read_yaml(path.read_bytes(), str(path))
    if source.errors:
        raise ConfigErrors(source.errors)
    try:
        return Loads(LoadsEntry.model_validate(source.root), source)
    except ValidationError as wrong:
        details = wrong.errors(include_url=False)
        raise ConfigErrors(worded(source, one, _keys_at) for one in details) from None


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand at a place in the file."""
    words = [part for part in path if isinstance(part, str)]
    form: type[Entry] = {
        "": LoadsEntry,
        "loads": LoadEntry,
        "arrival": ArrivalEntry,
        "bursts": BurstsEntry,
    }[words[-1] if words else ""]
    return [field.alias or name for name, field in form.model_fields.items()]
