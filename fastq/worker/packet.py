"""One lease of a packet, decoded: jobs of one task that wants nothing but its payload, or rows where it wants more."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

import orjson

from fastq.ends.meta import Meta, read
from fastq.ends.settlement import LeasedJob
from fastq.host.board import KEY_ORDINAL_BITS, split_key
from fastq.protocol import claim, packed
from fastq.protocol.claim import Lane
from fastq.protocol.packed import PAYLOAD, Row
from fastq.worker.batch import Batch

STRUCK = None
"""In place of the arguments of a job that shall never start."""


def meta_of(packet: claim.Packet) -> Meta | None:
    """Return what is rare about all jobs of a packet."""
    try:
        return None if packet.meta is None else read(orjson.loads(packet.meta))
    except orjson.JSONDecodeError as exc:
        return {"unreadable": f"the meta cannot be decoded: {exc}"}


def headers_of(packet: claim.Packet) -> Iterator[Mapping[str, Any]]:
    """Give the headers that all jobs of a packet share, if they have some."""
    if packet.meta is not None and isinstance(found := (meta_of(packet) or {}).get("headers"), dict):
        yield found


def rows_of(packet: claim.Packet) -> tuple[list[Row], dict[int, str]]:
    """Return the jobs of a packet as rows; and by their places, why some cannot be run: they have None as payload."""
    payloads, bad = packed.decode_payloads(packet.payloads or b"[]")
    start = packet.first - packet.start
    given = payloads[start : start + packet.jobs] if start >= 0 else []
    wrong = {place - start: why for place, why in bad.items() if start <= place < start + packet.jobs}
    if missing := packet.jobs - len(given):
        wrong |= dict.fromkeys(range(len(given), packet.jobs), "its payload is gone: its packet has been changed")
        given = [*given, *[None] * missing]
    meta = meta_of(packet)
    if meta and "unreadable" in meta:
        wrong = dict.fromkeys(range(packet.jobs), str(meta["unreadable"]))
    task, enqueued_ms = packet.task, packet.enqueued_ms
    if meta is None:
        return [[id_, task, 0, enqueued_ms, payload] for id_, payload in enumerate(given, packet.first)], wrong
    return [[id_, task, 0, enqueued_ms, payload, None, meta] for id_, payload in enumerate(given, packet.first)], wrong


class PacketBatch(Batch):
    """The jobs of one lease of a packet, decoded: slots take (key, arguments) pairs from `remaining`."""

    __slots__ = ("_arguments", "_away", "_lock", "_packet", "_payloads", "enqueued_ms", "first", "task")

    def __init__(self, lane: Lane, packet: claim.Packet, arguments: Sequence[Any], claimed_at: float) -> None:
        super().__init__(lane, packet.lease, [], claimed_at)
        self._packet = packet
        self._payloads: list[Any] | None = None
        self._lock = Lock()
        self._away: set[int] = set()
        self._arguments = list(arguments)
        self.task = self.only_task = packet.task
        self.first, self.enqueued_ms = packet.first, packet.enqueued_ms
        self.fresh_ms = (packet.enqueued_ms, packet.enqueued_ms) if packet.fresh else None
        self.size = self.left = len(self._arguments)
        self._order = range(self.size)
        self._untaken = iter(self._arguments)
        self.remaining = enumerate(self._untaken, packet.lease << KEY_ORDINAL_BITS)

    def take(self, taken: array[int]) -> tuple[int, Any] | None:
        """Take one more job, and note it in `taken`; None if none is left. Any thread may: give them `back` then."""
        with self._lock:
            pair = next(self.remaining, None)
            if pair is not None:
                ordinal = split_key(pair[0])[1]
                taken.append(ordinal)
                self._away.add(ordinal)
        return pair

    def back(self, taken: array[int]) -> None:
        """Note that a thread has told what became of the jobs that it took."""
        self._away.difference_update(taken)

    def newly_done(self, running: set[int]) -> list[int]:
        """As of any batch; nothing is known yet of jobs that a thread has taken."""
        with self._lock:
            return [ordinal for ordinal in super().newly_done(running) if ordinal not in self._away]

    def row(self, ordinal: int) -> Row:
        """Return the job that stands at an ordinal, as a row."""
        if self._payloads is None:
            self._payloads = packed.decode_payloads(self._packet.payloads or b"[]")[0]
        row = self.head(ordinal)
        row[PAYLOAD] = self._payloads[self._packet.first - self._packet.start + ordinal]
        return row

    def head(self, ordinal: int) -> Row:
        """As of any batch; without the payload."""
        task = self.task if self._arguments[ordinal] is not STRUCK else None
        return [self.first + ordinal, task, 0, self.enqueued_ms, None]

    def take_all(self) -> Sequence[int]:
        """Take all waiting jobs out; returns their keys. Those that are run are to be noted in `apart`."""
        base = self.lease << KEY_ORDINAL_BITS
        untouched = self._order == range(self.size) and self.waiting == self.size
        keys = range(base, base + self.size) if untouched else [key for key, _ in self.remaining]
        self._order = ()
        self.remaining = self._untaken = iter(())
        return keys

    def arguments(self, first: int, jobs: int) -> list[Any]:
        """Return the arguments of jobs from an ordinal on, STRUCK for one that shall not start."""
        return self._arguments[first : first + jobs]

    def skim(self, ordinals: Container[int]) -> list[tuple[int, Row]]:
        """As of any batch; the jobs that are taken out are rows."""
        return [(key, self.row(split_key(key)[1])) for key, _ in super().skim(ordinals)]

    def take_rest(self) -> list[LeasedJob]:
        """Take all waiting jobs out, to be given back."""
        return [self.job_at(split_key(key)[1]) for key, _ in self.remaining]

    def strike(self, ordinal: int) -> None:
        """Let a job that waits never start: the slot that takes it has nothing to call its handler with."""
        self._arguments[ordinal] = STRUCK
