"""What raw samples come to: medians over repetitions, percentiles of latencies, ratios. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median, quantiles


def median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are there; None when none is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return part / whole, or None where one of them is unknown or the whole is nothing."""
    return None if part is None or not whole else part / whole


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` (1 to 99) of the values do not exceed, interpolated between neighbours."""
    if not values:
        raise ValueError("no samples")
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share (0 to 1) of the values, given in order, do not exceed, interpolated."""
    if not ordered:
        raise ValueError("no samples")
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def latencies(values_ms: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p99 and the largest, in milliseconds."""
    return {
        "p50_ms": percentile(values_ms, 50),
        "p90_ms": percentile(values_ms, 90),
        "p99_ms": percentile(values_ms, 99),
        "max_ms": max(values_ms),
    }


def rounded(value: float) -> float:
    """Round to four significant digits, whole numbers from 1000 on: more would be noise."""
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def medians(samples: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """Return the median of each figure over the repetitions; what is no number is left out."""
    names = [name for name, value in samples[0].items() if value is None or isinstance(value, (int, float))]
    return {name: median_of(_number(sample[name]) for sample in samples) for name in names}


def shown(value: float | None, form: str = ",.0f") -> str:
    """Return a figure for people, "?" when it is not known."""
    return "?" if value is None else format(value, form)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
