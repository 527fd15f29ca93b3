"""The floor of latency: commit, NOTIFY and claim of one job by bare connections, nothing decoded and nothing run.

`python -m fastq.bench.floor` is the process that claims. It reads its orders from stdin, says that it listens, and then
when it had each job, until stdin is closed.
"""

from __future__ import annotations

import random
import select
import sys
import time
from typing import Any, NoReturn

import orjson
from psycopg import Connection

from fastq.bench.bench import Bench
from fastq.bench.claimant import Claimant, ClaimantOrders
from fastq.bench.ground import CLAIMANT
from fastq.bench.jobs import QUEUE, probe
from fastq.bench.piped import Piped, say
from fastq.config import PAYLOAD_LIMIT_BYTES
from fastq.postgres import database
from fastq.protocol import upkeep
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.enqueue import Line, insert_lines
from fastq.sql import statement
from fastq.worker.main import SETUP

PAUSE_S = (0.010, 0.040)
"""Between two samples, here and for the product: long enough for acks to be written and claims to have stopped."""

_ANSWER_S = 10.0


def sample(bench: Bench, count: int) -> list[float]:
    """Return, in ms, what jobs took from before their insert until a claim had them. Leaves the queue paused."""
    bench.ground.clean()
    bench.ground.unpause()
    with database.connect(bench.dsn, "fastq bench") as conn:
        segment = _head(conn)
        child = Piped("fastq.bench.floor", ClaimantOrders(dsn=bench.dsn, queue=QUEUE, segments=[segment], batch_size=1))
        try:
            child.hear(_ANSWER_S)
            took = [_sample(conn, child, number) for number in range(-1, count)]
        finally:
            child.close()
    bench.ground.clean()
    return took[1:]


def _head(conn: Connection[Any]) -> int:
    row = conn.execute(statement("take_positions"), {"shard": 0, "blocks": 1}).fetchone()
    assert row is not None
    return int(row[1])


def _sample(conn: Connection[Any], child: Piped, number: int) -> float:
    time.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - no secret
    t0_ns = time.monotonic_ns()
    line = Line(probe.job(number=number, t0_ns=t0_ns), PAYLOAD_LIMIT_BYTES)
    carry_out_sync(conn, insert_lines([line]))
    carry_out_sync(conn, upkeep.ring())
    return float(child.hear(_ANSWER_S)["at_ns"] - t0_ns) / 1e6


def _wait(conn: Connection[Any]) -> bool:
    """Wait for a NOTIFY; False when stdin was closed."""
    while not list(conn.notifies(timeout=0)):
        if sys.stdin in select.select([sys.stdin, conn], [], [])[0]:
            return False
    return True


def main() -> NoReturn:
    """Claim whatever comes, at once."""
    orders = ClaimantOrders(**orjson.loads(sys.stdin.readline()))
    with database.connect(orders.dsn, CLAIMANT) as conn:
        conn.execute(SETUP.encode())
        claimant = Claimant(conn, orders)
        conn.execute("listen fastq")
        say()
        while _wait(conn):
            while claimant.step(orders.segments[0], 0)[0] is not None:
                say(at_ns=time.monotonic_ns())
    sys.exit(0)


if __name__ == "__main__":
    main()
