"""The database side of a worker: its claimer and its ledger, without processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from scene import Conn, hire

from fastq.config import WorkerConfig
from fastq.host.board import Board
from fastq.postgres.link import Link
from fastq.worker.batch import Batch
from fastq.worker.claimer import Claimer
from fastq.worker.known import Known
from fastq.worker.ledger import Ledger


@dataclass
class Hands:
    """An executor that only collects what it is fed."""

    free: int = 50
    waiting: int = 0
    busy: int = 0
    quiet: bool = True
    doubted: bool = False
    known: Known = field(default_factory=lambda: Known(["t"]))
    fed: list[Batch] = field(default_factory=list)
    batching: dict[str, Any] = field(default_factory=dict)
    on_room: Any = None
    tracers: tuple[Any, ...] = ()

    def feed(self, batch: Batch) -> None:
        """Take a batch."""
        self.fed.append(batch)

    def doubt(self) -> None:
        """Start nothing more."""
        self.doubted = True

    def resume(self) -> None:
        """Go on."""
        self.doubted = False

    @property
    def leases(self) -> list[int]:
        """The leases that came, in order."""
        return [batch.lease for batch in self.fed]


@dataclass
class Rig:
    """One worker's claimer and ledger."""

    worker: int
    link: Link
    ledger: Ledger
    hands: Hands
    claimer: Claimer


@pytest.fixture
async def rig(dsn: str, conn: Conn) -> AsyncIterator[Rig]:
    """Give a worker that claims and says what became of its jobs, but runs none."""
    worker, link = await hire(conn), Link(dsn, "fastq test")
    ledger, hands = Ledger(link, Board(cells=1, running=4).cells[0], worker), Hands()
    config = WorkerConfig(target="", dsn=dsn, poll_interval_s=0.01)
    claimer = Claimer(config, worker=worker, link=link, executor=hands, ledger=ledger)  # type: ignore[arg-type]
    await link.open()
    yield Rig(worker, link, ledger, hands, claimer)
    await link.close()
