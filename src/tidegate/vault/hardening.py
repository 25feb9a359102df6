"""Keep this process's memory out of core dumps and away from other processes of the same user.

A smaller window, not a wall: root still reads everything, and Python cannot wipe what it copied.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def harden_process() -> None:
    """Switch core dumps off, and forbid tracing and `/proc/PID/{mem,environ}` to other processes.

    Raises:
        OSError: the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit does not hold where the kernel pipes cores to a program; this does.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
