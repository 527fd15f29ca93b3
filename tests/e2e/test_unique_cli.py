"""Unique jobs at the command line: what `fastq jobs` shows of keys, and how it refuses a retry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


def command(dsn: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `fastq …` to its end."""
    env = {**os.environ, "FASTQ_DSN": dsn}
    return subprocess.run(
        [sys.executable, "-m", "fastq", *args], capture_output=True, text=True, timeout=60, env=env, check=False
    )


def enqueue(db: Db, key: str, until: str = "finished") -> int:
    """Enqueue a unique job; returns its id."""
    row = db.execute("select fastq.enqueue('t', unique_key => %s, unique_until => %s)", [key, until]).fetchone()
    assert row is not None
    return int(row[0])


def test_show_and_list_tell_the_key(dsn: str, db: Db) -> None:
    """For people and for machines."""
    job = enqueue(db, "u7", "1 hour")
    assert "unique    u7, until 1 hour\n" in command(dsn, "jobs", "show", str(job)).stdout
    shown = json.loads(command(dsn, "jobs", "show", str(job), "--json").stdout)
    assert (shown["unique_key"], shown["unique_until"]) == ("u7", "1 hour")
    listed = json.loads(command(dsn, "jobs", "list", "--json").stdout)
    assert listed["jobs"][0]["unique_key"] == "u7"


def test_a_retry_is_refused_in_one_sentence(dsn: str, db: Db) -> None:
    """The jobs named beside it are retried all the same."""
    failed, rival, other = enqueue(db, "a"), 0, enqueue(db, "b")
    db.execute("select fastq.cancel(%s), fastq.cancel(%s)", [failed, other])
    rival = enqueue(db, "a")
    sentence = f"job {failed} cannot be retried: its unique key a is held by job {rival}"
    done = command(dsn, "jobs", "retry", str(failed), str(other))
    assert (done.returncode, done.stderr, done.stdout) == (1, f"{sentence}\n", f"retried job {other}\n")
    done = command(dsn, "jobs", "retry", str(failed), "--json")
    (told,) = json.loads(done.stdout)["jobs"]
    assert told == {"id": failed, "outcome": None, "state": "cancelled", "refused": sentence}
    assert json.loads(command(dsn, "jobs", "retry", "--all", "--yes", "--json").stdout) == {"retried": 0}
