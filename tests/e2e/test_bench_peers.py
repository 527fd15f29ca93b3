"""The comparison with other libraries, where they are installed: pip install 'fastq-pg[peers]'."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import psycopg
import pytest

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "peers" / "compare.py"


def test_peers_are_measured_beside_fastq_and_leave_nothing(server: str, tmp_path: Path) -> None:
    """Each enqueues and runs all its jobs in a database of its own, which is dropped."""
    for name in ("procrastinate", "pgqueuer", "asyncpg"):
        pytest.importorskip(name, reason="pip install 'fastq-pg[peers]'")
    command = [sys.executable, str(PROGRAM), "--rounds", "1", "--jobs", "200", "--fastq-jobs", "2000", "-p", "1"]
    command += ["--output", str(tmp_path)]
    ran = subprocess.run(
        command, env={**os.environ, "DSN": server}, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (kept,) = tmp_path.glob("*-peers.json")
    found = orjson.loads(kept.read_bytes())
    assert [point["library"] for point in found["points"]] == ["fastq", "procrastinate", "pgqueuer"]
    assert all(point["jobs_per_s"] > 0 and point["enqueue_jobs_per_s"] > 0 for point in found["points"])
    assert str(tmp_path) not in found["command"]
    with psycopg.connect(server) as conn:
        assert not conn.execute("select datname from pg_database where datname like 'peers_%'").fetchall()
