"""The scenarios that measure one thing under several settings, with small numbers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from benches import is_empty, measured

pytestmark = pytest.mark.e2e


def test_scale_measures_every_number_of_processes(dsn: str, db: psycopg.Connection[Any]) -> None:
    """One point per step, each with its own ceiling; the headline is the last."""
    found = measured("scale", "--jobs", "2000", "-p", "2", "--repeat", "1", "--dsn", dsn)
    assert [point["processes"] for point in found["points"]] == [1, 2]
    assert all(point["jobs_per_s"] > 0 and point["ratio_to_ceiling"] > 0 for point in found["points"])
    assert found["jobs_per_s"] == found["points"][-1]["jobs_per_s"]
    assert found["command"].startswith("python -m benchmarks scale --jobs 2000 -p 2 --repeat 1")
    assert dsn not in str(found)
    assert is_empty(db)


def test_payload_measures_drain_and_enqueue_at_each_size(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Larger payloads cost more WAL, in and out."""
    found = measured("payload", "--jobs", "500", "-p", "1", "--repeat", "1", "--dsn", dsn)
    assert [point["payload_bytes"] for point in found["points"]] == [100, 1000, 10_000]
    for point in found["points"]:
        assert point["jobs_per_s"] > 0
        assert point["enqueue_ratio_to_ceiling"] > 0
    wal = [point["enqueue_wal_bytes_per_job"] for point in found["points"]]
    assert wal == sorted(wal)
    assert is_empty(db)


@pytest.mark.parametrize("job", ["nap", "sync"])
def test_throughput_runs_other_jobs_too(job: str, dsn: str) -> None:
    """`--job` changes what a job does, not how it is measured."""
    found = measured("throughput", "--job", job, "--jobs", "500", "-p", "1", "--repeat", "1", "--dsn", dsn)
    assert found["settings"]["job"] == job
    assert found["jobs_per_s"] > 0


def test_depth_compares_claims_from_backlogs_of_several_depths(dsn: str, db: psycopg.Connection[Any]) -> None:
    """The same number of claims of the same size at each depth."""
    found = measured("depth", "--jobs", "5000", "-p", "2", "--repeat", "1", "--dsn", dsn)
    assert [point["depth"] for point in found["points"]] == [500, 5000]
    assert found["points"][0]["ratio_to_shallow"] == 1
    assert found["ratio_to_shallow"] == found["points"][1]["ratio_to_shallow"] > 0
    shallow, deep = found["samples"]
    assert len(shallow["took_us"]) == len(deep["took_us"]) == 2 * 5 * 40
    assert is_empty(db)
