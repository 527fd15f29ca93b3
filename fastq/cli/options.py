"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from fastq.cli.values import Text

# No envvar: FASTQ_DSN comes after the app's own, which `find_dsn` sees to; FASTQ_<COMMAND>_DSN is as good as typed.
dsn_option = click.option(
    "--dsn",
    type=Text(),
    help="The database. Default: the first that is set of the app's DSN, FASTQ_DSN, "
    "DATABASE_URL and PGHOST…, or else the embedded server.",
)
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
