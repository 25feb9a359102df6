"""What the kernel knows of processes and cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


def resident_bytes(pid: int) -> int:
    """Memory that a process and its children hold now."""
    return sum(_status_kib(one, "VmRSS") for one in _family(pid)) * _KIB


def peak_bytes(pid: int) -> int:
    """The most that a process and its children have held since `forget_peak`."""
    return sum(_status_kib(one, "VmHWM") for one in _family(pid)) * _KIB


def forget_peak(pid: int) -> None:
    """Let the kernel measure the peak from now on (proc(5), `clear_refs`)."""
    for one in _family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def processor_seconds(pid: int) -> float:
    """Processor time that a process and its children have used."""
    return sum(_status_ticks(one) for one in _family(pid)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """How long a core was busy, and in all, since boot, in clock ticks."""

    busy: int
    total: int

    @classmethod
    def read(cls, core: int) -> CoreTimes:
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name == f"cpu{core}":
                ticks = [int(field) for field in fields[:8]]
                idle = ticks[3] + ticks[4]
                return cls(sum(ticks) - idle, sum(ticks))
        raise LookupError(f"no core {core}")

    def busy_share(self, before: CoreTimes) -> float:
        """The part of the time since `before` in which the core worked, from 0 to 1."""
        return (self.busy - before.busy) / max(1, self.total - before.total)


def _family(pid: int) -> Iterator[int]:
    """The process and all that descend from it."""
    children = _children_by_parent()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children.get(one, [])


def _children_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(_after_name(stat)[1])
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    return children


def _status_ticks(pid: int) -> int:
    fields = _after_name(Path(f"/proc/{pid}/stat"))
    return int(fields[11]) + int(fields[12])  # utime and stime


def _after_name(stat: Path) -> list[str]:
    """The fields of proc(5)'s `stat` from the third on: a name may hold spaces and parentheses."""
    return stat.read_text().rpartition(")")[2].split()


def _status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0
