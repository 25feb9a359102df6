"""The demo is the product's main job: every scene comes out as it should."""

import json
import subprocess
import sys


def test_every_scene_of_the_demo_is_as_it_should_be():
    done = subprocess.run(
        [sys.executable, "-m", "tidegate.cli", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    scenes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [scene["surprise"] for scene in scenes if not scene["as_expected"]] == []
    assert len(scenes) >= 12
    assert done.returncode == 0, done.stderr
