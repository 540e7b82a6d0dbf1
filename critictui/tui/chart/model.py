"""What a chart shows and how it is looked at: frozen values, and queries on a view that return a new view."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from critictui.run.panels import Reference, Role
from critictui.run.series import Series

XMode = Literal["step", "relative", "wall"]
MarkSeverity = Literal["info", "warning", "critical"]

X_MODES: tuple[XMode, ...] = ("step", "relative", "wall")
SMOOTHING: tuple[float, ...] = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""The factors that the keys walk through."""

_SMALLEST_SPAN = 1e-9
"""A zoom ends where floats do: the smallest x range, relative to the largest bound."""


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one run, drawn as a quiet band (minimum to maximum) and one bright smoothed line."""

    label: str
    """Foreign text; sanitised where it is drawn."""
    series: Series
    role: Role = "main"
    run: int = 0
    """0 for the run on the dashboard; 1, 2 ... for runs laid over it, which are dashed, dotted and have a letter."""
    shade: int = 0
    """0 for the colour of the role; 1, 2 ... for shades of it, where lines of several runs have one role."""
    letter: str = ""
    """One ASCII letter that tells the line apart without colour; '' takes one from the label."""
    best: Literal["high", "low"] | None = None
    """Mark the best point, where a metric has a good direction."""


@dataclass(frozen=True, slots=True)
class SeamMark:
    """A vertical line of short dashes where an epoch begins, of long ones where a restart does."""

    step: int
    label: str = ""
    restart: bool = False


@dataclass(frozen=True, slots=True)
class AlertMark:
    """A mark on the top row at the step that made an alert fire."""

    step: int
    severity: MarkSeverity
    label: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A score on the fixed set: a dot with its 95 % interval."""

    step: int
    value: float
    low: float
    high: float
    label: str = ""
    role: Role = "fixed"


@dataclass(frozen=True, slots=True)
class ChartData:
    """Everything on one panel. Equal data (the same series objects) is not drawn twice."""

    title: str = ""
    """Foreign text; sanitised where it is shown."""
    lines: tuple[Line, ...] = ()
    """Where two meet in a cell, they take turns."""
    asides: tuple[Line, ...] = ()
    """Not drawn, for they need another scale: their values are said in the title and at the cursor."""
    runs: tuple[str, ...] = ()
    """The names of the runs that the lines are of, by `Line.run`, where there are several: foreign text."""
    references: tuple[Reference, ...] = ()
    seams: tuple[SeamMark, ...] = ()
    marks: tuple[AlertMark, ...] = ()
    points: tuple[Point, ...] = ()
    unit: str = ""
    """'' or a short unit behind the last value in the title: s, tokens, %."""
    waiting: str = "waiting for data"
    """Said in the middle while there is nothing to draw."""
    percent: bool = False
    """A share between 0 and 1: the y range never leaves [0, 1] by more than its margin."""


@dataclass(frozen=True, slots=True)
class View:
    """How every chart of a dashboard is looked at; setting one view on all of them synchronises them."""

    x_mode: XMode = "step"
    x_range: tuple[float, float] | None = None
    """Bounds in the unit of `x_mode` (steps, seconds since the first point, seconds since the epoch); None follows
    all data."""
    y_range: tuple[float, float] | None = None
    log_y: bool = False
    whole_y: bool = False
    """The y range holds every point, else it may leave out a few far ones (see `outliers`), marked at the edge."""
    smoothing: float = 0.9
    """Factor of the exponential moving average, 0 (none) to 0.999."""
    cursor_step: int | None = None
    show_band: bool = True

    def with_cursor(self, step: int | None) -> View:
        """The cursor line at `step`, or none."""
        return self if step == self.cursor_step else replace(self, cursor_step=step)

    def with_smoothing(self, factor: float) -> View:
        """The factor clamped to [0, 0.999]; not a number counts as 0."""
        factor = min(max(factor, 0.0), 0.999) if math.isfinite(factor) else 0.0
        return self if factor == self.smoothing else replace(self, smoothing=factor)

    def smoother(self) -> View:
        """The next larger factor of `SMOOTHING`."""
        return self.with_smoothing(next((f for f in SMOOTHING if f > self.smoothing), SMOOTHING[-1]))

    def rougher(self) -> View:
        """The next smaller factor of `SMOOTHING`."""
        return self.with_smoothing(next((f for f in reversed(SMOOTHING) if f < self.smoothing), 0.0))

    def with_log(self, log_y: bool) -> View:
        """Logarithmic y or not; a y range that was set belongs to the old scale and goes."""
        return replace(self, log_y=log_y, y_range=None)

    def with_whole(self, whole_y: bool) -> View:
        """Every point in the y range, or all but a few far ones."""
        return replace(self, whole_y=whole_y, y_range=None)

    def with_band(self, show_band: bool) -> View:
        """The band of minimum to maximum shown or not."""
        return replace(self, show_band=show_band)

    def with_x_mode(self, mode: XMode) -> View:
        """Another x axis; the range was in the unit of the old one and goes, the cursor stays (it is a step)."""
        return self if mode == self.x_mode else replace(self, x_mode=mode, x_range=None)

    def next_x_mode(self) -> View:
        """Step, then relative time, then wall clock, then step again."""
        return self.with_x_mode(X_MODES[(X_MODES.index(self.x_mode) + 1) % len(X_MODES)])

    def fitted(self) -> View:
        """All data, following what comes."""
        return replace(self, x_range=None, y_range=None)

    def with_x_range(self, x_range: tuple[float, float] | None) -> View:
        """These bounds if they are finite and in order, else all data."""
        if x_range is not None and not (all(map(math.isfinite, x_range)) and x_range[0] < x_range[1]):
            x_range = None
        return replace(self, x_range=x_range)

    def zoomed(self, factor: float, extent: tuple[float, float], around: float | None = None) -> View:
        """`factor` times closer around an x (default: the middle), inside `extent` (the x bounds of all data).

        Zooming out past the extent gives back the view that follows all data.
        """
        low, high = self.x_range or extent
        if not (high > low and factor > 0 and math.isfinite(high - low)):
            return self
        centre = (low + high) / 2 if around is None else min(max(around, low), high)
        share = (centre - low) / (high - low)
        smallest = max(abs(low), abs(high), 1.0) * _SMALLEST_SPAN
        span = max((high - low) / factor, smallest)
        new_low, new_high = centre - share * span, centre + (1 - share) * span
        if span >= extent[1] - extent[0]:
            return replace(self, x_range=None)
        return replace(self, x_range=_inside((new_low, new_high), extent))

    def panned(self, share: float, extent: tuple[float, float]) -> View:
        """Moved by `share` of the visible width (positive: to later), inside `extent`."""
        if self.x_range is None:
            return self
        low, high = self.x_range
        shift = (high - low) * share
        return replace(self, x_range=_inside((low + shift, high + shift), extent))


def _inside(bounds: tuple[float, float], extent: tuple[float, float]) -> tuple[float, float]:
    """Bounds moved, not resized, into the extent where they fit into it."""
    low, high = bounds
    if low < extent[0]:
        high += extent[0] - low
        low = extent[0]
    if high > extent[1]:
        low -= high - extent[1]
        high = extent[1]
    return (low, high)
