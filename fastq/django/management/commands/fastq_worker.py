"""`manage.py fastq_worker [--database ALIAS] …`: `fastq worker`, with the tasks of this project."""

from __future__ import annotations

from fastq.django.command import Passing


class Command(Passing):
    """Run workers for the jobs of this project."""

    help = "Run workers for the jobs of this project; the options are those of `fastq worker`."

    def arguments(self, rest: list[str], alias: str) -> list[str]:
        """Name the app of the database."""
        return ["worker", f"fastq.django.worker:{'app' if alias == 'default' else alias}", *rest]
