"""`fastq check`: an exit code for probes, fast and without the app."""

from __future__ import annotations

import socket
from typing import Any

import click

from fastq.cli.options import dsn_option
from fastq.terminal.speech import say

_PATIENCE_S = 5
_LOOK = """
select (select max(m.version) from fastq.migration m),
       (select count(*) from fastq.worker w where w.shard = 0 and w.host = %(host)s),
       (select count(*) from fastq.worker w where w.shard = 0 and w.host = %(host)s and w.expires_at > now())
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
    import psycopg

    from fastq.config import DsnSource, find_dsn
    from fastq.errors import DatabaseUnreachable, SchemaError
    from fastq.schema.files import newest

    found = find_dsn(dsn)
    value = found.value
    if found.source is DsnSource.EMBEDDED:
        from fastq import embedded

        value = embedded.ensure()
    try:
        with psycopg.connect(value, connect_timeout=_PATIENCE_S, application_name="fastq check") as conn:
            row: Any = conn.execute(_LOOK, {"host": socket.gethostname()}).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise SchemaError("the database has no fastq schema: run `fastq migrate`") from None
    except psycopg.OperationalError as exc:
        if live:
            say("the database does not answer, which is not this host's fault")
            return 0
        raise DatabaseUnreachable(f"cannot connect to PostgreSQL: {' '.join(str(exc).split())}") from None
    version, workers, alive = row
    if live:
        return _verdict(not workers or alive > 0, f"{alive} of this host's {workers} workers renew their leases")
    if version != newest():
        raise SchemaError(f"the database has fastq schema {version}, this code needs {newest()}")
    if ready:
        return _verdict(alive > 0, f"{alive} workers of this host run")
    return _verdict(well=True, said="the database answers and its schema fits")


def _verdict(well: bool, said: str) -> int:
    say(said)
    return 0 if well else 1
