"""What a client writes, asynchronous or not: the requests for one job, for one that stands apart, for a reservation."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from fastq.client.spread import Spread
from fastq.config import ProducerConfig
from fastq.job import JobSpec
from fastq.postgres.connections import Writable, all_or_none, all_or_none_sync
from fastq.protocol import enqueue, reserve, unique
from fastq.protocol.asking import Request, Work, carry_out, carry_out_sync
from fastq.protocol.enqueue import Apart, Line
from fastq.protocol.packing import Packer
from fastq.protocol.shards import ONE, Layout, read_layout
from fastq.protocol.unique import Placed

NOTIFY_EVERY_S = 0.002
"""At most one NOTIFY in this time from one process: it holds a cluster-wide lock while it commits."""

NOTIFY_AT_LAST_S = 0.003
"""So long after the last one the next goes by itself, if no enqueue has taken it along by then."""


_NOT_GRANTED = "42501"


class Writing:
    """Turns specs into requests. `theirs`: they go into the caller's transaction, which has its own patience."""

    def __init__(self, config: ProducerConfig) -> None:
        self._limit_bytes = config.payload_limit_bytes
        self._retry_s = config.enqueue_retry_s
        self._packet = config.packet
        self._spread = Spread()

    def _line(self, spec: JobSpec) -> Line:
        return Line(spec, self._limit_bytes)

    def _apart(self, spec: JobSpec, *, theirs: bool) -> Work[Placed]:
        apart, shard = Apart(spec, self._limit_bytes), self._spread.of(spec.options)
        return enqueue.insert_apart(apart, shard=shard, patience=_patience(theirs=theirs), ring=theirs)

    def _reservation(self, spec: JobSpec, expires_s: float, *, theirs: bool) -> Request[Placed]:
        body = enqueue.payload(spec, self._limit_bytes)
        shard = self._spread.of(spec.options)
        return reserve.reserve(spec, body, shard=shard, expires_s=expires_s, patience=_patience(theirs=theirs))

    def _packer(self, *, theirs: bool) -> Packer:
        return Packer(
            shard=self._spread.another(),
            layout=self._spread.layout,
            limit_bytes=self._limit_bytes,
            patience=_patience(theirs=theirs),
            packet=self._packet,
        )


async def layout_seen(conn: Writable) -> Layout:
    """Return how many shards there are, in a savepoint of the caller's transaction if it has one.

    A role that may not look gets one: docs/roles.md has the grants.
    """
    try:
        async with all_or_none(conn):
            return await carry_out(conn, read_layout())
    except Exception as exc:
        if getattr(exc, "sqlstate", None) != _NOT_GRANTED:
            raise
        return ONE


def layout_seen_sync(conn: Connection[Any]) -> Layout:
    """As `layout_seen`, on a synchronous connection."""
    try:
        with all_or_none_sync(conn):
            return carry_out_sync(conn, read_layout())
    except Exception as exc:
        if getattr(exc, "sqlstate", None) != _NOT_GRANTED:
            raise
        return ONE


def _patience(*, theirs: bool) -> str | None:
    return None if theirs else unique.PATIENCE
