"""`manage.py fastq_migrate`: fastq's schema alone, without Django's migrations."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from fastq.errors import FastqError


class Command(BaseCommand):
    """Bring fastq's schema up to date."""

    help = "Bring fastq's schema up to date. `manage.py migrate` does so, too."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        """Take the database."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="The alias of the database.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        from fastq.django.schema import bring_up_to_date

        try:
            if not bring_up_to_date(options["database"], self.stdout.write):
                self.stdout.write("the schema is up to date; nothing to do")
        except FastqError as exc:
            raise CommandError(str(exc)) from None
