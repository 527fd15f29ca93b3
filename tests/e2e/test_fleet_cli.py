"""`fastq fleet list`: the hosts, from what their workers told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


def fleet(dsn: str, *args: str) -> str:
    """Run it."""
    command = [sys.executable, "-m", "fastq", "fleet", "list", "--dsn", dsn, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_hosts(dsn: str, db: Db) -> None:
    """Those that lead, those that are late, and what a worker of an older fastq, or a stranger, has not told."""
    assert "No worker runs" in fleet(dsn)
    told = '{"running": 3, "memory_bytes": 50000000}'
    worker = (
        "insert into fastq.worker (shard, id, host, pid, expires_at, about, counters)"
        " values (0, %s, 'a', 1, now() + %s::interval, %s, %s)"
    )
    db.execute(worker, [1, "1 hour", '{"version": "1", "concurrency": 100}', told])
    db.execute(worker, [2, "-1 hour", "{}", told])
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, expires_at, counters)"
        " values (0, 3, 'b', 1, now() + '1 hour', '{\"running\": \"many\"}')"
    )
    db.execute("insert into fastq.leader (name, holder, expires_at) values ('steward', 'a:7', now() + '1 hour')")
    a, b = json.loads(fleet(dsn, "--json"))["hosts"]
    assert a == {
        "name": "a",
        "leads": True,
        "workers": 2,
        "late": 1,
        "versions": ["1"],
        "running": 6,
        "concurrency": 100,
        "memory_bytes": 100_000_000,
    }
    assert (b["name"], b["leads"], b["workers"], b["running"], b["versions"]) == ("b", False, 1, 0, [])
    text = fleet(dsn)
    assert "a (leads)" in text
    assert "95 MB" in text
