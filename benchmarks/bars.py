"""The figures that fastq is judged by: which scenario has them, and where there is a bar, which. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of the report: a figure of a scenario, how it is written, and the least (or most) it has to be.

    `job` tells results of one scenario apart, `seconds` is what the bar is for: a shorter run is shown, not judged.
    """

    scenario: str
    field: str
    what: str
    form: str = ",.0f"
    unit: str = ""
    least: float | None = None
    most: float | None = None
    job: str = "noop"
    seconds: float = 0.0

    def shown(self, value: float) -> str:
        """Return a figure as people read it."""
        return f"{value:{self.form}}{self.unit}"

    @property
    def asked(self) -> str:
        """Return what is asked for, "" where nothing is."""
        if self.least is not None:
            return f"≥ {self.shown(self.least)}"
        return "" if self.most is None else f"≤ {self.shown(self.most)}"

    def met(self, value: float, seconds: float | None) -> bool | None:
        """Tell whether a figure meets the bar; None where there is none, or the run was shorter than asked."""
        if not self.asked or (seconds or 0.0) < self.seconds:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


_S, _MS, _SHARE = " jobs/s", " ms", ".1%"
FAULTS = ("switchover", "kill", "crash", "freeze")
"""Those of benchmarks/patroni.py."""

BARS = (
    Bar(scenario="throughput", field="jobs_per_s", what="no-op jobs drained", unit=_S, least=1_000_000),
    Bar(scenario="throughput", field="ratio_to_ceiling", what="… of claims alone", form=_SHARE, least=0.6),
    Bar(
        scenario="throughput",
        field="cpu_us_per_job",
        what="… CPU of a job, server and workers",
        form=".2f",
        unit=" µs",
        most=1.8,
    ),
    Bar(scenario="throughput", field="jobs_per_s", what="jobs that sleep 1 ms, drained", unit=_S, job="nap"),
    Bar(
        scenario="throughput",
        field="jobs_per_s",
        what="no-op jobs in threads, drained",
        unit=_S,
        job="sync",
        least=200_000,
    ),
    Bar(
        scenario="throughput",
        field="jobs_per_s",
        what="jobs of 1 kB, drained",
        unit=_S,
        job="noop, 1,000 B",
        least=400_000,
    ),
    Bar(
        scenario="throughput",
        field="jobs_per_s",
        what="jobs of 10 kB, drained",
        unit=_S,
        job="noop, 10,000 B",
        least=50_000,
    ),
    Bar(scenario="yardstick", field="ratio_to_yardstick", what="drained, of a bare prototype", form=_SHARE),
    Bar(scenario="enqueue", field="jobs_per_s", what="enqueue_many", unit=_S, least=1_000_000),
    Bar(scenario="enqueue", field="ratio_to_ceiling", what="… of a raw COPY of ready-made packets", form=_SHARE),
    Bar(scenario="enqueue", field="single_jobs_per_s", what="single enqueues, 100 callers", unit=_S, least=150_000),
    Bar(scenario="latency", field="p50_ms", what="idle, enqueue to start, p50", form=".2f", unit=_MS, most=0.7),
    Bar(scenario="latency", field="p99_ms", what="idle, enqueue to start, p99", form=".2f", unit=_MS, most=1.5),
    Bar(scenario="latency", field="ratio_to_floor", what="… p50, times that of bare connections", form=".2f"),
    Bar(
        scenario="depth",
        field="ratio_to_shallow",
        what="claims from the deepest backlog, of 10,000",
        form=_SHARE,
        least=0.97,
    ),
    Bar(scenario="steady", field="jobs_per_s", what="enqueued and run at the same time", unit=_S, least=400_000),
    Bar(scenario="steady", field="wal_bytes_per_job", what="… WAL of a job, in and out", unit=" B", most=150.0),
    Bar(
        scenario="pinned",
        field="ratio_last_to_first",
        what="pinned horizon, last tenth of the first",
        form=_SHARE,
        least=0.98,
        seconds=600.0,
    ),
    Bar(
        scenario="pinned",
        field="growth",
        what="pinned horizon, tables, second half of the first",
        form=".2f",
        most=1.1,
        seconds=600.0,
    ),
    Bar(scenario="load", field="half_p99_ms", what="at half load, due to start, p99", form=".1f", unit=_MS, most=20.0),
    Bar(scenario="load", field="p99_ms", what="at 90 % load, due to start, p99", form=".1f", unit=_MS),
    Bar(scenario="load", field="p999_ms", what="at 90 % load, due to start, p99.9", form=".1f", unit=_MS),
    Bar(scenario="scale", field="times_one_process", what="all processes, times one", form=".2f"),
    Bar(scenario="peers", field="least_drain_ratio", what="drain, times the fastest peer", form=".1f"),
    Bar(scenario="peers", field="least_enqueue_ratio", what="enqueue, times the fastest peer", form=".1f"),
    *chain.from_iterable(
        (
            Bar(
                scenario=f"patroni-{fault}",
                field="over_engine_s",
                what=f"Patroni, {fault}: longest pause beyond the engine's",
                form=".2f",
                unit=" s",
                most=2.0,
            ),
            Bar(scenario=f"patroni-{fault}", field="lost", what="… jobs lost", most=0),
        )
        for fault in FAULTS
    ),
)
