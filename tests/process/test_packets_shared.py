"""Packets of jobs over real worker processes: shared, failed, cancelled and killed one by one."""

from __future__ import annotations

import os
import signal

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_empty, wait_told

from fastq.protocol.packed import decode_payloads

pytestmark = pytest.mark.process


def packets(db: Db) -> list[int]:
    """Return how many jobs each packet has."""
    return [row[0] for row in db.execute("select jobs from fastq.packet order by pos").fetchall()]


def test_one_packet_of_long_jobs_is_shared_by_all_workers(dsn: str, db: Db) -> None:
    """All its jobs run at once, though each worker has room for a quarter of them."""
    enqueue(*(handlers.gated.job(n=n) for n in range(40)))
    assert packets(db) == [40]
    with Fleet(dsn, "-c", "10", processes=4) as fleet:
        wait_told(db, "started", 40)
        assert len(fleet.workers(db)) == 4
        db.execute("insert into gate default values")
        wait_empty(db)


def test_each_job_of_a_packet_has_its_own_end(dsn: str, db: Db) -> None:
    """Some fail and some succeed; the payload of one does not fit: it fails alone, and all others run."""
    enqueue(*(handlers.quick.job(n=n) for n in range(100)))
    ((body,),) = db.execute("select payloads from fastq.packet").fetchall()
    assert len(decode_payloads(body)[0]) == 100
    db.execute("update fastq.packet set payloads = %s", [body.replace(b'{"n":7}', b'{"n":"seven"}')])
    with Fleet(dsn):
        until("one to fail", lambda: states(db) == {"failed": 1})
        assert sorted(map(int, told(db, "quick"))) == [n for n in range(100) if n != 7]
    row = db.execute("select payload::text, meta->'errors'->0->>'type' from fastq.finished").fetchone()
    assert row == ('{"n": "seven"}', "ValidationError") or row == ('{"n":"seven"}', "ValidationError")


def test_what_a_killed_worker_had_of_a_packet_runs_again(dsn: str, db: Db) -> None:
    """Each job once more at most, and none is lost."""
    enqueue(*(handlers.gated.job(n=n) for n in range(20)))
    with Fleet(dsn, "-c", "5", "--lease", "2") as fleet:
        wait_told(db, "started", 5)
        (worker,) = fleet.workers(db)
        os.kill(worker, signal.SIGKILL)
        db.execute("insert into gate default values")
        wait_empty(db)
    assert set(map(int, told(db, "started"))) == set(range(20))


def test_a_job_of_a_packet_is_cancelled_while_it_runs_and_while_it_waits(dsn: str, db: Db) -> None:
    """Its neighbours run to their end."""
    ids = enqueue(*(handlers.gated.job(n=n) for n in range(6)))
    with Fleet(dsn, "-c", "3"), psycopg.connect(dsn, autocommit=True) as other:
        wait_told(db, "started", 3)
        assert other.execute("select fastq.cancel(%s), fastq.cancel(%s)", [ids[1], ids[4]]).fetchone() == (
            "cancelling",
            "cancelled",
        )
        until("both to be cancelled", lambda: states(db).get("cancelled") == 2)
        db.execute("insert into gate default values")
        until("the others to end", lambda: states(db) == {"cancelled": 2})
    assert sorted(map(int, told(db, "finished"))) == [0, 2, 3, 5]
