"""What credentials cost a call: attaching and signing, and the search for them in answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Final

from bench import hosted, provider
from bench.measure import Effort, Outcome, Table
from bench.measurements.side_by_side import compare
from bench.stage import ROOT, BenchError, Stage

_EXAMPLE: Final = ("run", "--release", "--quiet", "-p", "tidegate-wire", "--example")
_WORDS: Final = {
    "attach_static_us": "a bearer token put on",
    "sign_sigv4_4kib_us": "AWS Signature Version 4 over 4 KiB",
    "sign_ed25519_4kib_us": "RFC 9421 with Ed25519 over 4 KiB",
    "sign_dpop_us": "a DPoP proof (RFC 9449) with ES256",
}


def measure(stage: Stage, _effort: Effort) -> Outcome:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise BenchError("cargo is not installed")
    ended = subprocess.run(
        [cargo, *_EXAMPLE, "credential_times"],
        cwd=ROOT,
        env=os.environ | {"CARGO_TERM_COLOR": "never"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {stage.cores.gate}),
    )
    if ended.returncode != 0:
        raise BenchError(f"the example failed: {ended.stderr[-500:]}")
    said: dict[str, float] = json.loads(ended.stdout)
    return Outcome(
        figures={f"credentials.{name}": value for name, value in said.items()},
        table=Table(
            "Credentials on a call",
            ("", "median"),
            [
                *((words, f"{said[name]:.2f} µs") for name, words in _WORDS.items()),
                ("false alarms in 100,000 answers", f"{said['echo_false_alarms']:.0f}"),
            ],
        ),
        rounds=said,
    )


def measure_echo(stage: Stage, effort: Effort) -> Outcome:
    """The same engine with the search for the credential in answers, and without it."""
    origin = provider.start(stage)
    pair = [
        hosted.start(stage, origin, "not searching", echo=False),
        hosted.start(stage, origin, "searching", echo=True),
    ]
    compared = compare(stage, effort, pair)
    return Outcome(
        figures={"credentials.echo_cost": 1 - compared.ratio("searching", "not searching")},
        table=compared.table("Search for the credential in answers"),
        rounds=compared.rounds(),
    )
