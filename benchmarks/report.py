"""Makes one page of all results in a folder: README.md, from the newest file of each scenario, and the plots there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.bars import BARS, Bar
from fastq.bench.plan import BenchError
from fastq.cli.main import main

PAGE = "README.md"
_HEAD = """# Benchmark results

Written by `python -m benchmarks.report`; do not edit. How each figure is taken: `docs/benchmarks.md`. The newest file
of each scenario counts; a commit with a `+` had changes that are not in it. Rates of different machines cannot be
compared.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One result file."""

    path: Path
    values: Mapping[str, Any]

    @property
    def scenario(self) -> str:
        """What was measured."""
        return str(self.values["scenario"])

    @property
    def job(self) -> str:
        """What the jobs did, and how large they were where that is not as usual."""
        job, size = str(self._settings.get("job", "noop")), self._settings.get("payload_bytes", 51)
        return job if size == 51 else f"{job}, {size:,} B"

    @property
    def seconds(self) -> float | None:
        """For how long it was measured, where that is set."""
        wall_s = self.values.get("wall_s")
        return None if wall_s is None else round(float(wall_s), 1)

    @property
    def commit(self) -> str:
        """The code that was measured."""
        return f"{self.values.get('commit', '?')}{'+' if self.values.get('dirty') else ''}"

    @property
    def machine(self) -> str:
        """Processors and server, in short."""
        machine, versions = self.values.get("machine") or {}, self.values.get("versions") or {}
        cpus, processor = machine.get("cpus_left_to_us", "?"), machine.get("processor", "?")
        return f"{cpus} CPUs, {processor}, PostgreSQL {versions.get('postgresql', '?')}"

    @property
    def command(self) -> str:
        """How to do it again; made up from the settings for files that do not say."""
        if "command" in self.values:
            return str(self.values["command"])
        numbers = {"jobs": "--jobs", "processes": "-p", "concurrency": "-c", "batch_size": "-b", "repeat": "--repeat"}
        words = [f"{option} {self._settings[name]}" for name, option in numbers.items() if name in self._settings]
        return " ".join(["fastq bench", self.scenario, *words]) if words else "?"

    @property
    def _settings(self) -> Mapping[str, Any]:
        return self.values.get("settings") or {}


def read(folder: Path) -> list[Found]:
    """Return all results in a folder, the newest first; other JSON files are passed over.

    Raises:
        BenchError: there is no folder, or no result in it.

    """
    found: list[Found] = []
    for path in sorted(folder.glob("*.json")):
        try:
            values = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as exc:
            raise BenchError(f"{path} is not JSON: {exc}") from None
        if isinstance(values, dict) and {"scenario", "at"} <= values.keys():
            found.append(Found(path=path, values=values))
    if not found:
        raise BenchError(f"there are no results in {folder}; `fastq bench --output {folder}` writes some")
    return sorted(found, key=lambda one: (str(one.values["at"]), one.path.name), reverse=True)


def newest(found: Sequence[Found]) -> dict[tuple[str, str], Found]:
    """Return the newest result of each scenario and job."""
    first: dict[tuple[str, str], Found] = {}
    for one in found:
        first.setdefault((one.scenario, one.job), one)
    return first


def write(folder: Path) -> Path:
    """Write the page, with the plots that are there; return its path."""
    found = read(folder)
    page = folder / PAGE
    page.write_text(render(found, sorted(path.name for path in folder.glob("*.png"))), "utf-8")
    return page


def render(found: Sequence[Found], plots: Sequence[str]) -> str:
    """Return the page. Pure."""
    latest = newest(found)
    rows = [_row(bar, latest[bar.scenario, bar.job]) for bar in BARS if _has(latest, bar)]
    parts = [
        _HEAD,
        _table(["what", "figure", "bar", "", "date", "commit", "machine", "command", "file"], rows),
        *(_section(one) for one in latest.values() if one.values.get("limit")),
        *(f"![{name.removesuffix('.png')}]({name})\n" for name in plots),
        _all_files(found),
    ]
    return "\n".join(parts)


def _has(latest: Mapping[tuple[str, str], Found], bar: Bar) -> bool:
    one = latest.get((bar.scenario, bar.job))
    return one is not None and isinstance(one.values.get(bar.field), (int, float))


def _row(bar: Bar, one: Found) -> list[str]:
    value = float(one.values[bar.field])
    met = {True: "met", False: "**missed**", None: ""}[bar.met(value, one.seconds)]
    return [
        bar.what,
        bar.shown(value),
        bar.asked + (f" over {bar.seconds:.0f} s" if bar.seconds else ""),
        met,
        *_origin(one),
    ]


def _origin(one: Found) -> list[str]:
    name = one.path.name
    return [str(one.values["at"])[:10], one.commit, one.machine, f"`{one.command}`", f"[{name}]({name})"]


def _section(one: Found) -> str:
    """Return what else a result says: its limit, notes, and the points of a series."""
    job = "" if one.job == "noop" else f", {one.job}"
    lines = [f"## {one.scenario}{job}\n", f"Limit: {one.values['limit']}.\n"]
    lines += [f"Note: {note}.\n" for note in one.values.get("notes") or ()]
    points = one.values.get("points") or []
    if points:
        names = [name for name in points[0] if not isinstance(points[0][name], (list, dict))]
        lines.append(_table(names, [[_plain(point.get(name)) for name in names] for point in points]))
    return "\n".join(lines)


def _all_files(found: Sequence[Found]) -> str:
    rows = [[one.scenario, *_origin(one)] for one in found]
    return "## All files\n\n" + _table(["scenario", "date", "commit", "machine", "command", "file"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:g}"
    return "" if value is None else str(value)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path), default="bench_results")
def command(folder: Path) -> None:
    """Draw, then write the page, which shows the plots that are there."""
    try:
        from benchmarks import plots
    except ModuleNotFoundError as exc:
        if exc.name != "matplotlib":
            raise
        click.echo("no plots: matplotlib is missing; pip install matplotlib", err=True)
    else:
        read(folder)
        for path in plots.draw(folder):
            click.echo(f"drew {path}")
    click.echo(f"wrote {write(folder)}")


if __name__ == "__main__":
    main(command=command, program="python -m benchmarks.report")
