"""The demo's app, as a user would write one: index a Python file, answer a ping, do nothing."""

from __future__ import annotations

import ast
import time
import warnings
from pathlib import Path

import fastq
from fastq.demo import tables

app = fastq.App()


@app.task(queue="files", retries=0)
async def index_file(ctx: fastq.Context, path: str) -> None:
    """Write the public functions and classes of one file into demo.symbol, exactly once.

    A file that cannot be parsed raises: with retries=0 the job has failed for good, and stays with its traceback.
    """
    started = time.perf_counter()
    symbols = public_symbols(Path(path).read_bytes())  # noqa: ASYNC240 - a short read, of work that blocks anyway
    async with ctx.transaction() as conn:
        if symbols:
            kinds, names, lines = zip(*symbols, strict=True)
            await conn.execute(tables.INSERT_SYMBOLS, [path, list(kinds), list(names), list(lines)])
        await conn.execute(tables.INSERT_FILE, [path, time.perf_counter() - started])


@app.task(queue="pings", retries=0)
async def ping(ctx: fastq.Context, sent_ns: int) -> None:
    """Write down how long ago the producer sent this: both clocks are this machine's monotonic one."""
    taken_s = (time.monotonic_ns() - sent_ns) / 1e9
    async with ctx.transaction() as conn:
        await conn.execute(tables.INSERT_PING, [taken_s])


@app.task(queue="noops", retries=0)
async def noop(number: int) -> None:
    """Do nothing, often."""


def public_symbols(source: bytes) -> list[tuple[str, str, int]]:
    """Return (kind, name, line) of the functions and classes at the top of a module whose names are public.

    Raises:
        SyntaxError, ValueError: this is not Python, or not this Python's.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escape sequences
        tree = ast.parse(source)
    kinds = {ast.ClassDef: "class", ast.FunctionDef: "function", ast.AsyncFunctionDef: "function"}
    return [
        (kinds[type(node)], node.name, node.lineno)
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
    ]
