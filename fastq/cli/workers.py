"""`fastq workers`: list the worker processes of all hosts."""

from __future__ import annotations

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import steering, write
from fastq.cli.tables import worker_table
from fastq.terminal.table import display


@click.group()
def workers() -> None:
    """Look at the workers of all hosts."""


@workers.command("list")
@dsn_option
@json_option
def list_(dsn: str | None, json: bool) -> None:
    """List the worker processes: where they are, since when, what remains of their leases, what they have done."""
    from dataclasses import asdict

    from fastq.insights.survey import survey

    with steering(dsn, "workers list") as conn:
        seen = survey(conn)
    if json:
        write({"workers": [asdict(worker) for worker in seen.workers]})
        return
    display(worker_table(seen.workers) if seen.workers else "No workers: start some with `fastq worker MODULE:app`.")
