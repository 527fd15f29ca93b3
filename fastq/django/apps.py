"""The Django application: its checks, and fastq's schema with `manage.py migrate`."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class FastqConfig(AppConfig):
    """What INSTALLED_APPS names as "fastq.django"."""

    name = "fastq.django"
    label = "fastq"
    verbose_name = "fastq"

    def ready(self) -> None:
        """Connect what Django calls."""
        from fastq.django import checks, schema  # noqa: F401 - the checks register themselves

        post_migrate.connect(schema.after_migrate, sender=self, dispatch_uid="fastq")
