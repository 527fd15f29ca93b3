"""The app of the container tests."""

from __future__ import annotations

import os
import subprocess
import time

import fastq

app = fastq.App()


def tell(what: str, value: object) -> None:
    """Write a row that the test waits for."""
    with app.sync_client.connection() as conn:
        conn.execute("insert into probe (what, value, pid) values (%s, %s, %s)", [what, str(value), os.getpid()])


@app.task(retries=0)
def look_around() -> None:
    """Tell who the parent of this worker is."""
    tell("parent", os.getppid())


@app.task(retries=0)
def leave_an_orphan() -> None:
    """Tell what becomes of a process whose parent has ended: it is gone once somebody has reaped it."""
    command = ["sh", "-c", "sh -c 'exit 3' >/dev/null & echo $!"]
    orphan = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    while os.path.exists(f"/proc/{orphan}"):  # noqa: PTH110
        time.sleep(0.01)
    tell("orphan", "reaped")
