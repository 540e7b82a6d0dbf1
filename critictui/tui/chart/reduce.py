"""A series goes in, what its columns on the screen need comes out: the band and the smoothed line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critictui.run.dtypes import FloatArray, IntArray
from critictui.run.series import Series
from critictui.tui.chart.model import XMode
from critictui.tui.chart.scale import LARGEST

BoolArray = NDArray[np.bool_]

_EXACT = 4096
"""Up to so many points the smoothing runs over each of them; beyond, over buckets (four a pixel column)."""
_BUCKETS_A_PIXEL = 4
_POINTS_A_PIXEL = 1.5
"""Up to so many points a pixel column they are shown one by one; with more of them a band is the calmer picture."""
_WARM_UP = 64
"""Buckets in front of the visible range over which the smoothing settles."""
_SMALLEST_WEIGHT = 1e-4
"""The kernel is cut where its weight falls below this share."""


@dataclass(frozen=True, slots=True, eq=False)
class RawLine:
    """The points of each pixel column; arrays of shape (2 * width,), NaN where there is none."""

    last: FloatArray
    """The last of them; between columns with points, what lies on the straight line."""
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line reduced to a plot of `width` cells, two pixel columns each."""

    line: FloatArray
    """Smoothed value, shape (2 * width,); NaN where there is no line."""
    raw: RawLine | None
    """The points themselves, where smoothing hides them and there is room for each; else None."""
    low: FloatArray
    """Minimum of each cell column, shape (width,); NaN where there is no point."""
    high: FloatArray
    """Maximum of each cell column, shape (width,)."""
    bad: BoolArray
    """Cell columns that hold a NaN or an infinity, shape (width,)."""
    count: int
    """Points in the visible range."""
    first: int = 0
    """Index of the first of them in its series."""


def x_values(series: Series, mode: XMode) -> IntArray | FloatArray:
    """The x of each point, ascending, shape (n,): steps, or seconds (a clock that jumps back stands still).

    A point without a time takes that of the point before; NaN only in front of the first known time.
    """
    if mode == "step":
        return series.step
    times = np.fmax.accumulate(np.where(np.isfinite(series.wall_time), series.wall_time, np.nan))
    if mode == "wall" or not len(times):
        return times
    known = np.flatnonzero(np.isfinite(times[: 1 + _first_known(times)]))
    return times - times[known[0]] if len(known) else times


def _first_known(times: FloatArray) -> int:
    return int(np.argmax(np.isfinite(times)))


def index_at(x: IntArray | FloatArray, bounds: FloatArray) -> IntArray:
    """For each bound the index of the first point at or after it; NaN in front of x counts as before everything."""
    if x.dtype == np.int64:
        exact = np.clip(np.ceil(bounds), -(2.0**63), 2.0**63)
        beyond = exact >= 2.0**63
        found = np.searchsorted(x, np.where(beyond, 0.0, exact).astype(np.int64), side="left")
        return np.where(beyond, len(x), found).astype(np.int64)
    skip = _first_known(np.asarray(x, np.float64)) if len(x) and np.isfinite(x[-1]) else len(x)
    return np.asarray(np.searchsorted(x[skip:], bounds, side="left") + skip, np.int64)


def extent_of(series: Series, mode: XMode) -> tuple[float, float] | None:
    """The x of the first and the last point, or None where nothing has a place on this axis."""
    if not len(series):
        return None
    if mode == "step":
        return float(series.step[0]), float(series.step[-1])
    x = x_values(series, mode)
    good = x[_first_known(np.asarray(x, np.float64)) :]
    return (float(good[0]), float(good[-1])) if len(good) and math.isfinite(good[0]) else None


def reduce(
    series: Series,
    mode: XMode,
    extent: tuple[float, float],
    width: int,
    smoothing: float,
    *,
    within: tuple[float, float] | None = None,
) -> Curve:
    """The curve of `series` between the x bounds `extent`, which lie in the middle of the outermost pixels.

    The cost depends on `width`, not on the number of points (in step mode; times are made monotone in one pass).
    The smoothed line is the debiased exponential moving average
    (Kingma & Ba 2014, section 3: s / (1 - factor^t)), over finite values only, at the last point of each pixel
    column; a column without a point lies on the straight line between its neighbours. What lies outside of `within`
    counts as its edge in the line, so that one far point does not bend a hundred after it; in the band it stays.
    """
    pixels = 2 * width
    if width < 1 or not len(series):
        nothing = np.full(max(pixels, 0), np.nan)
        return Curve(nothing, None, nothing[:width], nothing[:width], np.zeros(max(width, 0), bool), 0)
    x = x_values(series, mode)
    bounds = _pixel_bounds(extent, pixels)
    edges = index_at(x, bounds)
    first, last = int(edges[0]), int(edges[-1])
    buckets = _buckets(series, edges, smoothing)
    mean = buckets.mean if within is None else np.clip(buckets.mean, *within)
    smooth = _smooth(mean, buckets.finite, smoothing)
    line = _line_at_pixels(series.value, x, edges, (buckets.borders, smooth), extent, within=within)
    raw = None
    if smoothing > 0 and last - first <= _POINTS_A_PIXEL * pixels:
        joined = _line_at_pixels(series.value, x, edges, (buckets.borders, buckets.mean), extent)
        least, most = (_grouped(join, buckets.mean, buckets.borders) for join in (np.fmin, np.fmax))
        raw = RawLine(joined, least, most)
    cells = buckets.borders[::2]
    return Curve(
        line,
        raw,
        _grouped(np.fmin, buckets.low, cells),
        _grouped(np.fmax, buckets.high, cells),
        np.nan_to_num(_grouped(np.add, buckets.spoiled, cells)) > 0,
        last - first,
        first,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Buckets:
    """Points grouped finely enough for the smoothing: single ones where there are few. Arrays of one length."""

    low: FloatArray
    high: FloatArray
    mean: FloatArray
    finite: FloatArray
    """How many finite points."""
    spoiled: FloatArray
    """How many others."""
    borders: IntArray
    """The bucket at which each pixel column begins, and the end of the last one, shape (pixels + 1,)."""


def _pixel_bounds(extent: tuple[float, float], pixels: int) -> FloatArray:
    """Bounds of the pixel columns, shape (pixels + 1,): the first point in the middle of the first one."""
    low, high = extent
    pitch = (high - low) / max(pixels - 1, 1)
    if not pitch > 0:
        pitch = max(abs(low), 1.0) * 1e-6
    with np.errstate(over="ignore"):
        return np.clip(low + (np.arange(pixels + 1) - 0.5) * pitch, -LARGEST, LARGEST)


def _buckets(series: Series, edges: IntArray, smoothing: float) -> _Buckets:
    """The points of the pixel columns, and as many in front of them as the smoothing remembers."""
    first, last = int(edges[0]), int(edges[-1])
    reach = math.ceil(math.log(_SMALLEST_WEIGHT) / math.log(smoothing)) if smoothing > 0 else 0
    begin = max(0, first - reach)
    if last - begin <= _EXACT:
        raw = series.value[begin:last]
        good = np.isfinite(raw)
        value = np.where(good, np.clip(raw, -LARGEST, LARGEST), np.nan)
        return _Buckets(value, value, value, good.astype(np.float64), (~good).astype(np.float64), edges - begin)
    cuts, borders = _cuts(begin, edges, smoothing)
    envelope = series.pyramid.envelope(series.value, cuts)
    finite = np.asarray(envelope.count, np.float64)
    bounded = [np.clip(part, -LARGEST, LARGEST) for part in (envelope.min, envelope.max, envelope.mean)]
    low, high, mean = (np.where(finite > 0, part, np.nan) for part in bounded)
    return _Buckets(low, high, mean, finite, np.asarray(envelope.non_finite, np.float64), borders)


def _cuts(begin: int, edges: IntArray, smoothing: float) -> tuple[IntArray, IntArray]:
    """(bucket edges from `begin` on, the bucket at which each pixel column begins)."""
    first = int(edges[0])
    warm = np.linspace(begin, first, _WARM_UP + 1)[:-1].astype(np.int64) if first > begin else np.zeros(0, np.int64)
    pixels = len(edges) - 1
    window = 1 / (1 - smoothing)
    split = _BUCKETS_A_PIXEL if window > (int(edges[-1]) - first) / pixels else 1
    shares = np.arange(split) / split
    inner = edges[:-1, None] + ((edges[1:] - edges[:-1])[:, None] * shares).astype(np.int64)
    cuts = np.concatenate((warm, inner.ravel(), edges[-1:]))
    return cuts, len(warm) + np.arange(pixels + 1, dtype=np.int64) * split


def _smooth(mean: FloatArray, count: FloatArray, factor: float) -> FloatArray:
    """The debiased average after each bucket, shape as `mean`; NaN until the first finite value.

    A bucket of c points with mean m weighs as c points of value m: exact for c = 1. An average lies among what it is
    of: the rounding of the sums would make a constant wiggle by a row.
    """
    if factor <= 0:
        return mean
    keep = np.power(factor, count)
    add = np.where(count > 0, np.nan_to_num(mean) * (1 - keep), 0.0)
    result = np.empty(len(mean))
    total = weight = 0.0
    for index, (kept, added) in enumerate(zip(keep.tolist(), add.tolist(), strict=True)):
        total = total * kept + added
        weight = weight * kept + (1 - kept)
        result[index] = total / weight if weight > 0 else math.nan
    result[count == 0] = np.nan
    return np.clip(result, np.fmin.accumulate(mean), np.fmax.accumulate(mean))


def _line_at_pixels(
    value: FloatArray,
    x: IntArray | FloatArray,
    edges: IntArray,
    smoothed: tuple[IntArray, FloatArray],
    extent: tuple[float, float],
    *,
    within: tuple[float, float] | None = None,
) -> FloatArray:
    """The smoothed value at each pixel column; `smoothed` is where each column's buckets begin, and their averages."""
    borders, smooth = smoothed
    pixels = len(edges) - 1
    held = np.flatnonzero(np.diff(edges) > 0)
    line = np.full(pixels, np.nan)
    places, values = held.astype(np.float64), _last_known(smooth, borders, held)
    line[held] = values
    pitch = (extent[1] - extent[0]) / max(pixels - 1, 1)
    before, after = int(edges[0]) - 1, int(edges[-1])
    if pitch > 0 and before >= 0:
        settled = float(smooth[borders[0] - 1]) if borders[0] > 0 else _bounded(value[before], within)
        places = np.insert(places, 0, (float(x[before]) - extent[0]) / pitch)
        values = np.insert(values, 0, settled)
    if pitch > 0 and after < len(x):
        places = np.append(places, (float(x[after]) - extent[0]) / pitch)
        values = np.append(values, _bounded(value[after], within))
    return _bridge(line, places, values, held)


def _bounded(value: float, within: tuple[float, float] | None) -> float:
    """A value inside of the bounds; NaN for what is not finite."""
    low, high = within or (-LARGEST, LARGEST)
    return float(min(max(value, low), high)) if math.isfinite(value) else math.nan


def _last_known(smooth: FloatArray, borders: IntArray, held: IntArray) -> FloatArray:
    """The last smoothed value inside each held pixel column; NaN where the column holds nothing finite."""
    values = smooth[borders[held + 1] - 1]
    for place in np.flatnonzero(np.isnan(values)):
        inside = smooth[borders[held[place]] : borders[held[place] + 1]]
        known = inside[np.isfinite(inside)]
        if len(known):
            values[place] = known[-1]
    return values


def _bridge(line: FloatArray, places: FloatArray, values: FloatArray, held: IntArray) -> FloatArray:
    """Straight lines over the columns without a point; never over a column whose points are all non-finite."""
    without = np.ones(len(line), bool)
    without[held] = False
    empty = np.flatnonzero(without)
    if len(places) < 2 or not len(empty):
        return line
    inner = empty[(empty > places[0]) & (empty < places[-1])]
    with np.errstate(all="ignore"):
        bridged = np.interp(inner, places, values)
        line[inner] = np.clip(bridged, np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else bridged
    return line


def _grouped(join: np.ufunc, values: FloatArray, borders: IntArray) -> FloatArray:
    """`join` over each group of buckets between borders, shape (len(borders) - 1,); NaN for an empty group."""
    starts = borders[:-1]
    result = np.full(len(starts), np.nan)
    full = np.flatnonzero(borders[1:] > starts)
    if len(full):
        result[full] = join.reduceat(values[: borders[-1]], starts[full])
    return result
