"""The embedded server with real processes: who starts it, who stops it, and what each kill leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from embedded_base import end, execute, finish, is_gone, starter, until

from fastq import embedded
from fastq.embedded import keeper_lock, process
from fastq.embedded.paths import Paths
from fastq.errors import EmbeddedError

pytestmark = pytest.mark.process


def kill(child: subprocess.Popen) -> None:
    """Kill a starter without a chance to clean up, and reap it."""
    with child:
        child.kill()


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
