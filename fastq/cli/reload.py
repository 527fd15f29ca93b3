"""`fastq worker --reload`: a small process that watches Python files and asks the supervisor for fresh workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_LOOK_EVERY_S = 0.3
_SKIP = {".venv", "venv", "node_modules", "__pycache__", ".git", "site-packages"}


def newest(root: Path) -> tuple[int, int]:
    """Return (how many Python files, the latest change in ns) below `root`."""
    count = latest = 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIP and not name.startswith(".")]
        for name in names:
            if name.endswith(".py"):
                try:
                    changed = (Path(folder) / name).stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                count, latest = count + 1, max(latest, changed)
    return count, latest


def watch(root: Path, parent: int) -> int:
    """Send HUP to `parent` whenever a file changes; return when the parent is gone."""
    seen = newest(root)
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
        now = newest(root)
        if now != seen:
            seen = now
            os.kill(parent, signal.SIGHUP)
    return 0
