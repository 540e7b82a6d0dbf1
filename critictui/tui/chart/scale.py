"""From values to a vertical place in the plot: a linear or logarithmic scale, and the range that fits the data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from critictui.run.dtypes import FloatArray
from critictui.run.panels import Reference
from critictui.tui.chart.model import View

LARGEST = 1e300
"""Finite values beyond this are drawn as this, so that a difference of two never overflows."""

_FLAT = 1e-12
"""A span smaller than this share of the value is noise of the float format: the series counts as constant."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The y axis: `low` and `high` are its ends in data units, `low` < `high`, both finite; both > 0 when `log`."""

    low: float
    high: float
    log: bool = False
    step: float = 0.0
    """Labels stand at its multiples, each as many rows from the next; 0 where the range is no such one."""

    def unit(self, values: FloatArray) -> FloatArray:
        """Share of the height, 0 at `low` and 1 at `high`, of any shape; NaN for what has no place (log of <= 0)."""
        with np.errstate(all="ignore"):
            values = np.clip(values, -LARGEST, LARGEST)
            if self.log:
                low, high = math.log10(self.low), math.log10(self.high)
                return np.asarray((np.log10(np.where(values > 0, values, np.nan)) - low) / (high - low))
            return np.asarray((values - self.low) / (self.high - self.low))

    def place(self, value: float) -> float:
        """`unit` of one value, without the cost of an array."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        value = min(max(value, -LARGEST), LARGEST)
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def value_at(self, unit: float) -> float:
        """The value at a share of the height."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return float(10.0 ** (low + unit * (high - low)))
        return self.low + unit * (self.high - self.low)


def fit(
    lows: FloatArray,
    highs: FloatArray,
    references: Iterable[Reference],
    view: View,
    *,
    extra: FloatArray | None = None,
    percent: bool = False,
    rows: int = 0,
) -> Scale:
    """The scale that shows bands from `lows` to `highs` (equal shapes, NaN where nothing is) and `extra` values.

    A fixed y range of the view wins. The zero line is let in when it is no further away than the data are tall, chance
    whenever the chart is one of shares or it is that near, a threshold when it is a quarter as near. In a plot of
    `rows` rows the range is widened a little, so that round numbers stand whole rows apart; 0 rows: it has no labels.
    """
    if view.y_range is not None:
        low, high = view.y_range
        if math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not view.log_y):
            return Scale(max(low, -LARGEST), min(high, LARGEST), view.log_y)
    bottom, top = _finite(lows, view.log_y), _finite(highs, view.log_y)
    if extra is not None:
        more = _finite(extra, view.log_y)
        bottom, top = np.concatenate((bottom, more)), np.concatenate((top, more))
    if not len(bottom) or not len(top):
        return Scale(1.0, 10.0, True) if view.log_y else Scale(0.0, 1.0)
    low, high = float(bottom.min()), float(top.max())
    if view.log_y:
        return _log_margin(low, high)
    low, high = _with_references(low, high, references, percent)
    size = max(abs(low), abs(high))
    if high - low <= size * _FLAT:
        return _around((low + high) / 2, rows)
    return _even(low, high, rows, percent) or _margin(low, high, percent)


def _finite(values: FloatArray, log: bool) -> FloatArray:
    good = values[np.isfinite(values)]
    return np.clip(good[good > 0] if log else good, -LARGEST, LARGEST)


_REACH = {"zero": 1.0, "chance": 1.0, "threshold": 0.25}


def _with_references(low: float, high: float, references: Iterable[Reference], percent: bool) -> tuple[float, float]:
    span = high - low
    new_low, new_high = low, high
    for reference in references:
        value = reference.value
        if not math.isfinite(value):
            continue
        reach = math.inf if percent and reference.kind == "chance" else _REACH[reference.kind] * span
        if low - reach <= value <= high + reach:
            new_low, new_high = min(new_low, value), max(new_high, value)
    return new_low, new_high


def _around(value: float, rows: int) -> Scale:
    """The range of a constant: it is in the middle, and on a label wherever it is a round number."""
    size = abs(value) or 1.0
    if rows < 3 or not 1e-290 < size < 1e290:
        pad = size * 0.1 if size > 1e-290 else 1.0
        return Scale(max(value - pad, -LARGEST * 1.1), min(value + pad, LARGEST * 1.1))
    power = 10.0 ** math.floor(math.log10(size))
    steps = [factor * ten for ten in (power, power / 10) for factor in _STEPS[::-1] if factor * ten <= size * 0.51]
    step = next((s for s in steps if abs(value / s - round(value / s)) < 1e-6), steps[-1])
    dot = step / -(-rows // 3) / _DOTS
    bottom = round(value / dot) - _DOTS * rows // 2
    return Scale(bottom * dot, (bottom + _DOTS * rows - 1) * dot, step=step)


_STEPS = (1.0, 2.0, 2.5, 5.0)
_DOTS = 4
"""Of a row: what a value is rounded to."""
_WIDEST = 1.35
"""A range may grow by so much to have even rows; beyond, the curves would be too low."""


def _even(low: float, high: float, rows: int, percent: bool) -> Scale | None:
    """The range of a plot of `rows` rows in which a round step is a whole number of rows, and its multiples are dots.

    None where every such range is a good deal larger than the data, or out of the reach of floats.
    """
    span, size = high - low, max(abs(low), abs(high))
    if rows < 3 or not 1e-290 < span < 1e290 or span < size * 1e-9:
        return None
    dots = _DOTS * rows - 1
    for height, step in _row_heights(span / rows, rows):
        dot = height / _DOTS
        if dots * dot > _WIDEST * span:
            return None
        for spare in (1, 0):
            first, last = math.ceil(high / dot - 1e-9) + spare - dots, math.floor(low / dot + 1e-9) - spare
            if first <= last:
                ceiling = 0.0 if high <= 0 else 1.0 if percent and high <= 1 else math.inf
                most = math.floor(ceiling / dot + 1e-9) + 1 - dots if ceiling < math.inf else last
                bottom = _lowest_dot(first, last, -1 if low >= 0 else first, most)
                return Scale(bottom * dot, (bottom + dots) * dot, step=step)
    return None


def _row_heights(least: float, rows: int) -> list[tuple[float, float]]:
    """(height of a row, distance of the labels), ascending from `least` on; of equal heights the likelier labels."""
    closest = 2 if rows < 20 else rows // 10
    furthest = max(3, closest, min(-(-rows // 3), closest + 5))
    apart = (1,) if rows == 3 else (2, 1) if rows < 6 else range(closest, furthest + 1)
    power = 10.0 ** math.floor(math.log10(least))
    found: dict[float, tuple[float, float]] = {}
    for count in apart:
        for step in (factor * power * ten for ten in (1.0, 10.0, 100.0) for factor in _STEPS):
            if step / count >= least:
                found.setdefault(round(step / count / power, 9), (step / count, step))
    return sorted(found.values())


def _lowest_dot(first: int, last: int, least: int, most: int) -> int:
    """Which of the possible bottoms, `first` to `last`: the middle one, but not below `least`, nor above `most`.

    Next to it the one at which labels stand in the middle of their rows, if there is one. The bounds keep the axis from
    going where no value can be, below 0 or above 1.
    """
    best = min(max((first + last) // 2, least), most)
    best = min(max(best, first), last)
    low, high = max(first, min(least, best)), min(last, max(most, best))
    near = (best, best - 1, best + 1)
    return next((place for place in near if low <= place <= high and place % _DOTS in {2, 3}), best)


def _margin(low: float, high: float, percent: bool) -> Scale:
    pad = (high - low) * 0.06
    low, high = max(low - pad, -LARGEST * 1.1), min(high + pad, LARGEST * 1.1)
    if percent and low < 0 <= low + pad:
        low = -0.02
    if percent and high > 1 >= high - pad:
        high = 1.02
    return Scale(low, high)


def _log_margin(low: float, high: float) -> Scale:
    bottom, top = math.log10(low), math.log10(high)
    pad = max((top - bottom) * 0.06, 0.05 if top - bottom > 1e-9 else 0.5)
    return Scale(10.0 ** max(bottom - pad, -322.0), 10.0 ** min(top + pad, 301.0), True)
