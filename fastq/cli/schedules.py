"""`fastq schedules`: list recurring jobs, pause and resume them, remove those that no worker declares any more."""

from __future__ import annotations

import click

from fastq.cli.job_view import moment
from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import steering, sure, write
from fastq.cli.values import Text
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
    """Look at recurring jobs; pause, resume, run and remove them."""


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

    from fastq.protocol.schedules import list_schedules

    with steering(dsn, "schedules list") as conn:
        found = list_schedules(conn)
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


@schedules.command()
@_NAMES
@dsn_option
@json_option
def pause(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Enqueue no more jobs of a schedule until it is resumed, whatever its app says; those in line stay there."""
    from fastq.protocol.schedules import pause

    with steering(dsn, "schedules pause") as conn:
        changed = {name: pause(conn, name) for name in names}
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
    from fastq.protocol.schedules import resume

    with steering(dsn, "schedules resume") as conn:
        next_at = {name: resume(conn, name) for name in names}
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
    from fastq.protocol.schedules import run

    with steering(dsn, "schedules run") as conn:
        jobs = {name: run(conn, name) for name in names}
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
    from fastq.protocol.schedules import remove

    sure(f"Delete the schedule{'s' * (len(names) > 1)} {', '.join(names)}?", "nothing was deleted", yes=yes)
    with steering(dsn, "schedules remove") as conn:
        for name in names:
            remove(conn, name)
    if json:
        write({"schedules": [{"name": name, "removed": True} for name in names]})
        return
    for name in names:
        say(f"removed {name}")
