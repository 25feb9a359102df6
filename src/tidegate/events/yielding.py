"""Let the engine's threads go first, and at once, where cores are short.

The spool exists so that recording can wait and calls need not: on a saturated machine the drain falls
behind, and catches up afterwards.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from typing import Final

NICENESS: Final = 15
"""Weight 36 beside the engine's 1,024: on a busy core the drain gets about 3 % of the time."""

SLICE_NS: Final = 100_000
"""How long Linux (6.12 and later) lets the thread run on when an engine's thread wants the core.

The default is milliseconds, all of which a call would wait. This is the least that Linux takes.
"""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}


class _Attributes(ctypes.Structure):
    """`struct sched_attr` in its first version (sched_setattr(2))."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("sched_policy", ctypes.c_uint32),
        ("sched_flags", ctypes.c_uint64),
        ("sched_nice", ctypes.c_int32),
        ("sched_priority", ctypes.c_uint32),
        ("sched_runtime", ctypes.c_uint64),
        ("sched_deadline", ctypes.c_uint64),
        ("sched_period", ctypes.c_uint64),
    )


def yield_to_the_wire() -> None:
    """Make the calling thread the last to run.

    Linux keeps niceness by thread; elsewhere it would slow the whole process down, so there nothing
    is changed.
    """
    if sys.platform != "linux":
        return
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        attributes = _Attributes(
            size=ctypes.sizeof(_Attributes), sched_nice=NICENESS, sched_runtime=SLICE_NS
        )
        # What an older kernel or a sandbox refuses costs calls a little time, and nothing else.
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), 0)


def give_way() -> None:
    """Let another thread of this core run now, if one waits.

    A thread that woke while it had no claim to the core is looked at again only with the next tick
    of the clock, milliseconds later, unless the running thread asks.
    """
    if sys.platform == "linux":
        os.sched_yield()
