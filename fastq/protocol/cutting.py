"""Which jobs go together, and how they are cut into the JSON arrays of packets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from fastq import codec
from fastq.config import PacketConfig
from fastq.errors import ArgumentError
from fastq.job import JobSpec, check_spec
from fastq.protocol.enqueue import check_numbers, payload

T = TypeVar("T")


class Cutter:
    """Cuts into packets of a size, guided by those that it cut before."""

    def __init__(self, limit_bytes: int, packet: PacketConfig) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = packet.size_bytes
        self._size = self._together = packet.jobs

    def cut(self, specs: Sequence[JobSpec]) -> Iterator[tuple[int, bytes]]:
        """Yield (jobs, array of their arguments) for jobs of one kind, in their order."""
        at = 0
        while at < len(specs):
            some = specs[at : at + self._size]
            body, jobs = self._array(some), len(some)
            fitting = jobs * self._size_bytes * 9 // 10 // len(body)
            if len(body) > self._size_bytes and jobs > 1:
                self._size = max(1, fitting)
                continue
            yield jobs, body
            at += jobs
            if self._size < self._together:
                self._size = min(self._together, max(self._size, fitting) + 1)

    def _array(self, specs: Sequence[JobSpec]) -> bytes:
        """Return the arguments of some jobs as one JSON array."""
        try:
            body = codec.encode([spec.args for spec in specs])
        except ArgumentError:
            body = b"[" + b",".join(payload(spec, self._limit_bytes) for spec in specs) + b"]"
        if len(body) - 2 > self._limit_bytes:
            for spec in specs:
                payload(spec, self._limit_bytes)
        if b"null" in body:
            for spec in specs:
                check_numbers(spec)
        return body


def within(most: int, things: Iterable[T], size_of: Callable[[T], int]) -> list[T] | None:
    """Return the things, or None as soon as they are larger in all than `most`."""
    taken, size = [], 0
    for thing in things:
        size += size_of(thing)
        if size > most:
            return None
        taken.append(thing)
    return taken


def alike(specs: Sequence[JobSpec]) -> bool:
    """Tell whether jobs are all of one task with the very same options."""
    task, options = specs[0].task, specs[0].options
    return all(spec.options is options and spec.task is task for spec in specs)


def those(specs: Sequence[JobSpec], places: Sequence[int]) -> Sequence[JobSpec]:
    """Return the jobs at some places."""
    return specs if len(places) == len(specs) else [specs[place] for place in places]


def check_specs(specs: Sequence[JobSpec]) -> None:
    """Refuse what is no job among them; see `check_spec`."""
    for spec in specs:
        check_spec(spec)
