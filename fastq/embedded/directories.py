"""Makes the base and the socket directory. An existing directory is judged, never chmodded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fastq.embedded.identity import Identity
from fastq.embedded.paths import Paths
from fastq.errors import EmbeddedError


def make_base(paths: Paths, identity: Identity) -> None:
    """Create the base directory; raise if the server's user could not enter it."""
    missing = [p for p in (paths.base, *paths.base.parents) if not p.exists()]
    existing = missing[-1].parent if missing else paths.base
    if not identity.can_reach(existing):
        raise EmbeddedError(
            f"{existing} is closed to user {identity.name}, who runs PostgreSQL because root may not: "
            "set FASTQ_HOME to a directory outside of it, for example /var/lib/fastq"
        )
    for path in reversed(missing):
        path.mkdir(mode=0o755 if identity.differs else 0o700, exist_ok=True)
        if identity.differs:
            path.chmod(0o755)  # whatever the umask: the server's user must get through


def make_run(paths: Paths, identity: Identity) -> None:
    """Create the socket's directory, 0700: it is what makes trust authentication safe."""
    paths.run.mkdir(mode=0o700, exist_ok=True)
    info = paths.run.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in (os.geteuid(), identity.uid):
        raise EmbeddedError(f"{paths.run} belongs to somebody else: remove it, or set FASTQ_HOME to a shorter path")
    if identity.differs:
        os.chown(paths.run, identity.uid, identity.gid)
    paths.run.chmod(0o700)


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
