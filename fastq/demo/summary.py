"""What the demo measured, as an object for machines and as a few lines for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import Connection

from fastq.demo import tables
from fastq.demo.tables import Failure, FileRun

_SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_SLOWEST = 3
_EXAMPLES = 2
_INDENT = 10
_NEXT = (
    "fastq bench throughput     measures this machine with more care",
    "fastq db start             starts a PostgreSQL that stays",
    "fastq doctor, fastq top    look at what is there",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTiming:
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
    files: DemoTiming
    noops: DemoTiming
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

    def lines(self, width: int = 160) -> list[str]:
        """Return the lines for people; paths and messages are shortened to what fits into `width`."""
        return [
            f"PostgreSQL {self.server}, {_counted(self.processes, 'worker process', 'worker processes')}",
            "",
            *_part("files", *_sentences(self.files)),
            *_part("", f"{self.functions:,} functions and {self.classes:,} classes, each job's with its commit"),
            *_part("", "read, parse and write took a job", _spread(self.run)),
            *_part("slowest", *(_slow(run, width) for run in self.slowest)),
            *_part("errors", *self._errors(width)),
            *_part("latency", f"from enqueue() to the running handler, {self.pings} single jobs", _spread(self.wait)),
            *(_part("no-ops", *_sentences(self.noops)) if self.noops.jobs else []),
            *_part("next", *_NEXT),
        ]

    def _errors(self, width: int) -> Iterator[str]:
        if not self.failures:
            yield "none"
            return
        yield f"{_counted(len(self.failures), 'job')} failed for good and kept: no Python of this version"
        for failure in self.failures[:_EXAMPLES]:
            name = os.path.basename(failure.path)  # noqa: PTH119
            yield _head(f"{name}: {failure.error}: {failure.message}", width - _INDENT)


def collect(conn: Connection[Any], *, processes: int, pings: int, files: DemoTiming, noops: DemoTiming) -> Summary:
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


def _figures(timing: DemoTiming) -> dict[str, float]:
    return {
        "jobs": timing.jobs,
        "jobs_per_s": round(timing.jobs_per_s, 1),
        "run_s": round(timing.run_s, 3),
        "enqueue_s": round(timing.enqueue_s, 3),
        "enqueued_per_s": round(timing.enqueued_per_s, 1),
    }


def _part(name: str, *lines: str) -> Iterator[str]:
    """Yield lines with the part's name before the first."""
    for number, line in enumerate(lines):
        yield f"{'' if number else name:<{_INDENT}}{line}"


def _sentences(timing: DemoTiming) -> Iterator[str]:
    yield f"{_counted(timing.jobs, 'job')} in {timing.run_s:.1f} s: {timing.jobs_per_s:,.0f} jobs/s"
    yield f"enqueued in {timing.enqueue_s:.2f} s: {timing.enqueued_per_s:,.0f}/s"


def _slow(run: FileRun, width: int) -> str:
    took = f"{run.run_s * 1000:,.0f} ms  "
    path, most = " ".join(run.path.split()), width - _INDENT - len(took)
    return took + (path if len(path) <= most else "…" + path[1 - most :])


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _spread(percentiles: dict[str, float]) -> str:
    return "  ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in percentiles.items()) or "(none)"


def _head(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
