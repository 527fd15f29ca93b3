"""Enqueues the jobs that have rules of their own: each kind by one coroutine, one call after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg

import fastq
from chaos.jobs import RULED, app
from chaos.kinds import chain_of, first_of

if TYPE_CHECKING:
    from chaos.producer import Producer

PAUSE_S = 0.03
PATIENCE_S = 60.0
RESERVED_S = 20.0
AGAIN_S = 0.2


async def produce(producer: Producer) -> None:
    """Enqueue all kinds until the producer stops."""
    kinds = {"ordered": _single, "unique": _single, "limited": _single, "batched": _many, "reserved": _two_phase}
    await asyncio.gather(*(_loop(producer, kind, call) for kind, call in kinds.items()))


async def _loop(producer: Producer, kind: str, call: Any) -> None:
    from chaos.producer import mark_of

    first = first_of(kind, producer.first)
    while not producer.stopping:
        count = 20 if call is _many else 1
        producer.write("I", first, count)
        try:
            mark = await asyncio.wait_for(call(producer, kind, range(first, first + count)), PATIENCE_S)
            why = ""
        except (fastq.FastqError, psycopg.Error, TimeoutError) as exc:
            mark, why = mark_of(exc), f"{type(exc).__name__}: {exc}"
        producer.write(mark, first, count, why)
        first += count
        await asyncio.sleep(PAUSE_S)


def _spec(kind: str, number: int) -> fastq.JobSpec:
    task: Any = RULED[kind]
    if kind == "ordered":
        task = task.options(group_key=chain_of(number))
    elif kind == "unique":
        task = task.options(unique_key=chain_of(number))
    job: fastq.JobSpec = task.job(number=number)
    return job


async def _single(producer: Producer, kind: str, numbers: range) -> str:
    ref = await app.enqueue(_spec(kind, numbers.start))
    return "D" if ref.duplicate else "A"


async def _many(producer: Producer, kind: str, numbers: range) -> str:
    await app.enqueue_many([_spec(kind, number) for number in numbers])
    return "A"


async def _two_phase(producer: Producer, kind: str, numbers: range) -> str:
    """Reserve, then commit or abandon, again and again until it is answered: both may be repeated."""
    ref = await app.reserve(_spec(kind, numbers.start), expires=RESERVED_S)
    commits = producer.rng.random() < 0.7
    while True:
        try:
            await (app.commit(ref) if commits else app.abandon(ref))
        except (fastq.DatabaseUnreachable, fastq.EnqueueOutcomeUnknown, psycopg.OperationalError):
            await asyncio.sleep(AGAIN_S)
        else:
            return "A" if commits else "R"
