"""Django's own tests of its task backends, run against ours: they come with Django's source distribution.

What they ask of the backend that runs tasks at once is asked of a backend that has a worker run what was enqueued; what
they ask of the one that only collects tasks, of ours as it is. Their texts are rewritten for that, in `REWRITTEN`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import psycopg
import pytest
from children import search_path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="django is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("django.tasks") is None, reason="Django has its tests of tasks from 6.0 on"
    ),
]

SETTINGS = """
import os
from psycopg import conninfo
_dsn = conninfo.conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": _dsn["dbname"], "USER": _dsn.get("user"),
                         "PASSWORD": _dsn.get("password"), "HOST": _dsn.get("host"), "PORT": _dsn.get("port")}}
INSTALLED_APPS = ["fastq.django"]
TASKS = {"default": {"BACKEND": "backends.Waiting", "QUEUES": []}}
SECRET_KEY = "for tests"
USE_TZ = True
"""

BACKENDS = '''
"""Two backends: one whose tasks wait, and one that has a worker run them."""

from asgiref.sync import sync_to_async

import fastq.django
from fastq import testing


class Waiting(fastq.django.Backend):
    """What is enqueued can be listed and forgotten, as Django's tests of it want."""

    @property
    def results(self):
        return [self.get_result(str(job.id)) for job in testing.enqueued(self.app)]

    def clear(self):
        testing.clear(self.app.dsn)


class Worked(fastq.django.Backend):
    """A worker has run the task when enqueue returns."""

    def enqueue(self, task, args, kwargs):
        result = super().enqueue(task, args, kwargs)
        testing.drain_sync(self.app, check=False)
        result.refresh()
        return result
'''

REWRITTEN = [
    ("django.tasks.backends.immediate.ImmediateBackend", "backends.Worked"),
    ("django.tasks.backends.dummy.DummyBackend", "backends.Waiting"),
    ("from django.tasks.backends.immediate import ImmediateBackend", "from backends import Worked as ImmediateBackend"),
    ("from django.tasks.backends.dummy import DummyBackend", "from backends import Waiting as DummyBackend"),
    ("SimpleTestCase", "TransactionTestCase"),  # these may use the database
    ("import TransactionTestCase, TransactionTestCase", "import TransactionTestCase"),
]

_BLOCKS = "it calls synchronously from a coroutine what asks the database, which Django forbids"
OTHERWISE = {
    "test_tasks": {
        "test_enqueue_task_async": _BLOCKS,
        "test_get_missing_result": _BLOCKS,
        "test_refresh_result": _BLOCKS,
    },
    "test_immediate_backend": {
        "test_throws_keyboard_interrupt": "a worker outlives a task that raises KeyboardInterrupt: the task has failed",
        "test_cannot_get_result": "ours can",
        "test_cannot_refresh_result": "ours can",
        "test_cannot_pass_run_after": "ours can wait for a time",
        "test_doesnt_wait_until_transaction_commit_by_default": "ours runs after the commit",
    },
    "test_custom_backend": {},
}
"""What Django's tests of its own backends ask for that is otherwise here, and why."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder `tests` of the Django that is installed, from its source distribution."""
    import django

    folder = tmp_path_factory.mktemp("django")
    wanted = f"django=={django.__version__}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary=:all:",
        "-d",
        str(folder),
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"Django's source distribution cannot be had: {done.stderr[-200:]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return next(folder.glob("*/tests"))


@pytest.mark.parametrize("module", OTHERWISE)
def test_djangos_tests(source: Path, tmp_path: Path, server: str, module: str) -> None:
    """All pass but those that ask for what a backend like ours does otherwise."""
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "backends.py").write_text(BACKENDS)
    package = tmp_path / "tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("tasks", module):
        text = (source / "tasks" / f"{name}.py").read_text()
        for old, new in REWRITTEN if module != "test_custom_backend" else []:
            text = text.replace(old, new)
        (package / f"{name}.py").write_text(text)
    tests = re.findall(r"def (test_\w+)\(self", (package / f"{module}.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "django", "test", f"tasks.{module}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": search_path(tmp_path),
            "DJANGO_SETTINGS_MODULE": "settings",
            "DATABASE_URL": psycopg.conninfo.make_conninfo(server, dbname=f"conformance_{os.getpid()}"),
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    found = re.search(r"Ran (\d+) tests", done.stderr)
    assert found is not None, done.stderr
    assert int(found[1]) == len(tests)
    failed = set(re.findall(r"^(?:FAIL|ERROR): (test_\w+)", done.stderr, re.MULTILINE))
    assert failed == OTHERWISE[module].keys(), done.stderr
