"""How a command starts and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.cli import main
from tidegate.cli.commands import build

HEAVY = {"pydantic", "sqlalchemy", "cryptography", "httpx", "yaml", "structlog", "starlette"}


def commands() -> list[str]:
    return [name for name in build(None) if not name.startswith("-")]


def test_help_loads_nothing_that_only_a_command_needs(environment: Path):
    probe = (
        "import json, sys; from tidegate.cli import main; main(['--help']); "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True)
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    assert "cyclopts" in loaded
    assert not loaded & HEAVY


def test_every_command_says_what_it_does_in_both_places(tidegate):
    overview = tidegate("--help").out
    for name in commands():
        own = tidegate(name, "--help")
        assert own.code == 0
        assert own.out.startswith(f"Usage: tidegate {name}")
        assert f"  {name} " in overview


def test_no_command_at_all_shows_the_help(tidegate):
    assert tidegate().out == tidegate("--help").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chekc"], "Unknown command"),
        (["rollback"], "requires an argument"),
        (["rollback", "one"], 'unable to convert "one"'),
        (["calls", "--limit", "0"], "Must be >= 1"),
        (["calls", "--since", "1d"], "Unknown option"),
        (["check", "--quietly"], "Unknown option"),
        (["usage", "--since", "yesterday"], "`yesterday` is no time"),
        (["calls", "--outcome", "deny"], "`deny` is no way in which a call ends"),
        (["check", "no-such-folder"], "there is no `no-such-folder`"),
        (["operations", "ledger", "--grep", "("], "is no regular expression"),
        (["operations", "leger"], "there is no provider `leger`"),
        (["token", "create", "shop"], "nothing is applied yet"),
        (["connect", "ledger", "--client", "acme"], "nothing is applied yet"),
        (["explain", "shop", "GET", "/ledger/v1/accounts"], "nothing is applied yet"),
        (["rollback", "7"], "there is no revision 7"),
        (["revisions", "show", "7"], "there is no revision 7"),
        (["sandbox", "no-such-preset"], "`no-such-preset` is neither a preset nor a file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(tidegate, words, told):
    ended = tidegate(*words)
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert told in ended.err
    assert ended.out == ""


def test_a_word_too_many_is_not_repeated_as_it_may_be_a_secret(tidegate):
    ended = tidegate("connect", "ledger", "sk_live_5eC2e7", "--client", "acme")
    assert ended.code == 1
    assert "sk_live_5eC2e7" not in ended.out + ended.err


@pytest.mark.parametrize("debug", ["0", "1"])
def test_the_unforeseen_tells_its_kind_and_its_detail_only_on_request(
    tidegate, monkeypatch, debug: str
):
    def broken(_: object):
        hidden = "s3cr3t-local"  # noqa: F841 - it must not be shown
        raise ZeroDivisionError("detail of it")

    monkeypatch.setattr("tidegate.cli.declared.read_declaration", broken)
    monkeypatch.setenv("TIDEGATE_DEBUG", debug)
    ended = tidegate("check")
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert ("detail of it" in ended.err) == (debug == "1")
    assert ("Traceback" in ended.err) == (debug == "1")
    assert "hidden =" not in ended.out


def test_an_interrupt_ends_with_130(tidegate, monkeypatch):
    def interrupted(_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate.cli.declared.read_declaration", interrupted)
    assert tidegate("check").code == 130


def test_a_reader_who_leaves_is_no_error(environment: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "tidegate.cli", "presets"],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_without_a_terminal_there_are_no_colours(process):
    ended = process("providers")
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err


def test_the_version_is_told(tidegate):
    from tidegate import __version__

    assert __version__ in tidegate("version").out
    assert tidegate("--version").out.strip() == __version__
    assert main(["--version"]) == 0
