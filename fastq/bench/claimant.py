"""A process that only claims: `python -m fastq.bench.claimant`. The workers' very statement, its answer thrown away.

It reads its orders as one line of JSON from stdin, registers as a worker, and says so. For each line that comes it
claims until every segment is dry, or as often as ordered, and says what that took. It ends when stdin is closed.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NoReturn

import orjson
from psycopg import Connection

from fastq.bench.ground import CLAIMANT
from fastq.bench.piped import say
from fastq.config import DEFAULT_PRIORITY
from fastq.postgres import database
from fastq.protocol import claim
from fastq.protocol.claim import LEASE_IDS, Lane
from fastq.sql import statement
from fastq.worker.density import Density
from fastq.worker.main import SETUP

_LEASE_S = 3600.0
_TRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimantOrders:
    """What a claimant is told: where, what, how much at once, and how often (0: until nothing is left)."""

    dsn: str
    queue: str
    segments: list[int]
    batch_size: int
    claims: int = 0


class Claimant:
    """Claims from one queue with low marks; the ack of each lease rides on the next claim."""

    def __init__(self, conn: Connection[Any], orders: ClaimantOrders) -> None:
        self._conn = conn
        self._orders = orders
        self._acks: list[int] = []
        self._lease_ids = range(0)
        self._density = Density()
        self._segments = chain.from_iterable(repeat(orders.segments, _TRIES))
        self._segment = next(self._segments)
        self._low = 0
        self.jobs = 0
        params = {"host": socket.gethostname(), "pid": os.getpid(), "name": CLAIMANT, "lease_s": _LEASE_S}
        params |= {"shards": 1, "about": None}
        row = conn.execute(statement("register_worker"), params).fetchone()
        assert row is not None
        self.worker = int(row[0])

    def run(self) -> int:
        """Claim all there is; return how many claims gave something."""
        return sum(self._drain(segment) for segment in self._orders.segments)

    def _drain(self, segment: int) -> int:
        low = claims = 0
        while True:
            lease, hi = self.step(segment, low)
            if lease is not None:
                claims, low = claims + 1, hi
            elif low:
                low = 0  # dry from there on: look once more from the beginning, as workers do
            else:
                return claims

    def claim(self) -> dict[str, object]:
        """Claim as often as ordered, going on where it was; return the jobs, and what each claim took in µs."""
        jobs, took_us = 0, list[float]()
        while len(took_us) < self._orders.claims:
            started = time.perf_counter()
            lease, low = self.step(self._segment, self._low)
            if lease is None:  # there is none from here on, or a neighbour looks at them at this moment
                self._segment, self._low = next(self._segments), 0
                continue
            took_us.append((time.perf_counter() - started) * 1e6)
            jobs += self.jobs
            self._low = low
        return {"jobs": jobs, "took_us": took_us}

    def step(self, segment: int, low: int) -> tuple[int | None, int]:
        """Claim once; return a lease, if any, and the position up to which it goes."""
        size = self._orders.batch_size
        rows = self._density.rows("", size)
        lane = Lane(0, segment, self._orders.queue, DEFAULT_PRIORITY, "")
        params = claim.params(
            lane, worker=self.worker, lease=self._lease_id(rows), limit=size, acks=self._acks, rows=rows
        )
        text = statement("claim_jobs_if_worker_lives", segment)
        params |= {"group_key": "", "low": low}
        claimed = claim.read(self._conn.execute(text, params, prepare=True, binary=True).fetchall())
        self._acks = claimed.leases
        self.jobs = sum(packet.jobs for packet in claimed.packets)
        self.jobs += len(orjson.loads(claimed.batch)) if claimed.batch else 0
        self._density.measure("", self.jobs, claimed)
        return self._acks[0] if self._acks else None, claimed.hi

    def _lease_id(self, rows: int) -> int:
        """Return the first of so many ids, and one more, for leases."""
        if len(self._lease_ids) <= rows:
            row = self._conn.execute(statement("take_lease_ids")).fetchone()
            assert row is not None
            self._lease_ids = range(row[0], row[0] + LEASE_IDS)
        lease, self._lease_ids = self._lease_ids[0], self._lease_ids[rows + 1 :]
        return lease


def main() -> NoReturn:
    """Follow the orders on stdin."""
    orders = ClaimantOrders(**orjson.loads(sys.stdin.readline()))
    with database.connect(orders.dsn, CLAIMANT) as conn:
        conn.execute(SETUP.encode())
        claimant = Claimant(conn, orders)
        say(worker=claimant.worker)
        while sys.stdin.readline():
            if orders.claims:
                say(**claimant.claim())
            else:
                say(claims=claimant.run(), done_at=time.monotonic())
    sys.exit(0)


if __name__ == "__main__":
    main()
