"""Real workers for the scripts beside this one, started as a user starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


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
