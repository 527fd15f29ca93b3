"""The Python files of this machine: the standard library's and those installed beside fastq."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice

from fastq.errors import UsageError

_INSTALLED = ("site-packages", "dist-packages")


def roots() -> list[str]:
    """Return the directories to look in: the standard library, then what is installed in this environment."""
    paths = sysconfig.get_paths()
    found = (os.path.realpath(paths[name]) for name in ("stdlib", "purelib", "platlib"))
    return list(dict.fromkeys(found))


def python_files(below: Sequence[str] = (), most: int | None = None) -> list[str]:
    """Return the paths of all `.py` files below some directories, or else the roots; at most `most`.

    Raises:
        UsageError: there are none.

    """
    folders = [os.path.realpath(path) for path in below] or roots()
    if found := list(islice(_walk(folders), most)):
        return found
    raise UsageError(f"there is no .py file below {', '.join(folders)}")


def _walk(roots: list[str]) -> Iterator[str]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            # The standard library's directory may hold another environment's packages.
            folders[:] = sorted(name for name in folders if name not in _INSTALLED)
            for name in sorted(names):
                path = f"{folder}{os.sep}{name}"
                if name.endswith(".py") and _is_text(path):
                    yield path


def _is_text(path: str) -> bool:
    """Tell whether a path can stand in JSON: file names are bytes and need not be text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
