"""The app's own log lines: they reach stderr, they say which job they are of, and the app decides how they look."""

from __future__ import annotations

import json
from typing import Any

import outspoken
import pytest
from fleet import Fleet
from probe import Db

pytestmark = pytest.mark.process


def put(*specs: Any) -> list[int]:
    """Enqueue jobs of the app that has set up nothing."""
    with outspoken.app as app:
        return list(app.enqueue_many_sync(specs))


def burst(dsn: str, *options: str, target: str = "outspoken:app") -> list[str]:
    """Run everything that is ready; return the log."""
    with Fleet(dsn, "--burst", *options, target=target) as fleet:
        assert fleet.process.wait(60) == 0
        fleet.wait_line("all have ended")
    return fleet.lines


def of_app(lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the app's lines of a JSON log, by the first word of their message."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in map(json.loads, lines):
        if entry["logger"] == "myapp":
            found.setdefault(entry["message"].split()[0], []).append(entry)
    return found


def test_lines_of_handlers_say_which_job_they_are_of(dsn: str, db: Db) -> None:
    """From the fast path and from a context, from tasks, threads and hooks, and for a whole batch; extra= is kept."""
    plain, rich, sync, hopeless, *batch = put(
        outspoken.plain.job(n=1),
        outspoken.rich.job(n=2),
        outspoken.sync.job(n=3),
        outspoken.hopeless.job(),
        *(outspoken.together.job(n=n) for n in range(3)),
    )
    with Fleet(dsn, "--log-format", "json", target="outspoken:app") as fleet:
        fleet.wait_line("thread 2", count=2)
        for word in ("plain", "sync", "bare", "mourned", "together"):
            fleet.wait_line(f'"message":"{word}')
        fleet.stop()
    said = of_app(fleet.lines)

    def runs(word: str) -> list[tuple[Any, ...]]:
        return [tuple(entry.get(name) for name in ("job_id", "task", "queue", "attempt")) for entry in said[word]]

    assert runs("plain") == [(plain, "outspoken.plain", "talk", 1)]
    assert said["plain"][0]["customer"] == {"id": 1}
    for word in ("rich", "child", "thread"):
        assert runs(word) == [(rich, "outspoken.rich", "talk", attempt) for attempt in (1, 2)], word
    assert runs("sync") == [(sync, "outspoken.sync", "talk", 1)]
    assert runs("bare") == [(None, None, None, None)]
    assert runs("mourned") == [(hopeless, "outspoken.hopeless", "talk", 1)]
    assert runs("together") == [(batch[0], "outspoken.together", "talk", 1)]
    assert said["together"][0]["jobs"] == 3
    assert "not" not in said


def test_what_outlives_its_job_keeps_its_name(dsn: str, db: Db) -> None:
    """A task that a handler left behind is not taken for the job that runs in its shard by then."""
    with Fleet(dsn, "-c", "1", "--log-format", "json", target="outspoken:app") as fleet:
        jobs = put(*(outspoken.leaves.job(n=n) for n in range(3)))
        put(outspoken.over.job())
        fleet.wait_line("later", count=3)
    said = of_app([line for line in fleet.lines if line.startswith("{")])
    assert sorted((entry["message"], entry["job_id"]) for entry in said["later"]) == [
        (f"later {n}", job) for n, job in enumerate(jobs)
    ]


def test_console_lines_have_it_too(dsn: str, db: Db) -> None:
    """In the form name=value, after the message."""
    (job,) = put(outspoken.plain.job(n=1))
    lines = burst(dsn)
    assert [line.split("INFO ")[1].split(maxsplit=2)[2] for line in lines if "plain" in line] == [
        f"plain 1 job_id={job} task=outspoken.plain queue=talk attempt=1"
    ]


def test_at_debug_all_of_the_apps_lines_are_shown(dsn: str, db: Db) -> None:
    """--log-level is the app's level too, as long as it has none of its own."""
    put(outspoken.hopeless.job())
    assert "not shown at info" in "\n".join(burst(dsn, "--log-level", "debug"))


@pytest.mark.parametrize("way", ["basicConfig", "dictConfig"])
def test_the_root_logger_is_the_apps(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What the app sets up when it is imported holds; fastq's own lines go their own way, also after a dictConfig."""
    monkeypatch.setenv("LOGGING_BY", way)
    row = db.execute("select fastq.enqueue('configured.speaks', '{\"n\": 1}')").fetchone()
    lines = burst(dsn, target="configured:app")
    mine = [line for line in lines if line.startswith("MINE") and "spoke" in line]
    assert row is not None
    assert mine == [
        f"MINE DEBUG spoke 1 job={row[0]} task=configured.speaks",
        f"MINE INFO spoke of tasks job={row[0]} task=other",
    ]
    failures = [line for line in lines if "failed for good" in line]
    assert len(failures) == 1
    assert " ERROR   worker " in failures[0]


def test_fastq_may_be_asked_to_write_all_lines(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --log-all they are all in one format, whatever the app has set up."""
    monkeypatch.setenv("LOGGING_BY", "basicConfig")
    db.execute("select fastq.enqueue('configured.speaks', '{\"n\": 1}')")
    lines = burst(dsn, "--log-all", "--log-format", "json", target="configured:app")
    assert [entry["task_"] for entry in of_app(lines)["spoke"]] == ["other"]
    assert not [line for line in lines if line.startswith("MINE")]
