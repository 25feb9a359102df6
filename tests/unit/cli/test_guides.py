"""The guides say what is so: their commands exist, their declarations check, the tour runs."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.catalog import load
from tidegate.cli.commands import build

ROOT = Path(__file__).parents[3]
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
SOURCES = [*GUIDES, ROOT / "README.md"]


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide.read_text(), re.DOTALL | re.MULTILINE)


def commands(guide: Path) -> list[list[str]]:
    """Every `tidegate …` in the guide's scripts, up to a pipe, a redirection or a comment."""
    lines = "".join(blocks(guide, "sh")).splitlines()
    found = [re.search(r"\btidegate ([^|<>&;()#]*)", line) for line in lines]
    return [shlex.split(words[1]) for words in found if words]


@pytest.mark.parametrize("guide", SOURCES, ids=lambda guide: guide.stem)
def test_every_command_in_a_guide_is_one(guide: Path):
    found = commands(guide)
    assert found
    for words in found:
        build(words[0]).parse_args(words, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("guide", SOURCES, ids=lambda guide: guide.stem)
def test_every_whole_declaration_in_a_guide_checks(guide: Path, tmp_path: Path):
    for text in blocks(guide, "yaml"):
        if text.startswith("version: 1"):
            file = tmp_path / "tidegate.yaml"
            file.write_text(text)
            load(file)


@pytest.mark.parametrize("guide", SOURCES, ids=lambda guide: guide.stem)
def test_every_link_in_a_guide_leads_somewhere(guide: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target


def test_the_tour_runs_as_it_is_written(tmp_path: Path):
    script = "".join(blocks(ROOT / "docs/guides/five-minutes.md", "sh"))
    provider, gateway = str(free_port()), str(free_port())
    script = script.replace("9443", provider).replace("8080", gateway)
    listen = f'gateway: {{listen: [{{bind: "127.0.0.1:{gateway}"}}]}}'
    script = script.replace("version: 1\n", f"version: 1\n{listen}\n")
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    told = ended.stdout
    assert "ok  1 client, 1 consumer, 1 provider" in told
    assert '{"sandbox": "Stripe", "operation": "GetCharges"}' in told
    assert '"code":"denied"' in told
    assert "refused with 403 denied" in told
    assert "allowed by grants[0], to https://127.0.0.1" in told
    assert "+ GetCharges*, PostRefunds" in told
    assert '{"sandbox": "Stripe", "operation": "PostRefunds"}' in told
    assert re.search(r"acme +stripe +GetCharges +2 +2 +0 +0", told), told
    log = (tmp_path / "tour/gateway.log").read_text()
    assert '"records_stored": true' in log
    secret = (tmp_path / "tour/sandbox-key").read_text().strip()
    token = (tmp_path / "tour/token").read_text().strip()
    for text in (told, ended.stderr, log, (tmp_path / "tour/sandbox.log").read_text()):
        assert secret not in text
        assert token not in text


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def environment(folder: Path) -> dict[str, str]:
    """A newcomer's: a home of its own, `tidegate` on the path, nothing else said."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "tidegate").write_text(f'#!/bin/sh\nexec {sys.executable} -m tidegate.cli "$@"\n')
    (programs / "tidegate").chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder),
    }
