"""The slot table in words, for the log (USR1). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fastq.board import Board, Word
from fastq.supervisor.post import Post
from fastq.supervisor.slots import Slot, SlotTable, Worker


def lines(table: SlotTable, post: Post, board: Board, now: float) -> Iterator[str]:
    """Yield a line for the steward, for each slot, and for each worker that has lost its slot."""
    yield f"steward: {post.pid or 'none'}"
    for slot in table.slots:
        yield f"slot {slot.number}: {_slot(slot, board, now)}"
    seated = [worker for slot in table.slots for worker in (slot.worker, slot.successor)]
    for worker in table.workers.values():
        if worker not in seated:
            yield f"leaving: {_worker(worker, board, now)}"


def _slot(slot: Slot, board: Board, now: float) -> str:
    if slot.finished:
        return "finished"
    if slot.worker is None:
        return f"empty, {slot.record.failures} failures, next worker in {max(0.0, slot.respawn_at - now):.1f} s"
    line = _worker(slot.worker, board, now)
    return f"{line}; successor: {_worker(slot.successor, board, now)}" if slot.successor else line


def _worker(worker: Worker, board: Board, now: float) -> str:
    cell = board.cells[worker.cell]
    stopped = " (stopped)" if cell[Word.STOPPED] else ""
    return (
        f"worker {worker.pid}, cell {worker.cell} {cell.state.name}{stopped}, up {now - worker.spawned_at:.1f} s, "
        f"running {len(cell.running_jobs())}, claimed {cell[Word.CLAIMED]}, succeeded {cell[Word.SUCCEEDED]}, "
        f"failed {cell[Word.FAILED]}"
    )
