"""Measures what tracing costs a drain: the same jobs of an app without it, and of one that samples a share of leases.

    python benchmarks/traced.py --jobs 1000000 --rounds 5 --share 0.01 --output bench_results

The spans go to an exporter that drops them, through OpenTelemetry's own batching. The queue is filled while it is
paused, a real `fastq worker` comes up, and the clock runs from the resume until nothing is ready or claimed.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from workers import drained_per_s

import fastq
from fastq import testing
from fastq.bench import machine, result
from fastq.integrations import otel
from fastq.postgres import database

OFF, ON = "untraced", "traced"
SHARE = "FASTQ_TRACED_SHARE"


class Dropped(SpanExporter):
    """Sends nothing anywhere."""

    def export(self, _: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def watched() -> fastq.App:
    made = fastq.App()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(float(os.environ.get(SHARE, "0.01")))))
    provider.add_span_processor(BatchSpanProcessor(Dropped()))
    otel.instrument(made, tracer_provider=provider)
    return made


apps = {OFF: fastq.App(), ON: watched()}
untraced, traced = apps[OFF], apps[ON]


async def noop(user_id: int, email: str) -> None:
    """Do nothing."""


tasks = {name: app.task(queue=name, name=f"{name}.noop")(noop) for name, app in apps.items()}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-traced.json there")
    return parser.parse_args()


def main() -> None:
    """Alternate, print, write the file."""
    given = options()
    os.environ[SHARE] = str(given.share)
    rounds: list[dict[str, float]] = []
    with testing.server(os.environ.get("FASTQ_TEST_DSN")) as server, testing.template(server) as template:
        for number in range(given.rounds):
            found: dict[str, float] = {}
            for name in (OFF, ON) if number % 2 else (ON, OFF):
                with testing.database(server, template) as dsn, database.connect(dsn, "fastq traced bench") as conn:
                    conn.execute("select fastq.pause(%s)", [name])
                    with fastq.App(dsn) as producer:
                        producer.enqueue_many_sync(
                            tasks[name].job(user_id=n, email=f"someone.{n % 1009}@example.com")
                            for n in range(given.jobs)
                        )
                    conn.execute("checkpoint")
                    target = f"traced:{name}"
                    found[f"{name}_per_s"] = drained_per_s(conn, dsn, target, name, given.jobs, given.processes)
            found["ratio"] = found[f"{ON}_per_s"] / found[f"{OFF}_per_s"]
            rounds.append(found)
            print(f"round {number + 1}: {json.dumps(found)}", flush=True)
        medians = {key: median(r[key] for r in rounds) for key in rounds[0]}
        print(json.dumps(medians, indent=2))
        if given.output is not None:
            with testing.database(server, template) as dsn, database.connect(dsn, "fastq traced bench") as conn:
                conditions = machine.describe(conn)
            command = f"python benchmarks/traced.py --jobs {given.jobs} --rounds {given.rounds} --share {given.share}"
            whole = {"scenario": "traced", "jobs": given.jobs, **medians, "samples": rounds, **conditions}
            print(f"wrote {result.save({**whole, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
