"""What `manage.py check` says of fastq: settings that cannot work; with --database, a schema that is not ours."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionDoesNotExist

from fastq.django import compat
from fastq.django.databases import dsn_of
from fastq.errors import FastqError
from fastq.postgres import database
from fastq.schema import migrator

if TYPE_CHECKING:
    from fastq.django.backend import Backend


def check_backend(backend: Backend) -> list[checks.CheckMessage]:
    """Look at the settings of a backend."""
    found: list[checks.CheckMessage] = []
    try:
        dsn_of(backend.database)
    except (ConnectionDoesNotExist, ImproperlyConfigured) as exc:
        hint = "Set OPTIONS['DATABASE'] to a PostgreSQL database of DATABASES, with psycopg 3 installed."
        found.append(checks.Error(f"TASKS[{backend.alias!r}]: {exc}", hint=hint, id="fastq.E001"))
    if not apps.is_installed("fastq.django"):
        hint = "Add 'fastq.django' to INSTALLED_APPS: it brings the commands, and the schema with `manage.py migrate`."
        found.append(checks.Warning("'fastq.django' is not installed.", hint=hint, id="fastq.W001"))
    return found


@checks.register
def check_backends(app_configs: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Look at the settings of fastq's backends, where Django does not do so by itself."""
    if apps.is_installed("django_tasks") or compat.task_backends.__class__.__module__.startswith("django.tasks"):
        return []
    return [found for backend in compat.task_backends.all() for found in backend.check()]


@checks.register(checks.Tags.database)
def check_schema(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Look whether the databases of the backends have fastq's schema as this fastq needs it."""
    from fastq.django.schema import homes

    found: list[checks.CheckMessage] = []
    for alias in homes() & set(databases or ()):
        try:
            with suppress(ImproperlyConfigured), database.connect(dsn_of(alias), "fastq check") as conn:
                migrator.check_all(conn)
        except FastqError as exc:
            hint = f"Run `manage.py fastq_migrate --database {alias}`, or `manage.py migrate --database {alias}`."
            found.append(
                checks.Warning(f"Database {alias!r}: {exc}", hint=hint, id="fastq.W002")
            )  # errors stop migrate
    return found
