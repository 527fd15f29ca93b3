"""The public names on Windows, where there is neither fork nor flock: each says that a DSN is required."""

from __future__ import annotations

from typing import NoReturn

from fastq.errors import EmbeddedError


class Lease:
    """Never made on Windows."""


class Status:
    """Never made on Windows."""


def refuse(*_args: object, **_options: object) -> NoReturn:
    """Raise the one sentence there is to say."""
    raise EmbeddedError("the embedded PostgreSQL does not run on Windows: set FASTQ_DSN to a PostgreSQL server")


describe = ensure = hold = program = release = reset = start_detached = status = stop = refuse
