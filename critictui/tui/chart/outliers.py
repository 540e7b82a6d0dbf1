"""Curves go in, and which few far points their y range may leave out comes out: one can flatten a whole history.

Nothing is hidden by it: every column that holds such a point has an arrow at the edge, beside it how many there are and
how far they go, and one key shows them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from critictui.run.dtypes import FloatArray
from critictui.run.series import Series
from critictui.tui.chart.reduce import Curve

_STRETCH = 5.0
"""Points are left out only where the range without them is so many times smaller: below, one sees both."""
_MOST = 0.04
"""Share of the visible points that may be left out: more of them are no accident but a part of the picture."""
_FEWEST = 20
"""Visible points from which one may be left out."""
_TAIL, _REACH = 0.1, 1.5
"""What lies further out of the 10 to 90 % quantiles of the columns than 1.5 of their distance is far."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """The range of all other points, and the far ones on both sides of it."""

    low: float
    high: float
    below: int
    """How many points are far below."""
    above: int
    lowest: float
    """The furthest of all points."""
    highest: float


def find_outliers(series: Sequence[Series], curves: Sequence[Curve]) -> Outliers | None:
    """The far points of all lines of a chart (equal lengths), None where the y range should hold every point.

    None too where a line's newest sample is far, for that is what one looks for, or all others are equal. The points
    themselves are looked at only where their columns say that it may be worth it.
    """
    lows = _finite(np.concatenate([curve.low for curve in curves])) if curves else np.zeros(0)
    highs = _finite(np.concatenate([curve.high for curve in curves])) if curves else np.zeros(0)
    total = sum(curve.count for curve in curves)
    if total < _FEWEST or len(lows) < 2:
        return None
    lowest, highest = float(lows.min()), float(highs.max())
    low, high = _fence(lows, highs)
    inner = (high - low) / (1 + 2 * _REACH)
    if (lowest >= low and highest <= high) or highest - lowest <= _STRETCH * inner:
        return None
    visible = [s.value[c.first : c.first + c.count] for s, c in zip(series, curves, strict=True)]
    newest = [float(part[-1]) for part in visible if len(part)]
    if any(math.isfinite(value) and not low <= value <= high for value in newest):
        return None
    below = sum(int(np.count_nonzero((part < low) & np.isfinite(part))) for part in visible)
    above = sum(int(np.count_nonzero((part > high) & np.isfinite(part))) for part in visible)
    if below + above > max(_MOST * total, 1):
        return None
    bottom = min((float(part[part >= low].min()) for part in visible if (part >= low).any()), default=low)
    top = max((float(part[part <= high].max()) for part in visible if (part <= high).any()), default=high)
    if not 0 < (top - bottom) * _STRETCH < highest - lowest:
        return None
    return Outliers(bottom, top, below, above, lowest, highest)


def _finite(values: FloatArray) -> FloatArray:
    return np.asarray(values[np.isfinite(values)])


def _fence(lows: FloatArray, highs: FloatArray) -> tuple[float, float]:
    """What lies outside is far. Sorted by hand: `np.quantile` costs more than the whole of it."""
    last = len(lows) - 1
    low = float(np.sort(lows)[math.ceil(last * _TAIL)])
    high = float(np.sort(highs)[math.floor(last * (1 - _TAIL))])
    reach = _REACH * (high - low)
    return low - reach, high + reach
