"""`fastq.resize()`, `fastq fleet resize`: more or fewer processes and jobs at once, without a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, told, wait_empty, wait_told

pytestmark = pytest.mark.process

LEASE = ("--lease", "600")  # so that not a heartbeat but the notification brings it


def resize(*args: str) -> dict[str, int]:
    """Run `fastq fleet resize`."""
    command = [sys.executable, "-m", "fastq", "fleet", "resize", *args, "--json"]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout))


def test_more_and_fewer_jobs_at_once(dsn: str, db: Db) -> None:
    """More begin at once; with fewer none begins until enough have ended, and what runs is not disturbed."""
    enqueue(*(handlers.gated.job(n=n) for n in range(40)))
    with Fleet(dsn, *LEASE, "-c", "2") as fleet:
        fleet.ready()
        wait_told(db, "started", 2)
        assert db.execute("select fastq.resize(concurrency => 5)").fetchone() == (1,)
        wait_told(db, "started", 5)
        assert resize("--all", "-c", "1") == {"workers": 1}
        fleet.wait_line("runs 1 jobs at once from now on")
        assert len(told(db, "started")) == 5
        db.execute("insert into gate default values")
        wait_empty(db)
        assert fleet.stop() == 0
    order = [what for (what,) in db.execute("select what from probe order by id")]
    assert order == ["started"] * 5 + ["finished"] * 5 + ["started", "finished"] * 35


def test_more_and_fewer_processes(dsn: str, db: Db) -> None:
    """Those that are new run as many jobs at once as was asked for; an order is obeyed once, whoever is steward."""
    with Fleet(dsn, *LEASE, "-c", "2") as fleet:
        fleet.ready()
        assert resize("--all", "-p", "3", "-c", "7") == {"workers": 1}
        fleet.wait_line("runs 7 jobs at once from now on", count=3)
        until("three workers", lambda: len(fleet.workers(db)) == 3)
        until("them to tell", lambda: _told_concurrency(db) == [7, 7, 7])
        os.kill(fleet.process.pid, signal.SIGTTOU)
        until("two workers", lambda: len(fleet.workers(db)) == 2)
        os.kill(int(fleet.wait_line("steward [0-9]+ started").rsplit(" ", 2)[1]), signal.SIGKILL)
        fleet.wait_line("steward [0-9]+ started", count=2)
        assert resize("--all", "-c", "3") == {"workers": 2}
        fleet.wait_line("runs 3 jobs at once from now on", count=2)
        assert len(fleet.workers(db)) == 2
        assert resize("--all", "-p", "1") == {"workers": 2}
        until("one worker", lambda: len(fleet.workers(db)) == 1)
        enqueue(handlers.quick.job(n=1))
        wait_told(db, "quick")
        assert fleet.stop() == 0


def test_more_than_there_is_room_for(dsn: str, db: Db) -> None:
    """Whoever is asked for more goes as far as it can, and says so."""
    with Fleet(dsn, *LEASE, "-c", "2") as fleet:
        fleet.ready()
        resize("--all", "-p", "10", "-c", "5000")
        fleet.wait_line("this supervisor has room for 9 seats, not for 10")
        fleet.wait_line("5000 jobs at once are asked for: this process has room for 1000", count=9)
        fleet.wait_line("runs 1000 jobs at once from now on", count=9)
        assert fleet.stop() == 0


def test_what_is_no_order(dsn: str, db: Db) -> None:
    """Is refused with one sentence."""
    for args in ("", "processes => 0", "concurrency => 10001", "'a', 1025"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"fastq\.resize: "):
            db.execute(f"select fastq.resize({args})".encode())
    assert db.execute("select fastq.resize('elsewhere', 1)").fetchone() == (0,)


def _told_concurrency(db: Db) -> list[int]:
    return [row[0] for row in db.execute("select (counters ->> 'concurrency')::int from fastq.worker")]
