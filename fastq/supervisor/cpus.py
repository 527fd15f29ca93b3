"""The CPUs that this process may use: what affinity and the cgroup's quota leave of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from fastq.errors import UsageError

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_V1_MOUNTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
_MOST_CPUS = 4096


def parse_cpus(text: str) -> tuple[int, ...]:
    """Return the CPUs that "0-3,7" names, in order, each once."""
    cpus: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"CPUs are given like 0-3,7, not {text!r}")
        low, high = int(first), int(last or first)
        if high < low or high >= _MOST_CPUS:
            raise UsageError(f"{part.strip()!r} is not a range of CPUs")
        cpus.update(dict.fromkeys(range(low, high + 1)))
    return tuple(cpus)


def available_cpus() -> tuple[int, ...]:
    """Return the CPUs that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cgroup_quota(root: Path = _CGROUP_ROOT, own: Path = _OWN_CGROUPS) -> float | None:
    """Return how many CPUs' worth of time the cgroup allows, or None where there is no limit.

    A limit anywhere above counts too, so every ancestor is asked (v2 `cpu.max`, v1 `cpu.cfs_quota_us`).
    """
    quotas = [quota for folder in _folders(root, own) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def default_processes(cpus: int, quota: float | None) -> int:
    """Return how many workers keep so many CPUs, or the quota of them, busy. A part of a CPU counts as one."""
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def processes_here() -> int:
    """Return the default number of workers on this machine, in this container."""
    return default_processes(len(available_cpus()), cgroup_quota())


def pins(processes: int, cpus: int) -> bool:
    """Tell whether so many workers are best pinned each to a CPU of its own, of those that we may use.

    Where they leave CPUs free, others use them as well: other supervisors, and other containers under a quota, whose
    workers would all be pinned to the same first CPUs.
    """
    return processes >= cpus


def cpus_each(processes: int, cpus: int) -> int:
    """Return how many CPUs each of so many workers has, at least one; `cpus` is `default_processes`."""
    return max(1, cpus // processes)


def _folders(root: Path, own: Path) -> Iterator[Path]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounts = [root] if not controllers else [root / m for m in _V1_MOUNTS] if _has_cpu(controllers) else []
        for mount in mounts:
            here = mount / path.lstrip("/")
            yield from (here, *here.parents[: len(here.parts) - len(mount.parts)])


def _has_cpu(controllers: str) -> bool:
    return "cpu" in controllers.split(",")


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return None if limit in ("max", "-1") else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
