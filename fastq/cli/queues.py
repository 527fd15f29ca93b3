"""`fastq queues`: list queues, pause and resume them, limit them, purge what waits in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import steering, sure, write
from fastq.cli.values import WEIGHT_MOST, Name, Number, Rate, rate_text
from fastq.terminal.speech import say

if TYPE_CHECKING:
    from psycopg import Connection

_NAMES = click.argument("names", metavar="QUEUE…", type=Name(), nargs=-1, required=True)


@click.group()
def queues() -> None:
    """Look at queues; pause, resume, limit and purge them."""


@queues.command("list")
@dsn_option
@json_option
def list_(dsn: str | None, json: bool) -> None:
    """List the queues that have jobs or settings, and how many jobs stand where; ~ marks an estimate."""
    from fastq.cli.status import as_dict
    from fastq.cli.tables import queue_table
    from fastq.insights.survey import survey
    from fastq.terminal.table import display

    with steering(dsn, "queues list") as conn:
        seen = survey(conn)
    if json:
        write({"queues": as_dict(seen)["queues"]})
        return
    display(queue_table(seen.queues) if seen.queues else "No queues.")


@queues.command()
@_NAMES
@dsn_option
@json_option
def pause(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Stop the whole fleet from claiming jobs of a queue; what was claimed runs on, and enqueueing goes on."""
    from fastq.protocol.queues import pause

    with steering(dsn, "queues pause") as conn:
        _note_strangers(conn, names)
        changed = {name: pause(conn, name) for name in names}
    if json:
        write({"queues": [{"name": name, "paused": True, "changed": did} for name, did in changed.items()]})
        return
    for name, did in changed.items():
        say(f"paused {name}" if did else f"{name} was paused already")


@queues.command()
@_NAMES
@dsn_option
@json_option
def resume(names: tuple[str, ...], dsn: str | None, json: bool) -> None:
    """Let the fleet claim jobs of a paused queue again."""
    from fastq.protocol.queues import resume

    with steering(dsn, "queues resume") as conn:
        _note_strangers(conn, names)
        changed = {name: resume(conn, name) for name in names}
    if json:
        write({"queues": [{"name": name, "paused": False, "changed": did} for name, did in changed.items()]})
        return
    for name, did in changed.items():
        say(f"resumed {name}" if did else f"{name} was not paused")


@queues.command("set")
@_NAMES
@click.option(
    "--max-running",
    type=Number(0),
    help="Run at most this many jobs at a time, in the whole fleet; `none` removes the limit.",
)
@click.option(
    "--max-running-per-group", type=Number(0), help="At most this many jobs of each group; `none` removes the limit."
)
@click.option(
    "--rate", type=Rate(), help="Start at most this many jobs per time: 100/s, 30/m, 5/h; `none` removes the limit."
)
@click.option(
    "--weight",
    type=Number(1, WEIGHT_MOST),
    help="Its share of the claims beside other queues; `none`: as workers were started.",
)
@dsn_option
@json_option
def set_(names: tuple[str, ...], dsn: str | None, json: bool, **options: Any) -> None:
    """Limit queues, over all workers of the fleet, or weigh them; without an option, show what is set.

    Workers read the settings about once a second. What was claimed before still runs.
    """
    from dataclasses import asdict

    from fastq.protocol.limits import set_queue

    changes = {name: None if value == "none" else value for name, value in options.items() if value is not None}
    with steering(dsn, "queues set") as conn:
        _note_strangers(conn, names)
        now = [asdict(set_queue(conn, name, **changes)) for name in names]
    if json:
        write({"queues": now})
        return
    for queue in now:
        known = {key: value for key, value in queue.items() if key != "name" and value is not None}
        told = [
            f"{key.replace('_', ' ')} {rate_text(value) if key == 'rate' else value}" for key, value in known.items()
        ]
        say(f"{queue['name']}: {', '.join(told) or 'no limits'}")


@queues.command()
@_NAMES
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@dsn_option
@json_option
def purge(names: tuple[str, ...], yes: bool, dsn: str | None, json: bool) -> None:
    """Delete all jobs of a queue that wait, with or without a time. What runs goes on, failed jobs stay.

    Workers and producers may go on meanwhile: what is claimed or enqueued at that moment is left alone.
    """
    from fastq.protocol.queues import purge

    sure(f"Delete all waiting jobs of {', '.join(names)}?", "nothing was deleted", yes=yes)
    with steering(dsn, "queues purge") as conn:
        _note_strangers(conn, names)
        deleted = {name: purge(conn, name) for name in names}
    if json:
        write({"deleted": sum(deleted.values()), "queues": [{"name": n, "deleted": d} for n, d in deleted.items()]})
        return
    for name, jobs in deleted.items():
        say(f"deleted {jobs:,} waiting job{'s' * (jobs != 1)} of {name}")


def _note_strangers(conn: Connection[Any], names: tuple[str, ...]) -> None:
    """Say which queues nobody knows of yet. It is no error: a queue may be paused or limited before its first job."""
    from difflib import get_close_matches

    from fastq.insights.survey import QUEUES_MOST, survey

    known = {queue.name for queue in survey(conn).queues}
    if len(known) >= QUEUES_MOST:
        return
    for name in names:
        if name not in known:
            alike = get_close_matches(name, known, 1)
            hint = f"; did you mean {alike[0]!r}?" if alike else ""
            say(f"note: {name!r} is new here: no job stands in it, nothing was set for it{hint}", err=True)
