"""The floor of latency: commit, NOTIFY and claim of one job by bare connections, nothing decoded and nothing run.

`python -m fastq.bench.floor` is the process that claims. It reads its orders from stdin, says that it listens, and then
when it had each job, until stdin is closed.
"""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import orjson
from psycopg import Connection

from fastq import database
from fastq.bench.bench import Bench
from fastq.bench.claimant import SETUP, Claimant, Orders
from fastq.bench.ground import CLAIMANT
from fastq.bench.jobs import QUEUE, probe
from fastq.bench.plan import BenchError
from fastq.config import PAYLOAD_LIMIT_BYTES
from fastq.protocol.enqueue import Line, insert_lines_sync
from fastq.sql import statement

PAUSE_S = (0.010, 0.040)
"""Between two samples, here and for the product: long enough for acks to be written and claims to have stopped."""

_ANSWER_S = 10.0


def sample(bench: Bench, count: int) -> list[float]:
    """Return, in ms, what jobs took from before their insert until a claim had them. Leaves the queue paused."""
    bench.ground.clean()
    bench.ground.unpause()
    with database.connect(bench.dsn, "fastq bench") as conn:
        segment = _head(conn)
        with _listening(Orders(dsn=bench.dsn, queue=QUEUE, segments=[segment], batch_size=1)) as child:
            took = [_sample(conn, child, number) for number in range(-1, count)]
    bench.ground.clean()
    return took[1:]


def _head(conn: Connection[Any]) -> int:
    row = conn.execute(statement("take_positions"), {"slot": 0, "blocks": 1}).fetchone()
    assert row is not None
    return int(row[1])


def _sample(conn: Connection[Any], child: subprocess.Popen[bytes], number: int) -> float:
    time.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - no secret
    t0_ns = time.monotonic_ns()
    insert_lines_sync(conn, [Line(probe.job(number=number, t0_ns=t0_ns), PAYLOAD_LIMIT_BYTES)])
    conn.execute(statement("notify_workers"))
    return (_heard(child) - t0_ns) / 1e6


@contextmanager
def _listening(orders: Orders) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "fastq.bench.floor"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    assert child.stdin is not None
    try:
        child.stdin.write(orjson.dumps(orders) + b"\n")
        child.stdin.flush()
        _heard(child)
        yield child
    finally:
        child.communicate()


def _heard(child: subprocess.Popen[bytes]) -> int:
    """Return the next time that the child says, in ns by time.monotonic_ns()."""
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], _ANSWER_S)[0]:
        raise BenchError(f"the floor was not measured: a job was not claimed within {_ANSWER_S:.0f} s of its enqueue")
    line = child.stdout.readline()
    if not line:
        raise BenchError("the process that measures the floor died; what it said stands above")
    return int(line)


def _say(at_ns: int) -> None:
    sys.stdout.buffer.write(b"%d\n" % at_ns)
    sys.stdout.buffer.flush()


def _wait(conn: Connection[Any]) -> bool:
    """Wait for a NOTIFY; False when stdin was closed."""
    while not list(conn.notifies(timeout=0)):
        if sys.stdin in select.select([sys.stdin, conn], [], [])[0]:
            return False
    return True


def main() -> NoReturn:
    """Claim whatever comes, at once."""
    orders = Orders(**orjson.loads(sys.stdin.readline()))
    with database.connect(orders.dsn, CLAIMANT) as conn:
        conn.execute(SETUP)
        claimant = Claimant(conn, orders)
        conn.execute("listen fastq")
        _say(0)
        while _wait(conn):
            while claimant.step(orders.segments[0], 0)[0] is not None:
                _say(time.monotonic_ns())
    sys.exit(0)


if __name__ == "__main__":
    main()
