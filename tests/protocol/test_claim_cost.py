"""What a claim costs, beside the least that any queue in SQL does for as many jobs.

Of the CPU that the server's process has had for the one and for the other, so that it matters little who else is busy.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from scene import LANE, hire, one, put_many

from fastq.protocol import claim
from fastq.protocol.claim import Tasks
from fastq.worker.main import SETUP

pytestmark = pytest.mark.protocol

TAKEN = 500
ROUNDS = 40
LEAST = """
with found as materialized (
  select ctid as place from plain where pos > %s order by pos limit %s for update skip locked
), gone as (
  delete from plain p using found f where p.ctid = f.place returning p.pos, p.payload
), kept as (
  insert into taken select json_agg(json_build_array(g.pos, g.payload) order by g.pos) from gone g returning batch
)
select (select count(*) from gone), (select max(pos) from gone), batch from kept
"""
MOST = 2.2
"""Usual is 1.4: a claim also looks after its worker, paused queues and sizes, and acknowledges a batch."""


def cpu_ns(pid: int) -> int:
    """Return how long a process has been on a CPU."""
    stat = Path(f"/proc/{pid}/schedstat")
    if not stat.exists():
        pytest.skip("the server's process is not on this machine, or this is not Linux")
    return int(stat.read_text().split()[0])


async def test_a_claim_costs_little_more_than_the_least_that_any_queue_does(dsn: str) -> None:
    """Find rows by an index, lock, delete, write them down as one."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(SETUP.encode())
        await conn.execute(
            "create temp table taken (batch json); create temp table plain (pos int8 primary key, payload json)"
        )
        await conn.execute("insert into plain select n, '{\"n\": 1}' from generate_series(1, %s) n", [TAKEN * ROUNDS])
        await put_many(conn, TAKEN * ROUNDS)
        who, ids = await hire(conn), iter(await claim.take_lease_ids(conn))
        at, low, acks = 0, 0, list[int]()
        least = ours = 0
        for _ in range(ROUNDS):
            began = cpu_ns(conn.info.backend_pid)
            count, at, _ = await one(await conn.execute(LEAST, [at, TAKEN], prepare=True))
            between = cpu_ns(conn.info.backend_pid)
            claimed = await claim.claim(
                conn,
                lane=LANE,
                worker=who,
                lease=next(ids),
                low=low,
                limit=TAKEN,
                acks=acks,
                tasks=Tasks(["t"], ["nobody"]),
            )
            ours += cpu_ns(conn.info.backend_pid) - between
            least += between - began
            low, acks = claimed.hi, [claimed.lease]
            assert (count, claimed.batch is None) == (TAKEN, False)
    assert ours <= MOST * least, f"{ours / ROUNDS / 1e6:.2f} ms beside {least / ROUNDS / 1e6:.2f} ms"
