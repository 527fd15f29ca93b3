"""Makes the base and the socket directory. An existing directory is judged, never chmodded."""

from __future__ import annotations

import os
from pathlib import Path

from fastq.embedded.files import open_file
from fastq.embedded.identity import Identity
from fastq.embedded.paths import Paths
from fastq.errors import EmbeddedError


def make_base(paths: Paths, identity: Identity) -> None:
    """Create the base directory; raise if the server's user could not enter it."""
    missing = [p for p in (paths.base, *paths.base.parents) if not p.exists()]
    existing = missing[-1].parent if missing else paths.base
    if not missing:
        judge(paths.base)
    if not identity.can_reach(existing):
        raise EmbeddedError(
            f"{existing} is closed to user {identity.name}, who runs PostgreSQL because root may not: "
            "set FASTQ_HOME to a directory outside of it, for example /var/lib/fastq"
        )
    for path in reversed(missing):
        path.mkdir(mode=0o755 if identity.differs else 0o700, exist_ok=True)
        if identity.differs:
            path.chmod(0o755)  # whatever the umask: the server's user must get through


def judge(base: Path) -> None:
    """Raise if somebody else has a say in what lies in the base directory: locks with pids, logs, whole databases."""
    info = base.stat()
    if info.st_uid not in (os.geteuid(), 0):
        raise EmbeddedError(
            f"{base} belongs to {Identity(uid=info.st_uid, gid=0).name}: set FASTQ_HOME to a directory of yours"
        )
    if os.geteuid() == 0 and info.st_mode & 0o022:
        raise EmbeddedError(
            f"others than root may write to {base}: take that from them (chmod go-w {base}), or set FASTQ_HOME to a"
            " directory of root's own"
        )


def make_run(paths: Paths, identity: Identity) -> None:
    """Create the socket's directory, 0700: it is what makes trust authentication safe."""
    paths.run.mkdir(mode=0o700, exist_ok=True)
    fd = open_file(paths.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(fd).st_uid not in (os.geteuid(), identity.uid):
            raise EmbeddedError(f"{paths.run} belongs to somebody else: remove it, or set FASTQ_HOME to a shorter path")
        if identity.differs:
            os.fchown(fd, identity.uid, identity.gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def bytes_in(directory: Path) -> int:
    """Return the bytes of all files below `directory`; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
