"""The scenarios in which producers and workers are busy at the same time, for short times."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from benches import is_empty, measured

pytestmark = pytest.mark.e2e


def test_steady_counts_what_goes_in_and_what_is_run(dsn: str, db: psycopg.Connection[Any]) -> None:
    """At least ten samples; what was run is what the samples say; the backlog is bounded."""
    found = measured("steady", "--duration", "1", "-p", "1", "--dsn", dsn)
    assert len(found["samples"]) == 10
    assert [early["at_s"] < late["at_s"] for early, late in pairwise(found["samples"])] == [True] * 9
    assert found["jobs"] == pytest.approx(found["jobs_per_s"] * found["wall_s"], rel=0.01)
    assert found["most_backlog"] <= found["backlog_limit"] + found["producers"] * found["enqueue_batch"]
    assert {"server_cpu_us_per_job", "client_cpu_us_per_job", "worker_cpu_us_per_job"} <= found.keys()
    assert is_empty(db)


def test_pinned_holds_the_horizon_and_watches_the_tables(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Transactions pile up behind the snapshot; every sample has the sizes of all segments."""
    found = measured("pinned", "--duration", "1", "-p", "1", "--dsn", dsn)
    assert found["pinned_transactions"] > 10
    assert found["ratio_last_to_first"] == pytest.approx(found["last_jobs_per_s"] / found["first_jobs_per_s"], rel=0.01)
    assert all(len(sample["ring_bytes"]) == 4 and sample["lease_bytes"] > 0 for sample in found["samples"])
    assert found["most_bytes"] >= found["most_ring_bytes"] > 0
    assert is_empty(db)


def test_load_counts_latency_from_the_time_a_job_was_due(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Three levels below the capacity; every timed job is in the quantiles, whenever it was sent."""
    found = measured("load", "--duration", "1", "-p", "1", "--dsn", dsn)
    assert [point["load"] for point in found["points"]] == [0.1, 0.5, 0.9]
    for point, sample in zip(found["points"], found["samples"], strict=True):
        assert point["offered_per_s"] == pytest.approx(point["load"] * found["capacity_jobs_per_s"], rel=0.01)
        assert sample["timed_jobs"] == pytest.approx(point["offered_per_s"], rel=0.01)
        assert 0 < point["p50_ms"] <= point["p99_ms"] <= point["p999_ms"] <= point["max_ms"]
        late = [value for _, value in sample["quantiles_ms"]]
        assert late[:101] == sorted(late[:101])
    assert is_empty(db)


def test_an_interrupted_flow_leaves_nothing_behind(dsn: str, db: psycopg.Connection[Any]) -> None:
    """TERM while producers enqueue and workers run: all of them end, jobs and queue are gone, nothing is said."""
    command = [sys.executable, "-m", "fastq", "bench", "pinned", "--duration", "1h", "-p", "1", "--dsn", dsn]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    try:
        while not db.execute("select from fastq.lease limit 1").fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert (running.returncode, said) == (143, "")
    assert is_empty(db)
    mine = "select from pg_stat_activity where datname = current_database() and application_name like 'fastq%'"
    assert not db.execute(mine).fetchall()
