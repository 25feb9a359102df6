"""`up`: how it starts, what it tells, how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .conftest import DECLARATION
from .terminals import until

UP = [sys.executable, "-m", "tidegate.cli", "up"]


def listening_at(bind: str) -> str:
    return f"{DECLARATION}gateway:\n  listen: [{{bind: '{bind}'}}]\n"


def test_at_a_terminal_it_tells_where_it_listens_and_what_is_in_force(environment: Path):
    (environment / "tidegate.yaml").write_text(listening_at("127.0.0.1:0"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(UP[0], UP)
    seen = until(terminal, b"ready")
    assert b"http://127.0.0.1:" in seen
    assert b"revision" in seen
    os.write(terminal, b"\x03")
    until(terminal, b"stopped")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def test_without_a_terminal_it_logs_json_and_a_stop_is_no_failure(environment: Path):
    (environment / "tidegate.yaml").write_text(listening_at("127.0.0.1:0"))
    with subprocess.Popen(UP, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        events = []
        for line in running.stderr:
            events.append(json.loads(line)["event"])
            if events[-1] == "ready":
                running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert events[-2:] == ["stopping", "stopped"]


def test_a_wrong_declaration_is_told_with_its_places(process, environment: Path):
    (environment / "tidegate.yaml").write_text("version: 1\nclient: {}\n")
    ended = process("up")
    assert ended.code == 1
    assert "tidegate.yaml:2:1: " in ended.err
    assert "did you mean `clients`?" in ended.err


def test_an_address_in_use_is_told(process, environment: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        (environment / "tidegate.yaml").write_text(listening_at(bind))
        ended = process("up")
    assert ended.code == 1
    assert "error: " in ended.err
    assert bind in ended.err
    assert "something failed inside" not in ended.err
