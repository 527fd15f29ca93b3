"""Alembic: fastq's schema in a revision of yours, so that one command brings it with your tables.

    def upgrade() -> None:
        fastq.integrations.alembic.upgrade(op)

Write such a revision once, and again with each fastq that has a newer schema; `fastq migrate --check` tells.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, conninfo

from fastq.postgres import database
from fastq.postgres.connections import LIBPQ
from fastq.schema import migrator

_ARGUMENTS = {"host": "host", "port": "port", "username": "user", "password": "password", "database": "dbname"}


def upgrade(op: Any) -> None:
    """Bring fastq's schema up to date in the database that Alembic migrates. A `downgrade` can leave it as it is.

    With psycopg it is part of Alembic's transaction. With another driver it is done on a connection of its own, and
    stays although the revision fails; it may be repeated. Offline (`--sql`) it writes the SQL of the whole schema.

    Args:
        op: `alembic.op`.

    Raises:
        SchemaError: the schema is newer than this fastq, or the role may not.

    """
    if op.get_context().as_sql:
        op.get_context().impl.static_output(_within(migrator.script()))  # as it is: percent signs are not doubled
        return
    bind = op.get_bind()
    driver = bind.connection.driver_connection
    if isinstance(driver, Connection):
        bind.exec_driver_sql("select 1")  # SQLAlchemy's transaction has begun
        migrator.migrate(driver)
        return
    with database.connect(_dsn(bind.engine.url), "fastq migrate") as conn:
        migrator.migrate(conn)


def _dsn(url: Any) -> str:
    """Return a URL of SQLAlchemy's as a DSN, with those of its options that libpq knows."""
    given = {new: getattr(url, old) for old, new in _ARGUMENTS.items() if getattr(url, old)}
    given |= {name: value for name, value in url.query.items() if name in LIBPQ and isinstance(value, str)}
    return conninfo.make_conninfo(**given)


def _within(script: str) -> str:
    """Return a script without its own transaction: Alembic's is around it."""
    return script.removeprefix("begin;\n").removesuffix("commit;\n")
