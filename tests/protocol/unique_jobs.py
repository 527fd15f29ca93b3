"""What the tests of unique keys share: enqueuing, claiming and settling jobs that hold one."""

from __future__ import annotations

from typing import Any

from scene import Conn, ask, hire, ids_of, take

from fastq.ends.settlement import LeasedJob, Settlement
from fastq.job import JobSpec, Options
from fastq.protocol import enqueue, unique
from fastq.protocol import settle as settling
from fastq.protocol.asking import carry_out
from fastq.protocol.unique import Placed

LIMIT = 10_000


def spec(key: str | None = "k", n: int = 0, **options: Any) -> JobSpec:
    """Return a job with a unique key."""
    return JobSpec("t", {"n": n}, Options(unique_key=key, **options))


def lines(*specs: JobSpec) -> list[str]:
    """Return them as lines."""
    return [unique.line(one, enqueue.payload(one, LIMIT)) for one in specs]


async def add(conn: Conn, *specs: JobSpec) -> list[Placed]:
    """Enqueue in one statement."""
    return await carry_out(conn, unique.insert(lines(*(specs or (spec(),)))))


async def keys(conn: Conn) -> dict[str, int]:
    """Return who holds which key."""
    return dict(await ask(conn, "select key, job from fastq.unique_key"))


async def run(conn: Conn, **options: Any) -> LeasedJob:
    """Enqueue a unique job and claim it."""
    ((job, _),) = await add(conn, spec(**options))
    return await claimed(conn, job)


async def claimed(conn: Conn, job: int, who: int | None = None) -> LeasedJob:
    """Claim a job, alone."""
    got = await take(conn, await hire(conn) if who is None else who)
    assert ids_of(got) == [job]
    ((meta,),) = await ask(conn, "select meta from fastq.job where id = %s", job)
    return LeasedJob(lease=got.lease, ord=0, id=job, task="t", attempt=0, meta=meta)


async def settle(conn: Conn, job: LeasedJob, settlement: Settlement) -> bool:
    """Carry out a settlement for the worker that has the lease; True if it was."""
    rows = await ask(conn, "select worker from fastq.lease where id = %s", job.lease)
    return bool(await settling.settle(conn, shard=0, worker=rows[0][0], settlements=[settlement]))
