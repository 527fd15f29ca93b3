"""`fastq worker`: the supervisor and its workers. Imports neither psycopg nor the user's app: its children do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from fastq.cli.options import dsn_option, log_options
from fastq.cli.values import Bytes, Milliseconds, Name, Names, Queues, Seconds, Text
from fastq.terminal.speech import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the preflight is asked: can this app be served from this database, and its pages at these addresses?"""

    target: str
    dsn: str | None
    addresses: tuple[str, ...] = ()
    listen_dsn: str | None = None
    max_memory_bytes: int | None = None


def answer(start: Start) -> dict[str, object]:
    """Import the app and look at the database, in a child of its own: the preflight."""
    from fastq.app.loader import load_app
    from fastq.backoff import in_words
    from fastq.config import find_dsn
    from fastq.postgres import database
    from fastq.schema import cluster, migrator
    from fastq.sql.naming import schema
    from fastq.steward.http import parse_address

    for address in start.addresses:
        parse_address(address)
    if start.listen_dsn is not None:
        database.parameters(start.listen_dsn, "fastq preflight")
    app = load_app(start.target)
    if start.max_memory_bytes is not None:
        _weigh(start.max_memory_bytes)
    found = find_dsn(start.dsn or app.dsn)
    source = "--dsn" if start.dsn else "App(dsn=…)" if app.dsn else found.source.value
    dsn = database.reachable(found)
    with database.connect(dsn, "fastq preflight") as conn:
        migrator.check(conn)
        shards, spread = migrator.shards(conn), cluster.is_spread(conn)
    queues = sorted({task.defaults.queue for task in app.tasks.values()})
    tasks = {name: in_words(task.policy.retries, task.policy.backoff) for name, task in sorted(app.tasks.items())}
    return {
        "dsn": dsn,
        "source": source,
        "schema": schema(),
        "shards": shards,
        "cluster": spread,
        "tasks": tasks,
        "queues": queues,
    }


def _weigh(most_bytes: int) -> None:
    """Refuse a bound that a worker exceeds before its first job: it would be replaced again and again."""
    from fastq.errors import UsageError
    from fastq.worker import main as all_that_a_worker_needs  # noqa: F401
    from fastq.worker.memory import resident_bytes

    if (held := resident_bytes()) >= most_bytes:
        raise UsageError(
            f"--max-memory-per-child: a worker of this app holds {held / 2**20:.0f} MB before its first job;"
            f" {most_bytes / 2**20:.1f} MB would have it replaced for ever"
        )


@click.command()
@click.argument("target")
@dsn_option
@click.option("-p", "--processes", type=click.IntRange(1, 1024), help="Worker processes. Default: one per usable CPU.")
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Jobs that each process runs at once.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Most threads for synchronous tasks, per process.",
)
@click.option(
    "-b", "--batch-size", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Most jobs per claim."
)
@click.option(
    "--prefetch-ms",
    type=Milliseconds(0, 60_000),
    default=10.0,
    show_default=True,
    help="How much work to claim ahead.",
)
@click.option("-Q", "--queues", type=Queues(), help="Take only these queues, with weights: mail:3,default:1.")
@click.option("-X", "--exclude-queues", type=Names(), help="Take all queues but these.")
@click.option(
    "--pin/--no-pin",
    default=None,
    help="Pin each process to a CPU. Default: with --cpus, or if there is one for each CPU.",
)
@click.option("--cpus", type=Text(), help="The CPUs to pin to, like 0-3,6. Default: all usable ones.")
@click.option(
    "--lease",
    type=Seconds(0.5, 86400),
    default=30.0,
    show_default=True,
    help="How long a dead host's jobs stay claimed.",
)
@click.option(
    "--shutdown-timeout",
    type=Seconds(0.1, 7 * 86400),
    default=30.0,
    show_default=True,
    help="How long a drain waits for running jobs.",
)
@click.option(
    "--connections",
    type=click.IntRange(3, 10_000),
    help="So many connections for the handlers of all processes together. Default: each may have its app's.",
)
@click.option("--max-jobs-per-child", type=click.IntRange(1), help="Replace a process after this many jobs.")
@click.option("--max-memory-per-child", type=Bytes(), help="Replace a process that uses more than this, like 512M.")
@click.option("--burst", is_flag=True, help="Exit when there is nothing left to do.")
@click.option("--reload", is_flag=True, help="Replace the workers when a Python file changes (development).")
@click.option("--name", type=Name(), help="The name of these workers in `fastq status`.")
@click.option(
    "--listen/--no-listen", default=True, show_default=True, help="Whether to LISTEN for new jobs, or only poll."
)
@click.option("--listen-dsn", type=Text(), help="Where to LISTEN if --dsn leads through a pooler: the server itself.")
@click.option(
    "--poll-interval",
    type=Seconds(0.01, 3600),
    default=1.0,
    show_default=True,
    help="The longest pause between polls while idle.",
)
@click.option("--metrics-addr", type=Text(), help="Serve Prometheus metrics on HOST:PORT or :PORT.")
@click.option("--health-addr", type=Text(), help="Serve /health on HOST:PORT or :PORT.")
@click.option("--dry-run", is_flag=True, help="Check the app and the database, show what would run, and exit.")
@log_options
@click.option(
    "--log-all",
    is_flag=True,
    help="Write the app's own lines in this format too, even if it has set up logging itself.",
)
def worker(**options: Any) -> int:
    """Run the supervisor and its workers for the app TARGET, given as module:attr.

    \b
    TERM, first INT  drain: nothing new, running jobs can finish     second  at once
    HUP  replace workers one by one, app imported again              QUIT    at once
    USR1 stacks and running jobs to the log                          TTIN/TTOU  one worker more/less
    \b
    exit: 0 drained, 1 crash, 2 usage or import error, 3 database unreachable, 4 schema missing or wrong,
          5 drain ran past its deadline, 6 workers crash-looping
    """
    from fastq.errors import UsageError
    from fastq.observability import logs
    from fastq.sql.naming import use_schema
    from fastq.supervisor import preflight

    if options["queues"] and options["exclude_queues"]:
        raise UsageError("give -Q/--queues or -X/--exclude-queues, not both: -Q leaves all others out already")
    cpus = _cpus(options["cpus"])
    logs.configure(format=options["log_format"], level=options["log_level"], everything=options["log_all"])
    checked = preflight(_entry("fastq.cli.worker:answer", _start(options)))
    use_schema(str(checked["schema"]))  # of the app, maybe; the children find it here
    if checked["source"] == "embedded":
        from fastq import embedded

        checked["dsn"] = embedded.ensure()  # this process holds the server's lease now, and its children with it
        say(embedded.describe(embedded.status()), err=True)
    _warn_of_strangers(options, checked)
    plan = _plan(options, checked, cpus)
    if options["dry_run"]:
        say(plan.describe(checked))
        return 0
    return plan.run()


def _start(options: dict[str, Any]) -> Start:
    addresses = (options["metrics_addr"], options["health_addr"])
    return Start(
        target=options["target"],
        dsn=options["dsn"],
        addresses=tuple(filter(None, addresses)),
        listen_dsn=options["listen_dsn"],
        max_memory_bytes=options["max_memory_per_child"],
    )


def _warn_of_strangers(options: dict[str, Any], checked: dict[str, Any]) -> None:
    """Say which queues were named that no task of the app has as its own: a typo waits in silence."""
    import logging

    known = checked["queues"]
    for option, names in (("-Q/--queues", options["queues"]), ("-X/--exclude-queues", options["exclude_queues"])):
        if strange := [name for name in names or () if name not in known]:
            logging.getLogger("fastq.worker").warning(
                "%s names %s, which no task of the app has as its queue; they have %s",
                option,
                ", ".join(map(repr, strange)),
                ", ".join(map(repr, known)) or "none",
            )


def _cpus(given: str | None) -> tuple[int, ...]:
    """Return the CPUs to pin to: those that were asked for, if we may use them, or else all that we may."""
    from fastq.errors import UsageError
    from fastq.supervisor import available_cpus, parse_cpus

    ours = available_cpus()
    cpus = parse_cpus(given) if given else ours
    if strange := [cpu for cpu in cpus if cpu not in ours]:
        raise UsageError(f"--cpus: this process may not use CPU {_listed(strange)}, only {_listed(ours)}")
    return cpus


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _entry(path: str, config: object) -> Any:
    from fastq.host.child import ChildEntry

    return ChildEntry(path=path, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a `fastq worker` command comes to."""

    supervisor: Any
    worker: Any
    steward: Any
    connections: int | None

    def describe(self, checked: dict[str, Any]) -> str:
        """Return what would run, for people."""
        config, cpus = self.worker, self.supervisor.cpus
        tasks = checked["tasks"]
        pinned = f"pinned to CPU{'s' * (len(cpus) > 1)} {_listed(cpus)}" if cpus else "not pinned"
        return "\n".join(
            [
                f"app        {config.target}: {_counted(len(tasks), 'task')} ({', '.join(tasks) or 'none'})",
                f"database   {checked['source']}, schema {checked['schema']}, {_counted(checked['shards'], 'shard')}",
                f"processes  {self.supervisor.processes}, {pinned}",
                f"each       {config.concurrency} jobs at once, {config.threads} threads, batches of {config.batch_size}",  # noqa: E501
                f"queues     {', '.join(config.queues) or 'all'}",
                *_retries(checked["tasks"]),
            ]
        )

    def run(self) -> int:
        """Run the supervisor until everything has ended."""
        from fastq.host.board import Board
        from fastq.supervisor import Supervisor, cells_for, room_for

        board = Board(
            cells=cells_for(self.supervisor.processes),
            running=room_for(self.worker.concurrency),
            seats=self.connections,
        )
        workers = _entry("fastq.worker.main:run", self.worker)
        steward = _entry("fastq.steward.main:run", self.steward)
        if self.supervisor.reload:
            _start_watcher()
        return Supervisor(self.supervisor, board, workers, steward).run()


def _retries(tasks: dict[str, str]) -> list[str]:
    """Return when failed jobs are tried again: a line for each schedule, with its tasks."""
    lines = [
        f"{', '.join(name for name in tasks if tasks[name] == when)}: {when}" for when in dict.fromkeys(tasks.values())
    ]
    return [f"{'' if number else 'retries':<10} {line}" for number, line in enumerate(lines)]


def _start_watcher() -> None:
    """Fork the process behind --reload; the supervisor reaps it like any stranger's child."""
    import os
    from pathlib import Path

    from fastq.cli import reload
    from fastq.supervisor.spawn import Birth, fork

    parent = os.getpid()
    fork(lambda: reload.watch(Path.cwd(), parent), Birth(name="fastq reload"))


def _plan(options: dict[str, Any], checked: dict[str, Any], cpus: tuple[int, ...]) -> DryRun:
    from fastq.config import StewardConfig, SupervisorConfig, WorkerConfig
    from fastq.supervisor import cpus_each, pins, processes_here

    usable = len(cpus) if options["cpus"] else processes_here()
    processes = options["processes"] or usable
    pinned = options["pin"] if options["pin"] is not None else bool(options["cpus"]) or pins(processes, len(cpus))
    return DryRun(
        connections=options["connections"],
        supervisor=SupervisorConfig(
            processes=processes,
            cpus=cpus if pinned else (),
            shutdown_timeout_s=options["shutdown_timeout"],
            burst=options["burst"],
            reload=options["reload"],
        ),
        worker=WorkerConfig(
            target=options["target"],
            dsn=checked["dsn"],
            concurrency=options["concurrency"],
            threads=options["threads"],
            cpus=1 if pinned else cpus_each(processes, usable),
            batch_size=options["batch_size"],
            prefetch_ms=options["prefetch_ms"],
            queues=options["queues"] or {},
            exclude_queues=frozenset(options["exclude_queues"] or ()),
            lease_s=options["lease"],
            shutdown_timeout_s=options["shutdown_timeout"],
            poll_interval_s=options["poll_interval"],
            shards=checked["shards"],
            cluster=checked["cluster"],
            burst=options["burst"],
            max_jobs=options["max_jobs_per_child"],
            max_memory_bytes=options["max_memory_per_child"],
            name=options["name"] or "",
        ),
        steward=StewardConfig(
            dsn=checked["dsn"],
            lease_s=options["lease"],
            shutdown_timeout_s=options["shutdown_timeout"],
            shards=checked["shards"],
            cluster=checked["cluster"],
            listen=options["listen"],
            listen_dsn=options["listen_dsn"],
            metrics_addr=options["metrics_addr"],
            health_addr=options["health_addr"],
            embedded=checked["source"] == "embedded",
        ),
    )
