"""Suites and promises of field policies, run at full length: how many of the cases are wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Final

from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import ROOT, BenchError, Stage

_JSON: Final = "tests/conformance/test_json.py"
_KINDS: Final = {
    "test_a_path_selects_what_the_compliance_suite_says": "protection.jsonpath_wrong",
    "test_what_is_json_is_read_and_what_is_not_is_refused": "protection.json_wrong",
}
_PROMISES: Final = {
    "no_leaf_leaves_without_a_rule": "protection.leaks",
    "no_token_opens_for_another_client_provider_or_field": "protection.tokens_replayed",
}
_VECTORS: Final = ("wycheproof", "vectors", "cookbook", "appendix_c", "published_samples")
_CANARIES: Final = "tests/hostile/test_payload_canaries.py"
_CARGO: Final = ("test", "--profile", "tested", "-p", "tidegate-wire", "--lib", "--quiet")


def measure(_stage: Stage, effort: Effort) -> Outcome:
    asked, wrong = _suites()
    cases = 1_000 if effort is QUICK else 100_000
    for promise, figure in _PROMISES.items():
        wrong[figure] = _breaches(promise, cases)
    wrong["protection.vectors_wrong"] = _failures(*_VECTORS)
    asked["protection.canaries_found"], wrong["protection.canaries_found"] = _canaries()
    rows = [(name, f"{asked[name]}" if name in asked else "", f"{wrong[name]}") for name in wrong]
    return Outcome(
        figures={name: float(count) for name, count in wrong.items()},
        table=Table("Field policies by their suites", ("", "cases", "wrong"), rows),
    )


def _canaries() -> tuple[int, int]:
    """Return how many values of calls were planted, and how often one was found where none may be."""
    found = {
        one.attrib["name"]: int(one.attrib["value"])
        for case in _cases(_CANARIES)
        for one in case.iter("property")
    }
    if "canaries_found" not in found:
        raise BenchError("the canaries did not run to their end")
    return found["canaries_planted"], found["canaries_found"]


def _suites() -> tuple[Counter[str], Counter[str]]:
    """Return how many cases each suite has, and how many of them are answered wrongly."""
    asked: Counter[str] = Counter()
    wrong: Counter[str] = Counter(dict.fromkeys(_KINDS.values(), 0))
    for case in _cases(_JSON):
        figure = _KINDS.get(case.attrib["name"].partition("[")[0])
        if figure is not None:
            asked[figure] += 1
            wrong[figure] += case.find("failure") is not None
    if set(asked) != set(wrong):
        raise BenchError("a suite is missing: are the npm packages installed?")
    return asked, wrong


def _cases(tests: str) -> list[ET.Element]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
        ended = subprocess.run(
            [*argv, f"--junitxml={report}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if not report.exists():
            raise BenchError(f"`{tests}` did not run: {ended.stdout[-500:]}{ended.stderr[-500:]}")
        return list(ET.parse(report).getroot().iter("testcase"))


def _breaches(promise: str, cases: int) -> int:
    """Return 1 when the engine's test found a case that breaks the promise: it stops at the first."""
    return _failures(promise, TIDEGATE_PROPERTY_CASES=str(cases))


def _failures(*tests: str, **environment: str) -> int:
    """Return how many of the engine's tests fail whose names hold one of these words."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise BenchError("cargo is not installed")
    env = os.environ | environment | {"CARGO_TERM_COLOR": "never"}
    argv = [cargo, *_CARGO, "--", *tests]
    ended = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    ran = re.search(r"(\d+) passed; (\d+) failed", ended.stdout)
    if ran is None or not sum(map(int, ran.groups())):
        raise BenchError(f"{tests} did not run: {ended.stderr[-500:]}")
    return int(ran[2])
