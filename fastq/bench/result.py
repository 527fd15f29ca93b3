"""What a scenario found: one JSON object, a few lines for people, a file to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from fastq.bench.plan import BenchPlan
from fastq.bench.summary import rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of one scenario; `samples` are the raw ones of each repetition, in order.

    `lines` are (what, value) pairs for people; `limit` says what kept the figure from being better.
    """

    scenario: str
    jobs: int
    figures: Mapping[str, object]
    limit: str
    lines: Sequence[tuple[str, str]]
    samples: Sequence[Mapping[str, object]]
    notes: Sequence[str] = field(default=())

    def as_dict(self, plan: BenchPlan, conditions: Mapping[str, object]) -> dict[str, object]:
        """Return the JSON object: what docs/benchmarks.md lists, then how it was taken, then the raw samples."""
        return {
            "scenario": self.scenario,
            "jobs": self.jobs,
            **{name: _plain(value) for name, value in self.figures.items()},
            "limit": self.limit,
            "notes": list(self.notes),
            "settings": {**asdict(plan), "jobs": self.jobs},
            **conditions,
            "samples": [{name: _plain(value) for name, value in sample.items()} for sample in self.samples],
        }

    def text(self) -> str:
        """Return what people read."""
        width = max(len(what) for what, _ in self.lines)
        rows = [f"  {what:<{width}}  {value}" for what, value in [*self.lines, ("limit", self.limit)]]
        rows += [f"  {'note':<{width}}  {note}" for note in self.notes]
        return "\n".join([f"{self.scenario} ({self.jobs:,} jobs)", *rows])


def _plain(value: object) -> object:
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def dumps(value: Mapping[str, object], *, indent: bool = False) -> bytes:
    """Return an object as JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)


def save(value: Mapping[str, object], folder: Path) -> Path:
    """Write an object as <date>-<commit>-<scenario>.json; a number follows when that is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{str(value['at'])[:10]}-{value['commit']}-{value['scenario']}"
    for number in range(1, 10_000):
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            with path.open("xb") as file:
                file.write(dumps(value, indent=True) + b"\n")
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder} is full of results of {stem}")
