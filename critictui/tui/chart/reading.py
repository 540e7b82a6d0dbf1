"""What a chart says in words: exact values under the cursor, the last values of its lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from critictui.run import metrics as names
from critictui.run.series import Series
from critictui.tui.chart.frame import Frame
from critictui.tui.chart.model import ChartData, Line, XMode
from critictui.tui.chart.reduce import x_values
from critictui.tui.words import number, share


@dataclass(frozen=True, slots=True)
class Reading:
    """The sample of one line that is nearest to the cursor."""

    index: int
    """Number of the line in its chart, asides behind the lines."""
    line: Line
    step: int
    value: float
    wall_time: float


def nearest(series: Series, x: float, mode: XMode) -> int | None:
    """Index of the point nearest to x (the earlier of two), or None of an empty series."""
    values = x_values(series, mode)
    if not len(values) or not math.isfinite(x):
        return None
    if mode == "step":
        target = np.int64(min(max(round(x), -(2**63)), 2**63 - 1))
        right = int(np.searchsorted(values, target))
    else:
        right = int(np.searchsorted(np.nan_to_num(values, nan=-math.inf), x))
    left = max(right - 1, 0)
    right = min(right, len(values) - 1)
    return left if abs(float(values[left]) - x) <= abs(float(values[right]) - x) else right


def snapped(frame: Frame, x: float) -> int | None:
    """The step of the anchor's point nearest to x, or None without one."""
    anchor = frame.anchor
    index = nearest(anchor, x, frame.view.x_mode) if anchor is not None else None
    return int(anchor.step[index]) if anchor is not None and index is not None else None


def moved(frame: Frame, step: int | None, columns: int, points: int = 0) -> int | None:
    """The step of the cursor after a move by cell columns, at least one point further if there is one; or by points.

    Without a cursor it starts at the last visible point.
    """
    anchor = frame.anchor
    if anchor is None:
        return None
    if step is None:
        return snapped(frame, frame.extent[1])
    mode = frame.view.x_mode
    here = nearest(anchor, frame.x_of_step(step), mode)
    if here is None:
        return None
    if points:
        return int(anchor.step[min(max(here + points, 0), len(anchor) - 1)])
    x = frame.x_of_step(int(anchor.step[here])) + columns * 2 * (frame.extent[1] - frame.extent[0]) / max(
        2 * frame.width - 1, 1
    )
    there = nearest(anchor, x, mode)
    forward = columns > 0
    if there is None or (there <= here if forward else there >= here):
        there = here + (1 if forward else -1)
    return int(anchor.step[min(max(there, 0), len(anchor) - 1)])


def readings(frame: Frame, step: int) -> list[Reading]:
    """The nearest sample of every line and aside to a step of the anchor; what has no points is left out."""
    found = []
    x = frame.x_of_step(step)
    for place, line in enumerate((*frame.data.lines, *frame.data.asides)):
        index = nearest(line.series, x, frame.view.x_mode)
        if index is not None:
            series = line.series
            found.append(
                Reading(
                    place, line, int(series.step[index]), float(series.value[index]), float(series.wall_time[index])
                )
            )
    return found


def last_values(data: ChartData) -> list[Reading]:
    """The newest sample of every line and aside that has one."""
    return [
        Reading(place, line, int(s.step[-1]), float(s.value[-1]), float(s.wall_time[-1]))
        for place, line in enumerate((*data.lines, *data.asides))
        if len(s := line.series)
    ]


def value_text(line: Line, value: float, digits: int = 3) -> str:
    """A value of a line as it is written everywhere: d_acc with three decimals, any other with so many digits."""
    return share(value) if line.series.name == names.D_ACC else number(value, digits)
