"""The harness's side of `bench.engine_host`: start one, speak to it, call it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.engine_host import Setting, as_command
from bench.provider import Provider
from bench.stage import ROOT, BenchError, Running, Stage
from bench.target import Target, expect_the_work_done


@dataclass(frozen=True, slots=True)
class Hosted:
    """A running engine; `paths` is a file of the paths to call."""

    running: Running
    target: Target
    paths: Path

    def publish(self) -> Mapping[str, Any]:
        """Let it compile and swap in one more snapshot; returns how long that took."""
        return _ask(self.running, {"publish": True})


def start(stage: Stage, provider: Provider, name: str, **differs: Any) -> Hosted:
    """Start an engine on the gateway's core with what differs from the usual setting."""
    port = stage.free_port()
    folder = stage.folder / name
    folder.mkdir()
    running = stage.start(
        name,
        [sys.executable, "-m", "bench.engine_host"],
        core=stage.cores.gate,
        env={"PYTHONPATH": str(ROOT)},
        spoken_to=True,
    )
    setting = Setting(
        folder=str(folder),
        port=port,
        origin=f"https://{provider.name}:{provider.tls_port}",
        origin_name=provider.name,
        authority=str(provider.certificate.authority),
        **differs,
    )
    first = _ask(running, as_command(setting))
    paths = folder / "paths"
    paths.write_text("".join(f"{path}\n" for path in first["paths"]))
    headers = {"Authorization": f"Bearer {first['token']}"}
    target = Target(
        name,
        port,
        first["paths"][0],
        headers=headers,
        refused_path=f"{first['paths'][0]}/of/no/operation",
        running=running,
    )
    expect_the_work_done(target)
    return Hosted(running, target, paths)


def _ask(running: Running, words: Mapping[str, Any]) -> Mapping[str, Any]:
    process = running.process
    given, answered = _open(process.stdin), _open(process.stdout)
    given.write(json.dumps(words).encode() + b"\n")
    given.flush()
    line = answered.readline()
    if not line:
        process.wait()
        running.expect_alive()
    return json.loads(line)


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise BenchError("the process was not started to be spoken to")
    return pipe
