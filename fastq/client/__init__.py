"""The producer's side of the database: what an app opens.

app ──► clients.py               Clients: one client per event loop, one per process
         ├─► asynchronous.py     AsyncClient: gathers concurrent enqueues, wakes the fleet
         └─► synchronous.py      SyncClient: the same for threads
              │
             pool.py idle.py     a few connections, opened on demand, looked at before use, closed when not wanted
             fate.py             what an error says about the jobs (pure)
"""

from fastq.client.asynchronous import AsyncClient
from fastq.client.clients import Clients
from fastq.client.shared import Use
from fastq.client.synchronous import SyncClient

__all__ = ["AsyncClient", "Clients", "SyncClient", "Use"]
