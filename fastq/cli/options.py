"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from fastq.cli.values import Text


def dsn_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dsn and --schema; what is done by this process, and by those that it starts, is done in that schema."""
    # No envvar: FASTQ_DSN comes after the app's own, which `find_dsn` sees to; FASTQ_<COMMAND>_DSN is as good as typed.
    command = click.option(
        "--schema",
        type=Text(),
        expose_value=False,
        callback=_use_schema,
        help="The schema there. Default: the first that is set of the app's schema and FASTQ_SCHEMA, or else fastq.",
    )(command)
    return click.option(
        "--dsn",
        type=Text(),
        help="The database. Default: the first that is set of the app's DSN, FASTQ_DSN, "
        "DATABASE_URL and PGHOST…, or else the embedded server.",
    )(command)


def _use_schema(_ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    if name is not None:
        from fastq.sql.naming import use_schema

        use_schema(name)
        os.environ["FASTQ_SCHEMA"] = name


json_option = click.option("--json", is_flag=True, help="Write one JSON object, for programs.")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --log-level and --log-format."""
    levels = click.Choice(["debug", "info", "warning", "error"])
    command = click.option("--log-level", envvar="FASTQ_LOG_LEVEL", type=levels, default="info", show_default=True)(
        command
    )
    formats = click.Choice(["console", "json"])
    return click.option("--log-format", envvar="FASTQ_LOG_FORMAT", type=formats, default="console", show_default=True)(
        command
    )
