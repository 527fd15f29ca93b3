"""A page to see and steer it all: jobs, queues, schedules, workers, what is wrong and what has been.

`asgi` gives an ASGI application, for a server of its own (`fastq dashboard`) or to be mounted into yours:

    app.mount("/fastq", fastq.dashboard.asgi(dsn, authorize=who_may))
"""

from __future__ import annotations

from fastq.dashboard.rights import Right
from fastq.dashboard.site import asgi

__all__ = ["Right", "asgi"]
