from __future__ import annotations

import os
import resource
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from tidegate.vault import harden_process


def hardened(pipe: Pipe) -> None:
    """Runs in a process of its own: what it does cannot be undone."""
    harden_process()
    environment = Path("/proc/self/environ")
    pipe.send((resource.getrlimit(resource.RLIMIT_CORE), environment.stat().st_uid))


def test_a_hardened_process_leaves_no_core_and_hides_its_environment():
    here, there = get_context("fork").Pipe(duplex=False)
    process = os.fork()
    if process == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            hardened(there)
        finally:
            os._exit(0)
    limit, owner = here.recv()
    os.waitpid(process, 0)
    assert limit == (0, 0)
    # The kernel gives `/proc/PID` of such a process to root.
    assert owner == 0
