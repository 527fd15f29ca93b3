"""The seat table in words, for the log (USR1). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fastq.host.board import Board, Word
from fastq.supervisor.post import Post
from fastq.supervisor.seats import Seat, SeatTable, Worker


def lines(table: SeatTable, post: Post, board: Board, now: float) -> Iterator[str]:
    """Yield a line for the steward, for each seat, and for each worker that has lost its seat."""
    yield f"steward: {post.pid or 'none'}"
    for seat in table.seats:
        yield f"seat {seat.number}: {_seat(seat, board, now)}"
    seated = [worker for seat in table.seats for worker in (seat.worker, seat.successor)]
    for worker in table.workers.values():
        if worker not in seated:
            yield f"leaving: {_worker(worker, board, now)}"


def _seat(seat: Seat, board: Board, now: float) -> str:
    if seat.finished:
        return "finished"
    if seat.worker is None:
        return f"empty, {seat.record.failures} failures, next worker in {max(0.0, seat.respawn_at - now):.1f} s"
    line = _worker(seat.worker, board, now)
    return f"{line}; successor: {_worker(seat.successor, board, now)}" if seat.successor else line


def _worker(worker: Worker, board: Board, now: float) -> str:
    cell = board.cells[worker.cell]
    stopped = " (stopped)" if cell[Word.STOPPED] else ""
    return (
        f"worker {worker.pid}, cell {worker.cell} {cell.state.name}{stopped}, up {now - worker.spawned_at:.1f} s, "
        f"running {len(cell.running_jobs())}, claimed {cell[Word.CLAIMED]}, succeeded {cell[Word.SUCCEEDED]}, "
        f"failed {cell[Word.FAILED]}"
    )
