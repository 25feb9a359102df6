"""Another user of the machine asks the running gateway, whatever the files would let in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.gate import home

from tidegate.app.asking import ask
from tidegate.app.control import Control, Question

NOBODY = 65_534
ASKING = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect(sys.argv[1])
    try:
        connection.sendall(b'{"ask": "ping"}\\n')
        print("told", connection.recv(100))
    except ConnectionError:
        print("told", b"")
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_user_is_told_nothing(tmp_path: Path):
    place = home(tmp_path)
    place.prepare()
    control = Control(place.control)
    control.answers("ping", Question, lambda _: "pong")
    control.start()
    # Careless hands have opened every file on the way.
    for folder in (place.data, *place.data.parents[:-2]):
        folder.chmod(0o755)
    place.control.chmod(0o666)

    def asked_as(user: int) -> str:
        return subprocess.run(
            [sys.executable, "-I", "-c", ASKING, place.control.name, str(user)],
            cwd=place.data,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    assert asked_as(NOBODY) == "told b''\n"
    assert asked_as(os.geteuid()) == 'told b\'{"answer": "pong"}\\n\'\n'
    assert ask(place, "ping") == "pong"
    control.stop()
