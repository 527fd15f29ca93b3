"""Where `fastq` and `python -m fastq` begin."""

from __future__ import annotations

import os
import sys

from fastq.cli import early


def main() -> None:
    """Run the command line and leave with its exit code."""
    early.open_streams()
    early.catch_interrupt()
    if wrong := early.stranger():
        sys.stderr.write(f"fastq: {wrong}\n")
        sys.exit(2)
    from fastq.cli import probe

    if (asked := probe.parse(sys.argv[1:])) is not None:
        os._exit(probe.main(asked))  # taking the interpreter down would be a sixth of its time
    from fastq.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
