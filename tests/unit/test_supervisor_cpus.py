"""CPUs: what affinity and cgroups leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastq.errors import UsageError
from fastq.supervisor.cpus import (
    available_cpus,
    cgroup_quota,
    cpus_each,
    default_processes,
    parse_cpus,
    pins,
    processes_here,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("0-3,7", (0, 1, 2, 3, 7)), (" 2 , 1-2", (2, 1)), ("5-5", (5,))]
)
def test_parse_cpus(text: str, cpus: tuple[int, ...]) -> None:
    """Order is kept, doubles are not."""
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-99999", "1-2-3"])
def test_parse_cpus_refuses(text: str) -> None:
    """With an error that the command line can show."""
    with pytest.raises(UsageError):
        parse_cpus(text)


def tree(tmp_path: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write a cgroup tree and a /proc/self/cgroup."""
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    return tmp_path / "fs", tmp_path / "own"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "max 100000\n"}, 0.5),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, None),
        ("0::/gone\n", {"cpu.max": "200000 100000"}, 2.0),
        (
            "4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpuset:/\n", {}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
    ],
)
def test_cgroup_quota(tmp_path: Path, own: str, files: dict[str, str], quota: float | None) -> None:
    """The smallest limit on the way up counts, in both versions."""
    assert cgroup_quota(*tree(tmp_path, own, files)) == quota


def test_no_cgroups_no_quota(tmp_path: Path) -> None:
    """On a system without them nothing is limited."""
    assert cgroup_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("cpus", "quota", "processes"), [(8, None, 8), (8, 1.5, 2), (8, 0.2, 1), (2, 16.0, 2), (8, 4.0, 4)]
)
def test_default_processes(cpus: int, quota: float | None, processes: int) -> None:
    """A part of a CPU is worth a process; there is always one."""
    assert default_processes(cpus, quota) == processes


@pytest.mark.parametrize(
    ("processes", "cpus", "pinned"), [(8, 8, True), (9, 8, True), (7, 8, False), (2, 64, False), (1, 1, True)]
)
def test_workers_are_pinned_where_there_is_one_for_each_cpu(processes: int, cpus: int, pinned: bool) -> None:
    """Where CPUs are left, others use them as well, and only the scheduler knows which."""
    assert pins(processes, cpus) == pinned


@pytest.mark.parametrize(("processes", "cpus", "each"), [(8, 8, 1), (2, 8, 4), (3, 8, 2), (16, 8, 1)])
def test_each_worker_has_its_share_of_the_cpus(processes: int, cpus: int, each: int) -> None:
    """One at least."""
    assert cpus_each(processes, cpus) == each


def test_this_machine_has_a_default() -> None:
    """Whatever it is."""
    assert 1 <= processes_here() <= len(available_cpus())
