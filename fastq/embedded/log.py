"""The log of the keeper and the server: bounded, and quoted in error messages."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 2000


def note(text: str) -> None:
    """Write one line of the keeper's own."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    sys.stderr.write(f"{stamp} [{os.getpid()}] keeper: {text}\n")
    sys.stderr.flush()


def trim(path: Path) -> None:
    """Move a log grown too large to log.1: copied and cut, as PostgreSQL keeps it open (for appending)."""
    if path.exists() and path.stat().st_size > MAX_BYTES:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


def tail(path: Path) -> str:
    """Return the log's last lines."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return "(no log)"
