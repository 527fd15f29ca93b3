"""Breaks the code on purpose, one break at a time, and runs the fast tests that should notice: `make mutants`.

mutants.toml has the breaks. Each is applied to a copy of the checkout in a temporary folder; all share one server. A
break whose text is not found, or found twice, is an error: the code has moved on, and the entry has to follow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import click

from fastq import testing

TOP = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
COPIED = ("fastq", "migrations", "tests", "pyproject.toml")
HANGS_S = 60
DEADLINE_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One break: `find` becomes `replace` in a file, and one of the `tests` has to fail."""

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def problem(self) -> str:
        """Return why it cannot be applied; "" if it can."""
        path = TOP / self.file
        times = path.read_text().count(self.find) if path.exists() else 0
        missing = [test for test in self.tests if not (TOP / test).exists()]
        if times != 1:
            return f"its text stands {times} times in {self.file}"
        return f"no {missing[0]}" if missing else ""


def mutants() -> list[Mutant]:
    """Return all of them."""
    entries = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


class Copy:
    """A copy of the checkout, to be broken."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self._dsn = dsn
        for name in COPIED:
            source = TOP / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)

    def fails(self, tests: tuple[str, ...]) -> str:
        """Run tests; return the first that fails, "" if none does."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FASTQ_", "PG", "PYTHONPATH"))}
        env = {**inherited, "FASTQ_TEST_DSN": self._dsn, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "--timeout", str(HANGS_S), "--tb", "no", "-rfE", *tests]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "hung"
        if done.returncode == 0:
            return ""
        told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return told[0].split(" - ")[0] if told else (done.stdout + done.stderr).strip()[-300:]

    def killed_by(self, mutant: Mutant) -> str:
        """Apply a break, run its tests, and mend it; return the test that noticed, "" if none did."""
        path = self.folder / mutant.file
        whole = path.read_text()
        path.write_text(whole.replace(mutant.find, mutant.replace))
        try:
            return self.fails(mutant.tests)
        finally:
            path.write_text(whole)


def play(chosen: list[Mutant], say: Callable[[str], None]) -> list[str]:
    """Run some of them; return the names of those that live, or cannot be applied."""
    bad = [f"{mutant.name}: {problem}" for mutant in chosen if (problem := mutant.problem())]
    chosen = [mutant for mutant in chosen if not mutant.problem()]
    folder = Path(tempfile.mkdtemp(prefix="fastq-mutants-"))
    try:
        with testing.server(os.environ.get("FASTQ_TEST_DSN")) as dsn:
            copy = Copy(folder, dsn)
            if failed := copy.fails(tuple(sorted({test for mutant in chosen for test in mutant.tests}))):
                raise click.ClickException(f"without any break, {failed} fails: mend that first")
            for mutant in chosen:
                began = time.monotonic()
                killer = copy.killed_by(mutant)
                say(f"{'killed' if killer else 'LIVES ':<7} {time.monotonic() - began:5.1f} s  {mutant.name}  {killer}")
                if not killer:
                    bad.append(f"{mutant.name}: no test noticed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{len(chosen)} breaks, {len(bad)} not noticed or not applied")
    return bad


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--begin", default="", metavar="TEXT", help="Begin with the first one that has this in its name.")
@click.option("--list", "listed", is_flag=True, help="List the breaks.")
def main(words: tuple[str, ...], begin: str, listed: bool) -> None:
    """Break the code on purpose; all breaks whose name or file contains each WORD."""
    chosen = [m for m in mutants() if all(word in f"{m.name} {m.file}" for word in words)]
    chosen = list(dropwhile(lambda mutant: begin not in mutant.name, chosen))
    if listed:
        click.echo("\n".join(f"{m.file}: {m.name}" for m in chosen))
        return
    if bad := play(chosen, click.echo):
        click.echo("\n".join(bad), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
