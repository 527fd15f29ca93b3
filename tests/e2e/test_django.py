"""A Django project as its users run it: commands, a worker whose connections break, the dashboard, the settings."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from children import search_path

TOP = Path(__file__).parents[2]
PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="django is not installed"),
]


class Project:
    """The example's shop, in a directory and a database of its own."""

    def __init__(self, directory: Path, dsn: str) -> None:
        self.directory = directory
        self.dsn = dsn
        names = {"HOME": str(directory), "PATH": os.environ["PATH"], "DATABASE_URL": dsn}
        paths = {"PYTHONPATH": search_path()}
        self.environ = {**names, **paths, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
        if "FASTQ_PG_BIN" in os.environ:
            self.environ["FASTQ_PG_BIN"] = os.environ["FASTQ_PG_BIN"]

    def run(self, *arguments: str, code: int = 0, **environ: str) -> str:
        """Run `python …` there; returns what it said."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def shell(self, text: str, **environ: str) -> str:
        """Run a program with Django set up."""
        begin = "import django; django.setup()\n"
        return self.run("-c", begin + text, DJANGO_SETTINGS_MODULE="settings", **environ)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Have `python …` run there."""
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE_S)


def until(what: str, check: Callable[[], Any]) -> Any:
    """Return the first truthy value of a check."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := check()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.02)
    return value


@pytest.fixture
def bare(tmp_path: Path, empty_dsn: str) -> Project:
    """The project on a database with nothing in it."""
    directory = tmp_path / "project"
    shutil.copytree(TOP / "examples" / "django_shop", directory, ignore=shutil.ignore_patterns("__pycache__"))
    return Project(directory, empty_dsn)


@pytest.fixture
def project(bare: Project) -> Project:
    """The project after its one migration command."""
    bare.run("manage.py", "migrate")
    return bare


def test_one_migration_command_brings_both_schemas(bare: Project) -> None:
    """Before it the check says what is missing; after it nothing is to be done, and going on is quick."""
    assert "fastq.W002" in bare.run("manage.py", "check", "--database", "default")
    assert "created the functions and views" in bare.run("manage.py", "migrate")
    assert "no issues" in bare.run("manage.py", "check", "--database", "default")
    assert "nothing to do" in bare.run("manage.py", "fastq_migrate")
    assert "fastq" not in bare.run("manage.py", "migrate")
    assert "ada" not in bare.run("manage.py", "fastq", "jobs", "list")


def test_a_migration_may_want_the_schema(bare: Project) -> None:
    """An operation brings it before what relies on it, on an empty database as on the test database."""
    migrations = bare.directory / "shop" / "migrations"
    migrations.mkdir()
    (migrations / "__init__.py").touch()
    (migrations / "0001_initial.py").write_text(
        "from django.db import migrations\n"
        "from fastq.django.schema import Migrate\n"
        "class Migration(migrations.Migration):\n"
        "    operations = [Migrate(), migrations.RunSQL(\"select fastq.enqueue('a.task')\", 'select 1')]\n"
    )
    bare.run("manage.py", "migrate")
    with psycopg.connect(bare.dsn) as db:
        assert db.execute("select task from fastq.job").fetchall() == [("a.task",)]
    bare.run("manage.py", "migrate", "shop", "zero")
    assert "Bring the schema of fastq up to date" in bare.run("manage.py", "migrate", "--plan")


def test_a_worker_outlives_its_connections(project: Project) -> None:
    """Each connection of Django's in a worker is killed; the jobs after that have new ones."""
    program = (
        "from django.contrib.auth.models import User; from shop.tasks import welcome, greet\n"
        "u = User.objects.create_user('ada', 'a@example.com')\n"
        "for n in range(3): welcome.using(retries=0).enqueue(u.pk); greet.enqueue(u.pk)\n"
    )
    again = program.replace("User.objects.create_user('ada', 'a@example.com')", "User.objects.get()")
    ended = "select count(*) from fastq.finished where state = %s"
    with (
        project.running("manage.py", "fastq_worker", "-p", "1", "--threads", "2"),
        psycopg.connect(project.dsn, autocommit=True) as db,
    ):

        def all_ended(jobs: int) -> bool:
            return db.execute(ended, ["succeeded"]).fetchone() == (jobs,)

        project.shell(program)
        until("the first jobs to end", lambda: all_ended(6))
        killed = db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = ''"
            " and datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
        assert killed
        project.shell(again)
        until("the jobs after that", lambda: all_ended(12))
        assert db.execute(ended, ["failed"]).fetchone() == (0,)


def test_settings_that_cannot_work(bare: Project) -> None:
    """One sentence for each."""
    settings = (bare.directory / "settings.py").read_text()

    def check(options: str) -> str:
        (bare.directory / "other.py").write_text(
            settings
            + f"\nTASKS = {{'default': {{'BACKEND': 'fastq.django.Backend', 'QUEUES': [], 'OPTIONS': {options}}}}}\n"
        )
        return bare.run("manage.py", "check", code=1, DJANGO_SETTINGS_MODULE="other")

    assert "unknown OPTIONS ['QUEUE']" in check("{'QUEUE': 1}")
    assert "ENQUEUE is one of in_transaction, on_commit, at_once, not 'later'" in check("{'ENQUEUE': 'later'}")
    assert "fastq.E001" in check("{'DATABASE': 'nowhere'}")
    (bare.directory / "other.py").write_text(
        settings + "\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    assert "fastq keeps jobs in PostgreSQL" in bare.run("manage.py", "check", code=1, DJANGO_SETTINGS_MODULE="other")


WAYS = """
from django.db import transaction
from shop.tasks import greet
for fails in (False, True):
    try:
        with transaction.atomic():
            result = greet.enqueue(int(fails))
            assert result.status == "READY", result.status
            assert greet.get_result(result.id) == result
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
"""


@pytest.mark.parametrize(
    ("way", "states"),
    [
        ("in_transaction", [(0, "ready")]),
        ("on_commit", [(0, "ready"), (1, "reserved")]),
        ("at_once", [(0, "ready"), (1, "ready")]),
    ],
)
def test_ways_to_enqueue(project: Project, way: str, states: list[tuple[int, str]]) -> None:
    """With its transaction; after it, where a rollback leaves a reservation that expires; whatever becomes of it."""
    (project.directory / "other.py").write_text(
        f"from settings import *\nTASKS['default']['OPTIONS'] = {{'ENQUEUE': {way!r}}}\n"
    )
    project.run("-c", "import django; django.setup()\n" + WAYS, DJANGO_SETTINGS_MODULE="other")
    with psycopg.connect(project.dsn) as db:
        found = db.execute("select (payload -> 'args' ->> 0)::int, state from fastq.job order by id").fetchall()
    assert found == states


OPTIONS = """
from shop.tasks import count, welcome
from datetime import timedelta
from django.utils import timezone
count.using(priority=100).enqueue(most=1)
count.using(priority=-100, queue_name="mail").enqueue(most=2)
count.using(run_after=timezone.now() + timedelta(days=1)).enqueue(most=3)
first = count.using(unique_key="one", group_key="acme", timeout=3, expires=60).enqueue(most=4)
assert count.using(unique_key="one").enqueue(most=5).id == first.id
made = welcome.enqueue_many([{"user_id": n} for n in range(3)])
assert [welcome.get_result(each.id).kwargs for each in made] == [{"user_id": 0}, {"user_id": 1}, {"user_id": 2}]
try:
    count.using(colour="red")
except TypeError as exc:
    print(exc)
"""


def test_options_of_tasks(project: Project) -> None:
    """Django's and fastq's arrive as the job's own."""
    assert "using() takes Django's options and retries" in project.shell(OPTIONS)
    with psycopg.connect(project.dsn) as db:
        found = db.execute("select queue, priority, state, group_key from fastq.job where task like %s", ["%count"])
        assert sorted(found.fetchall()) == [
            ("default", 0, "ready", ""),
            ("default", 4, "ready", "acme"),
            ("default", 4, "scheduled", ""),
            ("mail", 9, "ready", ""),
        ]


STRANGE = """
from django.db import connection
from fastq.django.compat import TaskResultDoesNotExist, task_backends
backend = task_backends["default"]
names = "shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta"
kept = f"insert into fastq.finished ({names})"
values = " values (0, %s, 'failed', 4, 1, 0, 'default', '', 'shop.tasks.count', %s, %s)"
rows = [
    ('{"kwargs": {"most": 1}}', '{"errors": [{"at": "yesterday"}, {"at": 7}, {}]}'),
    ('{"kwargs": {"most": 1}}', '{"errors": "none", "headers": 3}'),
    ('{"args": 3, "kwargs": [1]}', None),
    ('[1]', '{}'),
]
for number, (payload, meta) in enumerate(rows, 1 << 40):
    with connection.cursor() as cursor:
        cursor.execute(kept + values, [number, payload, meta])
    found = backend.get_result(number)
    assert found.status == "FAILED", found
    print(found.args, found.kwargs)
with connection.cursor() as cursor:
    cursor.execute("select fastq.enqueue('this.s')")
    (stranger,) = cursor.fetchone()
for wrong in (stranger, 2**63, 10**40, "12a", "", -1, "\N{ARABIC-INDIC DIGIT ONE}"):
    try:
        backend.get_result(wrong)
        raise AssertionError(wrong)
    except TaskResultDoesNotExist:
        pass
"""


def test_what_a_stranger_has_written(project: Project) -> None:
    """Records that nobody can read are passed over, ids that cannot be are none, and no row imports a module."""
    assert "Beautiful is better" not in project.shell(STRANGE)


def test_asynchronous_code_enqueues_too(project: Project) -> None:
    """Django's tasks and fastq's own, from any event loop, without an app that is opened."""
    said = project.shell(
        "import asyncio; from shop.tasks import award, greet\n"
        "for n in range(2): asyncio.run(award.enqueue(user_id=n, badge='new'))\n"
        "print(asyncio.run(greet.aenqueue(1)).status)\n"
    )
    assert said.startswith("READY")  # at exit Django leaves a connection open in its thread
    with psycopg.connect(project.dsn) as db:
        assert db.execute("select count(*) from fastq.job where state = 'ready'").fetchone() == (3,)


@contextmanager
def served(project: Project, *command: str) -> Iterator[str]:
    """Serve the project; gives its address."""
    with project.running(*command) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line):
                yield found.group()
                return
        raise AssertionError("it did not start")


def signed_in(project: Project, name: str, **flags: bool) -> dict[str, str]:
    """Return the cookies of a user who has signed in."""
    said = project.shell(
        "from django.contrib.auth import *; from django.contrib.auth.models import User\n"
        "from django.contrib.sessions.backends.db import SessionStore\n"
        f"u = User.objects.create_user({name!r}, **{flags!r}); s = SessionStore()\n"
        "s[SESSION_KEY] = u.pk; s[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
        "s[HASH_SESSION_KEY] = u.get_session_auth_hash(); s.save(); print(s.session_key)\n"
    )
    return {"sessionid": said.strip()}


ASGI = ("-m", "uvicorn", "asgi:application", "--port", "0")
WSGI = ("manage.py", "runserver", "--noreload", "--nothreading", "127.0.0.1:0")


def test_the_dashboard_is_for_the_staff(project: Project) -> None:
    """Others are sent away; the staff see, are kept fresh and may act; what another site sends is refused."""
    project.shell("from shop.tasks import count; count.enqueue(most=1)")
    staff, user = signed_in(project, "boss", is_staff=True), signed_in(project, "bob")
    with served(project, *ASGI) as address, httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        assert client.get("/fastq/").headers["location"] == "/login?next=/fastq/"
        client.cookies = httpx.Cookies(user)
        assert client.get("/fastq/jobs").status_code == 403
        client.cookies = httpx.Cookies(staff)
        assert "shop.tasks.count" in client.get("/fastq/jobs").text
        page = client.get("/fastq/")
        for link in re.findall(r'(?:href|src)="(/[^"]+)"', page.text):
            assert link.startswith("/fastq/")
            assert client.get(link.replace("&amp;", "&")).status_code == 200, link
        with client.stream("GET", "/fastq/events?page=/jobs") as stream:
            assert next(line for line in stream.iter_lines() if "shop.tasks.count" in line)
        pause = {"action": "pause", "queue": "default"}
        other = client.post("/fastq/queues", data=pause, headers={"sec-fetch-site": "cross-site"})
        assert other.status_code == 403
        done = client.post("/fastq/queues", data=pause, headers={"sec-fetch-site": "same-origin"})
        assert (done.status_code, done.headers["location"].split("?")[0]) == (303, "/fastq/queues")
    with psycopg.connect(project.dsn) as db:
        assert db.execute("select who, action from fastq.audit").fetchall() == [("boss", "queue: pause")]


def test_the_dashboard_under_wsgi(project: Project) -> None:
    """Pages are shown; there is no stream, which would hold a thread for each viewer."""
    from django.test import Client  # noqa: F401 - only where Django is

    said = project.shell(
        "from django.test import Client; from django.contrib.auth.models import User\n"
        "c = Client(); c.force_login(User.objects.create_user('boss', is_staff=True))\n"
        "print(c.get('/fastq/queues').status_code, c.get('/fastq/events?page=/').status_code)\n"
    )
    assert said.strip() == "200 204"


def test_the_shops_own_tests(project: Project) -> None:
    """They are run by test_testing_plugin; here, that a target of one's own module finds Django set up."""
    (project.directory / "own.py").write_text("from shop.tasks import app, count\n")
    project.shell("from shop.tasks import count; count.enqueue(most=2)")
    project.run("-m", "fastq", "worker", "own:app", "-p", "1", "--burst", DJANGO_SETTINGS_MODULE="settings")
    with psycopg.connect(project.dsn) as db:
        assert db.execute("select state from fastq.job").fetchall() == [("succeeded",)]
