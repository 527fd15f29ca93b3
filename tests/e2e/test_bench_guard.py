"""Speed as far as any machine can tell it: two things measured in one run, compared. No figure of time."""

from __future__ import annotations

from typing import Any

import pytest
from benches import measured

pytestmark = pytest.mark.e2e


def best_ratio(found: dict[str, Any]) -> float:
    """Return the best of the repetitions by the best of the ceilings: what was least disturbed by other processes."""
    best = {name: max(sample[name] for sample in found["samples"]) for name in ("jobs_per_s", "ceiling_jobs_per_s")}
    return float(best["jobs_per_s"] / best["ceiling_jobs_per_s"])


def test_running_jobs_costs_not_four_times_what_claiming_them_does(dsn: str) -> None:
    """60 % of the ceiling is usual. Less than a quarter: something was put on the way of every job."""
    found = measured("throughput", "--jobs", "50000", "-p", "2", "--repeat", "5", "--dsn", dsn)
    assert best_ratio(found) >= 0.25, found["samples"]


def test_a_stream_of_jobs_is_not_far_from_a_raw_copy(dsn: str) -> None:
    """A fifth of a raw COPY of ready-made packets is usual. Less than a twelfth: encoding has become dear."""
    found = measured("enqueue", "--jobs", "50000", "--repeat", "3", "--dsn", dsn)
    assert best_ratio(found) >= 1 / 12, found["samples"]


def test_a_deep_backlog_does_not_make_claims_dear(dsn: str) -> None:
    """A claim from 100,000 jobs costs what one from 10,000 does. More than twice: it reads what it does not take."""
    found = measured("depth", "--jobs", "100000", "-p", "2", "--repeat", "2", "--dsn", dsn)
    known = all(sample["server_cpu_us_per_job"] is not None for sample in found["samples"])
    cost = "server_cpu_us_per_job" if known else "claim_p50_us"  # CPU is the same however busy the machine is
    shallow, deep = (
        min(sample[cost] for sample in found["samples"] if sample["depth"] == depth) for depth in (10_000, 100_000)
    )
    assert deep <= 2 * shallow, found["points"]
