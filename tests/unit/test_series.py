"""Series: what a worker counts of each queue and task."""

from __future__ import annotations

import pytest

from fastq.host.board import Board
from fastq.host.series import LONGEST_MS, OTHERS, SERIES, Count, Counted, SeriesTable, bucket_of, read
from fastq.insights.history import quantile_s

pytestmark = pytest.mark.unit


def table() -> tuple[SeriesTable, memoryview]:
    """Return the series of a new cell."""
    (cell,) = Board(cells=1, running=3).cells
    return SeriesTable(cell.series), cell.series


def test_what_is_written_is_read() -> None:
    """By whoever looks at the board, and by whoever takes over its table."""
    series, words = table()
    one = series.of("mail", "app.send")
    one.add(Count.CLAIMED, 7)
    one.add(Count.SUCCEEDED, 7)
    one.ran(0.003, 2)
    one.waited(0, 6)
    one.waited(100_000)
    SeriesTable(words).of("mail", "app.send").add(Count.CLAIMED)
    ((key, counts),) = read(words)
    counted = Counted(counts)
    assert key == ("mail", "app.send")
    assert (counted[Count.CLAIMED], counted[Count.WAITED_MS]) == (8, 100_000)
    assert list(counted.ran[:4]) == [5, 0, 2, 0]
    assert (counted.waited[0], counted.waited[17], sum(counted.waited)) == (6, 1, 7)


def test_names_of_any_language_and_of_too_many_bytes() -> None:
    """What does not fit is counted with the others."""
    series, words = table()
    series.of("q\u00fc", "t\U0001f600").add(Count.FAILED)
    series.of("q", "\u20ac" * 200).add(Count.FAILED)
    assert [key for key, _ in read(words)] == [("q\u00fc", "t\U0001f600"), OTHERS]


def test_more_than_there_is_room_for() -> None:
    """Nothing is missing from the sum, and no memory grows with them."""
    series, words = table()
    for n in range(3 * SERIES):
        series.of("q", f"t{n}").add(Count.CLAIMED)
    found = dict(read(words))
    assert len(found) == SERIES
    assert found[OTHERS][Count.CLAIMED] == 2 * SERIES + 1
    assert sum(counts[Count.CLAIMED] for counts in found.values()) == 3 * SERIES
    assert len(series._known) == SERIES


def test_a_row_may_say_that_it_was_enqueued_at_any_time() -> None:
    """No sum of waits overflows."""
    series, words = table()
    for ms in (-(2**63), 2**64, 2**63 - 1):
        series.of("q", "t").waited(ms, 1000)
    ((_, counts),) = read(words)
    assert counts[Count.WAITED_MS] == 2000 * LONGEST_MS
    assert sum(Counted(counts).waited) == 3000


@pytest.mark.parametrize(("ms", "bucket"), [(-5, 0), (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (10**12, 23)])
def test_buckets(ms: int, bucket: int) -> None:
    """Bucket n has what is from 2^(n-1) up to 2^n ms."""
    assert bucket_of(ms) == bucket


def test_quantiles() -> None:
    """A straight line within a bucket; nothing of nothing."""
    assert quantile_s([], 0.5) is None
    assert quantile_s([100], 0.5) == pytest.approx(0.0005)
    assert quantile_s([90, 0, 10], 0.95) == pytest.approx(0.003)
    assert quantile_s([0, 0, 0, 4], 1.0) == pytest.approx(0.008)
