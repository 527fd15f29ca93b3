"""How log records are written, whatever stands in them, and which loggers are whose."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fastq.observability import logs, runs
from fastq.observability.logs import ConsoleFormatter, JsonFormatter
from fastq.observability.runs import CurrentRun, LogFields

pytestmark = pytest.mark.unit

RUN = CurrentRun(job_id=17, task="mail", queue="letters", attempt=2)


class Unspeakable:
    """Raises when it is written."""

    def __repr__(self) -> str:
        raise RuntimeError


def record(message: str, *args: object, name: str = "myapp", extra: dict[str, Any] | None = None) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    return logging.getLogger(name).makeRecord(name, logging.INFO, "f.py", 1, message, args, None, extra=extra)


@pytest.fixture
def in_run() -> Iterator[None]:
    """Run the test as a handler."""
    before = runs._look.get()
    runs.enter(lambda: RUN)
    yield
    runs.enter(before)


@pytest.fixture
def untouched() -> Iterator[None]:
    """Give the loggers back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("fastq")
    before = root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate, logging.lastResort
    yield
    root.handlers[:], ours.handlers[:] = before[0], before[2]
    root.setLevel(before[1])
    ours.setLevel(before[3])
    ours.propagate, logging.lastResort = before[4:]
    logs._ours = None


@pytest.mark.usefixtures("in_run")
def test_json_has_the_run_and_the_extras() -> None:
    """Each under its own name."""
    entry = json.loads(JsonFormatter().format(record("sent %s", 1, extra={"to": ["a", "b"]})))
    assert {name: entry[name] for name in (*runs.NAMES, "to", "message", "level", "logger")} == {
        **RUN.fields,
        "to": ["a", "b"],
        "message": "sent 1",
        "level": "info",
        "logger": "myapp",
    }


@pytest.mark.usefixtures("in_run")
def test_an_extra_that_is_called_like_a_field_hides_nothing() -> None:
    """Both are there."""
    entry = json.loads(JsonFormatter().format(record("sent", extra={"task": "other", "level": 9})))
    assert (entry["task"], entry["task_"], entry["level"], entry["level_"]) == ("mail", "other", "info", 9)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (object, "<class 'object'>"),
        (2**70, str(2**70)),
        ("\ud800", "\\ud800"),
        (Unspeakable(), "(Unspeakable, which raises RuntimeError when it is written)"),
        ({"a": {1, 2}}, {"a": "{1, 2}"}),
        (float("nan"), None),
    ],
)
def test_json_can_hold_any_extra(value: object, written: object) -> None:
    """What JSON cannot hold is written as Python does, or is said to be unwritable."""
    entry = json.loads(JsonFormatter().format(record("sent", extra={"what": value, "pid_of": 1})))
    assert (entry["what"], entry["message"], entry["pid_of"]) == (written, "sent", 1)


def test_nesting_without_end_is_cut() -> None:
    """The line is there, whatever hangs on it."""
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    entry = json.loads(JsonFormatter().format(record("sent", extra={"what": deep})))
    assert (entry["message"], len(entry["what"]) <= 1000) == ("sent", True)


@pytest.mark.usefixtures("in_run")
def test_fastqs_own_lines_name_their_job_themselves() -> None:
    """They are often about another than the one that happens to run."""
    assert "job_id" not in json.loads(JsonFormatter().format(record("hello", name="fastq.worker")))
    assert "job_id" not in ConsoleFormatter(colour=False).format(record("hello", name="fastq.worker"))


@pytest.mark.parametrize("formatter", [ConsoleFormatter(colour=False), JsonFormatter()])
def test_a_broken_exception_costs_its_traceback(formatter: logging.Formatter) -> None:
    """A line about an exception that cannot be shown is written all the same."""

    class Broken(Exception):
        @property
        def __traceback__(self) -> Any:
            raise RuntimeError

        @property
        def __cause__(self) -> Any:
            raise RuntimeError

    line = record("failed")
    line.exc_info = (Broken, Broken(), None)
    assert "failed" in formatter.format(line)
    assert "its traceback cannot be written: RuntimeError" in formatter.format(line)


@pytest.mark.usefixtures("in_run")
def test_a_handler_of_the_apps_may_have_the_fields() -> None:
    """`LogFields` gives them to every record, and leaves what extra= says."""
    first, second = record("sent"), record("sent", extra={"task": "other"})
    assert LogFields().filter(first)
    assert LogFields().filter(second)
    assert {name: first.__dict__[name] for name in runs.NAMES} == RUN.fields
    assert second.__dict__["task"] == "other"


def test_outside_of_any_run_the_fields_are_none() -> None:
    """A format that names them does not fail there."""
    line = record("sent")
    LogFields().filter(line)
    assert [line.__dict__[name] for name in runs.NAMES] == [None] * 4


@pytest.mark.usefixtures("untouched")
def test_the_app_may_set_up_logging_at_any_time() -> None:
    """Its lines are ours to write until it does; root has no handler of ours that could stand in its way."""
    root, out, mine = logging.getLogger(), io.StringIO(), io.StringIO()
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    logs.configure(stream=out)
    logs.adopt()
    assert root.handlers == []
    logging.getLogger("myapp").info("before")
    logging.basicConfig(stream=mine, level=logging.INFO)
    logging.getLogger("myapp").info("after")
    logging.getLogger("fastq.worker").info("ours")
    assert [line.split(maxsplit=4)[4] for line in out.getvalue().splitlines()] == ["before", "ours"]
    assert mine.getvalue() == "INFO:myapp:after\n"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_a_level_of_the_apps_is_left_alone(level: int) -> None:
    """Also where it has set up no handler."""
    root = logging.getLogger()
    root.handlers[:] = []
    root.setLevel(level)
    logs.configure(stream=io.StringIO())
    logs.adopt()
    assert root.level == level
