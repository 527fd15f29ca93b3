"""fastq: background jobs out of PostgreSQL.

The names below are the public ones. They are loaded on first use, so that the supervisor, which imports this package
before it forks, has neither psycopg nor an event loop in it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; importing typing takes longer than all that the command does first

if TYPE_CHECKING:
    from typing import Any

    from fastq.app import App as App
    from fastq.backoff import Exponential as Exponential
    from fastq.backoff import Fixed as Fixed
    from fastq.backoff import Linear as Linear
    from fastq.batch_item import BatchItem as BatchItem
    from fastq.context import Context as Context
    from fastq.errors import ArgumentError as ArgumentError
    from fastq.errors import CheckpointTooLarge as CheckpointTooLarge
    from fastq.errors import DatabaseUnreachable as DatabaseUnreachable
    from fastq.errors import EnqueueOutcomeUnknown as EnqueueOutcomeUnknown
    from fastq.errors import FastqError as FastqError
    from fastq.errors import JobFailed as JobFailed
    from fastq.errors import JobGone as JobGone
    from fastq.errors import LeaseLost as LeaseLost
    from fastq.errors import NotOpen as NotOpen
    from fastq.errors import PayloadTooLarge as PayloadTooLarge
    from fastq.errors import ReservationGone as ReservationGone
    from fastq.errors import ResultTooLarge as ResultTooLarge
    from fastq.errors import SchemaError as SchemaError
    from fastq.errors import UsageError as UsageError
    from fastq.flow import Discard as Discard
    from fastq.flow import Retry as Retry
    from fastq.flow import Snooze as Snooze
    from fastq.job import Job as Job
    from fastq.job import JobRef as JobRef
    from fastq.job import JobSpec as JobSpec
    from fastq.job import Next as Next
    from fastq.job_ids import JobIds as JobIds
    from fastq.observability.runs import LogFields as LogFields
    from fastq.task import Task as Task

__version__ = "0.1.0"

_HOMES = {
    "App": "app",
    "Exponential": "backoff",
    "Fixed": "backoff",
    "Linear": "backoff",
    "BatchItem": "batch_item",
    "Context": "context",
    "ArgumentError": "errors",
    "DatabaseUnreachable": "errors",
    "EnqueueOutcomeUnknown": "errors",
    "FastqError": "errors",
    "JobFailed": "errors",
    "JobGone": "errors",
    "LeaseLost": "errors",
    "NotOpen": "errors",
    "CheckpointTooLarge": "errors",
    "PayloadTooLarge": "errors",
    "ResultTooLarge": "errors",
    "ReservationGone": "errors",
    "SchemaError": "errors",
    "UsageError": "errors",
    "Job": "job",
    "JobIds": "job_ids",
    "JobRef": "job",
    "JobSpec": "job",
    "Next": "job",
    "LogFields": "observability.runs",
    "Discard": "flow",
    "Retry": "flow",
    "Snooze": "flow",
    "Task": "task",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastq' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fastq.{_HOMES[name]}"), name)
