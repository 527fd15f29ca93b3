"""`python -m fastq.embedded keep BASE [--detach]`: the keeper; started by launch.py, by hand to debug."""

from __future__ import annotations

import sys

from fastq.embedded.keeper import keep

USAGE = "usage: python -m fastq.embedded keep BASE [--detach]\n"


def main(arguments: list[str]) -> int:
    """Run the keeper."""
    match arguments:
        case ["keep", base]:
            return keep(base, detach=False)
        case ["keep", base, "--detach"]:
            return keep(base, detach=True)
        case _:
            sys.stderr.write(USAGE)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
