"""What a bench run is asked to do."""

from __future__ import annotations

import orjson
import pytest

from fastq.bench.jobs import email_for, noop_job
from fastq.bench.plan import BenchPlan
from fastq.bench.scenarios import SCENARIOS
from fastq.errors import UsageError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("size", [30, 51, 100, 5000])
def test_payloads_have_the_size_that_was_asked_for(size: int) -> None:
    """The JSON of every job's arguments is exactly --payload-bytes long."""
    for number in (0, 499_999, 5_000_000):
        assert len(orjson.dumps(noop_job(number, email_for(size)).args)) == size


@pytest.mark.parametrize("bad", [{"processes": 0}, {"jobs": 1}, {"repeat": 0}, {"payload_bytes": 3}, {"batch_size": 0}])
def test_a_plan_that_cannot_work_is_refused(bad: dict[str, int]) -> None:
    """In one sentence that names the setting."""
    with pytest.raises(UsageError, match=next(iter(bad))):
        BenchPlan(**{"processes": 1, **bad})


def test_each_scenario_has_its_own_default() -> None:
    """500,000 jobs, but 1,000 samples of latency, and a time for those that take one."""
    jobs = {scenario.name: scenario.jobs for scenario in SCENARIOS}
    assert (jobs["throughput"], jobs["latency"]) == (500_000, 1000)
    assert all((scenario.jobs is None) != (scenario.seconds is None) for scenario in SCENARIOS)
