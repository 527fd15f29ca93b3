"""`fastq db`: the embedded PostgreSQL. Start it for good, stop it, look at it, open psql in it, throw it away."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fastq.cli.options import json_option
from fastq.cli.steering import write
from fastq.cli.values import Text
from fastq.terminal.speech import say

if TYPE_CHECKING:
    from fastq.embedded import Status

_base_option = click.option(
    "--base",
    envvar="FASTQ_HOME",
    type=Text(),
    metavar="DIR",
    help="The server's directory.  [default: /var/lib/fastq for root, else ~/.local/share/fastq]",
)


@click.group()
def db() -> None:
    """The embedded PostgreSQL, which serves when no DSN is given."""


@db.command()
@_base_option
@json_option
def start(base: str | None, json: bool) -> None:
    """Start the server, bring its schema up to date, and leave it running until `fastq db stop`."""
    from fastq import embedded
    from fastq.postgres import database
    from fastq.schema import migrator

    dsn = embedded.start_detached(base)
    with database.connect(dsn, "fastq db start") as conn:
        migrator.migrate(conn)
    if json:
        write({"dsn": dsn})
        return
    say(embedded.describe(embedded.status(base)))
    say(f"it stays until `fastq db stop`; other programs reach it with the DSN\n{dsn}")


@db.command()
@_base_option
def stop(base: str | None) -> None:
    """Stop the server now, whoever uses it. Jobs stay; the next use starts it again."""
    from fastq import embedded

    say("stopped" if embedded.stop(base) else "it was not running")


@db.command()
@_base_option
@json_option
def status(base: str | None, json: bool) -> None:
    """Say whether the server runs, where it lies and how large it is."""
    from fastq import embedded

    found = embedded.status(base)
    if json:
        write(_as_json(found))
        return
    say(embedded.describe(found))
    for name, value in _rows(found):
        say(f"  {name:<7} {value}")


@db.command(context_settings={"ignore_unknown_options": True})
@_base_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(base: str | None, arguments: tuple[str, ...]) -> None:
    """Open psql in the server's database, starting the server if need be; ARGUMENTS are psql's own."""
    from fastq import embedded

    dsn = embedded.ensure(base)
    # Over exec too: the server stays while psql runs.
    os.set_inheritable(embedded.hold(base).fd, True)
    path = _psql_path(lambda: str(embedded.program("psql", base)))
    os.execv(path, [path, dsn, *arguments])  # noqa: S606 - psql takes our place


@db.command()
@_base_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset(base: str | None, yes: bool) -> None:
    """Stop the server and delete its data: all jobs, and every other table in it."""
    from fastq import embedded
    from fastq.errors import UsageError

    found = embedded.status(base)
    if found.data is None:
        say(f"there is nothing in {found.base}")
        return
    if not yes:
        try:
            click.confirm(f"Delete {found.data} ({_size(found.data_bytes)}) with all jobs?", abort=True, err=True)
        except click.Abort:
            raise UsageError("nothing was deleted: answer y, or give --yes") from None
    embedded.reset(base)
    say(f"deleted {found.data}")


def _psql_path(bundled: Callable[[], str]) -> str:
    """Return the psql to run: that of the server's binaries, else one on PATH."""
    import shutil

    from fastq.errors import EmbeddedError

    try:
        return bundled()
    except EmbeddedError as error:
        if found := shutil.which("psql"):
            return found
        raise EmbeddedError(
            f"there is no psql here ({error}): install PostgreSQL's client, or use any other client with the DSN that"
            " `fastq db start --json` prints"
        ) from None


def _rows(found: Status) -> list[tuple[str, str]]:
    rows = [("dsn", found.dsn), ("data", f"{found.data or 'none yet'}"), ("log", str(found.log))]
    if found.data is not None:
        rows[1] = ("data", f"{found.data} ({_size(found.data_bytes)})")
    if found.running:
        rows.append(("pid", f"{found.pid}, kept by {found.keeper_pid}"))
        rows.append(("until", "`fastq db stop`" if found.detached else "nobody uses it any more"))
    return rows


def _as_json(found: Status) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in asdict(found).items()}


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
