"""`fastq enqueue`: one job, or a stream of JSON lines, all or none."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import apart, write
from fastq.cli.values import Name, Seconds
from fastq.terminal.speech import say

if TYPE_CHECKING:
    from fastq.app import App
    from fastq.job import Options
    from fastq.task import Task

STOPPED = 130


class Moment(click.ParamType[datetime]):
    """`2026-05-01T09:00Z`, `2026-05-01 09:00` (this machine's time zone)."""

    name = "ISO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return an aware datetime."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value.strip()).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time like 2026-05-01T09:00+02:00", param, ctx)


@click.command()
@click.argument("target")
@click.argument("task")
@click.option("--args", metavar="JSON", help='The job\'s arguments as an object, like {"user_id": 7}.')
@click.option(
    "--jsonl",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    metavar="FILE|-",
    help="Enqueue one job for each line of a file or of standard input, each an object of arguments; all or none.",
)
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="At a bad line: enqueue nothing and exit with 2, or report it, skip it, continue and exit with 0.",
)
@click.option("--queue", type=Name(), help="Default: the task's.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 (first) to 9 (last). Default: the task's.")
@click.option("--at", type=Moment(), help="Run at this time; without an offset, in this machine's time zone.")
@click.option("--delay", type=Seconds(), help="Run after this much time: 90, 30s, 5m, 2h, 1d.")
@click.option("--expires", type=Seconds(), help="Not begun after this much time: it is kept as expired then.")
@dsn_option
@json_option
def enqueue(target: str, task: str, **options: Any) -> int:
    """Enqueue a job of TASK, a name or a function's name in the app TARGET (module:attr); or millions, from lines.

    \b
      fastq enqueue jobs:app welcome --args '{"user_id": 7}' --delay 5m
      zcat users.jsonl.gz | fastq enqueue jobs:app welcome --jsonl - --on-error skip

    \b
    exit: 0 enqueued (also when lines were skipped), 2 usage, import or a bad line, 3 database unreachable,
          4 schema missing or wrong, 130 stopped by Ctrl-C: nothing was enqueued
    """
    from fastq.app.loader import load_app
    from fastq.errors import UsageError

    if options["args"] is not None and options["jsonl"] is not None:
        raise UsageError("give --args for one job or --jsonl for many, not both")
    apart({"--at": options["at"], "--delay": options["delay"] is not None})
    app = load_app(target)
    app.dsn = options["dsn"] or app.dsn
    found = app.find_task(task)
    changes = {"queue": options["queue"], "priority": options["priority"]}
    changes |= {"run_at": options["at"], "delay": options["delay"], "expires": options["expires"]}
    where = found.defaults.but(**{name: value for name, value in changes.items() if value is not None})
    if options["jsonl"] is None:
        return _one(app, found, where, options)
    return _many(app, found, where, options)


@contextmanager
def opened(app: App) -> Iterator[None]:
    """Open the app on a database whose schema fits."""
    from fastq.config import find_dsn
    from fastq.postgres import database
    from fastq.schema import migrator

    app.dsn = database.reachable(find_dsn(app.dsn))
    with database.connect(app.dsn, "fastq enqueue") as conn:
        migrator.check(conn)
    with app:
        yield


def _one(app: App, task: Task[Any, Any], where: Options, options: dict[str, Any]) -> int:
    from fastq import codec
    from fastq.cli.jsonl import example, misfit
    from fastq.errors import ArgumentError
    from fastq.job import JobSpec

    try:
        args = codec.loads(options["args"] or "{}")
    except ValueError as exc:
        raise ArgumentError(f"--args is not valid JSON: {exc}; an example: --args '{example(task)}'") from None
    if (wrong := misfit(task, args)) is not None:
        raise ArgumentError(f"--args: {wrong}; nothing was enqueued")
    with opened(app):
        ref = app.enqueue_sync(JobSpec(task.name, args, where))
    write({"id": ref.id}) if options["json"] else say(str(ref.id))
    return 0


def _many(app: App, task: Task[Any, Any], where: Options, options: dict[str, Any]) -> int:
    from fastq.cli.jsonl import Feed, Interrupt, Lines, longest_line
    from fastq.terminal.progress import Progress

    limit_bytes = app.payload_limit_bytes
    with _input(options["jsonl"]) as fd, Interrupt() as interrupt, opened(app):
        size = _size(fd)
        lines = Lines(fd, longest=longest_line(limit_bytes), interrupt=interrupt)
        progress = Progress(sys.stderr)

        def note(jobs: int) -> None:
            rate = jobs / max(progress.elapsed_s, 1e-9)
            progress.show("enqueueing", f"{jobs:,} jobs  {rate:,.0f}/s", lines.bytes_read / size if size else None)

        feed = Feed(task, where, limit_bytes=limit_bytes, skip=options["on_error"] == "skip", say=_say(progress))
        try:
            jobs = len(app.enqueue_many_sync(feed.specs(lines.blocks()), progress=note))
        except KeyboardInterrupt:
            fate = (
                "unless it was committing just then, nothing was enqueued"
                if interrupt.forced
                else "nothing was enqueued"
            )
            _say(progress)(f"stopped after {feed.lines:,} lines: {fate}")
            return STOPPED
        finally:
            progress.clear()
        say(summary(jobs, feed.skipped, progress.elapsed_s, as_json=options["json"]))
    return 0


@contextmanager
def _input(path: str) -> Iterator[int]:
    if path == "-":
        yield 0
        return
    with Path(path).open("rb", buffering=0) as file:
        yield file.fileno()


def _size(fd: int) -> int | None:
    """Return how many bytes are to come, where that can be known."""
    info = os.fstat(fd)
    return info.st_size - os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(info.st_mode) else None


def _say(progress: Any) -> Any:
    """Return a function that writes a line to stderr above the progress bar; a closed stderr stops nothing."""

    def told(text: str) -> None:
        progress.clear()
        say(text, err=True)

    return told


def summary(jobs: int, skipped: int, elapsed_s: float, *, as_json: bool) -> str:
    """Return `enqueued 1,000,000 jobs in 3.1 s (320,000/s), 2 lines skipped`, or the same as JSON."""
    from fastq import codec

    rate = jobs / max(elapsed_s, 1e-9)
    if as_json:
        seconds = round(elapsed_s, 3)
        return codec.dumps({"jobs": jobs, "skipped": skipped, "seconds": seconds, "jobs_per_s": round(rate)}).decode()
    text = f"enqueued {jobs:,} job{'s' * (jobs != 1)} in {elapsed_s:.1f} s"
    text += f" ({rate:,.0f}/s)" if jobs >= 1000 else ""
    return text + (f", {skipped:,} line{'s' * (skipped != 1)} skipped" if skipped else "")
