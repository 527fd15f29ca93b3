"""fastq in a Django project: a backend for Django's tasks, an app in Django's database, commands, the dashboard.

    INSTALLED_APPS = […, "fastq.django"]
    TASKS = {"default": {"BACKEND": "fastq.django.Backend"}}

The names are loaded on first use: Django imports this package before its settings and models are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastq.django.backend import Backend as Backend
    from fastq.django.jobs import App as App
    from fastq.django.jobs import app as app
    from fastq.django.tasks import Task as Task
    from fastq.django.tasks import TaskContext as TaskContext

_HOMES = {"App": "jobs", "Backend": "backend", "Task": "tasks", "TaskContext": "tasks", "app": "jobs"}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastq.django' has no attribute {name!r}")
    return getattr(import_module(f"fastq.django.{_HOMES[name]}"), name)
