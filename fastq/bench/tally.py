"""What processes have done so far, in a file of memory for each: counts that others read without asking the database.

A worker's handlers count the jobs they start, and note how late each was where it has a time; a producer counts what it
has committed. One writer per file; `TallyBoard` reads all of them.
"""

from __future__ import annotations

import mmap
import os
import time
from functools import cache
from pathlib import Path

FOLDER_VARIABLE, ROOM_VARIABLE = "FASTQ_BENCH_TALLY", "FASTQ_BENCH_TALLY_ROOM"
WORKER, PRODUCER = "worker", "producer"
_JOBS, _NOTES, _HEAD = 0, 1, 2
_CELL_BYTES = 8
_LOOK_EVERY_S = 0.1


class Tally:
    """The file that one process writes, with room for so many notes."""

    def __init__(self, folder: Path, role: str, room: int = 0) -> None:
        path = folder / f"{role}-{os.getpid()}"
        unfinished = path.with_name(f".{path.name}")
        with unfinished.open("xb+") as file:
            file.truncate((_HEAD + room) * _CELL_BYTES)
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        unfinished.rename(path)
        self._room = room

    def add(self, jobs: int = 1) -> None:
        """Count."""
        self._cells[_JOBS] += jobs

    def note(self, late_ns: int) -> None:
        """Keep how late a job was; those beyond the room are only counted."""
        number = self._cells[_NOTES]
        if number < self._room:
            self._cells[_HEAD + number] = late_ns
        self._cells[_NOTES] = number + 1


@cache
def own() -> Tally:
    """Return the tally of this worker process, where its environment says."""
    return Tally(Path(os.environ[FOLDER_VARIABLE]), WORKER, int(os.environ.get(ROOM_VARIABLE, "0")))


class TallyBoard:
    """All tallies in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tallies: dict[str, memoryview] = {}
        self._looked_at = 0.0

    def jobs(self, role: str) -> int:
        """Return how many jobs the processes of a role have counted; a new process is seen within 0.1 s."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._look()
        return sum(cells[_JOBS] for name, cells in self._tallies.items() if name.startswith(role))

    def notes_ns(self, role: str) -> list[int]:
        """Return all notes there was room for."""
        self._look()
        mine = [cells for name, cells in self._tallies.items() if name.startswith(role)]
        return [late_ns for cells in mine for late_ns in cells[_HEAD : _HEAD + cells[_NOTES]]]

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        for path in self._folder.iterdir():
            if path.name not in self._tallies and not path.name.startswith("."):
                with path.open("rb") as file:
                    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._tallies[path.name] = memoryview(whole).cast("q")
