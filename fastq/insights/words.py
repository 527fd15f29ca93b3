"""Numbers and time spans in few letters, as the page and `fastq top` write them. Pure."""

from __future__ import annotations


def short(value: float) -> str:
    """Return a number: 1.2M, 340k, 7."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def span(seconds: float | None) -> str:
    """Return a time span: 3d, 2h, 5m, 7s, 26ms; - where there is none."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if abs(seconds) >= 1 or not seconds else f"{seconds * 1000:.0f}ms"


def number(text: str) -> int | None:
    """Return what digits say, as an id or a limit is typed; None where it is no such number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
