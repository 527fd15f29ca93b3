"""What can be configured, validated once, with units in the names. No I/O but reading the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fastq.errors import UsageError

if TYPE_CHECKING:
    from fastq.host.seats import Seats

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 4
PRIORITIES = range(10)
PAYLOAD_LIMIT_BYTES = 1024 * 1024
CHECKPOINT_LIMIT_BYTES = 1024 * 1024
RESULT_LIMIT_BYTES = 16 * 1024 * 1024
LIMIT_MOST_BYTES = 256 * 1024 * 1024
"""PostgreSQL keeps no value of a gigabyte, and needs several times a value's size to write it."""

RETRIES_MOST = 10_000
PACKET_JOBS, PACKET_JOBS_MOST = 500, 1000
PACKET_BYTES, PACKET_BYTES_MOST = 256 * 1024, 1024 * 1024
DELAY_MOST_S = 100 * 365.25 * 86400.0
MOST_BATCH = 10_000
CONNECTIONS_LEAST = 3
CONNECTIONS_MOST = 6
CONNECTION_IDLE_S = 10.0
SHARED_IDLE_S = 1.0
"""So long one stays open that others of the host may want."""


class DsnSource(StrEnum):
    """Where the connection string came from."""

    ARGUMENT = "argument"
    FASTQ_DSN = "FASTQ_DSN"
    DATABASE_URL = "DATABASE_URL"
    PG_ENVIRONMENT = "PGHOST"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """A libpq connection string and where it came from; `value` is empty for the embedded server."""

    value: str
    source: DsnSource


def find_dsn(argument: str | None = None, environ: Mapping[str, str] | None = None) -> Dsn:
    """Return the first of: argument, FASTQ_DSN, DATABASE_URL, PGHOST/PGSERVICE, the embedded server."""
    env = os.environ if environ is None else environ
    if argument:
        return Dsn(value=argument, source=DsnSource.ARGUMENT)
    for source in (DsnSource.FASTQ_DSN, DsnSource.DATABASE_URL):
        if value := env.get(source.value):
            return Dsn(value=value, source=source)
    if any(env.get(name) for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")):
        return Dsn(value="", source=DsnSource.PG_ENVIRONMENT)
    return Dsn(value="", source=DsnSource.EMBEDDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """The connections of a producer: at most so many at once.

    One that nobody has wanted for `idle_s` is closed, but `keep` stay open. With `seats`, all processes of a host share
    so many.
    """

    most: int = CONNECTIONS_MOST
    keep: int = 1
    idle_s: float = CONNECTION_IDLE_S
    seats: Seats | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        if not isinstance(self.most, int) or not CONNECTIONS_LEAST <= self.most <= 1000:
            raise UsageError(
                f"max_connections must be {CONNECTIONS_LEAST} to 1000, not {self.most!r}: a handler that holds one for"
                " its transaction may need a second, and one must be left for the others"
            )
        if not 0 < self.idle_s <= 86400:
            raise UsageError(f"connection_idle_s must be seconds greater than 0, at most a day, not {self.idle_s!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketConfig:
    """How many jobs go into a packet, and how many bytes of their arguments as JSON."""

    jobs: int = PACKET_JOBS
    size_bytes: int = PACKET_BYTES

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        jobs, size = self.jobs, self.size_bytes
        if isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= PACKET_JOBS_MOST:
            raise UsageError(f"packet_jobs must be 1 to {PACKET_JOBS_MOST:,}, not {jobs!r:.80}")
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= PACKET_BYTES_MOST:
            raise UsageError(f"packet_bytes must be 1 to {PACKET_BYTES_MOST:,}, not {size!r:.80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig:
    """How an app enqueues: the largest payload, how long an enqueue is tried again, its packets, its connections."""

    payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES
    enqueue_retry_s: float = 0.0
    packet: PacketConfig = field(default_factory=PacketConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        retry_s, limit = self.enqueue_retry_s, self.payload_limit_bytes
        if isinstance(retry_s, bool) or not isinstance(retry_s, (int, float)) or not 0 <= retry_s < math.inf:
            raise UsageError(f"enqueue_retry_s must be a number of seconds and not negative, not {retry_s!r:.80}")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise UsageError(f"payload_limit_bytes must be a number of bytes greater than 0, not {limit!r:.80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConfig:
    """How large what handlers leave in the database may be, as JSON."""

    checkpoint_limit_bytes: int = CHECKPOINT_LIMIT_BYTES
    result_limit_bytes: int = RESULT_LIMIT_BYTES

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        for name in ("checkpoint_limit_bytes", "result_limit_bytes"):
            limit = getattr(self, name)
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LIMIT_MOST_BYTES:
                raise UsageError(f"{name} must be 1 to {LIMIT_MOST_BYTES:,} bytes, not {limit!r:.80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker process.

    `queues` maps a queue to its weight; empty means every queue. `batch_size` is the most jobs one claim
    takes; `prefetch_ms` is how much work, at the measured rate, may wait in the process beyond its free slots, besides
    what the round trips to a distant database need (`worker/demand.py`); 0 is none at all.
    `cpus` are the CPUs' worth of time that the process can have: it needs that many of its `threads` to compute.
    """

    target: str
    dsn: str
    concurrency: int = 100
    threads: int = 8
    cpus: int = 1
    batch_size: int = 500
    prefetch_ms: float = 10.0
    queues: Mapping[str, int] = field(default_factory=dict)
    exclude_queues: frozenset[str] = frozenset()
    lease_s: float = 30.0
    shutdown_timeout_s: float = 30.0
    poll_interval_s: float = 1.0
    shards: int = 1
    cluster: bool = False
    burst: bool = False
    max_jobs: int | None = None
    max_memory_bytes: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        positive = (
            "concurrency",
            "threads",
            "cpus",
            "batch_size",
            "lease_s",
            "shutdown_timeout_s",
            "poll_interval_s",
            "shards",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if self.prefetch_ms < 0:
            raise UsageError(f"prefetch_ms must not be negative, not {self.prefetch_ms}")
        if self.batch_size > MOST_BATCH:
            raise UsageError(f"batch_size must be at most {MOST_BATCH}, not {self.batch_size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """The parent of the worker processes of one host.

    `cpus` are the CPUs to pin workers to, in turn; empty means no pinning.
    """

    processes: int
    cpus: tuple[int, ...] = ()
    shutdown_timeout_s: float = 30.0
    burst: bool = False
    reload: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        if self.processes <= 0:
            raise UsageError(f"processes must be greater than 0, not {self.processes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StewardConfig:
    """The housekeeper of one host.

    `listen_dsn` is where to LISTEN when `dsn` leads through a pooler, which loses LISTEN silently; `embedded` tells
    that the server is our own, to be started again when it is gone.
    """

    dsn: str
    lease_s: float = 30.0
    shutdown_timeout_s: float = 30.0
    shards: int = 1
    cluster: bool = False
    listen: bool = True
    listen_dsn: str | None = None
    embedded: bool = False
    metrics_addr: str | None = None
    health_addr: str | None = None
