"""`simulate`: what would come of a load, before it comes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import DECLARATION, read_declaration
from tidegate.cli.terminal import BAD, NAME, QUIET, WEAK, json_out, notice, say, table

if TYPE_CHECKING:
    from tidegate.engine.simulate import Played, QuotaUse, Tally

_BARS: Final = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH: Final = 40
_FULL_PERCENT: Final = 95
_Cell = str | tuple[str, str]


def simulate(
    loads: Annotated[Path, Parameter(help="The file of loads.")],
    path: Annotated[
        Path, Parameter(help="tidegate.yaml, or the folder that holds it.")
    ] = DECLARATION,
    /,
    *,
    svg: Annotated[
        Path | None, Parameter(metavar="FILE", help="Draw it to this file, as SVG.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """Play loads against the declared limits and quotas, in virtual time: nothing is sent.

    The engine's own limits, quotas and queues decide, as they would for calls, so that an hour takes
    a moment. Every client is taken to have a connection.
    """
    from tidegate.app.simulating import play
    from tidegate.catalog.loads import read_loads

    try:
        read = read_loads(loads)
    except OSError as error:
        raise Refusal(f"`{loads}` cannot be read: {error.strerror}") from None
    played = play(read_declaration(path), read)
    if svg is not None:
        from tidegate.cli.load_chart import chart

        try:
            svg.write_text(chart(played, read.entry.duration), encoding="utf-8")
        except OSError as error:
            raise Refusal(f"`{svg}` cannot be written: {error.strerror}") from None
    if as_json:
        json_out(asdict(played))
        return DONE
    _show(played)
    if svg is not None:
        notice((f"drawn to {svg}", QUIET))
    return DONE


def _show(played: Played) -> None:
    numbers = ("asked", "sent", "refused", "waited", "p50", "p99")
    columns = [
        ("client", "left"),
        *((name, "right") for name in numbers),
        ("sent over time", "left"),
    ]
    table(columns, (_client(name, tally) for name, tally in played.clients.items()))
    refused = [
        (name, rule, count)
        for name, tally in played.clients.items()
        for rule, count in sorted(tally.refused.items())
    ]
    if refused:
        say()
        rows = [((name, NAME), rule, (f"{count:,}", BAD)) for name, rule, count in refused]
        table(("client", "refused by", ("calls", "right")), rows)
    if played.quotas:
        say()
        columns = ("provider", "quota", "connection", "", ("used", "right"), "used up over time")
        table(columns, map(_quota, played.quotas))


def _client(name: str, tally: Tally) -> list[_Cell]:
    refused = sum(tally.refused.values())
    return [
        (name, NAME),
        f"{tally.asked:,}",
        f"{tally.sent:,}",
        (f"{refused:,}", BAD if refused else QUIET),
        (f"{tally.waited:,}", WEAK if tally.waited else QUIET),
        _wait(tally.wait_p50_ms),
        _wait(tally.wait_p99_ms),
        curve(tally.sent_in, max(tally.asked_in)),
    ]


def _quota(one: QuotaUse) -> list[_Cell]:
    percent = one.used * 100 // max(one.allowed, 1)
    return [
        (one.provider, NAME),
        one.quota + (f" ({one.part})" if one.part else ""),
        one.connection or "all",
        (one.describe, QUIET),
        (f"{percent} %", BAD if percent >= _FULL_PERCENT else ""),
        curve(one.used_percent_in, 100),
    ]


def _wait(wait_ms: int) -> _Cell:
    if wait_ms == 0:
        return "-", QUIET
    return f"{wait_ms:,} ms" if wait_ms < 10_000 else f"{wait_ms / 1_000:,.1f} s"  # noqa: PLR2004


def curve(values: list[int], most: int) -> str:
    """Draw numbers as a line of bars, the highest of which stands for `most` or more."""
    share = max(len(values) / _CURVE_WIDTH, 1)
    places = range(min(len(values), _CURVE_WIDTH))
    each = [values[int(place * share) : max(int((place + 1) * share), 1)] for place in places]
    top = max(most, 1)
    levels = [min(max(part, default=0) / top, 1.0) for part in each]
    return "".join(
        " " if level == 0 else _BARS[round(level * (len(_BARS) - 1))] for level in levels
    )
