"""`fastq check`: an exit code for probes, fast and without the app."""

from __future__ import annotations

import click

from fastq.cli.options import dsn_option
from fastq.cli.probe import Probe


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
    return Probe(dsn, ready, live).run()
