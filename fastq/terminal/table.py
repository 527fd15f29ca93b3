"""Tables for people: as wide as the terminal is, or for pipes as wide as what stands in them, a line a row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import IO

from fastq.terminal.safe import safe_line
from fastq.terminal.speech import colours, say

LEAST = 12
"""So narrow a text may become, with … at its end, before columns are left out."""

_GAP = 2
_NOTHING = {"", "-", "0", "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How a column is shown.

    Attributes:
        name: its header.
        text: whether it holds text, which stands on the left and may be shortened, or numbers, which never are.
        rank: columns of the highest rank are left out first where the terminal is too narrow; those of rank 0 never.
        short: a shorter form of a cell, taken where the terminal is too narrow for the full one.
        style: the style of a cell, such as "red".

    """

    name: str
    text: bool = False
    rank: int = 0
    short: Callable[[str], str] | None = None
    style: Callable[[str], str] = lambda _cell: ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and rows of as many cells."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    def plain(self) -> str:
        """Return aligned lines, with everything in full."""
        lines = [[column.name for column in self.columns], *([safe_line(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        padded = (
            "  ".join(
                cell.ljust(width) if column.text else cell.rjust(width)
                for column, cell, width in zip(self.columns, line, widths, strict=True)
            )
            for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)


def display(*parts: str | Table) -> None:
    """Write texts and tables to stdout, with an empty line between them."""
    if sys.stdout is None or not sys.stdout.isatty():
        say("\n\n".join(part.plain() if isinstance(part, Table) else part for part in parts))
        return
    for number, part in enumerate(parts):
        if number:
            say()
        _draw(part, sys.stdout) if isinstance(part, Table) else say(part)


def _draw(table: Table, stream: IO[str]) -> None:
    # A pipe, and with it most scripts, needs no Rich: it takes as long to import as the rest of the command line.
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    width = get_terminal_size().columns
    fitted, left_out = fit(table, width)
    grid = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in fitted.columns:
        grid.add_column(column.name, justify="left" if column.text else "right", no_wrap=not column.text)
    for row in fitted.rows:
        cells = (
            Text(cell, style=column.style(cell), no_wrap=True, overflow="ellipsis")
            for column, cell in zip(fitted.columns, row, strict=True)
        )
        grid.add_row(*cells)
    console = Console(file=stream, width=width, force_terminal=True, color_system=colours(stream), highlight=False)
    console.print(grid)
    if left_out:
        console.print(Text(f"in a wider terminal: {', '.join(left_out)}", style="dim"))


def fit(table: Table, width: int) -> tuple[Table, list[str]]:
    """Return a table that can be shown in so many columns of a terminal, its texts shortened, and what was left out."""
    safe = Table(table.columns, [[safe_line(cell) for cell in row] for row in table.rows])
    if _needs(safe, shortened=False) <= width:
        return safe, []
    shorter = [
        [column.short(cell) if column.short else cell for column, cell in zip(safe.columns, row, strict=True)]
        for row in safe.rows
    ]
    fitted, left_out = Table(safe.columns, shorter), []
    while _needs(fitted, shortened=True) > width and any(column.rank for column in fitted.columns):
        place = max(range(len(fitted.columns)), key=lambda place: _dispensable(fitted, place))
        left_out.append(fitted.columns[place].name)
        fitted = _without(fitted, place)
    return fitted, left_out


def _needs(table: Table, *, shortened: bool) -> int:
    from rich.cells import cell_len

    widths = [
        max(cell_len(cell) for cell in (column.name, *(row[place] for row in table.rows)))
        for place, column in enumerate(table.columns)
    ]
    if shortened:
        widths = [min(width, LEAST) if c.text else width for c, width in zip(table.columns, widths, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1)


def _dispensable(table: Table, place: int) -> tuple[bool, bool, int]:
    """Return how well a column can be missed: first those that say nothing in any row."""
    rank = table.columns[place].rank
    return rank > 0, rank > 0 and all(row[place] in _NOTHING for row in table.rows), rank


def _without(table: Table, place: int) -> Table:
    keep = [number for number in range(len(table.columns)) if number != place]
    return Table([table.columns[number] for number in keep], [[row[number] for number in keep] for row in table.rows])
