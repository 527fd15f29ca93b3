"""A pytest plugin for continuous integration: a test that is skipped, and whose skip nobody expects, is a failure.

    python -m pytest -p tests.skips          # skips.toml says which skips are expected, of whom, and why

Everywhere else `-rs` (in pyproject.toml) shows what was skipped and why, and that is all.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXPECTED = Path(__file__).with_name("skips.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Tests whose id contains `test` may be skipped for a reason that contains `reason`, by root, users or anybody."""

    test: str
    reason: str
    why: str
    by: str = "anybody"

    def excuses(self, test: str, reason: str, *, root: bool) -> bool:
        """Tell whether this skip is expected of this user."""
        asked = self.by == "anybody" or (self.by == "root") == root
        return asked and self.test in test and self.reason in reason


def expected(path: Path = EXPECTED) -> list[Expected]:
    """Return the list that the repository keeps."""
    return [Expected(**entry) for entry in tomllib.loads(path.read_text())["skip"]]


class Watch:
    """Collects the skips of a session; those that nobody expects turn a green run red."""

    def __init__(self, allowed: list[Expected], *, root: bool) -> None:
        self._allowed = allowed
        self._root = root
        self.unexpected: list[str] = []

    def take(self, test: str, reason: str) -> None:
        """Take in one skip."""
        if not any(entry.excuses(test, reason, root=self._root) for entry in self._allowed):
            self.unexpected.append(f"{test}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at each test's report."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.take(report.nodeid, _reason(report.longrepr))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at each file that was skipped as a whole."""
        if report.skipped:
            self.take(report.nodeid, _reason(report.longrepr))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that nothing else has failed."""
        if self.unexpected and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which they are."""
        if self.unexpected:
            terminalreporter.section("skipped, which tests/skips.toml does not expect", red=True)
            for line in sorted(set(self.unexpected)):
                terminalreporter.write_line(line)


def _reason(why: Any) -> str:
    return str(why[2] if isinstance(why, tuple) else why)


def pytest_configure(config: pytest.Config) -> None:
    """Watch from where the reports of all processes come together."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch(expected(), root=os.geteuid() == 0), "fastq-skips")
