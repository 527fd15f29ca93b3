"""What the commands that see and steer share: a connection, the question before something is lost, and times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fastq.terminal.speech import answer

if TYPE_CHECKING:
    from psycopg import Connection


@contextmanager
def steering(dsn: str | None, name: str) -> Iterator[Connection[Any]]:
    """Give a connection to a database whose schema fits; what PostgreSQL refuses is reported in one line."""
    from fastq.config import find_dsn
    from fastq.postgres import database
    from fastq.protocol.refusal import as_our_errors
    from fastq.schema import migrator

    with database.connect(database.reachable(find_dsn(dsn)), f"fastq {name}") as conn:
        migrator.check(conn)
        with as_our_errors(), database.as_ours_sync(conn):
            yield conn


def apart(given: dict[str, Any]) -> None:
    """Refuse options that cannot stand together.

    Raises:
        UsageError: more than one of them was given.

    """
    from fastq.errors import UsageError

    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"give {' or '.join(names)}, not {'both' if len(names) == 2 else 'all of them'}")


def sure(question: str, otherwise: str, *, yes: bool) -> None:
    """Ask before something is lost, unless `yes`.

    Raises:
        UsageError: the answer is no, or there is nobody to give one.

    """
    from fastq.errors import UsageError

    if yes:
        return
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        raise UsageError(f"{otherwise}: answer y, or give --yes") from None


def write(value: dict[str, Any]) -> None:
    """Write one JSON object."""
    from fastq import codec

    answer(codec.dumps(value))
