"""What can be seen of an embedded server from outside, running or not. Changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fastq.embedded import keeper_lock
from fastq.embedded.cluster import pid_in
from fastq.embedded.directories import bytes_in
from fastq.embedded.paths import Paths, major_of
from fastq.embedded.ping import ping


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A look at one embedded server.

    `version` is the running server's ("18.6"), else the major version of the data ("18"), else None.
    `detached`: it stays up without users until `stop`. `data` is None before the first start.
    """

    running: bool
    base: Path
    dsn: str
    version: str | None
    pid: int | None
    keeper_pid: int | None
    detached: bool
    data: Path | None
    data_bytes: int
    log: Path


def status(base: str | os.PathLike[str] | None = None) -> Status:
    """Look at the server in `base`."""
    paths = Paths.of(base)
    data = paths.data()
    answer = ping(paths.socket)
    return Status(
        running=answer.ready,
        base=paths.base,
        dsn=paths.dsn,
        version=answer.version or (str(major_of(data)) if data else None),
        pid=pid_in(data / "postmaster.pid") if data and answer.ready else None,
        keeper_pid=keeper_lock.owner(paths.keeper_lock) or None,
        detached=paths.stay.exists(),
        data=data,
        data_bytes=bytes_in(data) if data else 0,
        log=paths.log,
    )


def describe(status: Status) -> str:
    """Return one line for a human: what database this is, and how to have another."""
    version = f" {status.version}" if status.version else ""
    state = "" if status.running else ", not running"
    return f"embedded PostgreSQL{version} in {status.base}{state} (set FASTQ_DSN for a real server)"
