"""The fleet drains when somebody asks for it by SQL or by `fastq fleet drain`."""

from __future__ import annotations

import json
import subprocess
import sys

import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, wait_empty, wait_told

pytestmark = pytest.mark.process

LEASE = ("--lease", "600")  # so that not a heartbeat but the notification brings it


def test_all_supervisors_drain_and_those_that_start_later_run(dsn: str, db: Db) -> None:
    """Two on this host end with 0, what runs is finished, what waits stays; the next one takes it up."""
    with Fleet(dsn, *LEASE) as one, Fleet(dsn, *LEASE, processes=2) as two:
        one.ready()
        two.ready(2)
        enqueue(handlers.gated.job(n=1))
        wait_told(db, "started")
        db.execute("select fastq.pause('default')")
        (waiting,) = enqueue(handlers.quick.job(n=2))
        assert db.execute("select fastq.drain()").fetchone() == (3,)
        for fleet in (one, two):
            fleet.wait_line(r"fastq\.drain\(\): draining")
        assert db.execute("select fastq.drain()").fetchone() is not None  # again is not more
        db.execute("insert into gate default values")
        assert (one.process.wait(30), two.process.wait(30)) == (0, 0)
    assert states(db) == {"ready": 1}
    db.execute("select fastq.resume('default')")
    with Fleet(dsn, *LEASE) as later:
        assert wait_told(db, "quick") == ["2"]
        wait_empty(db)
        assert later.stop() == 0
    assert waiting > 0


def test_a_host_can_be_drained_alone(dsn: str, db: Db) -> None:
    """Those of others go on."""
    with Fleet(dsn, *LEASE).ready() as fleet:
        (host,) = db.execute("select host from fastq.worker").fetchone() or ()
        assert db.execute("select fastq.drain('elsewhere')").fetchone() == (0,)
        assert drain("--host", "elsewhere") == {"workers": 0}
        enqueue(handlers.quick.job(n=1))
        wait_told(db, "quick")
        assert drain("--host", host) == {"workers": 1}
        assert fleet.process.wait(30) == 0


def test_a_steward_that_was_away_hears_of_it_when_it_is_back(dsn: str, db: Db) -> None:
    """The mark stands in the workers' rows, whoever listened when it was made."""
    with Fleet(dsn, "--no-listen", "--lease", "2").ready() as fleet:
        assert db.execute("select fastq.drain()").fetchone() == (1,)
        assert fleet.process.wait(30) == 0
        until("its row to go", lambda: not fleet.workers(db))


def drain(*args: str) -> dict[str, int]:
    """Run `fastq fleet drain`."""
    command = [sys.executable, "-m", "fastq", "fleet", "drain", *args, "--json"]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout))
