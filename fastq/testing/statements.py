"""The statements of tests, one to a file in `testing/sql`, read as `fastq.sql` reads the product's."""

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
    lines = files("fastq.testing").joinpath("sql", f"{name}.sql").read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).strip()
