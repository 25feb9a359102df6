"""The examples are what they say: they load, and name what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tidegate.app.gateway import DRAIN_S, GRACE_S
from tidegate.catalog import load, load_settings, weaknesses

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_declaration_is_right_and_has_no_weakness():
    declaration = load(EXAMPLES / "tidegate.yaml")
    assert weaknesses(declaration) == []
    assert [listener.bind for listener in load_settings(EXAMPLES / "tidegate.yaml").listeners] == [
        "127.0.0.1:8080"
    ]


@pytest.mark.parametrize("name", ["tidegate.service", "Containerfile"])
def test_data_and_root_key_are_in_two_places(name: str):
    text = (EXAMPLES / name).read_text()
    (data,) = set(re.findall(r"TIDEGATE_HOME=(\S+)", text))
    (key,) = set(re.findall(r"TIDEGATE_ROOT_KEY_FILE=(\S+)", text))
    assert not Path(key).is_relative_to(data)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("tidegate.service", r"TimeoutStopSec=(\d+)"), ("Containerfile", r"--stop-timeout (\d+)")],
)
def test_stop_is_given_longer_than_it_may_take(name: str, setting: str):
    found = re.search(setting, (EXAMPLES / name).read_text())
    assert found is not None
    assert int(found[1]) > GRACE_S + DRAIN_S + 6


def test_systemd_reads_the_unit(tmp_path: Path):
    judge = shutil.which("systemd-analyze")
    if judge is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "tidegate.service"
    text = (EXAMPLES / "tidegate.service").read_text()
    unit.write_text(text.replace("/opt/tidegate/bin/tidegate", "/bin/true"))
    judged = subprocess.run(
        [judge, "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "tidegate.service" not in judged.stderr
