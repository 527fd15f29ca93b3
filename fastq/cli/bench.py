"""`fastq bench`: measures the user's own database."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fastq.cli.options import Seconds, dsn_option, json_option

SCENARIOS = ("throughput", "enqueue", "latency", "scale", "payload", "depth", "steady", "pinned", "load")
REPORT, RESULTS = "report", Path("bench_results")


@click.command()
@click.argument("scenario", required=False, type=click.Choice((*SCENARIOS, REPORT)))
@click.argument(
    "folder", required=False, type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="[DIR]"
)
@dsn_option
@click.option(
    "--jobs",
    type=click.IntRange(10),
    help="Jobs per repetition, samples in all for latency, the backlog for depth. Default: 500000; 1000 for latency, "
    "200000 for payload, 5000000 for depth.",
)
@click.option("-p", "--processes", type=click.IntRange(1, 1024), help="Worker processes. Default: as `fastq worker`.")
@click.option(
    "-c", "--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="As `fastq worker`."
)
@click.option(
    "-b", "--batch-size", type=click.IntRange(1, 10_000), default=500, show_default=True, help="As `fastq worker`."
)
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=3, show_default=True, help="Repetitions; medians are reported."
)
@click.option(
    "--duration",
    type=Seconds(),
    help="How long steady, pinned and each level of load take. Default: 30 for steady, 60 for pinned, 20 for load.",
)
@click.option(
    "--payload-bytes",
    type=click.IntRange(30, 1_000_000),
    default=51,
    show_default=True,
    help="Size of a job's arguments as JSON.",
)
@click.option(
    "--job",
    type=click.Choice(("noop", "nap", "sync")),
    default="noop",
    show_default=True,
    help="What a job of throughput and scale does: nothing, sleep 1 ms, nothing in a thread.",
)
@json_option
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write <date>-<commit>-<scenario>.json with raw samples there.",
)
def bench(
    scenario: str | None, folder: Path | None, dsn: str | None, json: bool, output: Path | None, **settings: Any
) -> None:
    """Measure YOUR database: the first three without SCENARIO.

    \b
    throughput  no-op jobs drained from a filled queue, beside claims alone (the ceiling)
    enqueue     enqueue_many beside raw COPY, 100 callers at once, one caller alone
    latency     enqueue call to handler start, workers idle
    scale       throughput for 1, 2, … --processes
    payload     throughput and enqueue with 100 B, 1 kB, 10 kB
    depth       what a claim costs with 10 thousand, a million, --jobs waiting
    steady      enqueue and run at the same time, for --duration
    pinned      the same while vacuum can remove nothing
    load        latency at 10, 50, 90 % of what steady carries
    report      README.md and plots of the results in DIR, bench_results by default

    It uses a queue of its own, fastq.bench, and removes everything again.
    """
    if scenario == REPORT:
        _report(folder or RESULTS)
    elif folder is not None:
        raise click.UsageError(f"{folder} is more than is understood; only `fastq bench report` takes a DIR")
    else:
        _measure(scenario, dsn, json, output, settings)


def _measure(scenario: str | None, dsn: str | None, json: bool, output: Path | None, settings: dict[str, Any]) -> None:
    """Measure, write files as each scenario ends, and print."""
    from fastq import database
    from fastq.bench import bench as run
    from fastq.bench import result, scenarios
    from fastq.bench.plan import SHORT, Job, Plan, Scenario
    from fastq.bench.progress import Progress
    from fastq.config import find_dsn
    from fastq.supervisor import processes_here

    seconds = settings.pop("duration")
    plan = Plan(
        **{
            **settings,
            "seconds": seconds,
            "job": Job(settings["job"]),
            "processes": settings["processes"] or processes_here(),
        }
    )
    progress, found = Progress(), {}
    with _stoppable(), run.opened(plan, database.reachable(find_dsn(dsn)), progress) as opened:
        conditions = {"command": _command(sys.argv[1:]), **opened.conditions}
        for name in [Scenario(scenario)] if scenario else SHORT:
            measured = scenarios.run(name, opened)
            found[name.value] = measured.as_dict(plan, conditions)
            progress.clear()
            if not json:
                click.echo(measured.text())
            if output is not None:
                click.echo(f"wrote {result.save(found[name.value], output)}", err=True)
    if json:
        click.echo(result.dumps(found[scenario] if scenario else _all(found)))


def _report(folder: Path) -> None:
    """Draw, then write the page, which shows the plots that are there."""
    from fastq.bench import report

    try:
        from fastq.bench import plots
    except ModuleNotFoundError as exc:
        if exc.name != "matplotlib":
            raise
        click.echo("no plots: matplotlib is missing; pip install 'fastq-pg[bench]'", err=True)
    else:
        report.read(folder)
        for path in plots.draw(folder):
            click.echo(f"drew {path}")
    click.echo(f"wrote {report.write(folder)}")


def _all(found: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return one object for all scenarios; its own figures are the throughput's."""
    first = found["throughput"]
    return {"scenario": "all", "jobs": first["jobs"], "jobs_per_s": first["jobs_per_s"], **found}


def _command(arguments: list[str]) -> str:
    """Return the command as it was typed, without the database, which may hold a password, and where results go."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        name, has_value, _ = argument.partition("=")
        if name not in ("--dsn", "--output"):
            kept.append(argument)
        elif not has_value:
            next(given, None)
    return " ".join(["fastq", *kept])


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let TERM and HUP do what Ctrl-C does, so that the bench unwinds and cleans up; also in a shell's background.

    They are passed on as INT, since event loops know how to end by that and not by an exception out of nowhere.
    """
    told: list[int] = []

    def stop(signum: int, _frame: object) -> None:
        told.append(signum)
        signal.raise_signal(signal.SIGINT)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        if told:
            sys.exit(128 + told[0])
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
