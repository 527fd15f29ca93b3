"""The `fastq` command: finds the subcommand, turns errors into one sentence and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from fastq import __version__
from fastq.cli import early
from fastq.errors import FastqError
from fastq.terminal import speech

LISTENER_GONE = 141
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

COMMANDS = {
    "bench": "measure your own database: throughput, enqueue, latency",
    "check": "an exit code for probes: does the database answer, do workers run here",
    "dashboard": "a page to see and steer jobs, queues, schedules and workers",
    "db": "the embedded PostgreSQL: start, stop, status, psql, reset",
    "demo": "see fastq do real work on this machine's own files",
    "doctor": "what is wrong, why it matters, and what to type",
    "enqueue": "enqueue one job, or millions from a file or a pipe",
    "fleet": "look at the hosts; drain their supervisors",
    "jobs": "look at jobs; retry, cancel and delete them",
    "migrate": "bring the schema up to date, or check or print it",
    "queues": "look at queues; pause, resume and purge them",
    "schedules": "look at recurring jobs; set, pause, resume, run and remove them",
    "status": "how many jobs are in which state, and the workers",
    "top": "watch queues, workers and jobs in a terminal",
    "worker": "run the supervisor and its workers",
    "workers": "look at the workers of all hosts",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands without importing any."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"fastq.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would turn a listener's going away into exit 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return LISTENER_GONE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "FASTQ", "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fastq %(version)s")
def cli() -> None:
    """Background jobs in PostgreSQL.

    Every option can also be set in the environment: FASTQ_<COMMAND>_<OPTION>, such as FASTQ_WORKER_PROCESSES=4.
    """


def main(args: list[str] | None = None, *, command: click.Command = cli, program: str = "fastq") -> Any:
    """Run a command line and leave with its exit code."""
    speech.ready_streams()
    code = _heard(lambda: _run(args, command, program))
    early.catch_interrupt()
    if code:  # the reason is printed already
        with suppress(OSError):
            speech.finish_streams()
    else:
        code = _heard(speech.finish_streams)
    sys.exit(code)


def _heard(act: Callable[[], int | None]) -> int:
    """Act; return its exit code, or that of an output which does not take what is written."""
    try:
        return act() or 0
    except BrokenPipeError:
        return LISTENER_GONE
    except OSError as exc:
        if exc.filename is None and exc.errno not in _FULL:
            raise
        speech.complain(f"fastq: {exc.filename or 'the output cannot be written'}: {exc.strerror}")
        return 1


def _run(args: list[str] | None, command: click.Command, program: str) -> int:
    try:
        early.release_interrupt()
        code = command.main(args, prog_name=program, standalone_mode=False)
    except click.ClickException as exc:
        with suppress(OSError):
            exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        speech.say("stopped", err=True)
        return early.STOPPED
    except FastqError as exc:
        speech.complain(f"fastq: {exc}")
        return exc.exit_code
    return code if isinstance(code, int) else 0
