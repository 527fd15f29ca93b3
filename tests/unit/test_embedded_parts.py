"""The pure parts of the embedded server: reports, restart count, settings, words for humans, imports."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import fastq.errors
from fastq.embedded import settings, windows
from fastq.embedded.keeper import grace_s
from fastq.embedded.launch import Outcome, parse
from fastq.embedded.log import MAX_BYTES, trim
from fastq.embedded.paths import Paths
from fastq.embedded.postmaster import deaths_after
from fastq.embedded.status import describe, status
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.unit


def test_imports_are_the_standard_library_only() -> None:
    """The process that forks can import this package without psycopg or anything else from outside."""
    code = "import sys, fastq.embedded, fastq.embedded.__main__; print(*{m.partition('.')[0] for m in sys.modules})"
    source = str(Path(fastq.errors.__file__).parents[1])
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert set(shown.stdout.split()) - sys.stdlib_module_names - {"__main__"} == {"fastq"}


@pytest.mark.parametrize(
    ("text", "outcome"), [("ready\n", Outcome.READY), ("busy\n", Outcome.BUSY), (None, Outcome.SILENT)]
)
def test_report(tmp_path: Path, text: str | None, outcome: Outcome) -> None:
    """The keeper's word is the outcome; no word in time is silence."""
    assert parse(text, Paths.of(tmp_path)).outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [("error\nno space left\n", Outcome.ERROR, "no space left"), ("", Outcome.DIED, "was killed")],
)
def test_report_of_failure_quotes_the_log(tmp_path: Path, text: str, outcome: Outcome, reason: str) -> None:
    """A failure carries the keeper's reason and the end of the log."""
    Paths.of(tmp_path).log.write_text("x" * 5000 + "PANIC: oh")
    report = parse(text, Paths.of(tmp_path))
    assert report.outcome is outcome
    assert reason in report.text
    assert report.text.endswith("PANIC: oh")
    assert len(report.text) < 2500


def test_deaths_count_only_when_quick() -> None:
    """Three deaths within seconds add up; one after a long life starts the count again."""
    assert [deaths_after(0, lived_s=1), deaths_after(2, lived_s=1), deaths_after(2, lived_s=3600)] == [1, 3, 1]


def test_settings_are_durable() -> None:
    """No setting trades a committed job for speed, and none needs a build option."""
    text = settings.file_text()
    assert "fsync = 'on'" in text
    assert "synchronous_commit = 'on'" in text
    assert "lz4" not in text


def test_command_line_closes_tcp(tmp_path: Path) -> None:
    """ALTER SYSTEM cannot open a port to a server that trusts everyone."""
    assert "listen_addresses=" in settings.command_line(Paths.of(tmp_path))


def test_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """$FASTQ_PG_GRACE is in seconds, 2 by default, and anything else is an error."""
    monkeypatch.delenv("FASTQ_PG_GRACE", raising=False)
    assert grace_s() == 2.0
    monkeypatch.setenv("FASTQ_PG_GRACE", "0.5")
    assert grace_s() == 0.5
    monkeypatch.setenv("FASTQ_PG_GRACE", "soon")
    with pytest.raises(EmbeddedError, match="a number of seconds"):
        grace_s()


def test_log_is_cut_in_place(tmp_path: Path) -> None:
    """A log past its limit moves to log.1, and a writer that has it open goes on in the emptied file."""
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.truncate(MAX_BYTES + 1)
        trim(log)
        writer.write(b"next")
    assert log.read_bytes() == b"next"
    assert (tmp_path / "log.1").stat().st_size == MAX_BYTES + 1


def test_describe(tmp_path: Path) -> None:
    """One line says what runs where, and how to use something else."""
    look = status(tmp_path)
    running = replace(look, running=True, version="18.6")
    assert describe(running) == f"embedded PostgreSQL 18.6 in {tmp_path} (set FASTQ_DSN for a real server)"
    assert describe(look) == f"embedded PostgreSQL in {tmp_path}, not running (set FASTQ_DSN for a real server)"


def test_windows_says_that_a_dsn_is_required() -> None:
    """Every public function on Windows raises the one sentence."""
    with pytest.raises(EmbeddedError, match="does not run on Windows: set FASTQ_DSN"):
        windows.ensure(None, timeout_s=1.0)
