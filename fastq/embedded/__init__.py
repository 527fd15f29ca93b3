"""The embedded PostgreSQL: one private server per data directory, shared by any number of local processes.

    dsn = ensure()            # starts it if need be; it stays while this process, or a fork of it, lives
    print(describe(status()))

Whoever uses the server holds a *lease* on its directory (lease.py). A *keeper* process (keeper.py) is the
postmaster's parent: it restarts a server that was killed and stops one that nobody leases any more.

    caller ── ensure() ──> launch.py ── exec ──> keeper.py ── fork ──> postgres
      └─ lease (shared flock) <── watched by ──────┘

Only the standard library and `fastq.errors` are imported here: the process that forks the workers calls this
package and must never load psycopg. On Windows every function raises `EmbeddedError`: set a DSN there.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from fastq.embedded.windows import (
        Lease,
        Status,
        describe,
        ensure,
        hold,
        program,
        release,
        reset,
        start_detached,
        status,
        stop,
    )
else:
    from fastq.embedded.lease import Lease
    from fastq.embedded.server import ensure, hold, program, release, reset, start_detached, stop
    from fastq.embedded.status import Status, describe, status

__all__ = [
    "Lease",
    "Status",
    "describe",
    "ensure",
    "hold",
    "program",
    "release",
    "reset",
    "start_detached",
    "status",
    "stop",
]
