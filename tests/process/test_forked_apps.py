"""An app that is open when its process forks: gunicorn --preload, multiprocessing, os.fork in a handler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fleet import Fleet, until

pytestmark = pytest.mark.process

Db = psycopg.Connection[Any]
PATIENCE_S = 60

BEGINNING = """
import asyncio, multiprocessing, os, signal, sys, threading
import fastq

app = fastq.App()

@app.task(name="t", queue="of nobody")
async def t(n: int) -> None: ...

def session():
    with app.sync_client.connection() as conn:
        return conn.info.backend_pid

def lives(pid):
    with app.sync_client.connection() as conn:
        return conn.execute("select exists (select from pg_stat_activity where pid = %s)", [pid]).fetchone()[0]

def fork(child):
    pid = os.fork()
    if not pid:
        signal.alarm(30)  # a child that hangs is killed, and its status says so
        try:
            child()
            os._exit(0)
        finally:
            os._exit(1)
    return pid

def succeeded(*pids):
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    assert statuses == [0] * len(pids), statuses
"""


def run(program: str) -> None:
    """Run a program to its good end; the jobs' database is in its environment.

    From 3.12 on Python warns of every fork of a process with threads, which is what these programs do.
    """
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", BEGINNING + program]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def jobs(db: Db) -> list[int]:
    """Return the arguments of all jobs."""
    return [row[0] for row in db.execute("select (payload->>'n')::int from fastq.job order by 1").fetchall()]


def test_children_of_an_open_app_enqueue_beside_it(db: Db) -> None:
    """In synchronous code, all at once; the parent keeps its session, and each job is there once."""
    run("""
def several(first):
    for n in range(first, first + 20):
        t.enqueue_sync(n=n)
    app.enqueue_many_sync(t.job(n=n) for n in range(first + 20, first + 30))

with app:
    t.enqueue_sync(n=0)
    mine = session()
    children = [fork(lambda number=number: several(100 * number)) for number in range(1, 4)]
    several(1)
    succeeded(*children)
    assert lives(mine)
""")
    assert jobs(db) == [*range(31), *(100 * number + n for number in range(1, 4) for n in range(30))]


def test_a_pool_of_multiprocessing_shares_an_open_app(db: Db) -> None:
    """The same with the standard library's own forks, which end as Python processes do."""
    run("""
def one(n):
    return t.enqueue_sync(n=n).id

with app:
    t.enqueue_sync(n=0)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        ids = pool.map(one, range(1, 31))
        assert len(set(ids)) == 30
    t.enqueue_sync(n=31)
""")
    assert jobs(db) == list(range(32))


def test_a_child_that_leaves_the_block_leaves_the_parent_its_connections(db: Db) -> None:
    """It falls out of its parent's `with`, and ends like any program."""
    run("""
with app:
    t.enqueue_sync(n=0)
    mine = session()
    child = os.fork()
    if child:
        succeeded(child)
        t.enqueue_sync(n=1)
        assert lives(mine)
    else:
        t.enqueue_sync(n=2)
if not child:
    try:
        t.enqueue_sync(n=3)
    except fastq.NotOpen:
        sys.exit(0)
    sys.exit(1)
""")
    assert jobs(db) == [0, 1, 2]


def test_what_waits_to_be_enqueued_stays_with_the_parent(db: Db) -> None:
    """A coroutine forks while others enqueue: the child has nothing of theirs, and an event loop of its own."""
    run("""
async def child():
    await asyncio.gather(*(t.enqueue(n=100 + n) for n in range(10)))
    async with app:
        await t.enqueue(n=110)
    await t.enqueue(n=111)

async def main():
    async with app:
        await t.enqueue(n=0)
        waiting = [asyncio.create_task(t.enqueue(n=n)) for n in range(1, 11)]
        await asyncio.sleep(0)  # they wait now
        child_pid = fork(lambda: asyncio.run(child()))
        ids = [ref.id for ref in await asyncio.gather(*waiting)]
        assert len(set(ids)) == 10
        await asyncio.to_thread(succeeded, child_pid)
        await t.enqueue(n=11)

asyncio.run(main())
""")
    assert jobs(db) == [*range(12), *range(100, 112)]


def test_a_lock_that_a_thread_held_at_the_fork_hinders_no_child(db: Db) -> None:
    """Threads enqueue all the time, so that forks fall into the middle of it."""
    run("""
over = threading.Event()

def busy(first):
    n = 0
    while not over.is_set():
        t.enqueue_sync(n=first + n)
        n += 1

with app:
    threads = [threading.Thread(target=busy, args=(1_000_000 * number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        succeeded(fork(lambda: t.enqueue_sync(n=number)))
    over.set()
    for thread in threads:
        thread.join()
""")
    assert [n for n in jobs(db) if n < 1_000_000] == list(range(20))


HANDLER = """
import multiprocessing

import fastq

app = fastq.App()

@app.task(name="t", queue="of nobody")
async def t(n: int) -> None: ...

def in_child(n: int) -> None:
    t.enqueue_sync(n=n)

@app.task
def forks() -> None:
    t.enqueue_sync(n=0)
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(1,))
    child.start()
    child.join()
    t.enqueue_sync(n=2)
    assert child.exitcode == 0
"""


def test_a_process_that_a_handler_forked_enqueues(dsn: str, db: Db, tmp_path: Path) -> None:
    """The worker's connections stay the worker's."""
    (tmp_path / "forking.py").write_text(HANDLER)
    db.execute("select fastq.enqueue('forking.forks', '{}')")
    with Fleet(dsn, "-X", "of nobody", target="forking:app", cwd=tmp_path) as fleet:
        until("the handler to end", lambda: jobs(db) == [0, 1, 2])
        assert fleet.stop() == 0
    assert jobs(db) == [0, 1, 2]
