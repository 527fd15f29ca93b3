"""structlog: a processor that adds the running job to every record.

structlog.configure(processors=[add_job, …])
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastq.observability import runs


def add_job(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Add `job_id`, `task`, `queue` and `attempt` to a record that is made in a handler; what it says itself stays."""
    run = runs.current()
    if run is not None:
        for name, value in run.fields.items():
            event.setdefault(name, value)
    return event
