"""fastq's schema in Django's databases: with `manage.py migrate`, by `fastq_migrate`, or where a migration says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.operations.base import Operation

from fastq.django.compat import task_backends
from fastq.django.databases import dsn_of
from fastq.postgres import database
from fastq.schema import migrator


def homes() -> set[str]:
    """Return the aliases of the databases that have jobs: those of the backends, or Django's default."""
    from fastq.django.backend import Backend

    found = {backend.database for backend in task_backends.all() if isinstance(backend, Backend)}
    return found or {DEFAULT_DB_ALIAS}


def bring_up_to_date(alias: str, report: Callable[[str], None] = lambda _: None) -> int:
    """Bring the schema of a database up to date, on a connection of its own; returns how many steps that took.

    Raises:
        SchemaError: it is newer than this fastq, or the role may not.

    """
    with database.connect(dsn_of(alias), "fastq migrate") as conn:
        return migrator.migrate(conn, report=report)


def after_migrate(using: str, verbosity: int = 1, stdout: Any = None, **kwargs: Any) -> None:
    """Do so after `manage.py migrate`, and when Django has made a database for its tests."""
    if using not in homes():
        return
    told = stdout.write if stdout is not None and verbosity >= 1 else print if verbosity >= 1 else lambda _: None
    bring_up_to_date(using, lambda title: told(f"  fastq: {title}"))


class Migrate(Operation):
    """An operation for a migration of yours that needs fastq's schema, such as one with a trigger that enqueues.

    It brings the schema up to date on a connection of its own. Going back leaves it: it serves what came before.

    Example:
        ``operations = [fastq.django.schema.Migrate(), migrations.RunSQL("create trigger …")]``

    """

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing of what Django knows of models."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Bring the schema up to date, where jobs are kept."""
        alias = schema_editor.connection.alias
        if alias in homes() and not schema_editor.collect_sql:
            bring_up_to_date(alias)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Leave it as it is."""

    def describe(self) -> str:
        """Say what it does."""
        return "Bring the schema of fastq up to date"
