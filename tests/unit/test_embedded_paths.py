"""Where the embedded server's files lie, and who runs it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from fastq.embedded import identity
from fastq.embedded.paths import MAX_SOCKET_BYTES, SOCKET_NAME, Paths
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the user decides anything."""
    for name in ("FASTQ_HOME", "XDG_DATA_HOME", "FASTQ_PG_USER"):
        monkeypatch.delenv(name, raising=False)


def test_argument_wins_over_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is the argument, else $FASTQ_HOME."""
    monkeypatch.setenv("FASTQ_HOME", "/from/env")
    assert Paths.of("/given").base == Path("/given")
    assert Paths.of().base == Path("/from/env")


@pytest.mark.parametrize(
    ("uid", "xdg", "expected"),
    [(0, None, "/var/lib/fastq"), (1, None, "/home/x/.local/share/fastq"), (1, "/data", "/data/fastq")],
)
def test_default_base(monkeypatch: pytest.MonkeyPatch, uid: int, xdg: str | None, expected: str) -> None:
    """Root's server lies outside of /root, everyone else's in the XDG data directory."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("HOME", "/home/x")
    if xdg:
        monkeypatch.setenv("XDG_DATA_HOME", xdg)
    assert Paths.of().base == Path(expected)


def test_symlink_and_target_are_one_base(tmp_path: Path) -> None:
    """Two names of one directory give one server."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Paths.of(tmp_path / "link") == Paths.of(tmp_path / "real")


@pytest.mark.parametrize("base", ["/x" * 60, "/with space", "/a,b", "/it's", "/d\u00e9j\u00e0"])
def test_socket_path_is_short_and_needs_no_quoting(base: str) -> None:
    """A base that is too long, or means something in a conninfo, gets a socket directory in /tmp."""
    paths = Paths.of(base)
    assert len(os.fsencode(paths.run / SOCKET_NAME)) <= MAX_SOCKET_BYTES
    assert paths.run.parent == Path("/tmp")
    assert paths.dsn == f"host={paths.run} port=5432 user=postgres dbname=postgres"


def test_socket_directory_does_not_depend_on_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with different $TMPDIR look in the same place."""
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert Paths.of("/x" * 60).run.parent == Path("/tmp")


def test_newest_data_directory(tmp_path: Path) -> None:
    """Only complete data directories count, and of several the newest major."""
    for name in ("pg16", "pg18"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "PG_VERSION").write_text(name[2:])
    (tmp_path / "pg19").mkdir()
    assert Paths.of(tmp_path).data() == tmp_path / "pg18"


def test_root_takes_the_named_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """$FASTQ_PG_USER decides who serves root."""
    monkeypatch.setenv("FASTQ_PG_USER", "nobody")
    assert identity.unprivileged().uid == pwd.getpwnam("nobody").pw_uid


@pytest.mark.parametrize("name", ["root", "no-such-user"])
def test_named_user_that_cannot_serve_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A $FASTQ_PG_USER that is root or does not exist is reported, not passed over."""
    monkeypatch.setenv("FASTQ_PG_USER", name)
    with pytest.raises(EmbeddedError, match=f"FASTQ_PG_USER={name} does not name one"):
        identity.unprivileged()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_owner_of_the_data_stays(tmp_path: Path) -> None:
    """Data that was made by one user is served by that user, whoever else has appeared since."""
    os.chown(tmp_path, 4242, 4243)
    assert identity.identity_for(tmp_path) == identity.Identity(uid=4242, gid=4243)
