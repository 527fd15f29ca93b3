"""Tables: in full for pipes, fitted for terminals."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from fastq.terminal.table import LEAST, Column, Table, fit

pytestmark = pytest.mark.unit

COLUMNS = (
    Column(name="ID"),
    Column(name="QUEUE", text=True),
    Column(name="READY", rank=1),
    Column(name="LOST", rank=2),
    Column(name="AT", short=lambda cell: cell.removeprefix("2026-")),
)
ROWS = [
    ["7", "a queue with a long name", "1,234", "0", "2026-05-01"],
    ["1234567", "größe名前", "5", "12", "2026-05-02"],
]


def names(table: Table) -> list[str]:
    """Return the headers of a table."""
    return [column.name for column in table.columns]


def test_plain_table_is_aligned_and_whole() -> None:
    """Text stands left, numbers right, nothing is shortened, no line ends in spaces."""
    assert Table(COLUMNS, ROWS).plain().splitlines() == [
        "     ID  QUEUE                     READY  LOST          AT",
        "      7  a queue with a long name  1,234     0  2026-05-01",
        "1234567  größe名前                       5    12  2026-05-02",
    ]


def test_wide_terminal_shows_everything() -> None:
    """Nothing is left out, nothing is in its short form."""
    fitted, left_out = fit(Table(COLUMNS, ROWS), 80)
    assert (names(fitted), left_out, fitted.rows) == ([c.name for c in COLUMNS], [], ROWS)


def test_narrow_terminal_takes_short_forms_before_it_leaves_columns_out() -> None:
    """Texts may shrink to LEAST; only then the columns of the highest rank go, and those without one never."""
    whole, left_out = fit(Table(COLUMNS, ROWS), 7 + LEAST + 5 + 4 + 5 + 4 * 2)
    assert (left_out, whole.rows[0][4]) == ([], "05-01")
    for width, gone in ((40, ["LOST"]), (34, ["LOST", "READY"]), (5, ["LOST", "READY"])):
        fitted, left_out = fit(Table(COLUMNS, ROWS), width)
        assert left_out == gone
        assert names(fitted) == [c.name for c in COLUMNS if c.name not in gone]


def test_column_that_says_nothing_goes_first() -> None:
    """READY has the lower rank, but nothing in it."""
    rows = [[number, queue, "-", lost, at] for number, queue, _, lost, at in ROWS]
    assert fit(Table(COLUMNS, rows), 40)[1] == ["READY"]


def test_row_of_a_stranger_stays_one_line() -> None:
    """A newline or an escape sequence in a cell breaks neither form."""
    table = Table((Column(name="QUEUE", text=True),), [["a\nb\x1b[31m"]])
    assert table.plain().splitlines() == ["QUEUE", r"a\nb\x1b[31m"]
    assert fit(table, 80)[0].rows == [[r"a\nb\x1b[31m"]]


def test_width_counts_cells_and_not_characters() -> None:
    """Wide letters take two cells of a terminal."""
    table = Table((Column(name="N"), Column(name="X", rank=1)), [["名前名前", "1"]])
    assert cell_len("名前名前") == 8
    assert fit(table, 11)[1] == []
    assert fit(table, 10)[1] == ["X"]
