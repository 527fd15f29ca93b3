"""What workers import: Django set up, the modules `tasks` of all its applications, then the app.

fastq worker fastq.django.worker:app         jobs of the database "default"
fastq worker fastq.django.worker:reports     those of the database "reports"
"""

from __future__ import annotations

import django
from django.apps import apps
from django.db import connections
from django.utils.module_loading import autodiscover_modules

if not apps.ready:
    django.setup()
autodiscover_modules("tasks")

from fastq.django.jobs import App, app, app_in  # noqa: E402 - settings are there only now

__all__ = ["app"]


def __getattr__(alias: str) -> App:
    if alias in connections.settings:
        return app_in(alias)
    raise AttributeError(f"there is no database {alias!r}")
