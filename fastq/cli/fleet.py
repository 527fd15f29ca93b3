"""`fastq fleet`: look at the hosts, and steer their supervisors."""

from __future__ import annotations

from collections.abc import Callable

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import apart, steering, write
from fastq.terminal.speech import say
from fastq.terminal.table import Column, Table, display

_COLUMNS = (
    Column(name="HOST", text=True),
    Column(name="WORKERS"),
    Column(name="VERSION", text=True, rank=2),
    Column(name="RUNNING"),
    Column(name="OF"),
    Column(name="MEMORY", rank=1),
    Column(name="LATE", style=lambda cell: "" if cell == "-" else "red"),
)


@click.group()
def fleet() -> None:
    """Look at the hosts, and steer their supervisors."""


@fleet.command("list")
@dsn_option
@json_option
def list_(dsn: str | None, json: bool) -> None:
    """List the hosts: their workers, versions, what they run and could run at once, and which of them leads."""
    from dataclasses import asdict

    from fastq.insights.fleet import hosts

    with steering(dsn, "fleet list") as conn:
        found = hosts(conn)
    if json:
        write({"hosts": [asdict(host) for host in found]})
        return
    rows = [
        (
            host.name + " (leads)" * host.leads,
            str(host.workers),
            ", ".join(host.versions) or "-",
            f"{host.running:,}",
            f"{host.concurrency:,}",
            f"{host.memory_bytes / 2**20:,.0f} MB",
            str(host.late) if host.late else "-",
        )
        for host in found
    ]
    display(Table(_COLUMNS, rows) if rows else "No worker runs: start one with `fastq worker MODULE:app`.")


def which(command: Callable[..., None]) -> Callable[..., None]:
    """Add --host and --all."""
    host = click.option(
        "--host", help="Only the supervisors of this host, by the name that `fastq workers list` shows."
    )
    return host(click.option("--all", is_flag=True, help="All of them.")(command))


@fleet.command()
@which
@dsn_option
@json_option
def drain(host: str | None, all: bool, dsn: str | None, json: bool) -> None:  # noqa: A002 - as the option is called
    """Let supervisors finish what is running and exit, as TERM does. Those started later are not affected."""
    from fastq.protocol.worker import drain

    _checked(host, all)
    with steering(dsn, "fleet drain") as conn:
        _tell(drain(conn, host), "drain", json=json)


@fleet.command()
@click.option("-p", "--processes", type=click.IntRange(1, 1024), help="Worker processes of each supervisor.")
@click.option("-c", "--concurrency", type=click.IntRange(1, 10_000), help="Jobs that each process runs at once.")
@which
@dsn_option
@json_option
def resize(
    processes: int | None,
    concurrency: int | None,
    host: str | None,
    all: bool,  # noqa: A002 - as the option is called
    dsn: str | None,
    json: bool,
) -> None:
    """Let supervisors have more or fewer processes, or processes run more or fewer jobs at once, without a restart.

    What runs goes on to its end. It holds until a supervisor is restarted: then its own options hold again.
    """
    from fastq.errors import UsageError
    from fastq.protocol.worker import resize

    _checked(host, all)
    if processes is None and concurrency is None:
        raise UsageError("say how many: -p/--processes, -c/--concurrency, or both")
    with steering(dsn, "fleet resize") as conn:
        _tell(resize(conn, host, processes=processes, concurrency=concurrency), "resize", json=json)


def _checked(host: str | None, every: bool) -> None:
    from fastq.errors import UsageError

    apart({"--host": host, "--all": every})
    if host is None and not every:
        raise UsageError("say which: --host NAME, or --all")


def _tell(told: int, what: str, *, json: bool) -> None:
    if json:
        write({"workers": told})
    else:
        say(f"told {told} worker{'' if told == 1 else 's'} to {what}" if told else f"no worker is there to {what}")
