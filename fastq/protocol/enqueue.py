"""How a few jobs get into the database: as lines of one statement, with one commit, ids by return.

Encoding is pure; drivers are thin. See `copying` for many jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from fastq import codec
from fastq.config import PacketConfig
from fastq.errors import ArgumentError, PayloadTooLarge
from fastq.job import JobSpec, Options
from fastq.protocol import ordered, unique, upkeep
from fastq.protocol.asking import Request, Steps, Work, only
from fastq.protocol.unique import Placed

BLOCK = 1024
"""Positions that one nextval('fastq.pos') stands for."""

LINES_MOST = BLOCK
PACKET = PacketConfig()
Progress = Callable[[int], None]


def payload(spec: JobSpec, limit_bytes: int) -> bytes:
    """Return a job's arguments as JSON.

    Raises:
        ArgumentError: they cannot be written as JSON.
        PayloadTooLarge: they are larger than the limit.

    """
    body = _written(spec, limit_bytes)
    if body.find(b"null") >= 0:  # half the price of `in`, for bytes
        check_numbers(spec)
    return body


def _written(spec: JobSpec, limit_bytes: int) -> bytes:
    """As payload, but nan and infinity have become null; check_numbers finds them where there is a null."""
    try:
        body = codec.encode(spec.args)
    except ArgumentError as exc:
        raise _unwritable(spec, exc) from None
    if len(body) > limit_bytes:
        raise PayloadTooLarge(
            f"the arguments of {spec.task!r} are {len(body):,} bytes of JSON; the limit is {limit_bytes:,}"
            " (App(payload_limit_bytes=…)). Store the data elsewhere and pass a reference; nothing was enqueued"
        )
    return body


def check_numbers(spec: JobSpec) -> None:
    """Raise ArgumentError if an argument is nan or infinity, which have become null."""
    try:
        codec.check_numbers(spec.args)
    except ArgumentError as exc:
        raise _unwritable(spec, exc) from None


def _unwritable(spec: JobSpec, why: ArgumentError) -> ArgumentError:
    return ArgumentError(f"an argument of {spec.task!r} {why}; nothing was enqueued")


class Line:
    """One job as the text line that insert_jobs takes, or put_lines if it waits for a time."""

    __slots__ = ("body", "prefix", "waits")

    def __init__(self, spec: JobSpec, limit_bytes: int) -> None:
        _, self.waits, self.prefix = _prefix(spec)
        self.body = _written(spec, limit_bytes).decode()
        if "null" in self.body:
            check_numbers(spec)


_Prefix = tuple[Options, bool, str]
_prefixes: dict[tuple[str, int], _Prefix] = {}


def _prefix(spec: JobSpec) -> _Prefix:
    kept = _prefixes.get((spec.task, id(spec.options)))
    if kept is None or kept[0] is not spec.options:
        kept = _keep_prefix(spec.task, spec.options)
    return kept


def pack_line(spec: JobSpec, jobs: int, array: bytes) -> str:
    """Return the line that insert_packets takes for so many jobs like `spec`, from the array of their arguments."""
    body = array.decode()
    return f"{jobs}\t{_prefix(spec)[2]}{body if jobs > 1 else body[1:-1]}"


def _keep_prefix(task: str, options: Options) -> _Prefix:
    """Return the options, whether they wait, and the fields before the payload; kept, as options are few and live long.

    An id is that of another object once its own is gone, so the options stand beside the text.
    """
    place = f"{options.queue}\t{options.priority}\t{task}\t{options.group_key}\t{options.meta().decode()}\t"
    if options.waits:
        delay = "" if options.delay_s is None else repr(options.delay_s)
        run_at = "" if options.run_at is None else options.run_at.isoformat()
        place = f"\t\t\t{delay}\t{run_at}\t{place}"
    if len(_prefixes) >= 1000:
        _prefixes.clear()
    kept = _prefixes[(task, id(options))] = (options, options.waits, place)
    return kept


def line_statements(
    lines: list[Line], shard: int, *, gathered: bool, ring: bool, packet: PacketConfig
) -> Iterator[tuple[str, dict[str, Any], list[int]]]:
    """Yield (statement, parameters, places in `lines`) for at most 1024 lines; ids follow each other in that order."""
    if len(lines) > LINES_MOST:
        raise AssertionError(f"{len(lines)} lines in one statement")
    waiting = [place for place, line in enumerate(lines) if line.waits]
    if waiting:
        text = "\n".join([lines[place].prefix + lines[place].body for place in waiting])
        yield "put_lines", {"shard": shard, "lines": text, "patience": None}, waiting
    ready = [place for place, line in enumerate(lines) if not line.waits] if waiting else list(range(len(lines)))
    if len(ready) == 1:
        line = lines[ready[0]]
        yield "insert_jobs", {"shard": shard, "lines": line.prefix + line.body, "ring": ring}, ready
    elif ready:
        text, places = _packets(lines, ready, packet, gathered=gathered)
        yield "insert_packets", {"shard": shard, "lines": text, "ring": ring}, places


def _packets(lines: list[Line], places: list[int], packet: PacketConfig, *, gathered: bool) -> tuple[str, list[int]]:
    """Return lines of which each is a job or a packet, and the places of the jobs in their order.

    Of one caller's jobs only neighbours go together, so that their order stays; `gathered` ones have none.
    """
    groups: list[tuple[str, list[int]]] = []
    if gathered:
        alike: dict[str, list[int]] = {}
        for place in places:
            alike.setdefault(lines[place].prefix, []).append(place)
        groups += alike.items()
    else:
        groups += [(prefix, list(run)) for prefix, run in groupby(places, key=lambda place: lines[place].prefix)]
    written: list[str] = []
    for prefix, group in groups:
        for part in _parts(lines, group, packet):
            bodies = ",".join([lines[place].body for place in part])
            written.append(f"{len(part)}\t{prefix}{bodies}" if len(part) == 1 else f"{len(part)}\t{prefix}[{bodies}]")
    return "\n".join(written), [place for _, group in groups for place in group]


def _parts(lines: list[Line], places: list[int], packet: PacketConfig) -> Iterator[list[int]]:
    """Cut jobs that go together into packets."""
    part: list[int] = []
    size = 0
    for place in places:
        size += len(lines[place].body) + 1
        if part and (size > packet.size_bytes or len(part) == packet.jobs):
            yield part
            part, size = [], len(lines[place].body) + 1
        part.append(place)
    yield part


def insert_lines(
    lines: list[Line],
    *,
    shard: int = 0,
    gathered: bool = False,
    ring: bool = False,
    packet: PacketConfig = PACKET,
) -> Work[list[int]]:
    """Insert jobs in the connection's transaction, or one of its own; gives their ids in order.

    `gathered`: they are of callers who know nothing of each other. `ring`: wake the fleet with the same commit.
    """
    statements = list(line_statements(lines, shard, gathered=gathered, ring=ring, packet=packet))

    def steps() -> Steps[list[int]]:
        inserted = []
        for name, params, places in statements:
            inserted.append(((yield Request(name, params, only)), places))
        return _scatter(lines, inserted)

    return Work(steps, whole=len(statements) > 1)


def insert_packs(packs: list[str], *, shard: int = 0, ring: bool = False) -> Request[int]:
    """Insert at most 1024 jobs that may run now, as the lines of `pack_line`; gives the first id, the others follow."""
    return Request("insert_packets", {"shard": shard, "lines": "\n".join(packs), "ring": ring}, only)


def _scatter(lines: list[Line], inserted: list[tuple[int, list[int]]]) -> list[int]:
    ids = [0] * len(lines)
    for base, places in inserted:
        for offset, place in enumerate(places):
            ids[place] = base + offset
    return ids


class Apart:
    """A unique or ordered job as its statements take it: its line, and the lines to begin then."""

    __slots__ = ("begins", "text", "waits")

    def __init__(self, spec: JobSpec, limit_bytes: int) -> None:
        options = spec.options
        self.text = unique.line(spec, payload(spec, limit_bytes))
        self.begins = [(options.queue, options.group_key)] if options.ordered else []
        self.waits = options.waits


def insert_apart(apart: Apart, *, shard: int = 0, patience: str | None = None, ring: bool = False) -> Work[Placed]:
    """Insert a unique or ordered job, in the connection's transaction or one of its own; see `unique.insert`."""

    def steps() -> Steps[Placed]:
        placed: Placed
        (placed,) = yield unique.insert([apart.text], shard=shard, patience=patience)
        if apart.begins:
            yield ordered.begin(shard=shard, lines=apart.begins)
        if ring and not placed.duplicate and not apart.waits:
            yield upkeep.ring((shard,))
        return placed

    return Work(steps, whole=bool(apart.begins))
