"""`fastq bench`: measures the user's own database."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from fastq.bench.scenarios import SCENARIOS, Scenario
from fastq.cli.options import dsn_option, json_option
from fastq.cli.values import Seconds
from fastq.terminal.speech import answer, say

_Function = TypeVar("_Function", bound=Callable[..., Any])


def command(scenarios: Sequence[Scenario], *, program: str) -> click.Command:
    """Return the command that measures these scenarios; `program` is how it is called, as results tell it."""
    by_name = {scenario.name: scenario for scenario in scenarios}
    short = [scenario for scenario in scenarios if scenario.short]

    @click.argument("scenario", required=not short, type=click.Choice(list(by_name)))
    @dsn_option
    @_plan_options(scenarios)
    @json_option
    @click.option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        help="Write <date>-<commit>-<scenario>.json with raw samples there.",
    )
    def bench(scenario: str | None, dsn: str | None, json: bool, output: Path | None, **settings: Any) -> None:
        chosen = [by_name[scenario]] if scenario else short
        typed = " ".join([program, *_without_database(sys.argv[1:])])
        _measure(chosen, dsn, json, output, settings, typed)

    bench.__doc__ = _help(scenarios, short)
    return click.command()(bench)


def _help(scenarios: Sequence[Scenario], short: Sequence[Scenario]) -> str:
    width = max(len(scenario.name) for scenario in scenarios)
    rows = "\n".join(f"{scenario.name:<{width}}  {scenario.about}" for scenario in scenarios)
    unnamed = f", without SCENARIO {', '.join(scenario.name for scenario in short)}" if short else ""
    return (
        f"Measure YOUR database{unnamed}:\n\n\b\n{rows}\n\n"
        "It uses a queue of its own, fastq.bench, and removes everything again."
    )


def _plan_options(scenarios: Sequence[Scenario]) -> Callable[[_Function], _Function]:
    """Return the options that make a Plan."""
    jobs = ", ".join(f"{scenario.jobs} for {scenario.name}" for scenario in scenarios if scenario.jobs)
    seconds = ", ".join(f"{scenario.seconds:g} for {scenario.name}" for scenario in scenarios if scenario.seconds)
    options = [
        click.option(
            "--jobs",
            type=click.IntRange(10),
            help="Jobs per repetition, or samples in all, or the backlog, as the scenario has it. " + _defaults(jobs),
        ),
        click.option(
            "-p", "--processes", type=click.IntRange(1, 1024), help="Worker processes. Default: as `fastq worker`."
        ),
        _number("-c", "--concurrency", 10_000, 100),
        _number("-b", "--batch-size", 10_000, 500),
        click.option(
            "--repeat",
            type=click.IntRange(1, 1000),
            default=3,
            show_default=True,
            help="Repetitions, of which the medians are reported.",
        ),
        click.option("--duration", type=Seconds(1, 7 * 86400), help="How long it is measured. " + _defaults(seconds)),
        click.option(
            "--payload-bytes",
            type=click.IntRange(30, 1_000_000),
            default=51,
            show_default=True,
            help="Size of a job's arguments as JSON.",
        ),
        click.option(
            "--job",
            type=click.Choice(("noop", "nap", "sync")),
            default="noop",
            show_default=True,
            help="What a job does: nothing, sleep 1 ms, nothing in a thread.",
        ),
        click.option("--singles", is_flag=True, help="Jobs that were enqueued one by one, for throughput."),
    ]

    def add(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _defaults(by_scenario: str) -> str:
    return f"Default: {by_scenario}." if by_scenario else "Not used here."


def _number(short: str, name: str, most: int, default: int) -> Callable[[_Function], _Function]:
    kind = click.IntRange(1, most)
    return click.option(short, name, type=kind, default=default, show_default=True, help="As `fastq worker`.")


def _measure(
    chosen: Sequence[Scenario],
    dsn: str | None,
    json: bool,
    output: Path | None,
    settings: dict[str, Any],
    typed: str,
) -> None:
    """Measure, write files as each scenario ends, and print."""
    from fastq.bench import bench as run
    from fastq.bench import result
    from fastq.bench.plan import BenchPlan, JobKind
    from fastq.bench.progress import BenchProgress
    from fastq.config import find_dsn
    from fastq.postgres import database
    from fastq.protocol.refusal import as_our_errors
    from fastq.supervisor import processes_here

    seconds = settings.pop("duration")
    plan = BenchPlan(
        **{
            **settings,
            "seconds": seconds,
            "job": JobKind(settings["job"]),
            "processes": settings["processes"] or processes_here(),
        }
    )
    progress, found = BenchProgress(), {}
    with as_our_errors(), _stoppable(), run.opened(plan, database.reachable(find_dsn(dsn)), progress) as opened:
        conditions = {"command": typed, **opened.conditions}
        for scenario in chosen:
            measured = scenario.run(opened)
            found[scenario.name] = measured.as_dict(plan, conditions)
            progress.clear()
            if not json:
                say(measured.text())
            if output is not None:
                say(f"wrote {result.save(found[scenario.name], output)}", err=True)
    if json:
        answer(result.dumps(found[chosen[0].name] if len(chosen) == 1 else _all(found)))


def _all(found: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return one object for all scenarios; its own figures are the throughput's."""
    first = found["throughput"]
    return {"scenario": "all", "jobs": first["jobs"], "jobs_per_s": first["jobs_per_s"], **found}


def _without_database(arguments: list[str]) -> list[str]:
    """Return what was typed, without the database, which may hold a password, and without where results go."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        name, has_value, _ = argument.partition("=")
        if name not in ("--dsn", "--output"):
            kept.append(argument)
        elif not has_value:
            next(given, None)
    return kept


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


bench = command(SCENARIOS, program="fastq")
