"""`fastq schedules`: list recurring jobs, make some, pause and resume them, remove those that no worker declares."""

from __future__ import annotations

from typing import Any

import click

from fastq.cli.job_view import moment
from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import steering, sure, write
from fastq.cli.values import Name, Text
from fastq.terminal.speech import say
from fastq.terminal.table import Column, Table, display

_COLUMNS = (
    Column(name="NAME", text=True),
    Column(name="WHEN", text=True, rank=1),
    Column(name="NEXT"),
    Column(name="LAST", rank=3),
    Column(name="STATE", text=True, style=lambda cell: "" if cell == "on" else "yellow"),
    Column(name="APP", text=True, rank=2),
)
_NAMES = click.argument("names", metavar="SCHEDULE…", type=Text(), nargs=-1, required=True)


@click.group()
def schedules() -> None:
    """Look at recurring jobs; set, pause, resume, run and remove them."""


@schedules.command("list")
@dsn_option
@json_option
def list_(dsn: str | None, json: bool) -> None:
    """List the schedules, when each comes next and came last, and which app declares it.

    \b
    on      its jobs are enqueued
    paused  somebody has paused it
    orphan  no worker has declared it for a minute; its jobs are enqueued all the same
    ended   nor for a week, or the setting schedules_last_s; a worker that declares it starts it again
    """
    from dataclasses import asdict

    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import list_schedules

    with steering(dsn, "schedules list") as conn:
        found = carry_out_sync(conn, list_schedules())
    if json:
        write({"schedules": [{**asdict(row), "state": row.standing.value} for row in found]})
        return
    rows = [
        (
            row.name,
            f"{row.expression} {row.tz}",
            moment(row.next_at),
            moment(row.last_at),
            row.standing.value,
            row.owner or "-",
        )
        for row in found
    ]
    display(Table(_COLUMNS, rows) if rows else "No schedules: @app.cron makes some.")


@schedules.command("set")
@click.argument("name", type=Name())
@click.argument("expression", type=Text())
@click.argument("task", type=Name())
@click.option("--args", default="{}", metavar="JSON", help='The jobs\' arguments as an object, like {"user_id": 7}.')
@click.option("--tz", default="UTC", show_default=True, type=Text(), help="The zone that the expression is read in.")
@click.option("--queue", type=Name(), default="default", show_default=True, help="The queue of its jobs.")
@click.option("--priority", type=click.IntRange(0, 9), default=4, show_default=True, help="0 (first) to 9 (last).")
@click.option(
    "--catch-up",
    type=click.Choice(["skip", "one", "all"]),
    default="skip",
    show_default=True,
    help="Which missed occurrences are made up for.",
)
@dsn_option
@json_option
def set_(name: str, expression: str, task: str, dsn: str | None, json: bool, **options: Any) -> None:
    """Make the schedule NAME, or change one that was made so: jobs of TASK at the times of a cron EXPRESSION.

    \b
      fastq schedules set report-42 '0 7 * * MON' shop.report --args '{"customer": 42}' --tz Europe/Athens

    It lives in the database until it is removed, beside those that apps declare.
    """
    from fastq import codec
    from fastq.cron import Schedule, Timing, catch_up_of
    from fastq.errors import UsageError
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import put

    try:
        args = codec.loads(options["args"])
    except ValueError as exc:
        raise UsageError(f"--args is no JSON: {exc}") from None
    if not isinstance(args, dict):
        raise UsageError('--args must be a JSON object: names and values, like {"user_id": 7}')
    made = Schedule(
        name=name,
        timing=Timing(expression=expression, tz=options["tz"]),
        task=task,
        queue=options["queue"],
        priority=options["priority"],
        catch_up=catch_up_of(options["catch_up"]),
        args=args,
    )
    with steering(dsn, "schedules set") as conn:
        next_at = carry_out_sync(conn, put(made))
    if json:
        write({"schedules": [{"name": name, "next_at": next_at}]})
        return
    say(f"set {name}, next at {moment(next_at)}")


@schedules.command()
@_NAMES
@dsn_option
@json_option
def pause(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Enqueue no more jobs of a schedule until it is resumed, whatever its app says; those in line stay there."""
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import pause

    with steering(dsn, "schedules pause") as conn:
        changed = {name: carry_out_sync(conn, pause(name)) for name in names}
    if json:
        write({"schedules": [{"name": name, "paused": True, "changed": did} for name, did in changed.items()]})
        return
    for name, did in changed.items():
        say(f"paused {name}" if did else f"{name} was paused already")


@schedules.command()
@_NAMES
@dsn_option
@json_option
def resume(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Let a paused schedule go on with its next occurrence; what fell into the pause is not made up for."""
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import resume

    with steering(dsn, "schedules resume") as conn:
        next_at = {name: carry_out_sync(conn, resume(name)) for name in names}
    if json:
        told = [
            {"name": name, "paused": False, "changed": at is not None, "next_at": at} for name, at in next_at.items()
        ]
        write({"schedules": told})
        return
    for name, at in next_at.items():
        say(f"resumed {name}, next at {moment(at)}" if at else f"{name} was not paused")


@schedules.command()
@_NAMES
@dsn_option
@json_option
def run(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Enqueue a job of a schedule now, beside its occurrences."""
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import run

    with steering(dsn, "schedules run") as conn:
        jobs = {name: carry_out_sync(conn, run(name)) for name in names}
    if json:
        write({"schedules": [{"name": name, "job": job} for name, job in jobs.items()]})
        return
    for name, job in jobs.items():
        say(f"enqueued job {job} of {name}")


@schedules.command()
@_NAMES
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@dsn_option
@json_option
def remove(names: tuple[str, ...], yes: bool, dsn: str | None, json: bool) -> None:
    """Delete a schedule that no worker declares any more, as after its module was renamed or removed.

    Jobs that it has enqueued stay in their queue: `fastq jobs delete --task` deletes them.
    """
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.schedules import remove

    sure(f"Delete the schedule{'s' * (len(names) > 1)} {', '.join(names)}?", "nothing was deleted", yes=yes)
    with steering(dsn, "schedules remove") as conn:
        for name in names:
            carry_out_sync(conn, remove(name))
    if json:
        write({"schedules": [{"name": name, "removed": True} for name in names]})
        return
    for name in names:
        say(f"removed {name}")
