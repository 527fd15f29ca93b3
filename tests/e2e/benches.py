"""What the tests of `fastq bench` share: a run, and whether it left anything behind."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import psycopg


def measured(*arguments: str) -> dict[str, Any]:
    """Run `fastq bench … --json` and return what it found."""
    command = [sys.executable, "-m", "fastq", "bench", *arguments, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = orjson.loads(ran.stdout)
    return found


def is_empty(db: psycopg.Connection[Any]) -> bool:
    """Tell whether the bench left nothing behind."""
    tables = ("job", "lease", "worker", "queue")
    return not any(db.execute(f"select from fastq.{table} limit 1".encode()).fetchall() for table in tables)
