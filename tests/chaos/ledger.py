"""What the producers were told and what the handlers did, read from their files while they grow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.kinds import has_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a job: `outcome` is E ended, F failed on purpose, X raised, or "" when nothing was said at all.

    `attempt`, `job` and `lease` are 0 where the handler could not know them; `error` is the class of what was raised.
    """

    number: int
    pid: int
    began: float
    ended: float | None
    outcome: str
    detail: str
    attempt: int = 0
    job: int = 0
    lease: int = 0
    error: str = ""

    def __str__(self) -> str:
        end = "never ended" if self.ended is None else f"{self.outcome} at {self.ended:.3f}"
        return f"run of {self.number} in {self.pid} began {self.began:.3f}, {end} {self.detail}".rstrip()


@dataclass(slots=True)
class Told:
    """What was said about enqueues. `asked` is when, of jobs of the kinds that have rules of their own."""

    intended: list[range] = field(default_factory=list)
    acked: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    duplicate: set[int] = field(default_factory=set)
    asked: dict[int, float] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Reads the files of a folder; `read` takes in what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.told = Told()
        self.starts: Counter[int] = Counter()
        self.ended: set[int] = set()
        self.failures: Counter[int] = Counter()
        self.raised: Counter[str] = Counter()
        self.raising: set[int] = set()
        self.jobs: dict[int, set[int]] = {}
        self.ends = 0
        self.last_end = 0.0
        self.longest_pause_s = 0.0
        self.paused_at = 0.0

    def read(self) -> None:
        """Take in every line that was completed since the last time."""
        for path in self._folder.glob("acks-*.log"):
            for line in self._fresh(path):
                self._take_ack(line)
        moments: list[float] = []
        for path in self._folder.glob("runs-*.log"):
            for line in self._fresh(path):
                self._take_run(line, moments)
        for moment in sorted(moments):
            if self.last_end and moment - self.last_end > self.longest_pause_s:
                self.longest_pause_s, self.paused_at = moment - self.last_end, self.last_end
            self.last_end = max(self.last_end, moment)

    def _fresh(self, path: Path) -> list[str]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read[path] = self._read.get(path, 0) + whole
        return data[:whole].decode().splitlines()

    def _take_ack(self, line: str) -> None:
        mark, first, count, at, *why = line.split(" ", 4)
        numbers = range(int(first), int(first) + int(count))
        match mark:
            case "I":
                self.told.intended.append(numbers)
                if has_rules(numbers.start):
                    self.told.asked.update(dict.fromkeys(numbers, float(at)))
            case "A":
                self.told.acked.update(numbers)
            case "D":
                self.told.duplicate.update(numbers)
            case "U" | "R":
                (self.told.unknown if mark == "U" else self.told.refused).update(numbers)
                self.told.errors[why[0].partition(":")[0]] += 1

    def _take_run(self, line: str, moments: list[float]) -> None:
        mark, text, at, *rest = line.split(" ", 3)
        number = int(text)
        match mark:
            case "S":
                self.starts[number] += 1
                if job := _known(rest)[1]:
                    self.jobs.setdefault(number, set()).add(job)
            case "E":
                self.ended.add(number)
                self.ends += 1
                moments.append(float(at))
            case "F" | "X":
                self.failures[number] += 1
                if mark == "X":
                    self.raising.add(number)
                self.raised[rest[0].strip() if mark == "X" else "Stumbled"] += 1

    # -- afterwards

    def acked_from(self, first: int) -> int:
        """Return how many jobs the producer whose numbers begin with `first` was told of as enqueued."""
        lines = [line for path in self._folder.glob(f"acks-{first}-*.log") for line in path.read_text().splitlines()]
        return sum(int(line.split(" ", 3)[2]) for line in lines if line.startswith("A "))

    def runs(self, numbers: set[int]) -> dict[int, list[Run]]:
        """Return all runs of some jobs, each job's in the order in which they began."""
        found: dict[int, list[Run]] = {number: [] for number in numbers}
        for path in self._folder.glob("runs-*.log"):
            pid = int(path.name.split("-")[1])
            for run in _runs_in(path, pid, numbers):
                found[run.number].append(run)
        for runs in found.values():
            runs.sort(key=lambda run: run.began)
        return found

    def acks(self, number: int) -> list[str]:
        """Return the lines about one enqueue."""
        lines = []
        for path in self._folder.glob("acks-*.log"):
            for line in path.read_text().splitlines():
                mark, first, count, at, *why = line.split(" ", 4)
                if int(first) <= number < int(first) + int(count):
                    lines.append(f"{mark} at {at} with {count} {' '.join(why)}")
        return lines


def _known(rest: list[str]) -> tuple[int, int, int]:
    """Return attempt, job and lease of a start, zeros where it does not say."""
    words = rest[0].split() if rest else []
    return (int(words[0]), int(words[1]), int(words[2])) if len(words) == 3 else (0, 0, 0)


def _runs_in(path: Path, pid: int, numbers: set[int]) -> list[Run]:
    runs: list[Run] = []
    open_runs: dict[int, tuple[float, str]] = {}

    def close(number: int, ended: float | None, outcome: str, why: str = "") -> None:
        began, detail = open_runs.pop(number)
        attempt, job, lease = _known([detail])
        known = {"attempt": attempt, "job": job, "lease": lease, "error": why.strip() if outcome == "X" else ""}
        more = f"attempt {attempt} of {job} in lease {lease} {why}".strip() if job else why.strip()
        runs.append(Run(number=number, pid=pid, began=began, ended=ended, outcome=outcome, detail=more, **known))

    for line in path.read_text().splitlines():
        mark, text, at, *rest = line.split(" ", 3)
        number = int(text)
        if number not in numbers:
            continue
        if mark == "S":
            if number in open_runs:  # two at once in one process: as bad as it looks
                close(number, None, "")
            open_runs[number] = (float(at), "".join(rest))
        elif number in open_runs:
            close(number, float(at), mark, "".join(rest))
    for number in list(open_runs):
        close(number, None, "")
    return runs
