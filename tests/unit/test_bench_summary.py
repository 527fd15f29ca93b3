"""What raw samples come to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastq.bench import summary

pytestmark = pytest.mark.unit


def test_percentiles_interpolate_between_neighbours() -> None:
    """The p-th percentile of 0…100 is p."""
    values = [float(v) for v in range(101)]
    assert [summary.percentile(values, p) for p in (1, 50, 90, 99)] == [1, 50, 90, 99]


def test_one_sample_is_its_own_percentile() -> None:
    """A single sample stands for all percentiles."""
    assert summary.percentile([7.0], 99) == 7.0


def test_no_samples_is_an_error() -> None:
    """There is no percentile of nothing."""
    with pytest.raises(ValueError, match="no samples"):
        summary.percentile([], 50)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_latencies_are_in_order_and_within_the_samples(values: list[float]) -> None:
    """p50 ≤ p90 ≤ p99 ≤ max, whatever the samples."""
    found = list(summary.latencies(values).values())
    slack = max(values) * 1e-9
    assert all(low <= high + slack for low, high in pairwise(found))
    assert min(values) <= found[0] + slack
    assert found[-1] == max(values)


def test_the_median_leaves_out_what_is_not_known() -> None:
    """A repetition whose meter could not be read does not count; none at all gives None."""
    assert summary.median_of([1.0, None, 3.0]) == 2.0
    assert summary.median_of([None]) is None


def test_medians_are_taken_figure_by_figure() -> None:
    """Each figure has its own median; nested values are left to the raw samples."""
    samples = [{"a": 1.0, "b": None, "c": {"x": 1}}, {"a": 5.0, "b": 2.0, "c": {}}, {"a": 2.0, "b": 4.0, "c": {}}]
    assert summary.medians(samples) == {"a": 2.0, "b": 3.0}


def test_a_ratio_to_nothing_is_unknown() -> None:
    """No division by zero or by the unknown."""
    assert summary.ratio(1.0, 0.0) is None
    assert summary.ratio(1.0, None) is None
    assert summary.ratio(1.0, 4.0) == 0.25


def test_rounding_keeps_four_digits() -> None:
    """Small figures keep four significant digits, large ones are whole."""
    assert summary.rounded(0.123456) == 0.1235
    assert summary.rounded(394_321.7) == 394_322


def test_an_unknown_figure_is_shown_as_a_question_mark() -> None:
    """People see that it is not known, not a zero."""
    assert summary.shown(None) == "?"
    assert summary.shown(1234.5) == "1,234"
