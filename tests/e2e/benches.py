"""What the tests of `fastq bench` share: a run, and whether it left anything behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psycopg

ROOT = Path(__file__).parents[2]
OURS = ("depth", "payload", "scale")
"""What the project measures for itself, with `python -m benchmarks`."""


def command(scenario: str, *arguments: str) -> list[str]:
    """Return the command that measures a scenario; it has to be run in ROOT."""
    program = ["benchmarks"] if scenario in OURS else ["fastq", "bench"]
    return [sys.executable, "-m", *program, scenario, *arguments]


def measured(scenario: str, *arguments: str) -> dict[str, Any]:
    """Measure a scenario and return what was found."""
    line = command(scenario, *arguments, "--json")
    ran = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = orjson.loads(ran.stdout)
    return found


def is_empty(db: psycopg.Connection[Any]) -> bool:
    """Tell whether the bench left nothing behind."""
    tables = ("job", "lease", "worker", "queue")
    return not any(db.execute(f"select from fastq.{table} limit 1".encode()).fetchall() for table in tables)
