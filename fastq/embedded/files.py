"""Opens files without following a link: where others can write, one may stand in the place of a file of ours.

What is opened is then what lies there, and its mode and owner are changed by descriptor. A link is an OSError.
"""

from __future__ import annotations

import os
from pathlib import Path


def open_file(path: Path, flags: int) -> int:
    """Return a descriptor of the file itself, which is not inherited over exec; a new one is its owner's alone."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


def create_file(path: Path, text: bytes) -> int:
    """Write a new file in the place of whatever has its name; return a descriptor of it."""
    path.unlink(missing_ok=True)
    fd = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text)
    return fd
