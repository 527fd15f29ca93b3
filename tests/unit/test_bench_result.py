"""One JSON object, a few lines, a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from fastq.bench import result
from fastq.bench.plan import BenchPlan
from fastq.bench.result import Result

pytestmark = pytest.mark.unit

FOUND = Result(
    scenario="throughput",
    jobs=2000,
    figures={"jobs_per_s": 123_456.7, "ratio_to_ceiling": 0.61234567, "server_cpu_us_per_job": None},
    limit="nothing",
    lines=[("drained", "123,457 jobs/s"), ("x", "y")],
    samples=[{"jobs_per_s": 123_456.7, "ceiling": {"wall_s": 0.123456}}],
    notes=["beware"],
)
CONDITIONS = {"at": "2026-01-02T03:04:05+00:00", "commit": "abc1234"}


def test_the_object_has_figures_settings_conditions_and_samples() -> None:
    """Rounded figures at the top, everything else a reader needs below."""
    found = FOUND.as_dict(BenchPlan(processes=2), CONDITIONS)
    assert found["scenario"] == "throughput"
    assert (found["jobs_per_s"], found["ratio_to_ceiling"], found["server_cpu_us_per_job"]) == (123_457, 0.6123, None)
    assert found["settings"] == {**asdict(BenchPlan(processes=2)), "jobs": 2000}
    assert found["samples"] == [{"jobs_per_s": 123_457, "ceiling": {"wall_s": 0.1235}}]


def test_people_get_aligned_lines_with_limit_and_notes() -> None:
    """Every line of the text has its label."""
    assert FOUND.text().splitlines() == [
        "throughput (2,000 jobs)",
        "  drained  123,457 jobs/s",
        "  x        y",
        "  limit    nothing",
        "  note     beware",
    ]


def test_saving_never_overwrites(tmp_path: Path) -> None:
    """A second result of the same day and commit gets a number."""
    found = FOUND.as_dict(BenchPlan(processes=2), CONDITIONS)
    paths = [result.save(found, tmp_path / "new") for _ in range(2)]
    assert [path.name for path in paths] == [
        "2026-01-02-abc1234-throughput.json",
        "2026-01-02-abc1234-throughput-2.json",
    ]
    assert orjson.loads(paths[1].read_bytes()) == found
