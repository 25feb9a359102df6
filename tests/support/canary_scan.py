"""The pytest plugin that ends a session with a search for the secrets it planted.

A hit fails the run, also under pytest-xdist: workers plant, and the process that started them searches.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import wraps
from pathlib import Path

import pytest

from support.canaries import REGISTRY, Hit, noted, plant, search
from tidegate.domain.secret import Secret

_FOUND = pytest.StashKey[tuple[int, list[Hit]]]()


def pytest_configure(config: pytest.Config) -> None:
    if _ends_session(config):
        os.environ[REGISTRY] = tempfile.mkdtemp(prefix="tidegate-canaries-")
    make = Secret.__init__

    @wraps(make)
    def make_and_plant(secret: Secret, value: bytes | str) -> None:
        make(secret, value)
        plant(value)

    Secret.__init__ = make_and_plant


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test printed and logged; it is searched like a file."""
    # The last report of a test has the sections of those before it.
    if report.when == "teardown" and report.sections and "PYTEST_XDIST_WORKER" not in os.environ:
        text = "\n".join(content for _, content in report.sections)
        name = report.nodeid.replace("/", ".")[-200:]
        (Path(os.environ[REGISTRY]) / f"captured-{name}").write_text(text)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _ends_session(session.config):
        return
    planted = {bytes.fromhex(entry["value"]): entry["by"] for entry in noted("planted")}
    for value in noted("public"):
        planted.pop(bytes.fromhex(str(value)), None)
    exempt = frozenset(map(str, noted("exempt")))
    captured = list(Path(os.environ[REGISTRY]).glob("captured-*"))
    left = session.config._tmp_path_factory.getbasetemp()
    hits = search([left, *captured], planted, exempt)
    hits += [Hit(Path(file), form, by) for file, form, by in noted("hits")]
    session.config.stash[_FOUND] = (len(planted), hits)
    if hits:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    planted, hits = config.stash.get(_FOUND, (0, []))
    if hits:
        terminalreporter.section("secrets left behind", red=True)
        for hit in hits:
            terminalreporter.line(str(hit))
    elif planted:
        terminalreporter.line(f"canaries: none of {planted} secrets was left behind")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _ends_session(config) and REGISTRY in os.environ:
        shutil.rmtree(os.environ.pop(REGISTRY), ignore_errors=True)


def _ends_session(config: pytest.Config) -> bool:
    """Whether this process ends the session, and is no worker of pytest-xdist."""
    return not hasattr(config, "workerinput")
