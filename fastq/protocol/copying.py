"""How streams of jobs get into the database: by COPY, or if there are few, by the statement that single ones take."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

from fastq.job import JobSpec
from fastq.job_ids import JobIds
from fastq.protocol import ordered, unique
from fastq.protocol.asking import Copy, Request, Steps, Work
from fastq.protocol.enqueue import Progress, insert_lines, insert_packs
from fastq.protocol.packing import BEGINS, ENDS, Packer


def put_jobs(
    specs: Iterable[JobSpec],
    packer: Packer,
    *,
    progress: Progress | None = None,
    ring: Callable[[], bool] = lambda: False,
) -> Work[JobIds]:
    """Enqueue a stream of jobs, all or none, by whichever way is cheaper. It can be done once.

    `ring` is asked, where the jobs go in one statement, whether it shall wake the fleet too; `packer.rung` tells.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    brief, stream = packer.brief(iter(specs))
    if brief is None:
        return copy_jobs(stream, packer, progress=progress)
    packer.whole, packer.rung = True, ring()
    singly = insert_lines(brief.lines, shard=packer.shard, ring=packer.rung, packet=packer.packet)

    def steps() -> Steps[JobIds]:
        if brief.packs:
            packer.add_placed((yield insert_packs(brief.packs, shard=packer.shard, ring=packer.rung)), brief.places)
        else:
            packer.add_ids(array("q", (yield from singly.steps())))
        if progress is not None:
            progress(len(packer.ids))
        return packer.ids

    return Work(steps, whole=singly.whole)


def copy_jobs(specs: Iterable[JobSpec], packer: Packer, *, progress: Progress | None = None) -> Work[JobIds]:
    """Stream specs into the database through COPY, in one transaction; memory stays flat. It can be done once.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    return Work(lambda: _copy(iter(specs), packer, progress))


def _copy(stream: Iterator[JobSpec], packer: Packer, progress: Progress | None) -> Steps[JobIds]:
    chunk, ahead = 0, packer.read(stream)

    def packets() -> Iterator[bytes]:
        nonlocal ahead
        yield BEGINS
        while ahead and not packer.full:
            yield packer.encode(ahead)
            if progress is not None:
                progress(len(packer.ids))
            ahead = packer.read(stream)
        yield ENDS

    while ahead:
        params = {"shard": packer.shard, "blocks": packer.blocks_for(chunk, ahead)}
        packer.begin(*(yield Request("take_positions", params, lambda rows: rows[0])))
        yield Copy(packer.packets_copy, packets())
        for command, rows in packer.leftovers():
            yield Copy(command, (rows,))
        for shard, lines in packer.unique_lines():
            packer.placed(lines, (yield unique.insert(lines, shard=shard, patience=packer.patience)))
        chunk += 1
    for shard, begun in sorted(packer.begins.items()):
        yield ordered.begin(shard=shard, lines=begun)
    packer.whole = True
    return packer.ids
