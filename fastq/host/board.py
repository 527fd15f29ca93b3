"""The board: memory that the supervisor shares with its children, made before they are forked.

One cell per worker process. The worker writes its state, its counters and the tables of what it is running right now
and until when it may (its hard timeout, in ms of time.monotonic()); the supervisor and the steward read it, also after
the worker died. A few words are the worker's letter box: keys of jobs that somebody cancelled, put in by the steward,
taken out by the worker. What runs in a call of a batch handler stands as its first job and a span: how many ordinals
further the last one is. What it counts of each queue and task stands behind (`host/series.py`). The words are 64-bit
integers in an anonymous mmap: a write is one store, so the hot path can afford one per job, and a kill -9 loses
nothing.

Who writes what: the supervisor sets STARTING (with the pid) and DEAD (with the exit status); the worker sets
RUNNING, DRAINING and, on a clean exit, FREE; the steward sets a DEAD cell FREE once its leases were given back.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection
from contextlib import suppress
from enum import IntEnum

from fastq.host.seats import Seats
from fastq.host.series import TABLE_WORDS
from fastq.states import CellState

KEY_ORDINAL_BITS = 16
_WORD = 8


class Word(IntEnum):
    """The words of a cell; the letter box and the tables of running jobs, of their deadlines and spans follow them.

    OVERDUE is the key of the job for which the steward killed the worker. IDLE says that the worker waits for jobs: 2
    if it runs none meanwhile, else 1. WOKEN counts how often it has been woken. STEWARDS, in the house's cell, counts
    the stewards that this host has had; LISTENS, there too, whether the steward hears of new jobs. So are the words of
    `fastq.resize()`: SEATS, how many the supervisor is to have, until it has them; CONCURRENCY, how many jobs each
    worker runs at once, 0 as it was started; ORDER, the number of the last order. SHARDS is how many shards there are
    by now, in a worker's cell how many it has joined. VAIN counts how often a worker was woken and found nothing.
    """

    STATE = 0
    PID = 1
    WORKER_ID = 2
    EXIT_STATUS = 3
    CPU = 4
    OVERDUE = 5
    CLAIMED = 6
    SUCCEEDED = 7
    FAILED = 8
    RETRIED = 9
    LOST = 10
    RETURNED = 11
    FENCED = 12
    STOPPED = 13
    IDLE = 14
    WOKEN = 15
    REFUSED = 16
    STEWARDS = 17
    LISTENS = 18
    SEATS = 19
    CONCURRENCY = 20
    ORDER = 21
    SHARDS = 22
    VAIN = 23


SHARDS_MOST = 1024
_HEAD_WORDS = len(Word)
_LETTERS = 32
CELL_WORDS = _HEAD_WORDS + _LETTERS
TABLES = 3
NO_DEADLINE = 0
COUNTERS = (Word.CLAIMED, Word.SUCCEEDED, Word.FAILED, Word.RETRIED, Word.LOST, Word.RETURNED, Word.REFUSED)


def running_key(lease: int, ordinal: int) -> int:
    """Return the one word that names a running job: its lease and its place in it. 0 means nothing runs."""
    return lease << KEY_ORDINAL_BITS | ordinal


def has_keys(lease: int) -> bool:
    """Tell whether the jobs of a lease can be named by keys: those of all leases that fastq numbers can."""
    return 0 < lease < 1 << (63 - KEY_ORDINAL_BITS)


def split_key(key: int) -> tuple[int, int]:
    """Return (lease, ordinal) of a running key."""
    return key >> KEY_ORDINAL_BITS, key & ((1 << KEY_ORDINAL_BITS) - 1)


class Cell:
    """One worker's part of the board. Items are words: `cell[Word.STATE]`."""

    def __init__(self, index: int, words: memoryview[int]) -> None:
        self.index = index
        self.words = words
        self._letters = words[_HEAD_WORDS:CELL_WORDS]
        running = (len(words) - CELL_WORDS - TABLE_WORDS) // TABLES
        self.running = words[CELL_WORDS : CELL_WORDS + running]
        self.deadlines = words[CELL_WORDS + running : CELL_WORDS + 2 * running]
        self.spans = words[CELL_WORDS + 2 * running : CELL_WORDS + 3 * running]
        self.series = words[CELL_WORDS + 3 * running :]

    def __getitem__(self, word: Word) -> int:
        return self.words[word]

    def __setitem__(self, word: Word, value: int) -> None:
        self.words[word] = value

    @property
    def state(self) -> CellState:
        """What the worker is doing."""
        return CellState(self.words[Word.STATE])

    @state.setter
    def state(self, value: CellState) -> None:
        self.words[Word.STATE] = value

    def running_jobs(self) -> list[tuple[int, int]]:
        """Return (lease, ordinal) of every job that the worker is running, or was when it died."""
        return [job for key in self.running if key for job in self.jobs_of(key)]

    def jobs_of(self, key: int) -> list[tuple[int, int]]:
        """Return (lease, ordinal) of a running job, and of those that run in one call with it."""
        lease, ordinal = split_key(key)
        span = next((span for other, span in zip(self.running, self.spans, strict=True) if other == key), 0)
        return [(lease, ordinal + further) for further in range(span + 1)]

    def post(self, key: int) -> bool:
        """Put a cancelled job's key into the letter box, unless it lies there; False when it is full. The steward's."""
        if key in self._letters:
            return True
        for place, letter in enumerate(self._letters):
            if not letter:
                self._letters[place] = key
                return True
        return False

    def collect(self) -> list[int]:
        """Take all keys out of the letter box. The worker's."""
        letters = []
        for place, letter in enumerate(self._letters):
            if letter:
                letters.append(letter)
                self._letters[place] = 0
        return letters

    def clear(self) -> None:
        """Make the cell as new, but for its state."""
        self.words[1:] = memoryview(bytes(_WORD * (len(self.words) - 1))).cast("q")


def words_of(running: int) -> int:
    """Return how many words the cell of a worker takes that runs so many jobs at once."""
    return CELL_WORDS + TABLES * running + TABLE_WORDS


class Doorbell:
    """A pipe that wakes a process: any process may `ring`, its owner reads with `hush`.

    Rings coalesce: a full pipe already means "wake up".
    """

    def __init__(self) -> None:
        self.fd, self._ring_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()

    def ring(self) -> None:
        """Wake the owner. Never blocks, never fails while the pipe is open."""
        with suppress(BlockingIOError):
            os.write(self._ring_fd, b"\0")

    def hush(self) -> None:
        """Take all rings out of the pipe."""
        with suppress(BlockingIOError):
            while len(os.read(self.fd, 4096)) == 4096:
                pass


def _pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    return read_fd, write_fd


class Board:
    """Cells for `cells` workers, each able to show `running` jobs at once, with a doorbell each and the steward's.

    `house` is one cell more, for the steward's own counters: how the jobs ended that dead workers had been running.
    """

    def __init__(self, *, cells: int, running: int, seats: int | None = None) -> None:
        per_cell = words_of(running)
        own = (cells + 1) * per_cell
        self._memory = mmap.mmap(-1, (own + 2 + SHARDS_MOST) * _WORD)
        words = memoryview(self._memory).cast("q")
        self._stirs = words[own:]
        """How often new jobs were heard of; as such numbers, when they may be anywhere, when in each shard."""
        *self.cells, self.house = [Cell(i, words[i * per_cell : (i + 1) * per_cell]) for i in range(cells + 1)]
        self.house[Word.PID] = (
            os.getpid()
        )  # never cleared, whichever steward counts: `Totals` tells workers by their pid
        self.doorbells = [Doorbell() for _ in range(cells)]
        self.steward_doorbell = Doorbell()
        self.seats = None if seats is None else Seats(seats)
        """The connections that the handlers of all workers share; None: each worker has its own."""

    def stir(self, shards: Collection[int] = ()) -> None:
        """Note that there may be new jobs in some shards; none: anywhere. The steward's."""
        stirs = self._stirs
        number = stirs[0] + 1
        for shard in shards:
            stirs[2 + shard] = number
        if not shards:
            stirs[1] = number
        stirs[0] = number

    def stirred(self, since: int, shards: int) -> tuple[int, set[int] | None]:
        """Return a number for the next `since`, and the shards where there may be new jobs; None: anywhere."""
        now = self._stirs[0]
        if now == since or self._stirs[1] > since:
            return now, None
        return now, {shard for shard, number in enumerate(self._stirs[2 : 2 + shards]) if number > since}

    def ring_idle(self) -> Cell | None:
        """Wake the worker of this host that has least to do; None if all are busy."""
        idle = max(
            (cell for cell in self.cells if cell[Word.IDLE] and cell.state is CellState.RUNNING),
            key=lambda cell: cell[Word.IDLE],
            default=None,
        )
        if idle is not None:
            self.doorbells[idle.index].ring()
        return idle

    def ring_workers(self) -> None:
        """Wake every live worker of this host."""
        for cell, bell in zip(self.cells, self.doorbells, strict=True):
            if cell.state in (CellState.STARTING, CellState.RUNNING):
                bell.ring()
