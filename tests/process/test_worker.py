"""Worker processes as they are in production: real forks, real signals, a real database."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import handlers
import pytest
from fleet import Fleet, gone, until
from probe import Db, enqueue, states, told, wait_empty, wait_told

from fastq.schema import migrator

pytestmark = pytest.mark.process


def test_jobs_run_and_leave_nothing_behind(dsn: str, db: Db) -> None:
    """What was enqueued runs once each; ready, lease and worker are empty after the drain."""
    enqueue(*(handlers.quick.job(n=n) for n in range(300)))
    with Fleet(dsn, processes=2) as fleet:
        wait_empty(db)
        assert fleet.stop() == 0
    assert sorted(map(int, told(db, "quick"))) == list(range(300))
    assert db.execute("select count(*) from fastq.lease").fetchone() == (0,)
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)


def test_jobs_of_all_shards_run(dsn: str, db: Db) -> None:
    """Workers claim from each of 32 shards, and two workers go round them without losing or repeating a job."""
    migrator.set_shards(db, 32)
    db.execute(
        "insert into fastq.ready_1 (shard, pos, task, payload)"
        " select n %% 32, 1000000 + n, %s, json_build_object('n', n) from generate_series(0, 319) n",
        [handlers.quick.name],
    )
    with Fleet(dsn, "--burst", processes=2) as fleet:
        assert fleet.process.wait(60) == 0
    assert sorted(map(int, told(db, "quick"))) == list(range(320))
    assert states(db) == {}


def test_killed_workers_jobs_run_again_while_its_supervisor_lives(dsn: str, db: Db) -> None:
    """kill -9 charges a crash to the running job only; the prefetched ones go back untouched; all run on."""
    enqueue(*(handlers.gated.job(n=n) for n in range(8)))
    with Fleet(dsn, "-c", "2", "--prefetch-ms", "50") as fleet:
        wait_told(db, "started", 2)
        victim = fleet.workers(db)[0]
        os.kill(victim, signal.SIGKILL)
        until("the first running job to be started again", lambda: len(told(db, "started")) >= 3)
        charged = db.execute("select count(*) from fastq.job where meta->>'crashes' = '1'").fetchone()
        assert charged == (2,)
        assert db.execute("select count(*) from fastq.job where meta->>'crashes' > '1'").fetchone() == (0,)
        db.execute("insert into gate values (true)")
        wait_empty(db)
        fleet.wait_line("died: killed by SIGKILL")
    assert sorted(set(map(int, told(db, "finished")))) == list(range(8))


def test_poison_job_fails_after_three_crashes_and_names_the_signal(dsn: str, db: Db) -> None:
    """A job that kills its worker is not run for ever."""
    (job,) = enqueue(handlers.suicide.job(n=1))
    with Fleet(dsn):
        until("the job to fail", lambda: states(db) == {"failed": 1})
    assert len(told(db, "suicide")) == 3
    row = db.execute("select meta->'errors'->-1->>'message' from fastq.job where id = %s", [job]).fetchone()
    assert row is not None
    assert "SIGKILL" in row[0]


def test_poison_among_a_thousand_costs_no_innocent_more_than_one_charge(dsn: str, db: Db) -> None:
    """Whoever ran when the worker died runs alone from then on, until it has come through."""
    enqueue(*(handlers.poison.job(n=n, bad=500) for n in range(1000)))
    with Fleet(dsn, "-c", "50", processes=2):
        until("all to end", lambda: states(db) == {"failed": 1} and len(set(told(db, "survived"))) == 999)
    assert told(db, "charged 2") == ["500"]
    assert "500" in told(db, "charged 1")
    assert len(set(told(db, "charged 1"))) <= 50


def test_a_forked_child_that_comes_back_is_no_second_worker(dsn: str, db: Db) -> None:
    """A handler's fork that returns from the handler in the child ends there."""
    enqueue(handlers.forker.job(n=1))
    with Fleet(dsn) as fleet:
        (child,) = wait_told(db, "child")
        until("the child to end", lambda: gone(int(child)))
        wait_empty(db)
        enqueue(handlers.quick.job(n=2))
        wait_told(db, "quick")
        assert fleet.stop() == 0


def test_drain_returns_prefetched_jobs_and_waits_for_running_ones(dsn: str, db: Db) -> None:
    """TERM under load: unstarted jobs are ready again at once, running ones finish, exit 0, nothing charged."""
    enqueue(*(handlers.gated.job(n=n) for n in range(10)))
    with Fleet(dsn, "-c", "3") as fleet:
        wait_told(db, "started", 3)
        fleet.process.send_signal(signal.SIGTERM)
        state = "select counters->>'state' from fastq.worker where shard = 0"
        until("the worker to claim nothing more", lambda: db.execute(state).fetchall() == [("draining",)])
        until("the unstarted jobs to be back", lambda: states(db) == {"ready": 7, "running": 3})
        db.execute("insert into gate values (true)")
        assert fleet.process.wait(30) == 0
    assert states(db) == {"ready": 7}
    assert len(told(db, "started")) == len(told(db, "finished")) == 3
    assert db.execute("select count(*) from fastq.job where attempt > 0 or meta is not null").fetchone() == (0,)


def test_drain_past_its_deadline_returns_running_jobs_uncharged_and_exits_5(dsn: str, db: Db) -> None:
    """A job that will not end in time is cancelled, goes back without a charge, and the exit code says so."""
    enqueue(handlers.gated.job(n=1))
    with Fleet(dsn, "--shutdown-timeout", "0.3") as fleet:
        wait_told(db, "started")
        assert fleet.stop() == 5
    assert states(db) == {"ready": 1}
    assert db.execute("select attempt, meta::text from fastq.job").fetchone() == (0, None)


def test_only_the_named_queues_are_served(dsn: str, db: Db) -> None:
    """-Q takes from its queues alone."""
    enqueue(handlers.quick.options(queue="a").job(n=1), handlers.quick.options(queue="b").job(n=2))
    with Fleet(dsn, "-Q", "a:3", "--burst") as fleet:
        assert fleet.process.wait(30) == 0
    assert told(db, "quick") == ["1"]
    assert states(db) == {"ready": 1}


def test_fenced_worker_leaves_and_is_replaced(dsn: str, db: Db) -> None:
    """A worker whose row is gone claims nothing more, exits, and another takes its place."""
    with Fleet(dsn) as fleet:
        fleet.ready()
        old = fleet.workers(db)
        db.execute("delete from fastq.worker")
        enqueue(handlers.quick.job(n=1))
        wait_told(db, "quick")
        fleet.wait_line("was given up by the fleet")
        assert fleet.workers(db) != old


def test_frozen_worker_is_reaped_after_its_lease_and_its_outcomes_are_refused(dsn: str, db: Db) -> None:
    """SIGSTOP past the lease: others get the job; thawed, the worker's outcome is refused and it is replaced."""
    enqueue(*(handlers.quick.job(n=n) for n in range(300)), *(handlers.gated.job(n=n) for n in range(6)))
    with Fleet(dsn, "--lease", "1", "-c", "1", "--prefetch-ms", "1000"):
        (first,) = wait_told(db, "started")
        until("more to be prefetched", lambda: states(db) == {"running": 6})
        with Fleet(dsn, "--lease", "1", "-c", "10"):
            victim = db.execute("select pid from probe where what = 'started'").fetchone()
            assert victim is not None
            os.kill(victim[0], signal.SIGSTOP)
            try:
                wait_told(db, "started", 2)
                db.execute("insert into gate values (true)")
                wait_empty(db)
            finally:
                os.kill(victim[0], signal.SIGCONT)
            until("the thawed worker to leave", lambda: gone(victim[0]))
        assert sorted(told(db, "started")) == sorted([first, *map(str, range(6))])


def test_blocked_event_loop_loses_nothing(dsn: str, db: Db) -> None:
    """A handler that blocks its loop for longer than the lease keeps its job, because the steward beats for it."""
    enqueue(handlers.blocking.job(n=1, seconds=2.5))
    with Fleet(dsn, "--lease", "1") as fleet:
        wait_told(db, "unblocked")
        wait_empty(db)
        assert fleet.stop() == 0
    assert told(db, "blocking") == ["1"]


def test_a_blocked_event_loop_is_told_of(dsn: str, db: Db) -> None:
    """After a second a log line names the job, its task and the place."""
    (job,) = enqueue(handlers.blocking.job(n=1, seconds=2.5))
    with Fleet(dsn) as fleet:
        fleet.wait_line(rf"event loop is blocked for 1\.\d s by job {job} of handlers.blocking:")
        fleet.wait_line(r"time.sleep\(seconds\)")
        wait_empty(db)


def test_killed_supervisor_drains_its_children(dsn: str, db: Db) -> None:
    """kill -9 of the supervisor: workers finish what runs, sign off, and nobody is left."""
    enqueue(handlers.gated.job(n=1))
    with Fleet(dsn) as fleet:
        wait_told(db, "started")
        children = [int(pid) for pid in _children(fleet.process.pid)]
        fleet.process.kill()
        fleet.process.wait()
        db.execute("insert into gate values (true)")
        wait_told(db, "finished")
        until("all children to be gone", lambda: all(gone(pid) for pid in children))
    assert states(db) == {}
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)


def test_killed_steward_is_replaced(dsn: str, db: Db) -> None:
    """kill -9 of the steward is repaired, and what it does goes on."""
    with Fleet(dsn) as fleet:
        fleet.ready()
        steward = next(pid for pid in _children(fleet.process.pid) if int(pid) not in fleet.workers(db))
        os.kill(int(steward), signal.SIGKILL)
        fleet.wait_line("steward .* started", count=2)
        enqueue(handlers.quick.options(delay=0.05).job(n=1))
        wait_told(db, "quick")
        assert fleet.stop() == 0


def test_lost_connections_are_made_again(dsn: str, db: Db) -> None:
    """Terminated backends end no worker; jobs go on."""
    with Fleet(dsn) as fleet:
        fleet.ready()
        pids = fleet.workers(db)
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'fastq %' and pid <> pg_backend_pid() and datname = current_database()"
        )
        enqueue(*(handlers.quick.job(n=n) for n in range(20)))
        wait_told(db, "quick", 20)
        wait_empty(db)
        assert fleet.workers(db) == pids
        assert fleet.stop() == 0


def test_max_jobs_per_child_replaces_the_process(dsn: str, db: Db) -> None:
    """After so many jobs a worker signs off and a fresh one goes on."""
    enqueue(*(handlers.quick.job(n=n) for n in range(30)))
    with Fleet(dsn, "--max-jobs-per-child", "10") as fleet:
        wait_told(db, "quick", 30)
        wait_empty(db)
        assert fleet.stop() == 0
    assert db.execute("select count(distinct pid) from probe").fetchone() == (3,)


def test_process_over_its_memory_limit_is_replaced(dsn: str, db: Db) -> None:
    """A worker that holds more than it may drains and is replaced; its jobs are not lost."""
    enqueue(handlers.leaking.job(megabytes=300), *(handlers.quick.job(n=n) for n in range(20)))
    with Fleet(dsn, "--max-memory-per-child", "300M") as fleet:
        fleet.wait_line("more than --max-memory-per-child allows")
        wait_told(db, "quick", 20)
        wait_empty(db)


def test_reload_replaces_the_workers_when_a_file_changes(dsn: str, db: Db, tmp_path: Path) -> None:
    """With --reload a change of the app's file brings workers with the new code."""
    source = "import fastq\napp = fastq.App()\n@app.task(name='say')\nasync def say():\n    open({!r}, 'w').close()\n"
    (tmp_path / "live.py").write_text(source.format(str(tmp_path / "one")))
    with Fleet(dsn, "--reload", target="live:app", cwd=tmp_path) as fleet:
        fleet.ready()
        db.execute("select fastq.enqueue('say')")
        until("the old code", (tmp_path / "one").exists)
        (tmp_path / "live.py").write_text(source.format(str(tmp_path / "two!")))
        fleet.wait_line("is ready", count=2)
        until("the old worker to leave", lambda: len(fleet.workers(db)) == 1)
        db.execute("select fastq.enqueue('say')")
        until("the new code", (tmp_path / "two!").exists)


def test_middleware_wraps_every_run(dsn: str, db: Db) -> None:
    """A middleware sees the context before and the result after."""
    with handlers.other as app:
        app.enqueue_sync(handlers.answer.job())
    with Fleet(dsn, target="handlers:other"):
        assert wait_told(db, "before") == ["handlers.answer"]
        assert wait_told(db, "after") == ["42"]


def _children(pid: int) -> list[str]:
    """Return the pids of a process's children."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
