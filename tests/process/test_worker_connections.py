"""What a worker process keeps open beside its own connection: what its handlers need, and nothing when they rest."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fleet import Fleet, until

pytestmark = pytest.mark.process

Db = psycopg.Connection[Any]
HANDLERS = """
import asyncio
import fastq

app = fastq.App(max_connections=4, connection_idle_s=0.2)

@app.task(name="made", queue="of nobody")
async def made(n: int) -> None: ...

@app.task
async def busy(n: int, ctx: fastq.Context) -> None:
    async with ctx.transaction() as conn:
        await conn.execute("insert into probe (what) values ('busy')")
        await asyncio.gather(made.enqueue(n=n), made.options(unique_key=str(n)).enqueue(n=n))

@app.task
def busy_in_thread(n: int) -> None:
    made.enqueue_sync(n=n)
    app.enqueue_many_sync([made.job(n=n)] * 2)
"""
SESSIONS = """
select count(*) from pg_stat_activity where application_name = 'fastq producer' and datname = current_database()
"""


def sessions(db: Db) -> int:
    """Return how many sessions the handlers have."""
    return int((db.execute(SESSIONS).fetchone() or (0,))[0])


def test_connections_come_with_the_handlers_and_go_with_them(dsn: str, db: Db, tmp_path: Path) -> None:
    """Never more than the app allows, for each kind of handler; none once they have been idle for a while."""
    (tmp_path / "busy.py").write_text(HANDLERS)
    with Fleet(dsn, "-X", "of nobody", target="busy:app", cwd=tmp_path) as fleet:
        for _ in range(2):
            db.execute(
                "select fastq.enqueue('busy.' || task, json_build_object('n', n))"
                " from generate_series(1, 100) n, unnest(array['busy', 'busy_in_thread']) task"
            )
            most = sessions(db)
            while db.execute("select exists (select from fastq.job where task like 'busy.%')").fetchone() == (True,):
                most = max(most, sessions(db))
            assert 0 < max(most, sessions(db)) <= 8
            until("the handlers' connections to be given back", lambda: sessions(db) == 0)
            db.execute("select fastq.purge('of nobody')")
        assert fleet.stop() == 0
    assert db.execute("select count(*) from probe").fetchone() == (200,)


def test_the_workers_of_a_host_share_a_few(dsn: str, db: Db, tmp_path: Path) -> None:
    """With --connections, however many workers and threads want one; a worker that is killed keeps none."""
    (tmp_path / "busy.py").write_text(HANDLERS)
    with Fleet(dsn, "-X", "of nobody", "--connections", "3", target="busy:app", cwd=tmp_path, processes=3) as fleet:
        fleet.ready(3)
        for kills in (False, True):
            db.execute(
                "select fastq.enqueue('busy.' || task, json_build_object('n', n))"
                " from generate_series(1, 60) n, unnest(array['busy', 'busy_in_thread']) task"
            )
            until("the handlers to have connections", lambda: sessions(db) > 0)
            if kills:
                os.kill(fleet.workers(db)[0], signal.SIGKILL)
            most = 0
            while db.execute("select exists (select from fastq.job where task like 'busy.%')").fetchone() == (True,):
                most = max(most, sessions(db))
            assert kills or most <= 5  # for the server one that was closed, or has died, is there for a moment longer
            until("the connections to be given back", lambda: sessions(db) == 0)
            db.execute("select fastq.purge('of nobody')")
        assert fleet.stop() == 0
    assert db.execute("select count(*) from probe").fetchone() == (120,)


STEWARDS = """
select application_name, count(*) from pg_stat_activity
where application_name in ('fastq heartbeat', 'fastq listener', 'fastq leader', 'fastq ring', 'fastq reaper')
  and datname = current_database() group by 1
"""


def test_hosts_that_do_not_lead_have_two_connections(dsn: str, db: Db) -> None:
    """One beats and one listens; what a dead worker makes it open is closed again. The next leader has them all."""

    def stewards() -> dict[str, int]:
        return dict(db.execute(STEWARDS).fetchall())

    alone = {"fastq heartbeat": 1, "fastq listener": 1, "fastq leader": 1, "fastq ring": 1}
    with Fleet(dsn) as first:
        until("the first host to lead", lambda: stewards().items() >= alone.items())
        with Fleet(dsn) as second:
            second.ready()
            *_, pid = second.workers(db)
            os.kill(pid, signal.SIGKILL)
            second.wait_line("is ready", count=2)
            two = {"fastq heartbeat": 2, "fastq listener": 2, "fastq leader": 1, "fastq ring": 1}
            until("the second to have two", lambda: {**stewards(), "fastq reaper": 1} == {**two, "fastq reaper": 1})
            assert first.stop() == 0
            until("the second to lead", lambda: stewards().items() >= alone.items())
            assert second.stop() == 0
