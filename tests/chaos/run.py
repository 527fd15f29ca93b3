"""The command: plays cells, one after the other, and prints one table."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chaos import silence
from chaos.cells import CELLS, Cell
from chaos.stage import Stage
from chaos.verdict import Verdict, judge
from fastq.bench import machine, result

RESULTS = Path(__file__).parents[2] / "bench_results"
_PR_SET_CHILD_SUBREAPER = 36
_COLUMNS = (
    "cell",
    "acked",
    "jobs/s",
    "faults",
    "lost",
    "again",
    "unexplained",
    "blind",
    "effects≠1",
    "raised",
    "rules",
    "failed",
    "leaks",
    "pause s",
)


class Progress:
    """Shows what goes on: a line that is written over on a terminal, one line now and then elsewhere."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._shown_at = 0.0
        self._began = time.monotonic()
        self._last = ""

    def __call__(self, stage: Stage, fault: str) -> None:
        """Show the state of a stage, at most once a second, every ten seconds where nobody watches."""
        self._last = fault or self._last
        now = time.monotonic()
        if now - self._shown_at < (1.0 if self._tty else 10.0):
            return
        self._shown_at = now
        stage.ledger.read()
        told = stage.ledger.told
        text = (
            f"{stage.cell.name:<18} {now - self._began:5.0f} s  {len(told.acked):>9,} acknowledged"
            f"  {len(stage.ledger.ended):>9,} done  {len(stage.faults):>3} faults  {self._last}"
        )
        click.echo(f"\r\033[K{text}" if self._tty else text, err=True, nl=not self._tty)

    def clear(self) -> None:
        """Take the line away."""
        if self._tty:
            click.echo("\r\033[K", err=True, nl=False)


def play(cell: Cell, seed: int, progress: Progress, *, keep: bool = False) -> tuple[Verdict, dict[str, object]]:
    """Play one cell; return the verdict and the conditions under which it was found."""
    _adopt_orphans(yes=True)
    own = _children()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{cell.name}-"))
    folder.chmod(0o755)
    stage = Stage(cell, seed, folder, progress)
    try:
        stage.open()
        with stage.admin() as conn:
            conditions = machine.describe(conn)
        stage.play()
        silence.settle(stage)
        verdict = judge(stage.played(), silence.remains(stage))
    finally:
        stage.close()
        _adopt_orphans(yes=False)
        for pid in _children() - own:
            os.waitpid(pid, 0)
        progress.clear()
    if verdict.good and not keep:
        shutil.rmtree(folder)
    else:
        click.echo(f"kept: {folder}", err=True)
    return verdict, conditions


def _adopt_orphans(*, yes: bool) -> None:
    """Be the parent of what a killed supervisor leaves behind, since not every container's init reaps."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _children() -> set[int]:
    """Return the pids of this process's children, zombies included."""
    found = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in found for pid in path.read_text().split()}


def table(verdicts: list[Verdict]) -> str:
    """Return the one table."""
    rows = [list(_COLUMNS)]
    for v in verdicts:
        again = sum(v.repeated.values())
        rate = f"{v.acked / v.load_s:,.0f}" if v.load_s else ""
        figures = [f"{v.acked:,}", rate, sum(v.faults.values()), len(v.lost), again, len(v.unexplained)]
        figures += [f"{v.blind:.0%}", len(v.effects_wrong), len(v.raised), len(v.broken), len(v.failed), len(v.leaks)]
        figures += [f"{v.pause_s:.1f}"]
        rows.append([v.cell, *map(str, figures), "" if v.good else "BAD"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=False))]
        lines.append("  ".join([*cells, *row[len(_COLUMNS) :]]).rstrip())
    return "\n".join(lines)


def details(verdict: Verdict) -> str:
    """Return why a cell is bad, and which faults made jobs run again."""
    lines = [f"{verdict.cell}: ended: " + ", ".join(f"{count:,} {kind}" for kind, count in verdict.kinds.most_common())]
    lines += [f"{verdict.cell}: ran again: {count} by {cause}" for cause, count in verdict.repeated.most_common()]
    lines += [
        f"{verdict.cell}: longest pause {verdict.pause_s:.1f} s around {fault}"
        for fault in verdict.pause[:3]
        if not verdict.good
    ]
    lines += [f"{verdict.cell}: {text}" for text in (*verdict.leaks, *verdict.troubles, *verdict.stories)]
    return "\n".join(lines)


@click.command()
@click.argument("names", nargs=-1, metavar="[CELL]...")
@click.option("--seconds", type=float, help="How long faults happen in each cell that goes by time.")
@click.option("--jobs", type=int, help="Enqueue so many jobs instead, however long it takes.")
@click.option("--every", type=float, help="Seconds between two faults.")
@click.option("--rate", type=float, help="Jobs per second of each of the two producers.")
@click.option("--seed", type=int, help="Repeat the choices of an earlier run.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--save", is_flag=True, help="Write the figures into bench_results/.")
@click.option("--keep", is_flag=True, help="Keep logs and ledgers also of what went well.")
@click.option("--list", "listed", is_flag=True, help="List the cells.")
def main(
    names: tuple[str, ...],
    seconds: float | None,
    jobs: int | None,
    every: float | None,
    rate: float | None,
    seed: int | None,
    output: Path | None,
    save: bool,
    keep: bool,
    listed: bool,
) -> None:
    """Prove that nothing is lost: play CELLs (all of them by default) and print one table."""
    if listed:
        click.echo("\n".join(CELLS))
        return
    if unknown := set(names) - CELLS.keys():
        raise click.UsageError(f"no cell {', '.join(sorted(unknown))}; there are: {', '.join(CELLS)}")
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    click.echo(f"seed {seed}", err=True)
    verdicts, conditions = [], dict[str, object]()
    for name in names or CELLS:
        lasts_s = 0.0 if jobs else None if CELLS[name].most or CELLS[name].jobs else seconds
        changes: dict[str, Any] = {"every_s": every, "rate": rate, "seconds": lasts_s, "jobs": jobs}
        cell = replace(CELLS[name], **{key: value for key, value in changes.items() if value is not None})
        verdict, conditions = play(cell, seed, Progress(), keep=keep)
        verdicts.append(verdict)
        click.echo(details(verdict), err=True)
    click.echo(table(verdicts))
    found = {
        "command": f'make chaos ARGS="{" ".join(sys.argv[1:])}"',
        **conditions,
        "scenario": "chaos",
        "seed": seed,
        "cells": [v.figures() for v in verdicts],
    }
    if output is not None:
        output.write_bytes(result.dumps(found, indent=True) + b"\n")
    if save:
        click.echo(f"wrote {result.save(found, RESULTS)}", err=True)
    sys.exit(0 if all(verdict.good for verdict in verdicts) else 1)


if __name__ == "__main__":
    main()
