"""The bench's own ground in the database: one queue, paused until it counts, and nothing left behind.

Jobs, leases and workers of others are never touched. An advisory lock keeps a second bench out of the same database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg

from fastq.bench.jobs import QUEUE
from fastq.bench.plan import BenchError
from fastq.bench.statements import statement
from fastq.config import DEFAULT_PRIORITY
from fastq.errors import UsageError
from fastq.postgres import database
from fastq.protocol import upkeep
from fastq.protocol.asking import carry_out_sync
from fastq.schema import migrator

CLAIMANT = "fastq-bench claimant"
_LOCK = 0x66617374716265
_LOOK_EVERY_S = 0.005
_DELETIONS = (
    "delete_leases_of_queue",
    "delete_ready_jobs_of_queue",
    "delete_scheduled_jobs_of_queue",
    "delete_finished_jobs_of_queue",
)


class Ground:
    """The bench's queue. `open`, any number of `clean … fill … pause/unpause … wait_until_done`, `close`."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.conn = database.connect(dsn, "fastq bench")
        self._mine = False

    def open(self) -> None:
        """Check the schema, take the lock, remove what a bench that was killed left behind.

        Raises:
            SchemaError: the schema is missing, too old or too new.
            UsageError: another bench runs on this database, or it has many shards.

        """
        migrator.check(self.conn)
        if migrator.shards(self.conn) > 1:
            raise UsageError(
                "`fastq bench` needs a database with one shard: benchmarks/shards.py compares many with one"
            )
        self._mine = bool(self._one("lock_bench", key=_LOCK))
        if not self._mine:
            raise UsageError("another `fastq bench` is running on this database; wait for it, or use another database")
        self.clean()

    def close(self) -> None:
        """Remove everything of the bench and disconnect; may be called twice."""
        if self._mine:
            self._mine = False
            self.conn.close()  # an interrupt may have left it in the middle of a statement
            self.conn = database.connect(self.dsn, "fastq bench")
            self._empty()
            self._do("delete_queue", queue=QUEUE)
            self.tidy()
        self.conn.close()

    def clean(self) -> None:
        """Empty the queue and pause it."""
        self._do("pause_queue", queue=QUEUE)
        self._empty()
        self.tidy()

    def tidy(self) -> None:
        """Vacuum, so that every repetition starts from tables without dead rows."""
        with suppress(psycopg.errors.InsufficientPrivilege):
            self.conn.execute(statement("analyze_tables"))

    def settle(self) -> None:
        """Vacuum, analyze and, where allowed, checkpoint what was just filled in."""
        self.tidy()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write a checkpoint where that is allowed."""
        with suppress(psycopg.errors.InsufficientPrivilege):
            self.conn.execute(statement("checkpoint"))

    def unpause(self) -> None:
        """Let the workers begin."""
        self._do("unpause_queue", queue=QUEUE)
        carry_out_sync(self.conn, upkeep.ring())

    # -- looking

    def now(self) -> datetime:
        """Return the database's time."""
        found: datetime = self._one("read_clock")
        return found

    def segments(self) -> list[int]:
        """Return the segments that the queue's jobs stand in."""
        return [row[0] for row in self.conn.execute(statement("list_segments_of_queue"), {"queue": QUEUE}).fetchall()]

    def workers(self, name: str) -> list[tuple[int, int]]:
        """Return (worker id, process id) of the live workers of a fleet."""
        return [(row[0], row[1]) for row in self.conn.execute(statement("list_workers_by_name"), {"name": name})]

    def other_workers(self) -> int:
        """Return how many workers of others are live on this database."""
        return int(self._one("count_other_workers"))

    def waiting(self, application: str, since: datetime) -> tuple[int, int]:
        """Return how many workers have looked for jobs and wait, and how many stewards that came since listen."""
        params = {"application": application, "since": since}
        row = self.conn.execute(statement("count_listening_workers"), params).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    def wait_until_done(self, ids: Sequence[int], workers: list[int], check: Callable[[], None]) -> tuple[float, float]:
        """Wait until no job is ready and no lease of the workers is open; return when the first one was taken, and now.

        Both by time.monotonic(), to within 5 ms. `check` is called at every look and may raise.
        """
        params = {"queue": QUEUE, "priority": DEFAULT_PRIORITY, "first": ids[0], "last": ids[-1], "workers": workers}
        begun = 0.0
        while True:
            row = self.conn.execute(statement("probe_ends"), params, prepare=True).fetchone()
            now = time.monotonic()
            if row is not None and not row[0] and not begun:
                begun = now
            if row is not None and not row[1] and not self._rest(params, ids[-1]):
                now = time.monotonic()
                if not self._rest(params, 0):
                    return begun, now
            check()
            time.sleep(_LOOK_EVERY_S)

    def _rest(self, params: dict[str, Any], low: int) -> bool:
        return bool(self._one("probe_rest", **params, low=low))

    def check_all_ran(self) -> None:
        """Raise BenchError if jobs of the bench failed instead of running."""
        if misses := self._one("count_misses", queue=QUEUE):
            raise BenchError(f"{misses} of the bench's jobs failed; run `fastq worker fastq.bench.jobs:app` to see why")

    # -- statements

    def _empty(self) -> None:
        for name in _DELETIONS:
            self._do(name, queue=QUEUE)
        self._do("delete_workers_by_name", name=CLAIMANT)

    def _do(self, statement_name: str, /, **params: object) -> None:
        self.conn.execute(statement(statement_name), params)

    def _one(self, statement_name: str, /, **params: object) -> Any:
        row = self.conn.execute(statement(statement_name), params).fetchone()
        return None if row is None else row[0]
