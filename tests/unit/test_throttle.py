"""Lines of one kind: the first pass, the rest are counted and told of."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fastq.observability.throttle import Throttle

pytestmark = pytest.mark.unit


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        """The messages."""
        return [record.getMessage() for record in self.records]


class Clock:
    """Stands still until it is moved on."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Scene:
    """A logger with a throttle, and what came through."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self.clock = Clock()
        self.throttle = Throttle(log, most=2, every_s=10.0, most_kinds=3, clock=self.clock)
        self.lines = Lines()

    def fail(self, task: str, count: int = 1, level: int = logging.ERROR) -> None:
        """Log so many failures of a task."""
        for n in range(count):
            self.log.log(level, "job %s of %s failed", n, task, extra={"per": task})


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Give a logger that nobody else hears."""
    log = logging.getLogger("test.throttle")
    scene = Scene(log)
    log.propagate = False
    log.setLevel(logging.DEBUG)
    log.addHandler(scene.lines)
    log.addFilter(scene.throttle)
    yield scene
    log.removeHandler(scene.lines)
    log.removeFilter(scene.throttle)


def test_the_first_lines_pass_and_the_rest_are_counted(scene: Scene) -> None:
    """When the time is over, one line says how many there were more, and what the last one said."""
    scene.fail("mail", 50)
    assert scene.lines.texts == ["job 0 of mail failed", "job 1 of mail failed"]
    scene.clock.now += 10
    scene.throttle.tell()
    assert scene.lines.texts[2:] == ["mail: 48 more like this within 10 s, the last one: job 49 of mail failed"]
    assert scene.lines.records[2].levelno == logging.ERROR
    assert scene.lines.records[2].__dict__["held_back"] == 48


def test_the_count_is_told_by_the_next_line_too(scene: Scene) -> None:
    """No timer is needed while anything of the logger's goes on, and what was told is not told again."""
    scene.fail("mail", 3)
    scene.clock.now += 10
    scene.fail("mail")
    assert [text.partition(":")[0] for text in scene.lines.texts[2:]] == ["mail", "job 0 of mail failed"]
    scene.throttle.tell(all=True)
    assert len(scene.lines.texts) == 4


def test_tasks_and_levels_are_told_apart(scene: Scene) -> None:
    """One task that fails all the time hides neither another's failure nor its own retries."""
    scene.fail("mail", 9)
    scene.fail("report")
    scene.fail("mail", 1, logging.WARNING)
    assert scene.lines.texts[2:] == ["job 0 of report failed", "job 0 of mail failed"]


def test_lines_of_no_kind_always_pass(scene: Scene) -> None:
    """Only what says that it is one of many is limited."""
    for _ in range(20):
        scene.log.warning("the database is away")
    assert len(scene.lines.texts) == 20


def test_kinds_are_bounded(scene: Scene) -> None:
    """Of names that come from strangers only so many are told apart; the others share one limit and one count."""
    for n in range(1000):
        scene.fail(f"task {n}")
    assert len(scene.throttle._windows) == 4
    assert len(scene.lines.texts) == 5
    scene.throttle.tell(all=True)
    assert scene.lines.texts[5:] == ["others: 995 more like this within 0 s, the last one: job 0 of task 999 failed"]


def test_the_end_tells_the_rest(scene: Scene) -> None:
    """Whoever leaves says what was held back, whether its time is over or not."""
    scene.fail("mail", 4)
    scene.clock.now += 1
    scene.throttle.tell()
    assert len(scene.lines.texts) == 2
    scene.throttle.tell(all=True)
    assert scene.lines.texts[2:] == ["mail: 2 more like this within 1 s, the last one: job 3 of mail failed"]
