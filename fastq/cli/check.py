"""`fastq check`: an exit code for probes, fast and without the app."""

from __future__ import annotations

import socket
from typing import Any

import click

from fastq.cli.options import dsn_option
from fastq.terminal.speech import say

_LOOK = """
select count(*), count(*) filter (where w.expires_at > now()) from fastq.worker w
where w.shard = 0 and w.host = %(host)s
"""


@click.command()
@dsn_option
@click.option("--ready", is_flag=True, help="Also fail unless a worker of this host is running.")
@click.option("--live", is_flag=True, help="Fail only if workers of this host no longer renew their leases.")
def check(dsn: str | None, ready: bool, live: bool) -> int:
    """Tell by the exit code whether the database answers and its schema fits; for probes.

    With --live a database that does not answer is no failure: restarting a host would not help it.

    \b
    exit: 0 well, 1 not, 3 database unreachable, 4 schema missing or wrong
    """
    from fastq.config import find_dsn
    from fastq.errors import DatabaseUnreachable
    from fastq.jobs import as_our_errors
    from fastq.postgres import database
    from fastq.schema import migrator

    try:
        with database.connect(database.server(find_dsn(dsn)), "fastq check") as conn, as_our_errors():
            if not live:
                migrator.check(conn)
            row: Any = conn.execute(_LOOK, {"host": socket.gethostname()}).fetchone()
    except DatabaseUnreachable:
        if not live:
            raise
        say("the database does not answer, which is not this host's fault")
        return 0
    workers, alive = row
    if live:
        return _verdict(not workers or alive > 0, f"{alive} of this host's {workers} workers renew their leases")
    if ready:
        return _verdict(alive > 0, f"{alive} workers of this host run")
    return _verdict(well=True, said="the database answers and its schema fits")


def _verdict(well: bool, said: str) -> int:
    say(said)
    return 0 if well else 1
