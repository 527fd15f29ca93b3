"""The data directory: created once, configured at every start, cleared of what a dead server left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from fastq.embedded import binaries, process, relocate, settings
from fastq.embedded.binaries import Binaries
from fastq.embedded.directories import make_base, make_run
from fastq.embedded.files import create_file, open_file
from fastq.embedded.identity import Identity, identity_for
from fastq.embedded.paths import Paths, major_of
from fastq.errors import EmbeddedError

INCLUDE = f"\ninclude_if_exists = '{settings.FILE_NAME}'\n"
STOP_FAST_S = 60.0
POLL_S = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A data directory that is ready to be served, and by what."""

    data: Path
    binaries: Binaries
    identity: Identity


def choose(paths: Paths) -> tuple[Identity, Binaries]:
    """Find out who would run what, or raise the reason why nobody can. Changes nothing."""
    data = paths.data()
    identity = identity_for(data)
    if data is None:
        identity.require_passwd_entry()
    return identity, binaries.find(major=major_of(data) if data else None, identity=identity)


def prepare(paths: Paths) -> Cluster:
    """Make everything ready for `postgres` to start. Only the holder of the keeper's lock may call this."""
    identity, found = choose(paths)
    make_base(paths, identity)
    make_run(paths, identity)
    usable = relocate.within_reach(found, identity, paths)
    data = paths.data() or create(paths, usable, identity)
    configure(data, identity)
    clear(data, paths)
    return Cluster(data=data, binaries=usable, identity=identity)


def environment() -> dict[str, str]:
    """Return our environment without what would change the server: the user's PG* variables and locale."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG", "PYTHON"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def create(paths: Paths, found: Binaries, identity: Identity) -> Path:
    """Run initdb beside the place and rename: what is named pgNN is complete, whenever initdb was killed."""
    for old in paths.base.glob("init-*"):
        shutil.rmtree(old, ignore_errors=True)  # its initdb may be dying still; then the next start removes it
    unfinished = paths.base / f"init-{os.getpid()}"
    unfinished.mkdir(mode=0o700)
    if identity.differs:
        os.chown(unfinished, identity.uid, identity.gid)
    run_initdb(unfinished, found, identity)
    with os.fdopen(open_file(unfinished / "postgresql.conf", os.O_WRONLY | os.O_APPEND), "a") as file:
        file.write(INCLUDE)
        file.flush()
        os.fsync(file.fileno())
    data = paths.data_for(found.major)
    unfinished.rename(data)
    sync_directory(paths.base)
    return data


def run_initdb(target: Path, found: Binaries, identity: Identity) -> None:
    """Create the cluster: superuser postgres, UTF8, checksums, C locale (a new glibc spoils no index)."""
    command = [
        str(found.directory / "initdb"),
        "-D",
        str(target),
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--no-locale",
    ]
    command += ["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--no-instructions"]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            preexec_fn=process.die_with_parent(),
            **identity.popen,
        )
    except OSError as error:
        raise EmbeddedError(f"cannot run {command[0]} as user {identity.name}: {error.strerror}") from error
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed in {target.parent}:\n{done.stdout.strip()[-2000:]}")


def configure(data: Path, identity: Identity) -> None:
    """Write fastq.conf whole or not at all."""
    unfinished = data / f"{settings.FILE_NAME}.new"
    fd = create_file(unfinished, settings.file_text().encode())
    if identity.differs:
        os.fchown(fd, identity.uid, identity.gid)
    os.close(fd)
    unfinished.replace(data / settings.FILE_NAME)


def clear(data: Path, paths: Paths) -> bool:
    """End a server that outlived its keeper, drop lock files whose pid misleads; True if there was a server.

    A pid that nobody has is left to PostgreSQL, which copes. One that a zombie has (PID 1 of many containers
    does not reap) or that was given to another process would stop it from starting: "Is another postmaster
    running?". Dropping the file then is safe: PostgreSQL still refuses to start while processes of an earlier
    server are attached to this data directory's shared memory.
    """
    ended = False
    for lock_file in (data / "postmaster.pid", paths.socket_lock):
        pid = pid_in(lock_file)
        if pid is None:
            lock_file.unlink(missing_ok=True)  # absent, or empty after a crash
        elif process.serves(pid, data):
            end(pid, data)
            ended = True
        elif process.exists(pid):
            lock_file.unlink(missing_ok=True)
    return ended


def pid_in(lock_file: Path) -> int | None:
    """Return the pid in the first line, or None."""
    try:
        with os.fdopen(open_file(lock_file, os.O_RDONLY)) as file:
            first = file.readline().strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else None


def end(pid: int, data: Path) -> None:
    """Stop a server that is not our child: SIGINT (fast), and SIGQUIT when that takes too long."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        deadline = time.monotonic() + STOP_FAST_S
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        while process.serves(pid, data):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        else:
            return
    raise EmbeddedError(f"the PostgreSQL server {pid} on {data} does not stop")


def sync_directory(path: Path) -> None:
    """Make a rename in the directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
