"""The geometry of one panel: which cell a step and a value belong to, and what is left of the data at that size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from critictui.run.dtypes import FloatArray
from critictui.run.series import Series
from critictui.tui.chart.model import ChartData, View
from critictui.tui.chart.outliers import Outliers, find_outliers
from critictui.tui.chart.reduce import Curve, extent_of, reduce, x_values
from critictui.tui.chart.scale import LARGEST, Scale, fit
from critictui.tui.chart.ticks import y_labels, y_ticks

_NARROWEST_WITH_LABELS = 22
_SIXTEENTHS = 16
_GUTTER = 6
"""Cells for y labels: the same on every panel, so that panels above one another line up."""
_LOWEST_WITH_AXIS = 4
_CLEAN = 6
"""Decimals of a place."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A panel laid out: the plot begins `left` cells from the left and is `width` x `height` cells."""

    data: ChartData
    view: View
    left: int
    width: int
    height: int
    has_axis: bool
    """There is a row of x labels under the plot."""
    scale: Scale
    extent: tuple[float, float]
    """The x in the middle of the first and the last pixel column."""
    curves: tuple[Curve, ...]
    """One a line, in the order of the data."""
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    base: str
    """'' or a number to which all y labels are to be added."""
    outliers: Outliers | None = None
    """What lies beyond the y range by the view's leave."""

    @property
    def anchor(self) -> Series | None:
        """The series that steps are turned into times with: the first that has points."""
        return next((line.series for line in self.data.lines if len(line.series)), None)

    def x_of_step(self, step: int) -> float:
        """The x of a step: itself, or the time of the anchor's first point at or after it (NaN: no such time)."""
        if self.view.x_mode == "step":
            return float(step)
        series = self.anchor
        if series is None:
            return math.nan
        x = x_values(series, self.view.x_mode)
        index = int(np.searchsorted(series.step, np.clip(step, -(2**63), 2**63 - 1)))
        return float(x[min(index, len(x) - 1)])

    def pixel_of(self, x: float) -> float:
        """The pixel column of an x, unrounded; may lie outside of the plot; NaN for NaN."""
        low, high = self.extent
        return (x - low) / (high - low) * (2 * self.width - 1) if high > low else math.nan

    def column_of(self, x: float) -> int | None:
        """The cell column inside the plot, or None when it is not on it."""
        pixel = self.pixel_of(x)
        if not math.isfinite(pixel) or not -0.5 <= pixel <= 2 * self.width - 0.5:
            return None
        return min(max(round(pixel), 0) // 2, self.width - 1)

    def column_of_step(self, step: int) -> int | None:
        """As `column_of`, of a step."""
        return self.column_of(self.x_of_step(step))

    def x_at(self, column: float) -> float:
        """The x in the middle of a cell column."""
        low, high = self.extent
        return low + (2 * column + 0.5) / max(2 * self.width - 1, 1) * (high - low)

    def rows_of(self, values: FloatArray, fineness: int) -> FloatArray:
        """Places from the top in units of a row's `fineness`th, 0 the topmost; NaN where there is none.

        Not whole numbers, but without the noise of floats: what lies half way between two places falls to the same one
        every time.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.round((1 - self.scale.unit(values)) * (self.height * fineness - 1), _CLEAN))

    def place_of(self, value: float, fineness: int) -> float:
        """`rows_of` of one value."""
        return round((1 - self.scale.place(value)) * (self.height * fineness - 1), _CLEAN)

    def row_of(self, value: float) -> int | None:
        """The row of a value inside the plot, or None when it is not on it."""
        place = self.place_of(value, 4)
        if not math.isfinite(place) or not -0.5 <= place <= self.height * 4 - 0.5:
            return None
        return min(max(round(place), 0) // 4, self.height - 1)


def extent(data: ChartData, view: View) -> tuple[float, float] | None:
    """The x bounds of all lines (and, on a step axis, of the points); None while there is nothing."""
    found = [bounds for line in data.lines if (bounds := extent_of(line.series, view.x_mode)) is not None]
    if view.x_mode == "step":
        found += [(float(point.step), float(point.step)) for point in data.points if math.isfinite(point.value)]
    if not found:
        return None
    return min(low for low, _ in found), max(high for _, high in found)


def lay_out(data: ChartData, view: View, width: int, height: int, *, bare: bool = False) -> Frame | None:
    """The frame of a panel of `width` x `height` cells; None while there is nothing to draw or no room.

    A bare one has no axes: the plot is all of it.
    """
    full = extent(data, view)
    if full is None or width < 1 or height < 1:
        return None
    shown = _opened(view.x_range or _settled(full))
    has_axis = height >= _LOWEST_WITH_AXIS and not bare
    rows = height - has_axis
    gutter = _GUTTER if width >= _NARROWEST_WITH_LABELS and not bare else 0
    curves = _reduced(data, view, shown, width - gutter)
    outliers = None
    if not (view.whole_y or view.log_y or view.y_range):
        outliers = find_outliers([line.series for line in data.lines], curves)
    lows, highs, extra = _fitted(data, view, shown, curves, outliers)
    even = 0 if bare else rows
    scale = fit(lows, highs, data.references, view, extra=extra, percent=data.percent, rows=even)
    within = (scale.low, scale.high) if outliers is not None else None
    ticks = y_ticks(scale, rows) if not bare else []
    labels, base = y_labels(ticks, scale) if gutter else ([], "")
    needed = max(map(len, labels), default=0) + 1
    wider = gutter and gutter < needed <= width // 2
    if wider:
        gutter = needed
    if wider or within is not None:
        curves = _reduced(data, view, shown, width - gutter, within)
    return Frame(
        data=data,
        view=view,
        left=gutter,
        width=width - gutter,
        height=rows,
        has_axis=has_axis,
        scale=scale,
        extent=shown,
        curves=curves,
        ticks=tuple(ticks),
        labels=tuple(labels),
        base=base,
        outliers=outliers,
    )


def _settled(full: tuple[float, float]) -> tuple[float, float]:
    """All data and a little room (4.4 % at most), so that a new step leaves the columns before it where they are.

    The span grows by a sixteenth of an octave at a time; between, a frame changes at its right end alone.
    """
    low, high = full
    if not 0 < high - low < LARGEST:
        return full
    octaves = math.ceil(math.log2(high - low) * _SIXTEENTHS - 1e-9) / _SIXTEENTHS
    return low, max(low + 2.0**octaves, high)


def _opened(bounds: tuple[float, float]) -> tuple[float, float]:
    """A single x stands in the middle of a range of its own."""
    low, high = bounds
    if high > low:
        return bounds
    reach = max(abs(low) * 1e-6, 1.0)
    return low - reach, high + reach


def _reduced(
    data: ChartData, view: View, shown: tuple[float, float], width: int, within: tuple[float, float] | None = None
) -> tuple[Curve, ...]:
    return tuple(reduce(line.series, view.x_mode, shown, width, view.smoothing, within=within) for line in data.lines)


def _fitted(
    data: ChartData, view: View, shown: tuple[float, float], curves: tuple[Curve, ...], outliers: Outliers | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(lows, highs, further values) that the scale is to show: the bands where they are shown, else the lines alone."""
    nothing = np.zeros(0)
    lines = np.concatenate([curve.line for curve in curves]) if curves else nothing
    lows = np.concatenate([curve.low for curve in curves]) if curves and view.show_band else lines
    highs = np.concatenate([curve.high for curve in curves]) if curves and view.show_band else lines
    if outliers is not None:
        lows, highs, lines = np.array([outliers.low]), np.array([outliers.high]), nothing
    points = [
        value
        for point in data.points
        if view.x_mode != "step" or shown[0] <= point.step <= shown[1]
        for value in (point.low, point.value, point.high)
    ]
    return lows, highs, np.concatenate((lines, np.array(points, np.float64)))
