"""From values to a vertical place in the plot: a linear or logarithmic scale, and the range that fits the data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from critictui.run.series import FloatArray
from critictui.tui.chart.model import Reference, View

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
) -> Scale:
    """The scale that shows bands from `lows` to `highs` (equal shapes, NaN where nothing is) and `extra` values.

    A fixed y range of the view wins. Robust: what lies further out of the 5 to 95 % quantiles than 1.5 of their
    distance is left out. The zero line is let in when it is no further away than the data are tall, chance
    whenever the chart is one of shares or it is that near, a threshold when it is a quarter as near.
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
    low, high = _robust(bottom, top) if view.robust_y else (float(bottom.min()), float(top.max()))
    if view.log_y:
        return _log_margin(low, high)
    low, high = _with_references(low, high, references, percent)
    return _margin(low, high, percent)


def _finite(values: FloatArray, log: bool) -> FloatArray:
    good = values[np.isfinite(values)]
    return np.clip(good[good > 0] if log else good, -LARGEST, LARGEST)


def _robust(bottom: FloatArray, top: FloatArray) -> tuple[float, float]:
    low, high = float(np.quantile(bottom, 0.05)), float(np.quantile(top, 0.95))
    reach = 1.5 * (high - low)
    inside_low, inside_high = bottom[bottom >= low - reach], top[top <= high + reach]
    return (
        float(inside_low.min()) if len(inside_low) else low,
        float(inside_high.max()) if len(inside_high) else high,
    )


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


def _margin(low: float, high: float, percent: bool) -> Scale:
    size = max(abs(low), abs(high))
    pad = (high - low) * 0.06
    if high - low <= size * _FLAT:
        pad = size * 0.1 if size > 1e-290 else 1.0
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
