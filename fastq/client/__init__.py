"""The producer's side of the database: what an app opens.

app ──► asynchronous.py   AsyncClient: gathers concurrent enqueues, wakes the fleet
    └─► synchronous.py    SyncClient: the same for threads
             │
          pool.py         a few connections, opened on demand, looked at before use
          fate.py         what an error says about the jobs (pure)
"""

from fastq.client.asynchronous import AsyncClient
from fastq.client.synchronous import SyncClient
from fastq.errors import NotOpen

__all__ = ["AsyncClient", "SyncClient", "needs_open"]


def needs_open(what: str) -> NotOpen:
    """Return the error for a call on a closed app."""
    return NotOpen(f"{what}: the app is not open; use `async with app:` (or `with app:` in synchronous code)")
