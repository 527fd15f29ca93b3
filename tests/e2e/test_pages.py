"""Pages about tasks are run as they stand: see test_readme."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sqlite3

import psycopg
import pytest
import test_readme
from test_readme import TOP, Block, Reader, blocks
from test_readme import reader as reader  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.e2e

DJANGO = importlib.util.find_spec("django") is not None


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("docs/batches.md", "one request for 500 documents"),
        ("docs/cpu_bound.md", "430 primes below 3000"),
        pytest.param("docs/django.md", "Hello ada!", marks=pytest.mark.skipif(not DJANGO, reason="no django here")),
        ("docs/web.md", "welcome, user 1"),
        ("docs/tracing.md", '"name": "process mail"'),
        ("docs/lifespan.md", "report for Oslo in metric units"),
        ("docs/logging.md", "INFO charging 99 cents [orders.charge "),
        ("docs/retries.md", "https://example.com/hook took it at attempt 3"),
        ("docs/retention.md", "receipt 7"),
        ("docs/tasks.md", "thumbnail of 2.jpg"),
        ("docs/arguments.md", "10.90 Speed.FAST b'\\x00\\xff'"),
    ],
)
def test_every_block_does_what_the_page_says(reader: Reader, page: str, says: str) -> None:
    """Files, commands and workers of the page run in its order, as typed."""
    said = [reader.follow(block) for block in blocks(page)]
    assert any(says in text for text in said), said


def test_the_examples_do_what_they_say(reader: Reader) -> None:
    """Batches come together and each job ends as was said; a running job stops when it is cancelled."""
    for name in ("batch_handler.py", "cancelling.py"):
        shutil.copy(test_readme.EXAMPLES / name, reader.directory)
    limits = "fastq queues set mirror --max-running 200 --rate 1000/s"
    said = reader.follow(Block("run: own server", f"fastq migrate\n{limits}\npython batch_handler.py\n"))
    assert "enqueued 250 rows" in said
    done = "run: own server, until done batch_handler.mirror"  # not --burst: a delayed retry may be left behind
    said = reader.follow(Block(done, "fastq worker batch_handler:app\n"))
    assert sum(int(n) for n in re.findall(r"mirrored (\d+) of", said)) == 245
    with psycopg.connect(reader.own, autocommit=True) as db:
        assert db.execute("select state, count(*) from fastq.job group by 1").fetchall() == [("discarded", 5)]
    both = "fastq worker cancelling:app -p 1 & python cancelling.py; kill -TERM $!; wait $!"
    said = reader.follow(Block("run: own server", both))
    assert "cancelling\n" in said
    assert re.search(r"stopped after page \w+, cancelled: True", said)
    assert re.search(r"job \d+ is cancelled", said)


OLD = """
create table backie_tasks (id uuid default gen_random_uuid(), task_name varchar, queue_name varchar, uniq_hash char(64),
  payload jsonb, created_at timestamptz default now(), scheduled_at timestamptz default now(), done_at timestamptz);
insert into backie_tasks (task_name, queue_name, uniq_hash, payload, done_at) values
  ('greet', 'common', 'u1', '{"n": 1}', null), ('greet', 'common', 'u2', '{"n": 2}', now());
create table pg_task (id uuid default gen_random_uuid(), step text, wakeup_at timestamptz default now(), error text);
insert into pg_task (step, wakeup_at) values
  ('{"Greeter": {"ReadName": {"filename": "x"}}}', now() + interval '1 h');
create table mq_msgs (id uuid, created_at timestamptz default now(), attempt_at timestamptz, channel_name text,
  channel_args text);
create table mq_payloads (id uuid, name text, payload_json jsonb);
create function mq_clear_all() returns void language sql as 'truncate mq_msgs, mq_payloads';
insert into mq_msgs values ('00000000-0000-0000-0000-000000000001', now(), now(), 'sms', 'acme');
insert into mq_msgs values ('00000000-0000-0000-0000-000000000002', now(), null, 'sms', 'acme');
insert into mq_payloads select id, 'text', '{"to": 1}' from mq_msgs;
create table procrastinate_jobs (id bigserial, queue_name text, task_name text, priority int, lock text,
  queueing_lock text, args jsonb, status text, scheduled_at timestamptz);
create table procrastinate_periodic_defers (id bigserial, job_id bigint);
insert into procrastinate_periodic_defers (job_id) values (4), (null);
insert into procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, status) values
  ('q', 'pro', 2, 'l', 'ql', '{"a": 1}', 'todo'), ('q', 'pro', 0, 'l', null, '{"a": 2}', 'todo'),
  ('q', 'pro', 0, null, null, '{"a": 3}', 'succeeded'), ('q', 'pro', 0, null, null, '{"timestamp": 4}', 'todo');
create table pgqueuer (id serial, priority int, execute_after timestamptz default now(), status text, entrypoint text,
  dedupe_key text, payload bytea);
insert into pgqueuer (priority, status, entrypoint, payload) values (0, 'queued', 'fetch', 'hello');
"""
MOVED = """
select task, queue, priority, group_key, state from fastq.job order by task, payload::text
"""


def test_jobs_are_moved_from_other_systems(reader: Reader) -> None:
    """Tables as the other systems have them: each statement of the page takes over what waits, and nothing else."""
    reader.follow(Block("run: own server", "fastq migrate"))
    with psycopg.connect(reader.own, autocommit=True) as db:
        db.execute(OLD.encode())
        with sqlite3.connect(reader.directory / "backlite.db") as lite:
            lite.execute("create table backlite_tasks (id text, queue text, task blob, wait_until int)")
            lite.execute("insert into backlite_tasks values ('1', 'mail', '{\"address\": \"a@b\"}', null)")
        for block in blocks("docs/coming_from.md"):
            reader.follow(block)
        assert "moved 1 jobs" in reader.follow(Block("run: own server", "python move_backlite.py"))
        assert db.execute(MOVED).fetchall() == [
            ("Greeter.ReadName", "default", 4, "", "scheduled"),
            ("fetch", "fetch", 4, "", "ready"),
            ("greet", "common", 4, "", "ready"),
            ("mail", "mail", 4, "", "ready"),
            ("pro", "q", 2, "l", "ready"),
            ("pro", "q", 4, "l", "waiting"),
            ("text", "sms", 4, "acme", "ready"),
        ]
        for table, left in (("backie_tasks", 1), ("pg_task", 0), ("procrastinate_jobs", 2), ("pgqueuer", 0)):
            assert db.execute(f"select count(*) from {table}".encode()).fetchone() == (left,), table


def test_five_first_programs(reader: Reader) -> None:
    """Each does what the page says, in at most 25 lines of the reader's own."""
    page = (TOP / "docs" / "first_programs.md").read_text()
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        files = re.findall(r"^<!-- file: .+? -->\n```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        assert 0 < sum(bool(line.strip()) for text in files for line in text.splitlines()) <= 25, section[:40]
    start = "django-admin startproject mysite . && mkdir accounts && touch accounts/__init__.py"
    reader.follow(Block("run", start))  # "a project on PostgreSQL"
    (reader.directory / "mysite" / "database.py").write_text(
        "import os\nfrom psycopg import conninfo\n_dsn = conninfo.conninfo_to_dict(os.environ['DATABASE_URL'])\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': _dsn['dbname'],"
        " 'USER': _dsn.get('user'), 'HOST': _dsn.get('host'), 'PORT': _dsn.get('port')}}\n"
    )
    said = [reader.follow(block) for block in blocks("docs/first_programs.md")]
    for wanted in (
        "sent 'Welcome' to ada@example.com at attempt 2",
        "the report is written",
        "\n20\n",
        "welcome, user 1",
    ):
        assert any(wanted in text for text in said), wanted
    assert sum("welcome, user 1" in text for text in said) == 2  # FastAPI's and Django's
