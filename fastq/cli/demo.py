"""`fastq demo`: real work on this machine's own Python files; nothing is left behind."""

from __future__ import annotations

import click

from fastq.cli.options import json_option
from fastq.cli.steering import write
from fastq.terminal.speech import say

PROCESSES_MOST = 8
"""More would want more connections than the embedded server gives, for a demo that lasts seconds."""


@click.command()
@click.option("--files", type=click.IntRange(1), help="Index at most this many files.  [default: all]")
@click.option("--path", multiple=True, type=click.Path(exists=True), help="Index the files below this instead.")
@click.option("--noop", type=click.IntRange(0), default=300_000, show_default=True, help="Drain this many no-op jobs.")
@click.option(
    "-p", "--processes", type=click.IntRange(1, 64), help="Worker processes.  [default: one per CPU, at most 8]"
)
@click.option("--keep", is_flag=True, help="Keep the server's directory, to look at the tables afterwards.")
@json_option
def demo(files: int | None, path: tuple[str, ...], noop: int, processes: int | None, keep: bool, json: bool) -> None:
    """See fastq do real work: index the Python files of this machine, then drain no-op jobs.

    It starts a PostgreSQL of its own in a temporary directory, enqueues one job per .py file of the standard library
    and of what is installed beside fastq, and runs `fastq worker` over them: each job parses its file and writes the
    public functions and classes it finds. Progress goes to stderr, the summary to stdout. Nothing is left behind.
    """
    import shutil
    import sys

    from fastq.demo.run import DemoOptions, run
    from fastq.supervisor import processes_here

    processes = processes or min(processes_here(), PROCESSES_MOST)
    options = DemoOptions(processes=processes, below=path, files=files, noops=noop, keep=keep)
    summary = run(options, sys.stderr)
    if json:
        write(summary.to_json())
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    say("\n" + "\n".join(summary.lines(width)))
