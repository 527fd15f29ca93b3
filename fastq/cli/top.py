"""`fastq top`: the fleet in a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import click

from fastq.cli.options import dsn_option


@click.command()
@dsn_option
def top(dsn: str | None) -> None:
    """Watch queues, workers and jobs in a terminal, and steer them by keys.

    Needs the extra fastq-pg[top]. Arrows choose a queue, p pauses or resumes it, Enter shows its jobs, r those that
    run, f those that failed; there r retries, c cancels, d deletes, Escape goes back. q quits.
    """
    from fastq.config import find_dsn
    from fastq.errors import UsageError
    from fastq.postgres import database
    from fastq.protocol.refusal import as_our_errors
    from fastq.schema import migrator

    try:
        from fastq.top.screen import Top
    except ImportError as exc:
        raise UsageError(f"{exc.name} is missing: pip install 'fastq-pg[top]'") from None
    alone = threading.Lock()
    with database.connect(database.reachable(find_dsn(dsn)), "fastq top") as conn:
        migrator.check(conn)

        def ask(question: Callable[[Any], Any]) -> Any:
            with alone, as_our_errors(), database.as_ours_sync(conn), database.answering(conn):
                return question(conn)

        Top(ask).run()
