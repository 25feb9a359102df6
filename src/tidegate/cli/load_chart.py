"""Draw what came of a simulated load, as one SVG picture that needs nothing beside it.

Above, for each client, the calls that came (outline) and those that were sent (filled) over time;
below, how much of each quota was used up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.engine.simulate import Played

_WIDTH: Final = 914
_LEFT: Final = 210
_RIGHT: Final = 124
_PLOT: Final = _WIDTH - _LEFT - _RIGHT
_ROW: Final = 66
_GAP: Final = 22
_TOP: Final = 76
_ROWS_MAX: Final = 40
_COLOURS: Final = ("#0b6e99", "#b4540a", "#2f7d32", "#7b3fa0", "#a8324a", "#5b6470")
_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1c2530}.h{font-size:15px;font-weight:600}"
    ".q{fill:#5b6470}.n{font-weight:600}.g{stroke:#d9dee3;stroke-width:1}.r{text-anchor:end}"
)


def chart(played: Played, duration_ms: int) -> str:
    """The picture. `duration_ms` is what its width stands for."""
    parts: list[str] = []
    y = _TOP
    clients = list(played.clients.items())[:_ROWS_MAX]
    for place, (name, tally) in enumerate(clients):
        colour = _COLOURS[place % len(_COLOURS)]
        most = max(*tally.asked_in, 1)
        refused = sum(tally.refused.values())
        parts += _labels(y, name, f"{tally.sent:,} of {tally.asked:,} sent", f"{refused:,} refused")
        parts.append(_area(tally.sent_in, most, y, colour))
        parts.append(_line(tally.asked_in, most, y, colour))
        parts.append(_text(_WIDTH - _RIGHT + 8, y + 12, f"{most:,} at most", "q"))
        waited = f"p99 waits {tally.wait_p99_ms / 1_000:.1f} s" if tally.waited else "none waits"
        parts.append(_text(_WIDTH - _RIGHT + 8, y + 28, waited, "q"))
        y += _ROW + _GAP
    if played.quotas:
        parts.append(_text(16, y + 8, "Quotas: how much is used up", "h"))
        y += 26
    for one in played.quotas[:_ROWS_MAX]:
        percent = one.used * 100 / max(one.allowed, 1)
        of = f"{one.quota} · {one.connection or 'all'}"
        parts += _labels(y, f"{one.provider}", of, one.describe)
        parts.append(_area(one.used_percent_in, 100, y, "#8a949e"))
        parts.append(_text(_WIDTH - _RIGHT + 8, y + 12, f"{percent:.0f} % of all", "n"))
        y += _ROW + _GAP
    parts += _axis(y, duration_ms)
    height = y + 34
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="What came of a simulated load">'
        f"<style>{_STYLE}</style><rect width='100%' height='100%' fill='#fff'/>"
    )
    title = (
        _text(16, 28, "What came of the load", "h"),
        _text(
            16,
            48,
            "Outline: calls that came. Filled: calls that were sent, in each part of the time.",
            "q",
        ),
    )
    return "\n".join((head, *title, *parts, "</svg>\n"))


def _labels(y: int, name: str, first: str, second: str) -> list[str]:
    base = f'<line class="g" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{y + _ROW}" y2="{y + _ROW}"/>'
    return [
        base,
        _text(16, y + 14, _cut(name), "n"),
        _text(16, y + 32, _cut(first), "q"),
        _text(16, y + 48, _cut(second), "q"),
    ]


def _axis(y: int, duration_ms: int) -> list[str]:
    # A unit in which a quarter is a number that can be read.
    unit, unit_ms = next(one for one in _UNITS if duration_ms >= 2 * one[1] or one[1] == 1)
    ticks: list[str] = []
    for quarter in range(5):
        x = _LEFT + _PLOT * quarter / 4
        anchor = "r" if quarter == 4 else ""  # noqa: PLR2004
        at = f"{duration_ms * quarter / 4 / unit_ms:g} {unit}"
        ticks.append(_text(x, y + 12, at, f"q {anchor}".strip()))
    return ticks


def _area(values: Sequence[int], most: int, y: int, colour: str) -> str:
    points = _steps(values, most, y)
    ends = f"{_LEFT + _PLOT:.1f},{y + _ROW} {_LEFT},{y + _ROW}"
    return f'<polygon points="{points} {ends}" fill="{colour}" fill-opacity="0.55"/>'


def _line(values: Sequence[int], most: int, y: int, colour: str) -> str:
    points = _steps(values, most, y)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _steps(values: Sequence[int], most: int, y: int) -> str:
    width = _PLOT / max(len(values), 1)
    points: list[str] = []
    for place, value in enumerate(values):
        top = y + _ROW - _ROW * min(value / max(most, 1), 1)
        points += [
            f"{_LEFT + place * width:.1f},{top:.1f}",
            f"{_LEFT + (place + 1) * width:.1f},{top:.1f}",
        ]
    return " ".join(points)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def _cut(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
