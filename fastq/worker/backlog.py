"""What was claimed and not started: batches in their order, calls of batch handlers, and suspects, which run alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain

from fastq.ends.settlement import LeasedJob
from fastq.host.board import split_key
from fastq.protocol.packed import Row
from fastq.worker.batch import Batch
from fastq.worker.batches import Call, calls_of
from fastq.worker.packet import PacketBatch

Suspect = tuple[Batch, int, Row]
"""A job that ran when a worker died; key and row as slots take them."""


class Backlog:
    """The jobs that wait in this process. `sizes` are how many jobs the calls of batch handlers take, by task."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.batches: deque[Batch] = deque()
        self.threaded: deque[PacketBatch] = deque()
        self.calls: deque[Call] = deque()
        self.suspects: deque[Suspect] = deque()

    def __bool__(self) -> bool:
        return bool(self.suspects or self.batches or self.threaded or self.calls)

    @property
    def jobs(self) -> int:
        """How many jobs wait."""
        in_calls = sum(len(call.keys) for call in self.calls) if self.calls else 0
        in_batches = sum(batch.waiting for batch in chain(self.batches, self.threaded))
        return in_batches + len(self.suspects) + in_calls

    def add_threaded(self, batch: PacketBatch) -> None:
        """Queue a packet whose jobs are for threads."""
        self.threaded.append(batch)

    def add(self, batch: Batch) -> None:
        """Queue a batch; suspects, and jobs of batch handlers, are taken out of it."""
        if batch.suspects:
            self.suspects.extend((batch, key, row) for key, row in batch.skim(batch.suspects))
        if self.sizes:
            self.calls.extend(calls_of(batch, self.sizes))
        self.batches.append(batch)

    def served(self, batch: Batch) -> None:
        """Let a batch go of which slots have taken all."""
        for batches in (self.batches, self.threaded):
            if batches and batches[0] is batch and not batch.waiting:
                batches.popleft()

    def take_all(self) -> Iterator[tuple[Batch, LeasedJob]]:
        """Take everything out."""
        for batches in (self.batches, self.threaded):
            while batches:
                batch = batches.popleft()
                yield from ((batch, job) for job in batch.take_rest())
        while self.suspects:
            batch, key, row = self.suspects.popleft()
            yield batch, batch.job(key, row)
        while self.calls:
            call = self.calls.popleft()
            yield from ((call.batch, call.batch.job_at(split_key(key)[1])) for key in call.keys)
