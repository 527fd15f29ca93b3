"""What a figure was measured on: machine, versions, the server's settings, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from psycopg import Connection, pq

import fastq
from fastq.bench.statements import statement

_SETTINGS = [
    *("autovacuum", "checkpoint_timeout", "commit_delay", "default_toast_compression", "fsync", "full_page_writes"),
    *("huge_pages", "jit", "max_connections", "max_wal_size", "server_version", "shared_buffers", "synchronous_commit"),
    *("synchronous_standby_names", "wal_buffers", "wal_compression", "wal_level", "wal_sync_method", "work_mem"),
]
_PACKAGES = ("psycopg", "psycopg-binary", "orjson", "uvloop", "msgspec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The code that was measured; `dirty` when the checkout differed from it."""

    name: str
    dirty: bool


def commit() -> Commit:
    """Return the commit of the checkout that fastq runs from, or fastq's version where it is installed."""
    root = Path(fastq.__file__).parents[1]
    described = _git(root, "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*") if _is_checkout(root) else ""
    name = described.removesuffix("-dirty") or f"v{fastq.__version__}"
    return Commit(name=name, dirty=described.endswith("-dirty"))


def describe(conn: Connection[Any]) -> dict[str, object]:
    """Return everything a reader needs to judge a figure."""
    code = commit()
    settings = dict(conn.execute(statement("read_settings"), {"names": _SETTINGS}).fetchall())
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": code.name,
        "dirty": code.dirty,
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "cpus_left_to_us": cpus(),
            "memory_mb": _memory_mb(),
            "load_before": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {
            "fastq": fastq.__version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "libpq": pq.version_pretty(pq.version()),
            "postgresql": settings.pop("server_version", None),
            **{package: version_of(package) for package in _PACKAGES},
        },
        "server_settings": settings,
    }


def cpus() -> int:
    """Return how many CPUs the scheduler may put us on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _is_checkout(root: Path) -> bool:
    return (root / ".git").exists()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10**6
    except (ValueError, OSError):
        return None
