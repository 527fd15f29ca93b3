"""The bench's own statements, one to a file in `bench/sql`, read as `fastq.sql` reads the product's."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString

from fastq.sql.naming import named


def statement(name: str) -> LiteralString:
    """Return the text of `name`.sql without its comments."""
    return named(_text(name))


@cache
def _text(name: str) -> LiteralString:
    lines = files("fastq.bench").joinpath("sql", f"{name}.sql").read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).strip()


def names() -> list[str]:
    """Return the names of all statements."""
    folder = files("fastq.bench").joinpath("sql")
    return sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))
