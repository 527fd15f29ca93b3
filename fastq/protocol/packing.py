"""Turns a stream of jobs into what COPY takes: packets, and the rows that stand for them or for single jobs. Pure.

Jobs of one task, in one lane, with the same options go into one packet, if they are near each other: where the stream
is a mix of many lanes, it is looked at in wider windows. Jobs with something of their own, a unique key or an ordered
line, need a statement of their own and are kept aside.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import NamedTuple

from fastq.config import PacketConfig
from fastq.job import JobSpec, Options
from fastq.job_ids import JobIds
from fastq.protocol import unique
from fastq.protocol.cutting import Cutter, alike, check_specs, those, within
from fastq.protocol.enqueue import BLOCK, LINES_MOST, PACKET, Line, pack_line, payload
from fastq.protocol.shards import ONE, Layout, tie_of
from fastq.protocol.unique import Placed
from fastq.sql.naming import named

FEW = 256
"""Up to so many jobs with a time to wait for, one statement costs less than COPYs and all that belongs to them."""

BRIEF_BYTES = 4 * 1024 * 1024
"""About so large one statement may be: of what is larger, COPY keeps less in memory, here and there."""

HELD_BYTES = 4 * 1024 * 1024
"""A chunk ends when so much is held back for its later COPYs."""

WIDEST = 64
"""A window has at most so many blocks of jobs."""

WINDOW_BYTES = 8 * 1024 * 1024
"""About so much memory the payloads of a window may take."""

THIN = 64
"""Where fewer jobs than this go together, the next window is wider."""

COPY_PACKETS = "copy fastq.packet_{} (shard, pos, jobs, payloads) from stdin with (format binary)"
COPY_READY = (
    "copy fastq.ready_{} (pos, shard, enqueued_ms, queue, priority, task, group_key, meta, jobs, packet, payload)"
    " from stdin"
)
COPY_SCHEDULED = (
    "copy fastq.scheduled (id, shard, enqueued_ms, queue, priority, task, group_key, jobs, packet, run_at, payload)"
    " from stdin"
)
BEGINS = b"PGCOPY\n\xff\r\n\0" + bytes(8)
ENDS = b"\xff\xff"
_NULL = r"\N"

_PACKET = struct.Struct("!hiiiqihi")
"""Number of fields, then each one's size and value: shard, pos, jobs, and the size of the payloads."""


class _Kind(NamedTuple):
    """What jobs of one task with one set of options have in common: the lane, the fields between position and payload,
    the COPY that takes their rows, or the shard to which they go apart.
    """

    lane: tuple[object, ...]
    fields: bytes
    rows: list[bytes]
    segment: int | None
    ends: bytes
    apart: int | None = None


class Brief(NamedTuple):
    """A short stream: lines of one job each, or the texts of packs and the places of their jobs."""

    lines: list[Line]
    packs: list[str]
    places: Sequence[int]


class Packer:
    """Writes one stream, in chunks: each takes positions, sends its packets as they come, and then its rows."""

    def __init__(
        self,
        *,
        shard: int = 0,
        limit_bytes: int,
        layout: Layout = ONE,
        patience: str | None = None,
        packet: PacketConfig = PACKET,
    ) -> None:
        self.patience = patience
        """As of `unique.insert`."""

        self.shard = shard
        self._layout = layout
        self._limit_bytes = limit_bytes
        self._head = self._now_ms = 0
        self._blocks: list[int] = []
        self._kinds: dict[tuple[str, int], tuple[Options, _Kind]] = {}
        self._ready: list[bytes] = []
        self._scheduled: list[bytes] = []
        self._unique: defaultdict[int, list[bytes]] = defaultdict(list)
        self._later: list[bytes] = []
        self._places: dict[int, int] = {}
        self._held = 0
        self._wide = 1
        self.packet = packet
        self.block = BLOCK - BLOCK % packet.jobs
        """So many jobs take a block of positions: whole packets, the few positions behind them are left out."""

        self._cutter = Cutter(limit_bytes, packet)
        self.ids = JobIds()
        self.begins: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        """The lines of each shard that ordered jobs were put into, to be begun at the end."""
        self.reading = False
        """Whether the caller's iterable is being asked for more."""
        self.whole = False
        """Whether all was sent, so that only the commit is missing."""
        self.rung = False
        """Whether the fleet is woken by the same commit."""

    # -- reading

    def read(self, stream: Iterator[JobSpec]) -> list[JobSpec]:
        """Return the next specs: a window of them."""
        self.reading = True
        specs = list(islice(stream, self.block * min(self._wide, len(self._blocks) or WIDEST)))
        self.reading = False
        return specs

    def brief(self, stream: Iterator[JobSpec]) -> tuple[Brief | None, Iterator[JobSpec]]:
        """Return what one statement takes, if a stream is as short as that; and the stream."""
        self.reading = True
        first = list(islice(stream, LINES_MOST + 1))
        self.reading = False
        if 0 < len(first) <= LINES_MOST:
            try:
                return self._brief(first), chain(first, stream)
            except AttributeError:
                check_specs(first)
                raise
        return None, chain(first, stream)

    def _brief(self, specs: list[JobSpec]) -> Brief | None:
        runs = list(self._by_lane(specs))
        if all(kind.rows is self._ready for kind, _ in runs) and len(specs) > 1:
            packs = within(BRIEF_BYTES, (pack for _, places in runs for pack in self._packs(those(specs, places))), len)
            places = runs[0][1] if len(runs) == 1 else [place for _, places in runs for place in places]
            return None if packs is None else Brief([], packs, places)
        if len(specs) <= FEW and all(kind.apart is None for kind, _ in runs):
            lines = (Line(spec, self._limit_bytes) for spec in specs)
            few = within(BRIEF_BYTES, lines, lambda line: len(line.body))
            return None if few is None else Brief(few, [], [])
        return None

    def _packs(self, specs: Sequence[JobSpec]) -> Iterator[str]:
        for jobs, body in self._cutter.cut(specs):
            yield pack_line(specs[0], jobs, body)

    # -- a chunk

    def blocks_for(self, chunk: int, specs: Sequence[JobSpec]) -> int:
        """Return how many blocks to take for the n-th chunk: few for a short stream, many for a long one."""
        return max(min(1 << 2 * chunk, 64), -(-len(specs) // self.block))

    def begin(self, blocks: list[int], head: int, now_ms: int) -> None:
        """Start a chunk with the positions, the segment and the database's time that take_positions gave."""
        self._blocks, self._head, self._now_ms = list(blocks), head, now_ms
        self._kinds.clear()
        self._places.clear()
        self._held = 0

    @property
    def shards(self) -> set[int]:
        """Where jobs of this stream are."""
        return {self.shard, *self._unique}

    @property
    def full(self) -> bool:
        """Whether the chunk takes no more."""
        return not self._blocks or self._held >= HELD_BYTES

    @property
    def packets_copy(self) -> str:
        """The COPY statement that takes BEGINS, what `encode` returns, and ENDS."""
        return named(COPY_PACKETS).format(self._head)

    def encode(self, specs: list[JobSpec]) -> bytes:
        """Return the packets of a window; keep their rows, and all others, for later."""
        try:
            return self._encode(specs)
        except AttributeError:  # most likely something among them is no job, which is not looked for one by one
            check_specs(specs)
            raise

    def _encode(self, specs: list[JobSpec]) -> bytes:
        packets: list[bytes] = []
        lanes = list(self._by_lane(specs))
        kind = lanes[0][0]
        if len(lanes) == 1 and kind.apart is None:
            self._wide = 1
            if len(specs) <= self.block:
                first = self._blocks.pop(0)
                self._put(kind, specs, first, packets)
                self.ids.add(range(first, first + len(specs)))
                return b"".join(packets)
        ids, runs, held = array("q", bytes(8 * len(specs))), 0, self._held
        for kind, pos, places in self._placed(lanes):
            mine = those(specs, places)
            if kind.apart is not None:
                self._put_apart(kind, mine, pos)
                self._places.update((pos + n, len(self.ids) + place) for n, place in enumerate(places))
            else:
                self._put(kind, mine, pos, packets)
                runs += 1
            for id_, place in enumerate(places, pos):
                ids[place] = id_
        self.add_ids(ids)
        self._widen(len(specs), runs, sum(map(len, packets)) + self._held - held)
        return b"".join(packets)

    def add_ids(self, ids: array[int]) -> None:
        """Append the ids of some jobs, as a range where they are one."""
        run = range(ids[0], ids[0] + len(ids))
        self.ids.add(run if array("q", run) == ids else ids)

    def add_placed(self, base: int, places: Sequence[int]) -> None:
        """Append the ids of jobs at those places, which follow each other from `base` on."""
        if isinstance(places, range):
            self.ids.add(range(base, base + len(places)))
            return
        ids = array("q", bytes(8 * len(places)))
        for job, place in enumerate(places, base):
            ids[place] = job
        self.add_ids(ids)

    def _widen(self, jobs: int, runs: int, size: int) -> None:
        """Choose how many blocks the next window has, after one of so many jobs in so many runs and bytes."""
        if jobs < THIN * runs:
            self._wide = min(4 * self._wide, WIDEST, max(1, WINDOW_BYTES * jobs // max(1, size) // self.block))

    def _placed(self, runs: Iterable[tuple[_Kind, Sequence[int]]]) -> Iterator[tuple[_Kind, int, Sequence[int]]]:
        """Yield runs as _by_lane does, with the position of each one's first job; none goes beyond its block."""
        pos = left = 0
        for kind, run in runs:
            places = run
            while places:
                if not left:
                    pos, left = self._blocks.pop(0), self.block
                yield kind, pos, places[:left]
                taken = min(left, len(places))
                places, pos, left = places[taken:], pos + taken, left - taken

    def _by_lane(self, specs: Sequence[JobSpec]) -> Iterator[tuple[_Kind, Sequence[int]]]:
        """Yield runs of jobs that have everything in common, each lane's in their order, with their places."""
        if alike(specs):
            yield self._kind(specs[0].task, specs[0].options), range(len(specs))
            return
        lanes: dict[tuple[object, ...], list[tuple[_Kind, int]]] = {}
        for place, spec in enumerate(specs):
            kind = self._kind(spec.task, spec.options)
            lanes.setdefault(kind.lane, []).append((kind, place))
        for run in lanes.values():
            for kind, pairs in groupby(run, key=itemgetter(0)):
                yield kind, [place for _, place in pairs]

    def _put(self, kind: _Kind, specs: Sequence[JobSpec], pos: int, packets: list[bytes]) -> None:
        """Write jobs of one kind, from a position on: those that go together as packets, one alone as a row."""
        for jobs, body in self._cutter.cut(specs):
            if jobs == 1:
                row = b"%d%b\t\\N\t\\N\t%b%b\n" % (pos, kind.fields, kind.ends, body[1:-1].replace(b"\\", b"\\\\"))
            else:
                packet = _PACKET.pack(4, 4, self.shard, 8, pos, 2, jobs, len(body)) + body
                (packets if kind.segment is None else self._later).append(packet)
                row = b"%d%b\t%d\t%d\t%b{}\n" % (pos, kind.fields, jobs, pos, kind.ends)
                self._held += 0 if kind.segment is None else len(packet)
            kind.rows.append(row)
            self._held += len(row)
            pos += jobs

    def _put_apart(self, kind: _Kind, specs: Sequence[JobSpec], pos: int) -> None:
        for place, spec in enumerate(specs, pos):
            body = payload(spec, self._limit_bytes).replace(b"\\", b"\\\\")
            kind.rows.append(b"%d%b%b\n" % (place, kind.fields, body))
            self._held += len(body)

    # -- what is kept for the end of a chunk

    def leftovers(self) -> Iterator[tuple[str, bytes]]:
        """Yield (COPY statement, text) for what was kept in this chunk."""
        if self._later:
            yield named(COPY_PACKETS).format(4), BEGINS + _take(self._later) + ENDS
        if self._ready:
            yield named(COPY_READY).format(self._head), _take(self._ready)
        if self._scheduled:
            yield named(COPY_SCHEDULED), _take(self._scheduled)

    def unique_lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield shards and up to 1024 lines of this chunk's jobs that go there apart, in the order of their keys."""
        for shard, kept in sorted(self._unique.items()):
            rows = [row.replace(b"\\\\", b"\\").decode().rstrip("\n") for row in kept]
            kept.clear()
            rows.sort(key=_key_and_id)
            for start in range(0, len(rows), LINES_MOST):
                yield shard, rows[start : start + LINES_MOST]

    def placed(self, lines: list[str], answers: list[Placed]) -> None:
        """Note who holds the keys of those lines."""
        for line, answer in zip(lines, answers, strict=True):
            if answer.duplicate:
                self.ids.replace(self._places[_key_and_id(line)[1]], answer.id)

    # -- what jobs have in common

    def _kind(self, task: str, options: Options) -> _Kind:
        """Return what jobs of a task with these options have in common; kept while the options live."""
        kept = self._kinds.get((task, id(options)))
        if kept is None or kept[0] is not options:
            kept = self._kinds[task, id(options)] = options, self._new_kind(task, options)
        return kept[1]

    def _new_kind(self, task: str, options: Options) -> _Kind:
        meta = options.meta().decode()
        tie = tie_of(options)
        shard = self.shard if tie is None else self._layout.of(tie)
        if options.ordered:
            self.begins[shard].add((options.queue, options.group_key))
        if options.apart or (options.waits and meta):
            apart = _escape(f"\t{unique.fields(task, options)}").encode()
            place = options.queue, options.priority, options.group_key, "apart"
            return _Kind(place, apart, self._unique[shard], None, b"", shard)
        fields = [str(self.shard), str(self._now_ms), options.queue, str(options.priority), task, options.group_key]
        text = "\t".join(["", *map(_escape, fields)])
        lane = options.queue, options.priority, options.group_key
        if options.waits:
            run_at = self._run_at(options).isoformat()
            return _Kind((*lane, run_at), text.encode(), self._scheduled, 4, run_at.encode() + b"\t")
        return _Kind(lane, f"{text}\t{_escape(meta) or _NULL}".encode(), self._ready, None, b"")

    def _run_at(self, options: Options) -> datetime:
        if options.run_at is not None:
            return options.run_at
        return datetime.fromtimestamp(self._now_ms / 1000 + (options.delay_s or 0), UTC)


def _take(rows: list[bytes]) -> bytes:
    text = b"".join(rows)
    rows.clear()
    return text


def _key_and_id(line: str) -> tuple[str, int]:
    pos, key, _ = line.split("\t", 2)
    return key, int(pos)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\")
