"""The two versions of rolling.py: where the code of each is, and the processes that run it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_S = 60.0
ABOUT = "import fastq, json; from fastq.schema.files import newest; print(json.dumps([fastq.__file__, newest()]))"
ON_PURPOSE = "RuntimeError: on purpose"
PROGRAMS = ("rolling_app.py", "rolling_producer.py")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=HERE, stdout=subprocess.PIPE, check=True).stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One version: its checkout, the Python that runs it, and what it said of itself."""

    checkout: Path
    python: str
    commit: str
    schema: int
    folder: Path
    env: Mapping[str, str]

    def run(self, *args: str) -> str:
        """Run `fastq …` to its end; return what it printed."""
        command = [self.python, "-m", "fastq", *args]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    def fleet(self, name: str, processes: int) -> Running:
        """Start `fastq worker`, and wait until all its processes are ready."""
        command = ["-m", "fastq", "worker", "rolling_app:app", "-p", str(processes), "--log-format", "json"]
        return Running(self, name, command).wait_for("is ready", processes)

    def producer(self, name: str) -> Running:
        """Start a producer."""
        return Running(self, name, ["rolling_producer.py", name])


def side(given: str, python: str, dsn: str, folder: Path) -> Side:
    """Return a version: a checkout, or a commit of this one, which is unpacked for it.

    The code is found by PYTHONPATH, which comes before whatever is installed; that it was found is looked at.
    """
    checkout = Path(given).resolve()
    if checkout.is_dir():
        commit = _git("-C", str(checkout), "rev-parse", "--short=7", "HEAD").decode().strip()
    else:
        commit = _git("rev-parse", "--short=7", f"{given}^{{commit}}").decode().strip()
        checkout = folder / commit
        with tarfile.open(fileobj=io.BytesIO(_git("-C", str(HERE.parent), "archive", commit))) as packed:
            packed.extractall(checkout)
    own = folder / f"at-{commit}"
    own.mkdir()
    for name in PROGRAMS:
        (own / name).write_text((HERE / name).read_text("utf-8"), "utf-8")
    places = {"RUNS": str(folder / "runs"), "ACKS": str(folder / "acks"), "FASTQ_DSN": dsn}
    env = {**os.environ, **places, "PYTHONPATH": str(checkout)}
    asked = subprocess.run(
        [python, "-c", ABOUT], cwd=own, env=env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    file, schema = json.loads(asked)
    if Path(file).resolve().parents[1] != checkout:
        sys.exit(f"{python} imports fastq from {file}, not from {checkout}")
    return Side(checkout=checkout, python=python, commit=commit, schema=schema, folder=own, env=env)


class Running:
    """A fleet or a producer, its log in a file."""

    def __init__(self, of: Side, name: str, arguments: list[str]) -> None:
        self.name, self.schema = name, of.schema
        self.log = of.folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [of.python, *arguments], cwd=of.folder, env=of.env, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_for(self, words: str, count: int) -> Running:
        """Wait until the log says something so many times."""
        until = time.monotonic() + PATIENCE_S
        while (text := self.log.read_text("utf-8", "replace")).count(words) < count:
            if self._process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{self.name} did not start:\n{text}")
            time.sleep(0.02)
        return self

    def stop(self) -> int:
        """Let it drain; return its exit code, also when it had ended before."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it, whatever it is doing; its children see that it is gone and drain."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def complaints(log: str) -> Iterator[tuple[str, str]]:
    """Yield ("error" or "warning", text) of a log: errors are also tracebacks, and lines that are no record."""
    for text in log.splitlines():
        try:
            record = json.loads(text)
        except json.JSONDecodeError:
            yield "error", text
            continue
        whole = f"{record['message']} {record.get('exception', '')}".strip()
        if whole.endswith(ON_PURPOSE):
            continue
        if record["level"] in ("error", "critical") or "Traceback" in whole:
            yield "error", whole
        elif record["level"] == "warning":
            yield "warning", whole
