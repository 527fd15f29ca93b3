"""Packets of jobs, and what is left of them."""

from __future__ import annotations

import json
from typing import Any

from scene import Conn, ask

from fastq.protocol import rotate

PACKET = "insert into fastq.packet (segment, shard, pos, jobs, payloads) values (%s, 0, %s, %s, %s)"


async def payloads(conn: Conn, segment: int, jobs: int) -> int:
    """Write a packet; returns the id of its first job."""
    ((first,),) = await ask(conn, "select nextval('fastq.pos')")
    written = json.dumps([{"n": n} for n in range(jobs)]).encode()
    await conn.execute(PACKET, [segment, first, jobs, written])
    return int(first)


async def pack(conn: Conn, jobs: int) -> int:
    """Put a packet of so many jobs into line, as a producer does; returns the id of the first."""
    first = await payloads(conn, 0, jobs)
    row = "insert into fastq.ready_0 (shard, pos, jobs, packet, task) values (0, %s, %s, %s, 't')"
    await conn.execute(row, [first, jobs, first])
    return first


async def sweep(conn: Conn) -> int:
    """Delete the packets that nobody needs, in all segments; returns how many."""
    return sum([await rotate.sweep(conn, shard=0, segment=segment) for segment in range(5)])


async def packets(conn: Conn) -> int:
    """Return how many packets there are."""
    ((count,),) = await ask(conn, "select count(*) from fastq.packet")
    return int(count)


def numbers(rows: list[list[Any]]) -> list[int]:
    """Return what the jobs carry."""
    return [row[4]["n"] for row in rows]
