"""Processes: what a pid in a lock file stands for now, and how a child is tied to its parent's life."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1


def exists(pid: int) -> bool:
    """Say whether the pid is taken, be it by a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serves(pid: int, data: Path) -> bool:
    """Say whether `pid` is a live PostgreSQL on `data`.

    The name alone is not enough: after a restart of the host or container the pid in an old lock file may be
    another cluster's postmaster, and a signal meant for ours would stop that one. A postmaster's working
    directory is its data directory.
    """
    if not (PROC / "self" / "stat").exists():
        return serves_by_ps(pid, data)
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        name, state = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2]
        return name.startswith("postgres") and state not in "ZX" and (PROC / str(pid) / "cwd").samefile(data)
    except OSError:
        return False  # gone, or not ours to look at


def serves_by_ps(pid: int, data: Path) -> bool:
    """Say the same where there is no /proc (macOS): by the command line that we started it with."""
    command = ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, arguments = shown.partition(" ")
    return not state.startswith("Z") and f"postgres -D {data} -c " in arguments


def die_with_parent() -> Callable[[], None]:
    """Return what the child calls before exec so that the kernel sends it SIGINT if the keeper dies.

    SIGINT is fast shutdown for postgres, and initdb removes its half-made directory. The call comes after setuid,
    which would clear the wish. If the keeper died before it was registered, no signal would ever come: hence
    the look at the parent.

    SIGINT and SIGQUIT, by which such children are stopped, get their default back: in a background job of a shell
    they are ignored, and a child that has no handler yet would go on.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    keeper = os.getpid()

    def register() -> None:
        for signum in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_DFL)
        if libc is None:
            return
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != keeper:
            os._exit(1)

    return register
