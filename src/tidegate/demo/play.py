"""Play scenes on a stage, and compare what came of each with what should have.

What is compared does not come from the application's side alone: outcome and rule are those of the
gateway's own records, and what a provider saw is what its sandbox received.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tidegate.demo.stage import Stage
from tidegate.demo.story import Scene, Surprise
from tidegate.domain.call import CallRecord
from tidegate.sandbox import Received

_MARK: Final = "tdg_"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a scene. `surprise` says how that differs from what should, if it does."""

    scene: Scene
    answer: str
    status: int | None
    outcome: str | None
    rule: str | None
    detail: str | None
    seen: tuple[str, ...]
    surprise: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether all was as it should be."""
        return not self.surprise


def play(stage: Stage, story: Iterable[Scene]) -> Iterator[Told]:
    """Play one scene after the other."""
    for scene in story:
        yield _play(stage, scene)


def _play(stage: Stage, scene: Scene) -> Told:
    try:
        answer, surprise = scene.play(stage), ""
    except Surprise as unlooked_for:
        answer, surprise = "", str(unlooked_for)
    records = stage.recorded(scene.calls)
    received = stage.received()
    seen = tuple(what for call in received for what in _seen(call))
    outcome, rule = _common(records, "outcome"), _common(records, "rule")
    last = records[-1] if records else None
    wrong = [
        f"{name} should be {should or 'none'}, is {found or 'none'}"
        for name, should, found in (
            ("outcome", scene.outcome, outcome),
            ("rule", scene.rule, rule),
            ("what the provider saw", ", ".join(scene.seen), ", ".join(seen)),
        )
        if should != found and not (name == "rule" and should is None)
    ]
    return Told(
        scene=scene,
        answer=answer,
        status=last.status if last else None,
        outcome=outcome,
        rule=rule,
        detail=last.detail if last else None,
        seen=seen,
        surprise="; ".join([surprise, *wrong] if surprise else wrong),
    )


def _common(records: tuple[CallRecord, ...], name: str) -> str | None:
    """What a scene's records say; all of them, where they do not agree."""
    said = dict.fromkeys(getattr(record, name) for record in records)
    return ", ".join(str(value) for value in said) if any(said) else None


def _seen(call: Received) -> Iterator[str]:
    """What a provider could tell of a call: whose credential it had, and whether it saw ours."""
    yield f"{call.account}'s credential" if call.account else f"{call.credential} credential"
    values = [call.path, *(value for _, value in (*call.headers, *call.query))]
    if any(_MARK in value for value in values) or _MARK.encode() in call.body:
        yield "a Tidegate token"
