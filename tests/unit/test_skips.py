"""A skip that nobody expects fails the run that continuous integration makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from children import SOURCE
from skips import Expected, Watch, expected

pytestmark = pytest.mark.unit

TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="the moon is full")
def test_waits(): pass
"""


def session(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run those two tests."""
    (folder / "test_two.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.skips", *options, "test_two.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "side by side"])
def test_an_unexpected_skip_turns_a_green_run_red(tmp_path: Path, options: tuple[str, ...]) -> None:
    """It is named with its reason; the counts are pytest's own and stay as they are."""
    done = session(tmp_path, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_two.py::test_waits: Skipped: the moon is full" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]


def test_a_skip_is_expected_of_whom_the_list_says() -> None:
    """What root may skip, an ordinary user may not, and the other way round."""
    entry = Expected(test="test_a.py", reason="closed", why="", by="user")
    for root, unexpected in ((True, 1), (False, 0)):
        watch = Watch([entry], root=root)
        watch.take("tests/test_a.py::test_b", "Skipped: closed today")
        assert len(watch.unexpected) == unexpected
    watch = Watch([entry], root=False)
    watch.take("tests/test_a.py::test_b", "Skipped: open")
    watch.take("tests/test_c.py::test_b", "Skipped: closed")
    assert len(watch.unexpected) == 2


def test_each_expected_skip_has_its_reason_and_its_test() -> None:
    """A list that names a test which is no longer there would excuse the next one of that name."""
    for entry in expected():
        assert entry.why
        assert entry.by in ("root", "user", "anybody")
        path = SOURCE / entry.test.partition("::")[0]
        assert entry.reason in path.read_text(), f"{entry.test} says nothing of {entry.reason!r}"
