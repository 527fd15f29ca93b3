"""The preflight: what comes back from a check that runs in a child."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastq.errors import DatabaseUnreachable, FastqError
from fastq.supervisor import ChildEntry, PreflightError, preflight

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _checks_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No zombie and no descriptor may be left by a preflight."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.fixture
def release() -> Iterator[int]:
    """A descriptor that processes read until the test is over."""
    read_fd, write_fd = os.pipe()
    yield read_fd
    os.write(write_fd, b"x")  # the reader holds the other end too, so that EOF alone would never come
    os.close(read_fd)
    os.close(write_fd)


def run(check: str, **config: object) -> dict:
    """Run one of supervisor_checks."""
    return preflight(ChildEntry(path=f"supervisor_checks:{check}", config=config))


def test_answer_comes_back_and_imports_stay_in_the_child() -> None:
    """The parent gets the dict, and has not imported the module of the check."""
    answer = run("fine", a=1)
    assert (answer["config"], answer["psycopg"]) == ({"a": 1}, "psycopg")
    assert answer["pid"] != os.getpid()
    assert "supervisor_checks" not in sys.modules


def test_answer_larger_than_a_pipe_comes_back_whole() -> None:
    """The parent reads while the child writes."""
    assert len(str(run("large", bytes=1_000_000)["text"])) == 1_000_000


def test_error_of_fastq_is_raised_in_the_parent() -> None:
    """Type, message and exit code are as in the child."""
    with pytest.raises(DatabaseUnreachable, match="no server at nowhere") as caught:
        run("unreachable", host="nowhere")
    assert caught.value.exit_code == 3


def test_error_unknown_to_the_parent_keeps_message_and_exit_code() -> None:
    """A subclass that lives in the child's modules comes back as its family."""
    with pytest.raises(FastqError, match="OwnError: migrate first") as caught:
        run("unknown")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(("check", "how"), [("killed", "killed by SIGKILL"), ("leaves", "exit code 7")])
def test_death_without_an_answer_says_how(check: str, how: str) -> None:
    """Signals and exit codes are named."""
    with pytest.raises(PreflightError, match=how):
        run(check)


def test_import_error_prints_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """A check that cannot be imported has its traceback on stderr."""
    with pytest.raises(PreflightError, match="exit code 1"):
        preflight(ChildEntry(path="no_such_module:check", config=None))
    assert "No module named 'no_such_module'" in capfd.readouterr().err


def test_daemon_that_holds_the_pipe_does_not_hold_the_parent(release: int) -> None:
    """An embedded server that the check has started may live on; the answer is complete without an EOF."""
    assert run("with_daemon", release_fd=release) == {"done": True}


def test_death_is_noticed_although_a_daemon_holds_the_pipe(release: int) -> None:
    """Without an EOF, the child's end is the end."""
    with pytest.raises(PreflightError, match="killed by SIGKILL"):
        run("killed_with_daemon", release_fd=release)
