"""Processes that tests start run the code under test."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import children
import pytest

import fastq.errors

pytestmark = pytest.mark.unit

TESTS = children.SOURCE / "tests"
SETS_A_PATH = re.compile(r"""["']PYTHONPATH["']\s*[:,\]]\s*(?!.*search_path\()""")


def test_this_is_the_code_under_test() -> None:
    """Also where another checkout is installed."""
    assert Path(fastq.errors.__file__).parents[1] == children.SOURCE


def test_children_run_the_code_of_this_checkout(tmp_path: Path) -> None:
    """Without what is installed (-S), and from any directory, they find it all the same."""
    command = [sys.executable, "-S", "-c", "import fastq.errors as e; print(e.__file__)"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip()).parents[1] == children.SOURCE


def test_no_test_takes_that_from_its_children() -> None:
    """Whoever sets PYTHONPATH for a child does so by `children.search_path`, which keeps what is there."""
    apart = ("children.py", "unit/test_embedded_parts.py", "unit/test_children.py", "e2e/test_install.py")
    found = [
        f"{path.relative_to(TESTS)}:{number}"
        for path in sorted(TESTS.rglob("*.py"))
        if str(path.relative_to(TESTS)) not in apart
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SETS_A_PATH.search(line)
    ]
    assert found == []


def test_children_can_be_interrupted() -> None:
    """However the tests were started: what a parent ignores, its children ignore."""
    assert signal.SIG_IGN not in map(signal.getsignal, (signal.SIGINT, signal.SIGQUIT))
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "True"
