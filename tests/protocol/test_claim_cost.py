"""What a claim costs, beside the least that any queue in SQL does for as many jobs: no figure of time, a ratio."""

from __future__ import annotations

from time import perf_counter

import psycopg
import pytest
from scene import LANE, hire, one, put_many

from fastq.protocol import claim
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
MOST = 3.0
"""Usual is 1.2 to 1.6: a claim also looks after its worker, paused queues and sizes, and acknowledges a batch."""


async def test_a_claim_costs_little_more_than_the_least_that_any_queue_does(dsn: str) -> None:
    """Find rows by an index, lock, delete, write them down as one: in turn, so that both meet the same load."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(SETUP.encode())
        await conn.execute(
            "create temp table taken (batch json); create temp table plain (pos int8 primary key, payload json)"
        )
        await conn.execute("insert into plain select n, '{\"n\": 1}' from generate_series(1, %s) n", [TAKEN * ROUNDS])
        await put_many(conn, TAKEN * ROUNDS)
        who, ids = await hire(conn), iter(await claim.take_lease_ids(conn))
        at, low, acks = 0, 0, list[int]()
        least, ours = [], []
        for _ in range(ROUNDS):
            began = perf_counter()
            count, at, _ = await one(await conn.execute(LEAST, [at, TAKEN], prepare=True))
            between = perf_counter()
            claimed = await claim.claim(
                conn, lane=LANE, worker=who, lease=next(ids), low=low, limit=TAKEN, acks=acks, unknown=["nobody"]
            )
            ours.append(perf_counter() - between)
            least.append(between - began)
            low, acks = claimed.hi, [claimed.lease]
            assert (count, claimed.batch is None) == (TAKEN, False)
    assert min(ours) <= MOST * min(least), f"{min(ours) * 1000:.2f} ms beside {min(least) * 1000:.2f} ms"
