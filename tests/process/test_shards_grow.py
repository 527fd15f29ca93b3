"""Shards are added to a database whose fleet is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import handlers
import psycopg
import pytest
from fleet import Fleet, gone, until
from probe import Db, enqueue, told, wait_empty, wait_told

pytestmark = pytest.mark.process
GROWN = 8
SPREAD = f"select fastq.spread_ties() or fastq.keyed_shards() = {GROWN}"


def grow(dsn: str) -> None:
    """Add shards as people do."""
    command = [sys.executable, "-m", "fastq", "migrate", "--dsn", dsn, "--shards", str(GROWN)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def joined(db: Db) -> list[int]:
    """Return in how many shards each worker is known."""
    return [n for (n,) in db.execute("select count(*)::int from fastq.worker group by id").fetchall()]


def by_every_way(db: Db) -> int:
    """Enqueue jobs in all the ways there are, each as often as there are shards; returns how many."""
    with handlers.app as app:
        for n in range(GROWN):
            handlers.quick.enqueue_sync(n=n)
            app.enqueue_many_sync(handlers.quick.job(n=n) for _ in range(20))
            app.enqueue_many_sync(handlers.quick.options(group_key=f"g{n}").job(n=n) for _ in range(2))
            app.enqueue_sync(handlers.quick.options(unique_key=f"k{n}").job(n=n))
            app.enqueue_sync(handlers.quick.options(group_key=f"o{n}", ordered=True).job(n=n))
            app.enqueue_sync(handlers.quick.options(delay=0.05).job(n=n))
            app.commit_sync(app.reserve_sync(handlers.quick.job(n=n)))
            with psycopg.connect(db.info.dsn) as theirs:
                app.enqueue_sync(handlers.quick.job(n=n), conn=theirs)
                theirs.execute("select fastq.enqueue('handlers.quick', '{\"n\": 1}')")
    return GROWN * (1 + 20 + 2 + 6)


def test_a_fleet_at_work_uses_shards_that_are_added(dsn: str, db: Db) -> None:
    """Nobody restarts; jobs of every kind go to them, and run once."""
    with Fleet(dsn, processes=2) as fleet:
        fleet.ready(2)
        pids = fleet.workers(db)
        jobs = by_every_way(db)
        wait_told(db, "quick", jobs)
        grow(dsn)
        until("the workers to be known there", lambda: joined(db) == [GROWN, GROWN])
        until(
            "tied jobs to be spread",
            lambda: db.execute("select fastq.spread_ties() or fastq.keyed_shards() = 8").fetchone() == (True,),
        )
        db.execute("create table seen as select shard from fastq.lease limit 0")
        db.execute(NOTE)
        jobs += by_every_way(db)
        wait_told(db, "quick", jobs)
        wait_empty(db)
        assert fleet.workers(db) == pids
        assert fleet.stop() == 0
    assert len(told(db, "quick")) == jobs
    assert {shard for (shard,) in db.execute("select distinct shard from seen").fetchall()} == set(range(GROWN))
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)


NOTE = """
create function note() returns trigger language plpgsql as
$$ begin insert into seen values (new.shard); return null; end $$;
create trigger note after insert on fastq.lease for each row execute function note();
"""


def test_what_a_killed_worker_held_in_added_shards_runs_again(dsn: str, db: Db) -> None:
    """Its host gives all of it back at once."""
    with Fleet(dsn, "-c", "40", processes=1) as fleet:
        fleet.ready()
        grow(dsn)
        until("the worker to be known there", lambda: joined(db) == [GROWN])
        for n in range(GROWN):
            enqueue(handlers.gated.job(n=n), handlers.gated.job(n=n))
        wait_told(db, "started", 2 * GROWN)
        (pid,) = fleet.workers(db)
        os.kill(pid, signal.SIGKILL)
        until("it to be gone", lambda: gone(pid))
        wait_told(db, "started", 2 * GROWN + 1)  # alone, since it may have been what killed
        db.execute("insert into gate values (true)")
        wait_empty(db)
    assert len(told(db, "finished")) == 2 * GROWN
