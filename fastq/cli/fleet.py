"""`fastq fleet`: steer the supervisors of all hosts."""

from __future__ import annotations

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import apart, steering, write
from fastq.terminal.speech import say


@click.group()
def fleet() -> None:
    """Steer the supervisors of all hosts."""


@fleet.command()
@click.option("--host", help="Only the supervisors of this host, by the name that `fastq workers list` shows.")
@click.option("--all", is_flag=True, help="All of them.")
@dsn_option
@json_option
def drain(host: str | None, all: bool, dsn: str | None, json: bool) -> None:  # noqa: A002 - as the option is called
    """Let supervisors finish what is running and exit, as TERM does. Those started later are not affected."""
    from fastq.errors import UsageError
    from fastq.protocol.worker import drain

    apart({"--host": host, "--all": all})
    if host is None and not all:
        raise UsageError("say which: --host NAME, or --all")
    with steering(dsn, "fleet drain") as conn:
        told = drain(conn, host)
    if json:
        write({"workers": told})
    else:
        say(f"told {told} worker{'' if told == 1 else 's'} to drain" if told else "no worker is there to drain")
