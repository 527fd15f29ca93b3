"""What can be configured."""

from __future__ import annotations

from typing import Any

import pytest

from fastq.config import DsnSource, SupervisorConfig, WorkerConfig, find_dsn
from fastq.errors import UsageError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("argument", "environ", "value", "source"),
    [
        ("a", {"FASTQ_DSN": "b", "DATABASE_URL": "c", "PGHOST": "d"}, "a", DsnSource.ARGUMENT),
        (None, {"FASTQ_DSN": "b", "DATABASE_URL": "c", "PGHOST": "d"}, "b", DsnSource.FASTQ_DSN),
        ("", {"FASTQ_DSN": "", "DATABASE_URL": "c", "PGHOST": "d"}, "c", DsnSource.DATABASE_URL),
        (None, {"PGHOST": "d"}, "", DsnSource.PG_ENVIRONMENT),
        (None, {"PGSERVICE": "d"}, "", DsnSource.PG_ENVIRONMENT),
        (None, {"PGUSER": "d"}, "", DsnSource.EMBEDDED),
        (None, {}, "", DsnSource.EMBEDDED),
    ],
)
def test_where_the_dsn_comes_from(argument: str | None, environ: dict[str, str], value: str, source: DsnSource) -> None:
    """The first that says something; empty ones say nothing."""
    found = find_dsn(argument, environ)
    assert (found.value, found.source) == (value, source)


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"threads": -1},
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"lease_s": 0},
        {"shutdown_timeout_s": -0.1},
        {"poll_interval_s": 0},
        {"shards": 0},
        {"prefetch_ms": -1},
    ],
)
def test_worker_settings_that_cannot_work(wrong: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        WorkerConfig(target="a", dsn="", **wrong)


def test_a_batch_fits_the_ordinals() -> None:
    """The largest batch still fits into int2, which names a job in its lease."""
    assert WorkerConfig(target="a", dsn="", batch_size=10_000).batch_size < 2**15


def test_a_supervisor_needs_processes() -> None:
    """Zero is none."""
    with pytest.raises(UsageError, match="processes"):
        SupervisorConfig(processes=0)


def test_configs_are_values() -> None:
    """They cannot be changed behind anybody's back."""
    config = WorkerConfig(target="a", dsn="")
    with pytest.raises(AttributeError):
        config.concurrency = 7  # type: ignore[misc]
