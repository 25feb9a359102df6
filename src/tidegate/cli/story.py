"""`demo`: play the story of `tidegate.demo`, and show each scene with what came of it and why."""

from __future__ import annotations

import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, REFUSED
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    STRONG,
    WEAK,
    counted,
    json_out,
    output,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.demo import Told
    from tidegate.store import Usage

_ALLOWED = "ok"
_COLUMNS = 100


def demo(
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON document.")
    ] = False,
) -> int:
    """Start a gateway and sandboxed providers, play a story of calls, and show what became of each.

    All of it is on loopback, and gone afterwards. Exits with 1 when anything differs from what it
    should be.
    """
    from tidegate.demo import STORY, play, set_stage

    began = time.monotonic()
    told: list[Told] = []
    with set_stage() as stage:
        if not as_json:
            providers = counted(len(stage.providers.all()), "sandboxed provider")
            say(("Tidegate demo", STRONG), (f"  gateway at {stage.url}, {providers}", QUIET))
            say("")
        for scene in play(stage, STORY):
            told.append(scene)
            if not as_json:
                _show(scene)
        usage = stage.usage()
    seconds = time.monotonic() - began
    if as_json:
        json_out(_document(told, usage, seconds))
    else:
        _show_usage(usage)
        _show_end(told, seconds)
    return DONE if all(scene.as_expected for scene in told) else REFUSED


def _show(told: Told) -> None:
    scene = told.scene
    say(("✓ ", GOOD) if told.as_expected else ("✗ ", BAD), (scene.title, STRONG))
    allowed = told.outcome in {_ALLOWED, None}
    came = " ".join(str(word) for word in (told.status, None if allowed else told.outcome) if word)
    answer, *lines = (told.answer if allowed else "").split("\n")
    say(
        f"  {scene.tried}",
        ("  →  ", QUIET),
        (came, GOOD if allowed else WEAK),
        f"  {answer}" if came and answer else answer,
    )
    for line in lines:
        say(line)
    if not allowed and told.detail:
        for line in textwrap.wrap(told.detail, min(output().width, _COLUMNS) - 2):
            say((f"  {line}", QUIET))
    if scene.calls:
        by = [("  allowed by ", QUIET), (told.rule, NAME)] if allowed and told.rule else []
        saw = ("; the provider saw " if by else "  the provider saw ", QUIET)
        say(*by, saw, (", then ".join(told.seen) or "nothing", NAME))
    if told.surprise:
        say((f"  {told.surprise}", BAD))
    say("")


def _show_usage(usage: tuple[Usage, ...]) -> None:
    say(("What the gateway recorded: names and numbers, no values", STRONG))
    columns = [(name, "right") for name in ("calls", "ok", "refused", "failed")]
    table(("client", "provider", "operation", *columns), map(_usage_row, usage))
    say("")


def _usage_row(one: Usage) -> tuple[str | tuple[str, str], ...]:
    numbers = ((one.calls, ""), (one.ok, GOOD), (one.refused, WEAK), (one.failed, WEAK))
    return (
        one.client or "-",
        (one.provider or "-", NAME),
        one.operation or "-",
        *((f"{number:,}", style if number else QUIET) for number, style in numbers),
    )


def _show_end(told: list[Told], seconds: float) -> None:
    surprising = sum(not scene.as_expected for scene in told)
    verdict = (
        (f"{surprising} not as it should be", BAD) if surprising else ("all as it should be", GOOD)
    )
    say(f"{counted(len(told), 'scene')} in {seconds:.1f} s, ", verdict)


def _document(told: list[Told], usage: tuple[Usage, ...], seconds: float) -> dict[str, object]:
    return {
        "as_expected": all(scene.as_expected for scene in told),
        "seconds": round(seconds, 3),
        "scenes": [
            {
                "title": one.scene.title,
                "tried": one.scene.tried,
                "status": one.status,
                "outcome": one.outcome,
                "rule": one.rule,
                "detail": one.detail,
                "answer": one.answer,
                "provider_saw": list(one.seen),
                "as_expected": one.as_expected,
                "surprise": one.surprise,
            }
            for one in told
        ],
        "usage": [asdict(one) for one in usage],
    }
