"""One bench run: what all scenarios share. Opened once, closed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastq.bench import machine
from fastq.bench.ground import Ground
from fastq.bench.jobs import app
from fastq.bench.meter import Meter
from fastq.bench.plan import BenchPlan
from fastq.bench.progress import BenchProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The plan and the means: `ground` is the bench's queue, `meter` reads CPU and WAL, `notes` go into the result."""

    plan: BenchPlan
    dsn: str
    ground: Ground
    meter: Meter
    progress: BenchProgress
    conditions: dict[str, object]
    notes: tuple[str, ...]

    @property
    def jobs(self) -> int:
        """How many jobs the scenario goes through."""
        assert self.plan.jobs is not None, "Scenario.run fills it in"
        return self.plan.jobs

    @property
    def seconds(self) -> float:
        """For how long the scenario is measured, or one part of it."""
        assert self.plan.seconds is not None, "Scenario.run fills it in"
        return self.plan.seconds

    def with_plan(self, **changes: Any) -> Bench:
        """Return the same bench with another plan."""
        return replace(self, plan=replace(self.plan, **changes))


@contextmanager
def opened(plan: BenchPlan, dsn: str, progress: BenchProgress) -> Iterator[Bench]:
    """Open the bench on a database and leave nothing behind in it.

    Raises:
        SchemaError: the schema is missing, too old or too new.
        UsageError: another bench runs there.

    """
    ground = Ground(dsn)
    try:
        ground.open()
        app.dsn = dsn or None
        yield Bench(
            plan=plan,
            dsn=dsn,
            ground=ground,
            meter=Meter(ground.conn),
            progress=progress,
            conditions=machine.describe(ground.conn),
            notes=_notes(ground),
        )
    finally:
        progress.clear()
        ground.close()


def _notes(ground: Ground) -> tuple[str, ...]:
    others = ground.other_workers()
    if not others:
        return ()
    return (f"{others} other worker(s) are live on this database: what they do counts into these figures",)
