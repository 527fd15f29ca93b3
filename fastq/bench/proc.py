"""What Linux says about processes in /proc: CPU seconds, memory, family. Elsewhere, or of no such process: None."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """One process: `cpu_s` its own CPU seconds, `children_cpu_s` those of its children that ended and were awaited."""

    pid: int
    name: str
    parent: int
    cpu_s: float
    children_cpu_s: float
    started_at: float


def stat(pid: int) -> Stat | None:
    """Return what is known of one process; `started_at` is in seconds since the machine started."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields, tick_s = tail.split(), 1 / os.sysconf("SC_CLK_TCK")
    user, system, children_user, children_system = (int(field) * tick_s for field in fields[11:15])
    return Stat(
        pid=pid,
        name=head.partition("(")[2],
        parent=int(fields[1]),
        cpu_s=user + system,
        children_cpu_s=children_user + children_system,
        started_at=int(fields[19]) * tick_s,
    )


def children(pid: int) -> list[Stat]:
    """Return the living children of a process."""
    if not _PROC.is_dir():
        return []
    found = (stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [child for child in found if child is not None and child.parent == pid]


def boot_time() -> float | None:
    """Return when this machine started, in seconds of the Unix epoch."""
    return _number(_PROC / "stat", "btime")


def peak_rss_mb(pid: int) -> float | None:
    """Return the most memory that a process ever had resident, in MB (10^6 bytes)."""
    kib = _number(_PROC / str(pid) / "status", "VmHWM:")
    return None if kib is None else kib * 1024 / 1e6


@dataclass(frozen=True, slots=True)
class HostCpu:
    """CPU seconds of the whole machine since it started, over all its CPUs."""

    busy_s: float
    total_s: float


def host_cpu() -> HostCpu | None:
    """Return what all processes of the machine used."""
    try:
        line = (_PROC / "stat").read_text().partition("\n")[0]
    except OSError:
        return None
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:9]]
    idle = ticks[3] + ticks[4]
    return HostCpu(sum(ticks) - idle, sum(ticks))


def _number(path: Path, name: str) -> float | None:
    """Return the number behind a name in one of /proc's lists."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), None)
