"""`manage.py fastq [--database ALIAS] …`: every command of `fastq`, on a database of this project."""

from __future__ import annotations

from fastq.django.command import Passing


class Command(Passing):
    """See and steer the jobs of this project."""

    help = "Call `fastq` with the database of this project: `manage.py fastq status`, `manage.py fastq jobs list`, …"

    def arguments(self, rest: list[str], alias: str) -> list[str]:
        """Pass everything on."""
        return rest
