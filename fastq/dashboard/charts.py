"""Charts as SVG: drawn by the server, so that they need no script and can be read without one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from fastq.insights.words import short

DAY_S = 86_400.0
WIDTH, HEIGHT = 640, 140
_LEFT, _BOTTOM, _TOP = 44, 18, 8
_GAP = 18


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value for each time, None where nothing is known. `kind` names its colour in the style sheet."""

    name: str
    kind: str
    values: Sequence[float | None]


def chart(
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    *,
    seconds: float,
    unit: Callable[[float], str] = short,
) -> Markup:
    """Return a chart of some lines over the last so many seconds before the last of the times."""
    if not times:
        return Markup(
            '<figure class="chart"><figcaption>{}</figcaption><p class="empty">Nothing was counted yet.</p></figure>'
        ).format(title)
    top = _nice(max((value for one in series for value in one.values if value is not None), default=0))
    begin = times[-1] - timedelta(seconds=seconds)
    places = [_LEFT + (WIDTH - _LEFT) * ((at - begin).total_seconds() / seconds) for at in times]
    gap = max(_GAP, 3 * (WIDTH - _LEFT) * (60 if seconds <= DAY_S else 3600) / seconds)
    lines = Markup("").join(_line(one, places, top, gap) for one in series)
    legend = Markup(" ").join(Markup('<span class="key {}">{}</span>').format(one.kind, one.name) for one in series)
    rules = Markup("").join(_rule(top * share, top, unit) for share in (0, 0.5, 1))
    shown = "%H:%M" if seconds <= DAY_S else "%a %H:%M"
    marks = Markup('<text x="{}" y="{}">{}</text><text x="{}" y="{}" class="end">{}</text>').format(
        _LEFT, HEIGHT - 4, f"{begin:{shown}}", WIDTH, HEIGHT - 4, f"{times[-1]:{shown}} UTC"
    )
    return Markup(
        '<figure class="chart"><figcaption>{} {}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg></figure>'
    ).format(title, legend, WIDTH, HEIGHT, title, rules, marks, lines)


def _line(one: Series, places: Sequence[float], top: float, gap: float) -> Markup:
    """Draw a line; where values are missing it is interrupted, and one that stands alone is a dash."""
    parts: list[str] = []
    before = None
    for x, value in zip(places, one.values, strict=True):
        if value is None:
            continue
        joined = before is not None and x - before <= gap
        y = _y(value, top)
        parts.append(f"L{x:.1f} {y:.1f}" if joined else f"M{x - 1:.1f} {y:.1f}h1")
        before = x
    return Markup('<path class="{}" d="{}"/>').format(one.kind, " ".join(parts))


def _rule(value: float, top: float, unit: Callable[[float], str]) -> Markup:
    y = _y(value, top)
    return Markup(
        '<line x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/><text x="{}" y="{:.1f}" class="end">{}</text>'
    ).format(_LEFT, y, WIDTH, y, _LEFT - 4, y + 4, unit(value))


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * min(1.0, value / top)


def _nice(most: float) -> float:
    """Return a round number that is no less."""
    size = 0.001
    while size * 10 < most:
        size *= 10
    return next(size * step for step in (1, 2, 5, 10) if size * step >= most)
