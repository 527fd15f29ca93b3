"""Where everything of one embedded server lies. Creates nothing; see directories.py.

BASE/lease         shared flock of everyone who uses the server       lease.py
BASE/start.lock    exclusive flock of the one process that starts it   server.py
BASE/keeper.lock   exclusive flock of the keeper; contains its pid     keeper_lock.py
BASE/stay          present: keep running although nobody has a lease
BASE/log, log.1    what the keeper and PostgreSQL say
BASE/run/          the unix socket (or /tmp/fastq-UID-HASH/, see `run_directory`)
BASE/pg18/         the data directory, named by major version
BASE/bin18-HASH/   copied binaries, only where root's own are out of the server user's reach
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from fastq.errors import EmbeddedError

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# sun_path is 108 bytes on Linux and 104 on macOS, with the closing zero.
MAX_SOCKET_BYTES = 100
# What needs no quoting in a conninfo string nor in postgresql.conf, where a comma would separate two hosts.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+=:@%-]+")
SHORT_ROOT = "/tmp"  # noqa: S108 - fixed: with $TMPDIR two processes of one user could look in two places


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """All paths of the embedded server in `base`."""

    base: Path
    run: Path

    @classmethod
    def of(cls, base: str | os.PathLike[str] | None = None) -> Paths:
        """Return the paths for `base`, else for $FASTQ_HOME, else for the default place of this user."""
        chosen = os.path.expanduser(base or os.environ.get("FASTQ_HOME") or default_base())  # noqa: PTH111 - str in
        if chosen.startswith("~"):
            raise EmbeddedError("this user has no home directory: set FASTQ_HOME to a directory it can write")
        resolved = Path(os.path.realpath(chosen))
        return cls(base=resolved, run=run_directory(resolved))

    @property
    def lease(self) -> Path:
        """The file whose shared lock says "in use"."""
        return self.base / "lease"

    @property
    def start_lock(self) -> Path:
        """The file that lets one process at a time start a keeper."""
        return self.base / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """The file that lets one keeper live, with its pid in it."""
        return self.base / "keeper.lock"

    @property
    def stay(self) -> Path:
        """The marker that keeps the server up without leases."""
        return self.base / "stay"

    @property
    def log(self) -> Path:
        """The log of the keeper and of the server."""
        return self.base / "log"

    @property
    def socket(self) -> Path:
        """The unix socket the server listens on."""
        return self.run / SOCKET_NAME

    @property
    def socket_lock(self) -> Path:
        """PostgreSQL's own lock file beside the socket."""
        return self.run / f"{SOCKET_NAME}.lock"

    @property
    def dsn(self) -> str:
        """A conninfo string that leaves nothing for PGHOST and its like to decide."""
        return f"host={self.run} port={PORT} user=postgres dbname=postgres"

    def data(self) -> Path | None:
        """Return the data directory that exists (the newest major if there are several), or None."""
        found = [d for d in self.base.glob("pg[0-9][0-9]") if (d / "PG_VERSION").exists()]
        return max(found, default=None)

    def data_for(self, major: int) -> Path:
        """Return where a data directory of PostgreSQL `major` belongs."""
        return self.base / f"pg{major}"


def default_base() -> str:
    """Return /var/lib/fastq for root (whose home is closed to others), else the XDG data directory."""
    if os.geteuid() == 0:
        return "/var/lib/fastq"
    return str(Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "fastq")


def run_directory(base: Path) -> Path:
    """Return the socket's directory: BASE/run, or a short plain one if that is too long or needs quoting."""
    usual = base / "run"
    if len(os.fsencode(usual / SOCKET_NAME)) <= MAX_SOCKET_BYTES and PLAIN_PATH.fullmatch(str(usual)):
        return usual
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    return Path(SHORT_ROOT) / f"fastq-{os.geteuid()}-{digest}"


def major_of(data: Path) -> int:
    """Return the PostgreSQL major version that wrote the data directory."""
    return int((data / "PG_VERSION").read_text())
