"""What the demo measured, as an object for machines and as a few lines for people."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import Connection

from fastq.demo import tables
from fastq.demo.tables import Failure, FileRun

_SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_SLOWEST = 3
_EXAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one part took, from the commit of its enqueue to its last job's end."""

    jobs: int
    enqueue_s: float
    run_s: float

    @property
    def jobs_per_s(self) -> float:
        """Return jobs finished per second."""
        return self.jobs / self.run_s if self.run_s else 0.0

    @property
    def enqueued_per_s(self) -> float:
        """Return jobs enqueued per second."""
        return self.jobs / self.enqueue_s if self.enqueue_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The demo's figures. `run` is a job's run time before its commit, `wait` is enqueue() to handler start, idle."""

    server: str
    processes: int
    files: Timing
    noops: Timing
    run: dict[str, float]
    wait: dict[str, float]
    pings: int
    functions: int
    classes: int
    failures: list[Failure]
    slowest: list[FileRun]

    def to_json(self) -> dict[str, Any]:
        """Return one object for machines."""
        return {
            "server": self.server,
            "processes": self.processes,
            "files": _figures(self.files) | {"run": self.run},
            "noops": _figures(self.noops),
            "latency": {"jobs": self.pings} | self.wait,
            "functions": self.functions,
            "classes": self.classes,
            "errors": len(self.failures),
            "examples": [asdict(failure) for failure in self.failures[:_EXAMPLES]],
            "slowest": [asdict(run) for run in self.slowest],
        }

    def lines(self) -> list[str]:
        """Return the lines for people."""
        return [
            f"PostgreSQL {self.server}, {self.processes} worker process(es)",
            "",
            f"files     {_sentence(self.files)}",
            f"          {self.functions:,} functions and {self.classes:,} classes written, each job's with its commit",
            f"          a job ran (read, parse, write; without its commit)  {_spread(self.run)}",
            *self._slow_lines(),
            *self._error_lines(),
            f"latency   from enqueue() to the running handler, {self.pings} single jobs  {_spread(self.wait)}",
            *([f"no-ops    {_sentence(self.noops)}"] if self.noops.jobs else []),
        ]

    def _slow_lines(self) -> list[str]:
        heads = ["slowest   ", *[" " * 10] * _SLOWEST]
        return [
            f"{head}{run.run_s * 1000:5.0f} ms  {_one_line(run.path)}"
            for head, run in zip(heads, self.slowest, strict=False)
        ]

    def _error_lines(self) -> list[str]:
        if not self.failures:
            return ["errors    none"]
        head = (
            f"errors    {len(self.failures)} jobs failed for good and are kept: no Python file of this version, such as"
        )
        examples = [f"{' ' * 10}{os.path.basename(f.path)}: {f.error}: {_one_line(f.message)}" for f in self.failures]  # noqa: PTH119
        return [head, *examples[:_EXAMPLES]]


def collect(conn: Connection[Any], *, processes: int, pings: int, files: Timing, noops: Timing) -> Summary:
    """Read what the tables know."""
    functions, classes = tables.symbols(conn)
    shares = list(_SHARES.values())
    return Summary(
        server=conn.info.parameter_status("server_version") or "",
        processes=processes,
        files=files,
        noops=noops,
        run=_percentiles(tables.run_percentiles(conn, shares)),
        wait=_percentiles(tables.wait_percentiles(conn, shares)),
        pings=pings,
        functions=functions,
        classes=classes,
        failures=tables.failures(conn),
        slowest=tables.slowest(conn, _SLOWEST),
    )


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {name: round(value * 1000, 3) for name, value in zip(_SHARES, seconds, strict=False)}


def _figures(timing: Timing) -> dict[str, float]:
    return {
        "jobs": timing.jobs,
        "jobs_per_s": round(timing.jobs_per_s, 1),
        "run_s": round(timing.run_s, 3),
        "enqueue_s": round(timing.enqueue_s, 3),
        "enqueued_per_s": round(timing.enqueued_per_s, 1),
    }


def _sentence(timing: Timing) -> str:
    return (
        f"{timing.jobs:,} jobs in {timing.run_s:.1f} s: {timing.jobs_per_s:,.0f} jobs/s"
        f"   (enqueued in {timing.enqueue_s:.2f} s: {timing.enqueued_per_s:,.0f}/s)"
    )


def _spread(percentiles: dict[str, float]) -> str:
    return "  ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in percentiles.items()) or "(none)"


def _one_line(message: str) -> str:
    return " ".join(message.split())[:160]
