"""The server's settings. They stand in DATA/fastq.conf, written at every start; ALTER SYSTEM overrides them.

No setting here may need a build option: these binaries have no ICU, SSL, lz4, zstd, LLVM or io_uring, and
PostgreSQL treats a value it was not built with, or a name it does not know, as fatal. All names are in 14.
"""

from __future__ import annotations

from fastq.embedded.paths import PORT, Paths

FILE_NAME = "fastq.conf"
HEAD = "# Written by fastq at every start. ALTER SYSTEM SET name = value wins over this file.\n"

SETTINGS = {
    # Durable: a job that was accepted survives a power cut.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # One server without replicas: no WAL for those. For pg_basebackup see docs/embedded.md.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    # A queue rewrites the same pages all day: few checkpoints, hence few full pages in the WAL.
    "wal_compression": "off",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "128MB",
    "max_connections": "200",
    # Short statements only; and no parallel query, so that a container's 64 MB /dev/shm is enough.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # A queue's tables grow dead rows quickly and are small: look often, clean fast.
    "autovacuum": "on",
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_cost_limit": "2000",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}


def file_text() -> str:
    """Return the text of fastq.conf."""
    return HEAD + "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())


def command_line(paths: Paths) -> list[str]:
    """Return the options that nothing may override: with trust authentication, only this socket is safe."""
    fixed = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(paths.run),
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
    }
    return [part for name, value in fixed.items() for part in ("-c", f"{name}={value}")]
