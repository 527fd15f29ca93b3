"""The steady load while a REPEATABLE READ snapshot is held open, so that vacuum can remove nothing.

A queue whose claims walk over dead rows gets slower by the second, and its tables grow. Compared are the first and the
last tenth of the time (a minute of ten), and how large the tables are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import kwargs_row

from fastq.bench import flow, steady, summary
from fastq.bench.bench import Bench
from fastq.bench.flow import FlowStretch
from fastq.bench.plan import BenchError
from fastq.bench.result import Result
from fastq.bench.statements import statement
from fastq.postgres import database


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The head of the ring, and how many bytes the tables take: each segment, the leases, the rest."""

    head: int
    ring_bytes: list[int]
    lease_bytes: int
    other_bytes: int


def run(bench: Bench) -> Result:
    """Measure for `seconds`, with the tables' sizes each second."""
    seconds = bench.seconds
    sizes: list[Sizes] = []
    bench.progress.say("pinned: starting workers")
    with flow.flowing(bench, flow.closed(bench)) as flowing, _snapshot(bench.dsn) as pinning:
        flowing.start()
        flowing.wait(steady.WARM_UP_S)
        measured = flow.measure(bench, flowing, seconds, "pinned:", lambda: sizes.append(_sizes(bench)))
        pinned_xids = _pinned_xids(bench, pinning)
        flowing.stop()
    compared = {**ends(measured.samples), **growth(sizes), "pinned_transactions": pinned_xids}
    return Result(
        scenario="pinned",
        jobs=measured.jobs,
        figures={**measured.figures(), **compared, **steady.settings(bench)},
        limit=steady.limit_of(bench, measured),
        lines=[*_lines(compared), *steady.lines(bench, measured.figures())],
        samples=[{**sample.sample(), **asdict(size)} for sample, size in zip(measured.samples, sizes, strict=True)],
        notes=bench.notes,
    )


@contextmanager
def _snapshot(dsn: str) -> Iterator[Connection[Any]]:
    """Hold a snapshot, and no lock on any table: a forgotten `idle in transaction`, or a replica's feedback."""
    with database.connect(dsn, "fastq bench snapshot") as conn:
        conn.execute("set idle_in_transaction_session_timeout = 0")
        conn.execute("begin isolation level repeatable read")
        conn.execute("select")
        yield conn
        conn.execute("rollback")


def _pinned_xids(bench: Bench, pinning: Connection[Any]) -> int:
    """Return how many transactions began since the snapshot; it must be there still."""
    row = bench.ground.conn.execute(statement("read_snapshot_age"), {"pid": pinning.info.backend_pid}).fetchone()
    if row is None or row[0] is None:
        raise BenchError("the snapshot that pins the horizon is gone; does the server end idle transactions?")
    return int(row[0])


def _sizes(bench: Bench) -> Sizes:
    with bench.ground.conn.cursor(row_factory=kwargs_row(Sizes)) as cur:
        size = cur.execute(statement("read_sizes")).fetchone()
    assert size is not None
    return size


def ends(samples: Sequence[FlowStretch]) -> dict[str, float | None]:
    """Return the rates of the first and the last tenth of the samples, and their ratio."""
    tenth = max(1, len(samples) // 10)
    first, last = (
        sum(sample.run for sample in part) / sum(sample.wall_s for sample in part)
        for part in (samples[:tenth], samples[-tenth:])
    )
    return {"first_jobs_per_s": first, "last_jobs_per_s": last, "ratio_last_to_first": summary.ratio(last, first)}


def growth(sizes: Sequence[Sizes]) -> dict[str, float | None]:
    """Return the most bytes of all tables, and of the second half of the time as a multiple of the first's."""
    totals = [sum(size.ring_bytes) + size.lease_bytes + size.other_bytes for size in sizes]
    half = len(totals) // 2
    return {
        "most_bytes": max(totals),
        "growth": summary.ratio(max(totals[half:]), max(totals[:half])),
        "most_ring_bytes": max(sum(size.ring_bytes) for size in sizes),
        "most_lease_bytes": max(size.lease_bytes for size in sizes),
    }


def _lines(compared: dict[str, float | None]) -> list[tuple[str, str]]:
    shown = summary.shown
    return [
        (
            "last to first",
            (
                f"{shown(compared['ratio_last_to_first'], '.1%')}: {shown(compared['first_jobs_per_s'])} jobs/s in the "
                f"first tenth, {shown(compared['last_jobs_per_s'])} in the last, "
                f"{shown(compared['pinned_transactions'])} transactions pinned"
            ),
        ),
        (
            "tables",
            (
                f"{shown((compared['most_bytes'] or 0) / 1e6)} MB at most, the ring "
                f"{shown((compared['most_ring_bytes'] or 0) / 1e6)}, the leases "
                f"{shown((compared['most_lease_bytes'] or 0) / 1e6)}; second half {shown(compared['growth'], '.2f')} "
                "times the first"
            ),
        ),
    ]
