"""What a client writes, asynchronous or not: the requests for one job, for one that stands apart, for a reservation."""

from __future__ import annotations

from fastq.config import ProducerConfig
from fastq.job import JobSpec
from fastq.protocol import enqueue, reserve, unique
from fastq.protocol.asking import Request, Work
from fastq.protocol.enqueue import Apart, Line
from fastq.protocol.packing import Packer
from fastq.protocol.unique import Placed

NOTIFY_EVERY_S = 0.002
"""At most one NOTIFY in this time from one process: it holds a cluster-wide lock while it commits."""

NOTIFY_AT_LAST_S = 0.003
"""So long after the last one the next goes by itself, if no enqueue has taken it along by then."""


class Writing:
    """Turns specs into requests. `theirs`: they go into the caller's transaction, which has its own patience."""

    def __init__(self, config: ProducerConfig) -> None:
        self._limit_bytes = config.payload_limit_bytes
        self._retry_s = config.enqueue_retry_s
        self._packet = config.packet

    def _line(self, spec: JobSpec) -> Line:
        return Line(spec, self._limit_bytes)

    def _apart(self, spec: JobSpec, *, theirs: bool) -> Work[Placed]:
        return enqueue.insert_apart(Apart(spec, self._limit_bytes), patience=_patience(theirs=theirs), ring=theirs)

    def _reservation(self, spec: JobSpec, expires_s: float, *, theirs: bool) -> Request[Placed]:
        body = enqueue.payload(spec, self._limit_bytes)
        return reserve.reserve(spec, body, expires_s=expires_s, patience=_patience(theirs=theirs))

    def _packer(self, *, theirs: bool) -> Packer:
        return Packer(shard=0, limit_bytes=self._limit_bytes, patience=_patience(theirs=theirs), packet=self._packet)


def _patience(*, theirs: bool) -> str | None:
    return None if theirs else unique.PATIENCE
