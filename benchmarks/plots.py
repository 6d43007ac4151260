"""Charts: curves with the middle half of their rounds, each named where it ends."""

import statistics
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from measure import quartiles

INK, FAINT, RULE = "#1f2933", "#66727f", "#e3e8ee"
COLOURS = ("#1d5fbf", "#c2570c", "#5f6b76")
SIZE_INCHES, DPI = (8.0, 4.2), 150
NAME_GAP_POINTS, NAME_HEIGHT_POINTS = 8, 13


@dataclass(frozen=True)
class Point:
    """A median with its quartiles."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.middle >= 10 else 1
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


@dataclass(frozen=True)
class Curve:
    """A name and its points by where they stand across."""

    name: str
    points: dict[int, Point]

    @classmethod
    def all_of(cls, samples: dict[tuple[str, int], list[float]]) -> "list[Curve]":
        """The curves of samples by name and place, in the order in which the names came."""
        found: dict[str, dict[int, Point]] = {}
        for (name, place), values in samples.items():
            low, high = quartiles(values)
            found.setdefault(name, {})[place] = Point(low, statistics.median(values), high)
        return [cls(name, points) for name, points in found.items()]


@dataclass(frozen=True)
class Chart:
    """Panels of curves, by the panels' titles, over one axis.

    `ticks` says where the curves have points and how these places are called, `mark` names one.
    """

    name: str
    title: str
    across: str
    up: str
    ticks: dict[int, str]
    panels: dict[str, list[Curve]]
    mark: tuple[int, str] | None = None

    @property
    def is_by_decades(self) -> bool:
        """Whether the places across are powers of ten."""
        return max(self.ticks) >= 100


def draw(chart: Chart, path: Path, *, note: str) -> None:
    """Write a chart to a PNG file, with a note below it."""
    figure = Figure(SIZE_INCHES, layout="constrained")
    figure.suptitle(chart.title, x=0.01, ha="left", color=INK, fontsize=13)
    figure.supxlabel(note, x=0.01, ha="left", color=FAINT, fontsize=8)
    all_axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    for axes, (title, curves) in zip(all_axes, chart.panels.items(), strict=True):
        _frame(chart, axes)
        if title:
            axes.set_title(title, loc="left", color=INK, fontsize=10)
        axes.set_ylim(0, 1.1 * max(p.high for curve in curves for p in curve.points.values()))
        for curve, colour in zip(curves, COLOURS, strict=False):
            _curve(curve, colour, axes)
        if chart.mark is not None:
            _mark(*chart.mark, axes)
    all_axes[0].set_ylabel(chart.up, color=FAINT)
    figure.draw_without_rendering()
    for axes, curves in zip(all_axes, chart.panels.values(), strict=True):
        _names(curves, axes)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _frame(chart: Chart, axes: Axes) -> None:
    axes.set_xlabel(chart.across, color=FAINT)
    if chart.is_by_decades:
        axes.set_xscale("log")
    axes.set_xticks(list(chart.ticks), list(chart.ticks.values()), fontsize=9)
    axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.tick_params(colors=FAINT, length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _curve(curve: Curve, colour: str, axes: Axes) -> None:
    places, points = list(curve.points), list(curve.points.values())
    axes.fill_between(
        places,
        [point.low for point in points],
        [point.high for point in points],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    axes.plot(places, [point.middle for point in points], "o-", color=colour, markersize=4)


def _mark(place: int, words: str, axes: Axes) -> None:
    axes.axvline(place, color=FAINT, linewidth=0.8, linestyle=":")
    axes.annotate(
        words,
        (place, 1),
        (4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=FAINT,
        fontsize=8,
        va="top",
    )


def _names(curves: list[Curve], axes: Axes) -> None:
    """Each name beside its curve's last point, moved up where the one below is too near."""
    points_a_pixel = 72 / axes.figure.dpi
    lowest = float("-inf")
    coloured = zip(curves, COLOURS, strict=False)
    for curve, colour in sorted(coloured, key=lambda pair: _end(pair[0])[1]):
        at = axes.transData.transform(_end(curve))[1] * points_a_pixel
        height = max(at, lowest)
        lowest = height + NAME_HEIGHT_POINTS
        axes.annotate(
            curve.name,
            _end(curve),
            (NAME_GAP_POINTS, height - at),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _end(curve: Curve) -> tuple[int, float]:
    place = max(curve.points)
    return place, curve.points[place].middle
