"""The page: what it shows, what it lets people do, and what it lets nobody do."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.testclient import TestClient

import fastq.dashboard
from fastq.dashboard import pages
from fastq.dashboard.masses import Masses

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
HERE = Path(fastq.dashboard.__file__).parent


@pytest.fixture
def site(dsn: str) -> Iterator[TestClient]:
    """Give a client of the dashboard."""
    with TestClient(fastq.dashboard.asgi(dsn)) as client:
        yield client


def put(db: Db, *payloads: str, queue: str = "default", task: str = "t") -> list[int]:
    """Enqueue jobs; returns their ids."""
    rows = [db.execute("select fastq.enqueue(%s, %s::json, %s)", [task, body, queue]).fetchone() for body in payloads]
    return [row[0] for row in rows if row]


def fail(db: Db, count: int, **what: Any) -> list[int]:
    """Keep failed jobs; returns their ids."""
    errors = '[{"type": "ValueError", "message": "no", "traceback": "line 1", "attempt": 1, "at": "2026-01-01"}]'
    row = {"task": "t", "queue": "default", "errors": errors, **what}
    rows = db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) select 0, nextval('fastq.pos'), 'failed', 4, 1, 1, %s, '', %s, '{\"n\": 1}',"
        " json_build_object('errors', %s::json) from generate_series(1, %s) returning id",
        [row["queue"], row["task"], row["errors"], count],
    ).fetchall()
    return [found[0] for found in rows]


def states(db: Db) -> dict[str, int]:
    """Return how many jobs are in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


# -- looking


@pytest.mark.parametrize("path", [path for path in pages.PAGES if path != "/job"])
def test_each_page_is_there(site: TestClient, db: Db, path: str) -> None:
    """Empty and with something in it."""
    for filled in (False, True):
        if filled:
            fill(db)
        answer = site.get(path)
        assert answer.status_code == 200, answer.text
        assert f"<title>{pages.PAGES[path].title}" in answer.text


def fill(db: Db) -> None:
    """Put something of everything there."""
    put(db, '{"n": 1}', queue="mail")
    fail(db, 2)
    db.execute("insert into fastq.worker (shard, id, host, pid, expires_at) values (0, 1, 'h', 2, now())")
    db.execute("insert into fastq.history (at, succeeded, ready) values (date_trunc('minute', now()), 9, 1)")
    db.execute(
        "insert into fastq.cron (name, spec, next_at, owner, seen_at)"
        ' values (\'s\', \'{"expression": "* * * * *", "tz": "UTC", "task": "t"}\', now(), \'app\', now())'
    )


def test_a_job(site: TestClient, db: Db) -> None:
    """Arguments, attempts, the call, and a sentence for one that is gone."""
    (job,) = put(db, '{"user_id": 7}')
    text = site.get(f"/job?id={job}").text
    assert "&#34;user_id&#34;: 7" in text
    assert "await t.enqueue(user_id=7)" in text
    (failed,) = fail(db, 1)
    text = site.get(f"/job?id={failed}").text
    assert "Attempt 1: ValueError" in text
    assert "line 1" in text
    for gone in (job + 10_000, "x", "²", 1 << 70, "9" * 5000):
        answer = site.get(f"/job?id={gone}")
        assert (answer.status_code, "is gone" in answer.text) == (404, True)


def test_search(site: TestClient, db: Db) -> None:
    """By what the database knows and by arguments; what cannot be read is said."""
    jobs = put(db, *(f'{{"user_id": {n}}}' for n in range(5)))
    assert f">{jobs[3]}<" in (text := site.get("/jobs?q=args.user_id:3").text)
    assert f">{jobs[2]}<" not in text
    assert "no condition" in site.get("/jobs?q=colour:red").text
    assert "No job fits" in site.get("/jobs?q=queue:other").text


def test_nothing_that_was_put_there_is_run_as_html(site: TestClient, db: Db) -> None:
    """Script tags in every field are shown as text, on every page."""
    db.execute(
        "insert into fastq.ready_0 (task, queue, group_key, payload)"
        " values (%s, %s, %s, json_build_object('a', %s::text))",
        [EVIL, EVIL, EVIL, EVIL],
    )
    (job,) = fail(
        db, 1, task=EVIL, queue=EVIL, errors='[{"type": "%s", "message": "%s"}]' % ((EVIL.replace('"', "'"),) * 2)
    )
    db.execute("insert into fastq.worker (shard, id, host, pid, expires_at) values (0, 1, %s, 2, now())", [EVIL])
    db.execute("insert into fastq.audit (who, action, target) values (%s, %s, %s)", [EVIL] * 3)
    db.execute("insert into fastq.queue (name, paused) values (%s, true)", [EVIL])
    for path in [*pages.PAGES, f"/job?id={job}", f"/jobs?q={EVIL}", f"/?said={EVIL}", "/jobs?state=failed"]:
        text = site.get(path).text
        assert "<script>document" not in text, path
        assert "<img" not in text, path


def test_arguments_that_nobody_shall_see(dsn: str, db: Db) -> None:
    """They are in no page."""
    (job,) = put(db, '{"password": "hunter2", "n": 1}')
    with TestClient(fastq.dashboard.asgi(dsn, redact=["password"])) as site:
        text = site.get(f"/job?id={job}").text
        assert "hunter2" not in text
        assert "•••" in text
        assert "hunter2" not in site.get("/jobs").text


def test_arguments_that_a_task_does_not_show(dsn: str, site: TestClient, db: Db) -> None:
    """Neither here nor on the command line; they cannot be found by their value, edited or copied."""
    db.execute("insert into fastq.task (name, owner, redact) values ('t', 'a', '{password}')")
    (job,) = put(db, '{"password": "hunter2", "n": 1}')
    (other,) = put(db, '{"password": "hunter2"}', task="u")
    for path in (f"/job?id={job}", "/jobs?q=task:t", "/all?action=cancel&q=task:t"):
        assert "hunter2" not in site.get(path).text, path
    assert "Change them" not in site.get(f"/job?id={job}").text
    assert "hunter2" in site.get(f"/job?id={other}").text
    found = site.get("/jobs?q=args.password:hunter2").text
    assert (f'id={job}"' in found, f'id={other}"' in found) == (False, True)
    for args in (["list", "--json"], ["show", str(job)], ["show", str(job), "--json"]):
        command = [sys.executable, "-m", "fastq", "jobs", *args, "--dsn", dsn]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert ("•••" in said, "hunter2" in said.replace(str(other), "")) == (True, args[0] == "list")


def test_who_runs_before_an_ordered_job(site: TestClient, db: Db) -> None:
    """A few ids on either side, and how many are ahead."""
    line = "select fastq.enqueue('t', queue => 'q', group_key => 'g', ordered => true) from generate_series(1, 9)"
    ids = [row[0] for row in db.execute(line).fetchall()]
    text = site.get(f"/job?id={ids[7]}").text
    assert "7 before it" in text
    assert [f'id={each}"' in text for each in ids] == [False, False, *[True] * 5, False, True]


def test_nothing_comes_from_elsewhere(site: TestClient) -> None:
    """No page names another host; what is sent is small."""
    sizes = 0
    for file in (HERE / "static").iterdir():
        sizes += len(gzip.compress(file.read_bytes()))
    assert sizes < 50_000
    for path in pages.MENU:
        answer = site.get(path)
        assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", answer.text) == []
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert re.search(r"<script(?! src=)|<[^>]+ on\w+=|<[^>]+ style=", answer.text) is None
        assert len(gzip.compress(answer.content)) + sizes < 100_000


# -- changing


def act(site: TestClient, path: str, **fields: Any) -> str:
    """Send a form; returns what the page then says was done."""
    answer = site.post(path, data=fields, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return str(site.get(answer.headers["location"]).text).partition('role="status">')[2].partition("</p>")[0]


def test_chosen_jobs(site: TestClient, db: Db) -> None:
    """Retried, cancelled, moved, hastened, deleted; each is noted."""
    failed = fail(db, 3)
    assert act(site, "/jobs", action="retry", id=failed[:2]) == "jobs: retry: 2"
    assert states(db) == {"failed": 1, "ready": 2}
    assert act(site, "/jobs", action="move", queue="mail", id=failed[0]) == "jobs: move: 1"
    assert act(site, "/jobs", action="priority", priority="1", id=failed[0]) == "jobs: priority: 1"
    assert db.execute("select queue, priority from fastq.ready where id = %s", [failed[0]]).fetchall() == [("mail", 1)]
    assert act(site, "/jobs", action="cancel", id=failed[0]) == "jobs: cancel: 1"
    assert act(site, "/jobs", action="delete", id=failed) == "jobs: delete: 3"
    assert states(db) == {}
    assert [row[0] for row in db.execute("select action from fastq.audit order by id")] == [
        "jobs: retry",
        "jobs: move",
        "jobs: priority",
        "jobs: cancel",
        "jobs: delete",
    ]
    assert "jobs: delete" in site.get("/audit").text


def test_a_job_is_changed(site: TestClient, db: Db) -> None:
    """Its arguments; what is no JSON object is refused."""
    (job,) = put(db, '{"n": 1}')
    assert act(site, "/job", id=job, args='{"n": 2}') == "job: edit: 1"
    assert "must be a JSON object" in act(site, "/job", id=job, args="[1]")
    assert "no JSON" in act(site, "/job", id=job, args="{")
    assert db.execute("select payload::text from fastq.job").fetchall() == [('{"n":2}',)]


def test_a_queue_is_steered(site: TestClient, db: Db) -> None:
    """Paused, resumed, limited, purged."""
    put(db, "{}", queue="mail")
    act(site, "/queues", action="pause", queue="mail")
    assert db.execute("select paused from fastq.queue").fetchall() == [(True,)]
    act(site, "/queues", action="resume", queue="mail")
    act(site, "/queues", action="limits", queue="mail", max_running="3", rate="0.5", weight="")
    assert db.execute("select paused, max_running, rate, weight from fastq.queue").fetchall() == [(False, 3, 0.5, None)]
    assert "must be a number" in act(site, "/queues", action="limits", queue="mail", rate="nan!")
    assert "must be a number" in act(site, "/queues", action="limits", queue="mail", weight="²")
    assert "0 or more" in act(site, "/queues", action="limits", queue="mail", rate="nan")
    assert act(site, "/queues", action="purge", queue="mail") == "queue: purge: 1"


def test_all_that_fit(site: TestClient, db: Db) -> None:
    """It asks first, shows how many, and does it in the background; never to everything."""
    fail(db, 30, queue="mail")
    fail(db, 2)
    assert "Retry all that fit?" in site.get("/all?action=retry&q=queue:mail&state=failed").text
    answer = site.post("/all", data={"action": "retry", "q": "queue:mail", "state": "failed"}, follow_redirects=False)
    assert answer.status_code == 303
    site.portal.call(_masses(site).ended)  # type: ignore[union-attr]
    assert states(db) == {"failed": 2, "ready": 30}
    assert "retry failed queue:mail: 30 jobs, done" in site.get("/jobs").text
    assert db.execute("select jobs from fastq.audit").fetchall() == [(30,)]
    for wrong in ({"action": "retry"}, {"action": "retry", "q": "args.n:1"}, {"action": "move", "q": "queue:mail"}):
        assert site.post("/all", data=wrong).status_code == 400


def _masses(site: TestClient) -> Masses:
    (route,) = [each for each in site.app.routes if getattr(each, "path", "") == "/all"]  # type: ignore[attr-defined]
    masses: Masses = route.endpoint.__self__._masses
    return masses


# -- rights


def test_only_who_shows_the_token_gets_in(dsn: str, db: Db) -> None:
    """As a bearer, or once in the address, which becomes a cookie."""
    with TestClient(fastq.dashboard.asgi(dsn, token="secret")) as site:
        assert site.get("/").status_code == 401
        assert site.get("/?token=wrong").status_code == 401
        assert site.get("/events?page=/").status_code == 401
        assert site.post("/queues", data={"queue": "q", "action": "pause"}).status_code == 401
        assert site.get("/", headers={"authorization": "Bearer secret"}).status_code == 200
        first = site.get("/jobs?token=secret&q=queue:mail", follow_redirects=False)
        assert (first.status_code, first.headers["location"]) == (303, "/jobs?q=queue%3Amail")
        assert site.get("/").status_code == 200
    assert db.execute("select count(*) from fastq.queue").fetchall() == [(0,)]


def test_whoever_may_only_look_changes_nothing(dsn: str, db: Db) -> None:
    """By the user's own hook, and by read_only; there are no buttons either."""
    (job,) = fail(db, 1)

    async def who_may(request: Request) -> str:
        return request.headers.get("x-right", "none")

    with TestClient(fastq.dashboard.asgi(dsn, authorize=who_may)) as site:
        assert site.get("/").status_code == 401
        for right, status in (("read", 403), ("write", 303)):
            headers = {"x-right": right}
            assert ("<button name" in site.get("/jobs", headers=headers).text) is (right == "write")
            answer = site.post("/jobs", data={"action": "delete", "id": job}, headers=headers, follow_redirects=False)
            assert answer.status_code == status
    assert states(db) == {}
    with TestClient(fastq.dashboard.asgi(dsn, read_only=True)) as site:
        assert site.post("/queues", data={"queue": "q", "action": "pause"}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"origin": "http://testserver"}, 303),
        ({}, 303),
    ],
)
def test_another_site_changes_nothing(site: TestClient, headers: dict[str, str], status: int) -> None:
    """Whatever cookies its visitor has."""
    form = {"queue": "q", "action": "pause"}
    assert site.post("/queues", data=form, headers=headers, follow_redirects=False).status_code == status


def test_a_name_that_leads_here_is_not_enough(dsn: str) -> None:
    """A page of another site, whose name has been pointed at this host, is the same origin to its browser."""
    with TestClient(fastq.dashboard.asgi(dsn, hosts=["127.0.0.1", "localhost"])) as site:
        for host, status in (("evil.example", 421), ("127.0.0.1:8080", 200), ("localhost", 200)):
            assert site.get("/", headers={"host": host}).status_code == status
        form = {"queue": "q", "action": "pause"}
        headers = {"host": "evil.example", "sec-fetch-site": "same-origin"}
        assert site.post("/queues", data=form, headers=headers).status_code == 421


def test_connections_that_the_server_has_ended_are_replaced(site: TestClient, db: Db) -> None:
    """After a restart of the server, the next page is there."""
    assert site.get("/queues").status_code == 200
    db.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'fastq dashboard'")
    assert site.get("/workers").status_code == 200


def test_it_can_be_mounted(dsn: str, db: Db) -> None:
    """Under a path: links, forms, files and redirects stay below it."""
    fail(db, 1)
    outer = Starlette(routes=[Mount("/ops/fastq", fastq.dashboard.asgi(dsn))])
    with TestClient(outer) as site:
        text = site.get("/ops/fastq/jobs").text
        targets = re.findall(r"(?:src|href|action)=\"([^\"]*)\"", text)
        assert targets
        assert [target for target in targets if not target.startswith("/ops/fastq/")] == []
        assert site.get("/ops/fastq/static/dashboard.css").status_code == 200
        answer = site.post("/ops/fastq/queues", data={"queue": "q", "action": "pause"}, follow_redirects=False)
        assert answer.headers["location"].startswith("/ops/fastq/queues?")


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    """In one sentence, with 503."""
    with TestClient(fastq.dashboard.asgi(f"host={tmp_path} dbname=x")) as site:
        answer = site.get("/")
        assert (answer.status_code, "cannot connect to PostgreSQL" in answer.text) == (503, True)
