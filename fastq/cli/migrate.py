"""`fastq migrate`: the schema."""

from __future__ import annotations

import click

from fastq.cli.options import dsn_option
from fastq.terminal.speech import say


@click.command()
@dsn_option
@click.option("--check", is_flag=True, help="Change nothing; exit with 4 unless everything is as this fastq needs it.")
@click.option(
    "--sql", is_flag=True, help="Change nothing; print the SQL for a DBA; with --dsn, only what differs there."
)
@click.option("--shards", type=click.IntRange(1, 1024), help="Set the number of shards (it can only grow).")
@click.option("--citus", is_flag=True, help="Spread the tables over the nodes of a Citus cluster.")
def migrate(dsn: str | None, check: bool, sql: bool, shards: int | None, citus: bool) -> None:
    """Bring the schema up to date. Forward only; safe to run twice, and from two hosts at once."""
    from fastq.cli.steering import apart
    from fastq.config import find_dsn
    from fastq.errors import SchemaError
    from fastq.postgres import database
    from fastq.schema import cluster, migrator
    from fastq.schema.files import newest
    from fastq.schema.plan import newer

    apart({"--check": check, "--sql": sql, "--shards": shards})
    if sql:
        if dsn is None:
            click.echo(migrator.script(), nl=False)
        else:
            with database.connect(dsn, "fastq migrate") as conn:
                click.echo(migrator.script(conn), nl=False)
        return
    with database.connect(database.server(find_dsn(dsn)), "fastq migrate") as conn:
        if check:
            migrator.check_all(conn)
            found = migrator.ahead(conn)
            say(f"the schema is at {newest()}, as this fastq needs it" if found is None else _suits(found))
            return
        applied = migrator.migrate(conn, shards=shards, report=say)
        if (found := migrator.ahead(conn)) is not None:
            if citus:
                raise SchemaError(newer(found))
            say(_suits(found))
            return
        if citus or (cluster.is_spread(conn) and (applied or shards)):
            cluster.spread(conn, say)
        say(f"the schema is at {newest()}" + ("" if applied else "; nothing to do"))
        if applied and migrator.has_grants(conn):
            say("other roles have rights here: repeat the grants of docs/roles.md for what is new")


def _suits(found: int) -> str:
    """Say that a newer fastq has migrated, and that this one can go on."""
    return f"the schema is at {found}, of a newer fastq, and suits this one: nothing to do"
