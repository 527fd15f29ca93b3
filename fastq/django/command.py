"""How `manage.py` calls fastq's own command: in its place, with Django's settings and the DSN of its database."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS

from fastq.django.databases import dsn_of


def become(arguments: list[str], alias: str = DEFAULT_DB_ALIAS) -> NoReturn:
    """Go on as `fastq …`: the process that starts workers should have neither Django nor a database driver in it."""
    home = str(Path(sys.argv[0]).resolve().parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FASTQ_DSN": dsn_of(alias)}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "fastq", *arguments], environ)  # noqa: S606 - it is ours


class Passing(BaseCommand):
    """A command whose arguments are fastq's: Django takes those in front of them, --database and its own."""

    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Take `--database` off, and pass on all the rest."""
        rest, alias = argv[2:], DEFAULT_DB_ALIAS
        if rest[:1] == ["--database"] and len(rest) > 1:
            rest, alias = rest[2:], rest[1]
        elif rest and rest[0].startswith("--database="):
            rest, alias = rest[1:], rest[0].partition("=")[2]
        become(self.arguments(rest, alias), alias)

    def arguments(self, rest: list[str], alias: str) -> list[str]:
        """Return what `fastq` is called with."""
        raise NotImplementedError
