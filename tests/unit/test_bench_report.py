"""One page of all results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from benchmarks import patroni_cluster, report
from benchmarks.__main__ import SCENARIOS as OWN
from benchmarks.bars import BARS, FAULTS, Bar
from fastq.bench.plan import BenchError
from fastq.bench.scenarios import SCENARIOS
from fastq.cli.bench import _without_database

pytestmark = pytest.mark.unit


def save(folder: Path, name: str, **values: Any) -> None:
    """Write a result as the bench does."""
    whole = {"at": "2026-01-02T03:04:05+00:00", "commit": "abc1234", "dirty": False, "limit": "nothing", **values}
    (folder / f"{name}.json").write_bytes(orjson.dumps(whole))


def test_the_page_has_a_line_for_each_figure_with_its_origin(tmp_path: Path) -> None:
    """Figure, bar, whether it is met, and where it comes from."""
    save(tmp_path, "deep", scenario="depth", ratio_to_shallow=0.97, command="fastq bench depth -p 2")
    save(tmp_path, "old", scenario="depth", ratio_to_shallow=0.5, at="2025-01-02T03:04:05+00:00")
    page = report.write(tmp_path).read_text("utf-8")
    (line,) = [line for line in page.splitlines() if "deepest backlog" in line]
    for part in ("97.0%", "≥ 97.0%", "| met |", "2026-01-02", "abc1234", "`fastq bench depth -p 2`", "(deep.json)"):
        assert part in line
    assert "(old.json)" in page


def test_what_a_job_does_makes_another_line(tmp_path: Path) -> None:
    """Sleeping jobs are not taken for no-op ones."""
    save(tmp_path, "nap", scenario="throughput", jobs_per_s=1000.0, settings={"job": "nap"})
    page = report.write(tmp_path).read_text("utf-8")
    assert "jobs that sleep 1 ms, drained | 1,000 jobs/s" in page
    assert "no-op jobs drained" not in page


def test_a_bar_is_met_missed_or_not_judged() -> None:
    """A shorter run than the bar is for says nothing about it."""
    least = Bar(scenario="s", field="f", what="w", least=0.95, seconds=600)
    assert [least.met(value, 600) for value in (0.95, 0.94)] == [True, False]
    assert least.met(0.94, 60) is None
    assert least.met(0.94, None) is None
    most = Bar(scenario="s", field="f", what="w", most=1.1)
    assert [most.met(value, None) for value in (1.1, 1.2)] == [True, False]
    assert Bar(scenario="s", field="f", what="w").met(1.0, None) is None


def test_bars_are_of_scenarios_that_exist() -> None:
    """Or of the programs in benchmarks/."""
    known = {*(scenario.name for scenario in (*SCENARIOS, *OWN)), "yardstick", "peers"}
    assert {bar.scenario for bar in BARS} <= known | {f"patroni-{fault}" for fault in FAULTS}


def test_the_faults_are_those_of_the_cluster() -> None:
    """A fault that is added to the script has its bars."""
    assert tuple(patroni_cluster.FAULTS) == FAULTS


def test_other_files_are_passed_over_and_nothing_is_an_error(tmp_path: Path) -> None:
    """A sentence, and what to do."""
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(BenchError, match=r"no results in .*--output"):
        report.write(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BenchError, match=r"broken\.json is not JSON"):
        report.write(tmp_path)


def test_an_old_file_without_a_command_gets_one_from_its_settings(tmp_path: Path) -> None:
    """So that every figure names how it was made."""
    save(tmp_path, "t", scenario="throughput", jobs_per_s=1.0, settings={"jobs": 10, "processes": 2, "repeat": 3})
    assert "`fastq bench throughput --jobs 10 -p 2 --repeat 3`" in report.write(tmp_path).read_text("utf-8")


def test_without_matplotlib_there_is_a_page_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, no plots, and how to get them."""
    save(tmp_path, "t", scenario="throughput", jobs_per_s=1.0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "benchmarks.plots", raising=False)
    ran = CliRunner().invoke(report.command, [str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert "matplotlib is missing; pip install matplotlib" in ran.stderr
    assert (tmp_path / "README.md").exists()


def test_the_command_is_kept_without_the_database() -> None:
    """A DSN may hold a password; where results go is nobody's business."""
    given = ["bench", "depth", "--dsn", "postgresql://u:secret@h/d", "--jobs", "10", "--output=x", "--dsn=y", "-p", "2"]
    assert _without_database(given) == ["bench", "depth", "--jobs", "10", "-p", "2"]
