"""Draws results: one PNG per scenario beside its file. Needs matplotlib, `pip install matplotlib`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.report import Found

mpl.use("Agg")
Values = Mapping[str, Any]
_OURS, _CEILING, _THIRD = "#2f6f9f", "#b0b0b0", "#c8702a"
_SIZE = (7.0, 3.6)


def draw(folder: Path) -> list[Path]:
    """Draw the newest result of each scenario that has a plot; return the files."""
    drawn: list[Path] = []
    for (scenario, job), one in report.newest(report.read(folder)).items():
        if scenario in _PLOTS:
            drawn.append(folder / (f"{scenario}.png" if job == "noop" else f"{scenario}-{job}.png"))
            _save(one, _PLOTS[scenario], drawn[-1])
    return drawn


def _save(one: Found, plot: Callable[[Figure, Values], None], path: Path) -> None:
    figure = Figure(figsize=_SIZE, layout="constrained")
    plot(figure, one.values)
    name = one.scenario if one.job == "noop" else f"{one.scenario} ({one.job})"
    figure.suptitle(f"{name}, {str(one.values['at'])[:10]}, {one.commit}, {one.machine}", fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _axes(figure: Figure, x: str, y: str, *, place: int = 111) -> Axes:
    axes = figure.add_subplot(place)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _beside_ceiling(figure: Figure, values: Values) -> None:
    """Every repetition as a pair of bars."""
    axes = _axes(figure, "repetition", "jobs/s")
    numbers = range(1, len(values["samples"]) + 1)
    for shift, name, colour, label in (
        (-0.2, "ceiling_jobs_per_s", _CEILING, "ceiling"),
        (0.2, "jobs_per_s", _OURS, "fastq"),
    ):
        heights = [sample[name] for sample in values["samples"]]
        axes.bar([number + shift for number in numbers], heights, 0.38, color=colour, label=label)
    axes.set_xticks(list(numbers))
    axes.legend(loc="lower right")


def _latency(figure: Figure, values: Values) -> None:
    """The share of samples that were at most so late, beside the floor."""
    axes = _axes(figure, "ms from enqueue to start", "share of samples")
    for name, colour, label in (
        ("floor_ms", _CEILING, "floor"),
        ("enqueue_ms", _THIRD, "commit"),
        ("start_ms", _OURS, "start"),
    ):
        taken = sorted(value for sample in values["samples"] for value in sample.get(name, ()))
        if taken:
            axes.step(taken, [(number + 1) / len(taken) for number in range(len(taken))], color=colour, label=label)
    axes.set_xscale("log")
    axes.legend()


def _depth(figure: Figure, values: Values) -> None:
    axes = _axes(figure, "jobs waiting", "jobs/s claimed")
    samples, points = values["samples"], values["points"]
    axes.plot(
        [s["depth"] for s in samples], [s["jobs_per_s"] for s in samples], "o", color=_CEILING, label="repetitions"
    )
    axes.plot([p["depth"] for p in points], [p["jobs_per_s"] for p in points], "o-", color=_OURS, label="median")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend()


def _flow(axes: Axes, samples: Sequence[Values]) -> None:
    at_s = [sample["at_s"] for sample in samples]
    axes.plot(at_s, [sample["enqueued_per_s"] for sample in samples], color=_CEILING, label="enqueued")
    axes.plot(at_s, [sample["jobs_per_s"] for sample in samples], color=_OURS, label="run")
    axes.set_ylim(bottom=0)
    axes.legend()


def _steady(figure: Figure, values: Values) -> None:
    _flow(_axes(figure, "s", "jobs/s"), values["samples"])


def _pinned(figure: Figure, values: Values) -> None:
    """The flow, and under it what the tables take: each segment of the ring, the leases."""
    samples = values["samples"]
    _flow(_axes(figure, "", "jobs/s", place=211), samples)
    axes = _axes(figure, "s", "MB", place=212)
    parts = [
        *zip(*(sample["ring_bytes"] for sample in samples), strict=True),
        [sample["lease_bytes"] for sample in samples],
    ]
    labels = [*(f"ready_{number}" for number in range(len(parts) - 1)), "lease"]
    sizes = [[size / 1e6 for size in part] for part in parts]
    axes.stackplot([sample["at_s"] for sample in samples], sizes, labels=labels)
    axes.legend(fontsize=6, loc="upper left")


def _load(figure: Figure, values: Values) -> None:
    """Latency over the share of jobs that were later, which spreads the tail out."""
    axes = _axes(figure, "percentile", "ms from due to start")
    for point, sample, colour in zip(values["points"], values["samples"], (_CEILING, _THIRD, _OURS), strict=True):
        pairs = [(1 - share, late_ms) for share, late_ms in sample["quantiles_ms"] if share < 1]
        pairs.sort(reverse=True)
        label = f"{point['load']:.0%} of capacity, {point['offered_per_s']:,.0f} jobs/s"
        axes.plot([later for later, _ in pairs], [late_ms for _, late_ms in pairs], color=colour, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xticks([1, 0.5, 0.1, 0.01, 0.001, 0.0001], ["0", "50", "90", "99", "99.9", "99.99"])
    axes.legend()


def _scale(figure: Figure, values: Values) -> None:
    axes = _axes(figure, "worker processes", "jobs/s")
    _lines(axes, values["points"], "processes", (("ceiling_jobs_per_s", "ceiling"), ("jobs_per_s", "fastq")))
    axes.set_xticks([point["processes"] for point in values["points"]])
    axes.set_ylim(bottom=0)


def _payload(figure: Figure, values: Values) -> None:
    axes = _axes(figure, "bytes of arguments", "jobs/s")
    _lines(axes, values["points"], "payload_bytes", (("enqueue_jobs_per_s", "enqueue_many"), ("jobs_per_s", "drained")))
    axes.set_xscale("log")
    axes.set_yscale("log")


def _lines(axes: Axes, points: Sequence[Values], x: str, fields: Sequence[tuple[str, str]]) -> None:
    for (name, label), colour in zip(fields, (_CEILING, _OURS), strict=True):
        axes.plot([point[x] for point in points], [point[name] for point in points], "o-", color=colour, label=label)
    axes.legend()


def _peers(figure: Figure, values: Values) -> None:
    """One group of bars per library, on a logarithmic scale."""
    axes = _axes(figure, "", "jobs/s")
    points = values["points"]
    for shift, name, colour in ((-0.2, "enqueue_jobs_per_s", _CEILING), (0.2, "jobs_per_s", _OURS)):
        label = "enqueue" if "enqueue" in name else "drain"
        places = [number + shift for number in range(len(points))]
        axes.bar(places, [point[name] for point in points], 0.38, color=colour, label=label)
    axes.set_xticks(list(range(len(points))), [point["library"] for point in points])
    axes.set_yscale("log")
    axes.legend()


_PLOTS: dict[str, Callable[[Figure, Values], None]] = {
    "throughput": _beside_ceiling,
    "enqueue": _beside_ceiling,
    "latency": _latency,
    "depth": _depth,
    "steady": _steady,
    "pinned": _pinned,
    "load": _load,
    "scale": _scale,
    "payload": _payload,
    "peers": _peers,
}
