"""The sandbox as a command runs it: by preset or document, until it is told to stop."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tidegate.sandbox import contract_of

PROGRAM = """
import sys
from pathlib import Path
from tidegate.sandbox import serve

def announce(sandbox):
    print(sandbox.origin, sandbox.ca_file, flush=True)

def show(call):
    print(call.method, call.path, call.status, flush=True)

serve(sys.argv[1], announce=announce, show=show, ca_file=Path(sys.argv[2]))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_it_is_stopped_and_cleans_up(shop_file: Path, tmp_path: Path, how: int):
    asked_for = tmp_path / "ca.pem"
    command = [sys.executable, "-c", PROGRAM, str(shop_file), str(asked_for)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        origin, ca_file = process.stdout.readline().split()
        context = ssl.create_default_context(cafile=str(asked_for))
        answer = httpx.get(origin + "/v2/orders/7", verify=context, trust_env=False)
        assert answer.status_code == 401
        assert process.stdout.readline() == "GET /v2/orders/7 401\n"
        process.send_signal(how)
        assert process.stdout.readline() == "stopped\n"
    assert process.returncode == 0
    assert not Path(ca_file).exists()


def test_what_is_no_preset_and_no_file_is_said():
    with pytest.raises(LookupError, match="neither a preset nor a file"):
        contract_of("nowhere.yaml")
