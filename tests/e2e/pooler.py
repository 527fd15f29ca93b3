"""PgBouncer in transaction mode before a test's database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
PATIENCE_S = 30.0


@contextmanager
def pooler(dsn: str) -> Iterator[str]:
    """Give the conninfo of a PgBouncer before the test's database: many clients, three sessions."""
    assert PGBOUNCER is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parts = conninfo.conninfo_to_dict(dsn)
    folder = Path(tempfile.mkdtemp(prefix="fastq-pgbouncer-"))  # pytest's own is closed to the user that it runs as
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    target = " ".join(f"{name}={parts[name]}" for name in ("host", "port", "user", "dbname") if parts.get(name))
    config.write_text(
        f"[databases]\npooled = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n"
    )
    owner = Path(str(parts["host"])).stat().st_uid if os.geteuid() == 0 else None  # it refuses to be root
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([PGBOUNCER, str(config)], stdout=log, stderr=log, user=owner, cwd="/")
    value = conninfo.make_conninfo("", host="127.0.0.1", port=port, user=parts["user"], dbname="pooled")
    try:
        wait("PgBouncer", lambda: answers(value))
        yield value
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(folder)


def answers(dsn: str) -> bool:
    """Tell whether somebody answers there."""
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def wait(what: str, check: Callable[[], Any]) -> None:
    """Wait until `check()` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)  # the pause of a poll with a deadline
