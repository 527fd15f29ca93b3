"""The page and the plots of what `fastq bench --output` and its like wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benches import ROOT, command

pytestmark = pytest.mark.e2e


def test_a_report_has_a_page_and_a_plot_for_each_scenario(dsn: str, tmp_path: Path) -> None:
    """Measured with small numbers; every scenario with a plot is drawn."""
    pytest.importorskip("matplotlib", reason="the plots need it")
    runs = {
        "throughput": ["--jobs", "500"],
        "latency": ["--jobs", "10"],
        "depth": ["--jobs", "1000"],
        "pinned": ["--duration", "1"],
        "load": ["--duration", "1"],
    }
    for scenario, numbers in runs.items():
        line = command(scenario, *numbers, "-p", "1", "--repeat", "1", "--dsn", dsn, "--output", str(tmp_path))
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True, timeout=240)
    report = [sys.executable, "-m", "benchmarks.report", str(tmp_path)]
    ran = subprocess.run(report, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "README.md").read_text("utf-8")
    for scenario in runs:
        assert (tmp_path / f"{scenario}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({scenario}.png)" in page
        assert f"## {scenario}" in page
    assert "over 600 s" in page
