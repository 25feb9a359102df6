"""`simulate`: a file of loads is played against a declaration, and told, drawn or found wrong."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tidegate.cli import main

DECLARED = """
version: 1
clients: {acme: {}, globex: {limit: 2/s}}
consumers: {shop: {clients: [acme, globex]}}
providers:
  points:
    origin: https://api.points.example
    auth: bearer
    operations: [GET /items, POST /items]
    quotas:
      account: {amount: 60, window: 1m, queue: {wait: 10s}}
grants: [{consumer: shop, provider: points, operations: ["GET *"]}]
"""
LOADS = """
duration: 5m
seed: 3
loads:
  - {consumer: shop, client: acme, call: GET /points/items, arrival: {poisson: 3/s}}
  - {consumer: shop, client: globex, call: GET https://api.points.example/items, class: batch,
     arrival: {bursts: {calls: 20, every: 1m}}, patience: 5s, begin: 1m, end: 4m}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    loads, declared = tmp_path / "loads.yaml", tmp_path / "tidegate.yaml"
    loads.write_text(LOADS)
    declared.write_text(DECLARED)
    return loads, declared


def run(files: tuple[Path, Path], *words: str) -> int:
    return main(["simulate", *map(str, files), *words])


def test_each_client_and_quota_is_told(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(files, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    acme, globex = told["clients"]["acme"], told["clients"]["globex"]
    assert acme["asked"] == acme["sent"] + sum(acme["refused"].values())
    assert (globex["asked"], globex["refused"]["client `globex`"] > 0) == (60, True)
    assert run(files) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("acme"))
    assert row.split()[1:3] == [f"{acme['asked']:,}", f"{acme['sent']:,}"]
    assert "quota `points.account` too_late" in text
    assert "60 in 1m" in text


def test_the_picture_is_one_svg_that_names_all(files: tuple[Path, Path], tmp_path: Path):
    picture = tmp_path / "loads.svg"
    assert run(files, "--svg", str(picture)) == 0
    root = ET.fromstring(picture.read_text())
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"acme", "globex", "points"} <= set(texts)
    assert "5 min" in texts


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (("poisson: 3/s", "poison: 3/s"), "5:71", "did you mean `poisson`?"),
        (("poisson: 3/s", "poisson: often"), "5:80", "like `50/s`"),
        (("duration: 5m", "duration: 400d"), "1:1", "a year long at most"),
        (("{poisson: 3/s}", "{poisson: 3/s, constant: 1/s}"), "5:70", "name one of"),
        (("poisson: 3/s", "poisson: 90000/s"), "1:1", "at most 2,000,000"),
        (("GET /points/items,", "POST /points/items,"), "5:42", "`tidegate explain`"),
        (("GET /points/items,", "GET /pointless/items,"), "5:42", "unknown_provider"),
        (("client: acme", "client: initech"), "5:45", "initech"),
        (("seed: 3", "seed: three"), "3:7", "a whole number"),
        (("loads:", "load:"), "4:1", "did you mean `loads`?"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_to_do(
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    place: str,
    says: str,
):
    (loads, _), (old, new) = files, change
    assert old in LOADS
    loads.write_text(LOADS.replace(old, new))
    assert run(files) == 1
    said = capsys.readouterr().err
    assert f"loads.yaml:{place}" in said.replace("\n", "")
    assert says in " ".join(said.split())


def test_a_file_that_is_not_there_is_named(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
):
    loads, declared = files
    assert main(["simulate", f"{loads}.not", str(declared)]) == 1
    assert "cannot be read" in capsys.readouterr().err
