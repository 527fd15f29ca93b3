"""The log of the keeper and the server: bounded, and quoted in error messages."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from fastq.embedded.files import create_file, open_file

MAX_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 2000


def note(text: str) -> None:
    """Write one line of the keeper's own."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    sys.stderr.write(f"{stamp} [{os.getpid()}] keeper: {text}\n")
    sys.stderr.flush()


def append_to(path: Path) -> int:
    """Return a descriptor to write at the end of the log; nobody else may read it."""
    fd = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.fchmod(fd, 0o600)
    return fd


def trim(path: Path) -> None:
    """Move a log grown too large to log.1: copied and cut, as PostgreSQL keeps it open (for appending)."""
    if not path.exists() or path.lstat().st_size <= MAX_BYTES:
        return
    with os.fdopen(open_file(path, os.O_RDWR), "r+b") as file:
        os.close(create_file(path.with_name(f"{path.name}.1"), file.read()))
        file.truncate(0)


def tail(path: Path) -> str:
    """Return the log's last lines."""
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return "(no log)"
