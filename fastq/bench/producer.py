"""A process that only enqueues: `python -m fastq.bench.producer`, through `enqueue_many_sync`, as a user's would.

It reads its orders from stdin, connects, says so, and begins with the next line. Closed: batch after batch, as long as
fewer than `backlog` jobs wait. Open: each job has a time at which it is due, whatever became of those before it; what
has become due is sent every 2 ms, and each job carries the time it was due. Another line, or the last job, ends that;
the end of stdin ends the process.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import orjson

from fastq.bench.jobs import OTHERS, app, email_for, others, tallied
from fastq.bench.piped import say
from fastq.bench.tally import PRODUCER, WORKER, Tally, TallyBoard
from fastq.job import JobSpec

PACE_S = 0.002
"""A producer of an open load sends at most so often, as a NOTIFY is sent at most so often."""

_FULL_PAUSE_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerOrders:
    """What a producer is told. `rate` is in jobs per second, 0 for a closed load; `warm_up` jobs are not timed."""

    dsn: str
    folder: str
    payload_bytes: int
    batch: int = 1000
    backlog: int = 0
    rate: float = 0.0
    jobs: int = 0
    warm_up: int = 0


class BenchProducer:
    """Enqueues until stdin says stop."""

    def __init__(self, orders: ProducerOrders) -> None:
        self._orders = orders
        self._emails = others(email_for(orders.payload_bytes))
        self._board = TallyBoard(Path(orders.folder))
        self._tally = Tally(Path(orders.folder), PRODUCER)

    def closed(self) -> None:
        """Keep the backlog filled."""
        orders, board = self._orders, self._board
        while not _asked_to_stop():
            if board.jobs(PRODUCER) - board.jobs(WORKER) >= orders.backlog:
                time.sleep(_FULL_PAUSE_S)
            else:
                self._send(
                    tallied.job(user_id=1_000_000 + n, email=self._emails[n % OTHERS]) for n in range(orders.batch)
                )

    def open(self) -> None:
        """Send each job when it is due, or as soon after as can be."""
        orders = self._orders
        start_ns, sent = time.monotonic_ns(), 0
        while sent < orders.jobs and not _asked_to_stop():
            due = min(orders.jobs, int((time.monotonic_ns() - start_ns) / 1e9 * orders.rate))
            turn_ns = time.monotonic_ns()
            if due > sent:
                self._send(self._timed(start_ns, sent, due))
                sent = due
            time.sleep(max(0.0, PACE_S - (time.monotonic_ns() - turn_ns) / 1e9))

    def _timed(self, start_ns: int, first: int, last: int) -> Iterator[JobSpec]:
        for number in range(first, last):
            due_ns = 0 if number < self._orders.warm_up else start_ns + int(number / self._orders.rate * 1e9)
            yield tallied.job(user_id=1_000_000 + number, email=self._emails[number % OTHERS], due_ns=due_ns)

    def _send(self, jobs: Iterator[JobSpec]) -> None:
        self._tally.add(len(app.enqueue_many_sync(jobs)))


def _asked_to_stop() -> bool:
    """Tell whether there is a line on stdin, or its end."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> NoReturn:
    """Follow the orders on stdin."""
    orders = ProducerOrders(**orjson.loads(sys.stdin.readline()))
    app.dsn = orders.dsn or None
    with app:
        producer = BenchProducer(orders)
        say(ready=True)
        if sys.stdin.readline():
            producer.open() if orders.rate else producer.closed()
            say(ended_at=time.monotonic())
            sys.stdin.read()
    sys.exit(0)


if __name__ == "__main__":
    main()
