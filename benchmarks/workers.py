"""Real workers for the scripts beside this one, started as a user starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE_S = 300.0


def start(dsn: str, target: str, processes: int, *options: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `fastq worker` and wait until all its processes are ready."""
    workers = subprocess.Popen(
        [sys.executable, "-m", "fastq", "worker", target, "-p", str(processes), *options],
        env={**os.environ, "FASTQ_DSN": dsn, **env},
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert workers.stderr is not None
    up = 0
    while up < processes:
        up += b"is ready" in (line := workers.stderr.readline())
        if not line:
            sys.exit("the workers did not start")
    threading.Thread(target=workers.stderr.read, daemon=True).start()
    return workers


def stop(workers: subprocess.Popen[bytes]) -> None:
    """Drain them; the next leader need not wait for this one's lease."""
    workers.send_signal(signal.SIGTERM)
    workers.wait()


def left(conn: Any) -> bool:
    """Tell whether anything is ready or claimed."""
    ((some,),) = conn.execute(
        "select exists (select from fastq.ready where shard = 0) or exists (select from fastq.lease where shard = 0)"
    ).fetchall()
    return bool(some)


def drained_per_s(conn: Any, dsn: str, target: str, queue: str, jobs: int, processes: int) -> int:
    """Return how many jobs per second of a paused queue are drained, from when it is resumed."""
    workers = start(dsn, target, processes, env={})
    try:
        started = time.monotonic()
        conn.execute("select fastq.resume(%s)", [queue])
        while left(conn):
            if time.monotonic() > started + PATIENCE_S:
                sys.exit(f"not drained within {PATIENCE_S:.0f} s")
            time.sleep(0.005)
        return round(jobs / (time.monotonic() - started))
    finally:
        stop(workers)
