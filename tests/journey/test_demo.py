"""The demo tells the truth: it plays as it says, and says so when something differs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

from tidegate.demo import STORY, play, set_stage


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate.cli", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_story_plays_as_it_should_for_scripts():
    done = run_demo("--json")
    told = json.loads(done.stdout)
    surprises = [scene for scene in told["scenes"] if not scene["as_expected"]]
    assert surprises == []
    assert (done.returncode, told["as_expected"], len(told["scenes"])) == (0, True, len(STORY))
    assert sum(row["calls"] for row in told["usage"]) == sum(scene.calls for scene in STORY)
    assert done.stderr == ""


def test_story_is_told_to_people():
    done = run_demo()
    assert done.returncode == 0
    for scene in STORY:
        assert f"✓ {scene.title}" in done.stdout
    assert "all as it should be" in done.stdout
    assert "tdg_" not in done.stdout


def test_what_differs_is_said():
    ordinary = STORY[0]
    wrong = (
        replace(ordinary, outcome="denied"),
        replace(ordinary, rule="another grant"),
        replace(ordinary, seen=()),
        ordinary,
    )
    with set_stage() as stage:
        told = list(play(stage, wrong))
    assert [one.surprise for one in told] == [
        "outcome should be denied, is ok",
        "rule should be another grant, is shop-takes-payments",
        "what the provider saw should be none, is acme's credential",
        "",
    ]
