"""The page of results, made from files as benches write them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benches import ROOT, command

pytestmark = pytest.mark.e2e

KEPT = ("latency", "depth", "pinned", "load")


def test_a_report_has_a_page_and_a_plot_for_each_scenario(dsn: str, tmp_path: Path) -> None:
    """One scenario is measured with small numbers, the others are files of ours; every one with a plot is drawn."""
    pytest.importorskip("matplotlib", reason="the plots need it")
    line = command("throughput", "--jobs", "500", "-p", "1", "--repeat", "1", "--dsn", dsn, "--output", str(tmp_path))
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True, timeout=240)
    for scenario in KEPT:
        newest = max(path for path in (ROOT / "bench_results").glob(f"*-{scenario}.json") if "turn" not in path.name)
        shutil.copy(newest, tmp_path)
    report = [sys.executable, "-m", "benchmarks.report", str(tmp_path)]
    ran = subprocess.run(report, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "README.md").read_text("utf-8")
    for scenario in ("throughput", *KEPT):
        assert (tmp_path / f"{scenario}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({scenario}.png)" in page
        assert f"## {scenario}" in page
    assert "over 600 s" in page
