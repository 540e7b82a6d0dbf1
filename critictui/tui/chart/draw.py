"""Data and a view go in, a picture comes out; pure, without Textual: what a chart looks like is tested as text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from critictui.tui.chart import picture as inks
from critictui.tui.chart.frame import Frame, lay_out
from critictui.tui.chart.labels import paint_labels
from critictui.tui.chart.layers import (
    Style,
    banded,
    paint_bands,
    paint_grid,
    paint_lines,
    paint_raw,
    plot_of,
)
from critictui.tui.chart.marks import (
    paint_best,
    paint_marks,
    paint_points,
    paint_references,
    paint_seams,
    paint_warnings,
)
from critictui.tui.chart.model import ChartData, View
from critictui.tui.chart.picture import PAPER_CURSOR, Picture, blank, ink_of
from critictui.tui.chart.safe import cells
from critictui.tui.chart.ticks import clock, duration, nice_ticks, step_label, time_ticks

_CELLS_A_TICK = 10


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A picture and the frame that it was drawn in; `frame` is None when there was nothing to draw."""

    picture: Picture
    frame: Frame | None


def draw(data: ChartData, view: View, width: int, height: int, style: Style) -> Drawing:
    """The panel without its cursor (see `with_cursor`), `width` x `height` cells; any size from 0 x 0 on."""
    frame = lay_out(data, view, width, height)
    if frame is None:
        return Drawing(_waiting(data, view, width, height, style), None)
    lines = [data.lines[index] for index in banded(frame)]
    picture = blank(width, height, tuple(ink_of(line) for line in lines))
    plot = plot_of(picture, frame)
    paint_lines(plot, frame, style)
    paint_raw(plot, frame, style)
    paint_bands(plot, frame, style)
    paint_grid(plot, frame, style)
    paint_seams(plot, frame, style)
    paint_references(plot, frame, style)
    paint_points(plot, frame, style)
    paint_best(plot, frame, style)
    paint_warnings(plot, frame, style)
    paint_marks(plot, frame, style)
    _note(plot, frame, style)
    paint_labels(plot, frame, style)
    _y_axis(picture, frame)
    _x_axis(picture, frame)
    return Drawing(picture, frame)


def with_cursor(drawing: Drawing, step: int | None, style: Style) -> Picture:
    """The picture with the cursor line at a step and the step written under it; the same one without a cursor."""
    frame, picture = drawing.frame, drawing.picture
    column = frame.column_of_step(step) if frame is not None and step is not None else None
    if frame is None or step is None or column is None:
        return picture
    picture = picture.copy()
    plot = plot_of(picture, frame)
    ink = plot.ink[:, column]
    edge = ink >= inks.paper_ink(0)
    plot.paper[edge, column] |= ink[edge] - inks.paper_ink(0)
    free = edge | (plot.glyph[:, column] == " ") | (ink == inks.GRID) | (ink == inks.SEAM)
    plot.glyph[free, column] = style.glyphs.cursor
    plot.ink[free, column] = inks.CURSOR
    plot.paper[:, column] |= PAPER_CURSOR
    if frame.has_axis:
        text = f" {_x_label(frame, frame.x_of_step(step), full=True)} "[: frame.width]
        first = min(max(column - len(text) // 2, 0), frame.width - len(text))
        for start, label in _x_labels(frame):
            if start < first + len(text) and first < start + len(label):
                picture.write(picture.height - 1, frame.left + start, " " * len(label), inks.BLANK)
        picture.write(picture.height - 1, frame.left + first, text, inks.READING)
    return picture


def _waiting(data: ChartData, view: View, width: int, height: int, style: Style) -> Picture:
    picture = blank(width, height)
    timeless = view.x_mode != "step" and any(len(line.series) for line in data.lines)
    words = "no wall times in this source" if timeless else data.waiting
    text = cells(words, ascii_only=not style.glyphs.braille)[: max(width, 0)]
    picture.write((height - 1) // 2, (width - len(text)) // 2, text, inks.WAITING)
    return picture


def _y_axis(picture: Picture, frame: Frame) -> None:
    rows: set[int] = set()
    for tick, label in zip(frame.ticks, frame.labels, strict=False):
        row = frame.row_of(tick)
        if row is not None and row not in rows:
            rows.add(row)
            picture.write(row, frame.left - 1 - len(label), label, inks.LABEL)
    if frame.base and frame.has_axis:
        picture.write(picture.height - 1, 0, frame.base[: frame.left], inks.LABEL)


def _x_axis(picture: Picture, frame: Frame) -> None:
    if frame.has_axis:
        for first, text in _x_labels(frame):
            picture.write(picture.height - 1, frame.left + first, text, inks.LABEL)


def _x_labels(frame: Frame) -> list[tuple[int, str]]:
    """(first column, text) of the labels under the plot, two at least where there is room for as many."""
    found: list[tuple[int, str]] = []
    count = max(2, frame.width // _CELLS_A_TICK)
    for more in range(4):
        found = _placed(frame, _x_ticks(frame, count + more))
        if len(found) > 1:
            break
    return found


def _x_ticks(frame: Frame, count: int) -> list[float]:
    low, high = frame.extent
    if frame.view.x_mode != "step":
        return time_ticks(low, high, count, local=frame.view.x_mode == "wall")
    return [tick for tick in nice_ticks(low, high, count) if tick.is_integer()]


def _placed(frame: Frame, ticks: list[float]) -> list[tuple[int, str]]:
    """Each label with its middle under its x, none touching another."""
    found: list[tuple[int, str]] = []
    free = 0
    for tick in ticks or frame.extent:
        column = frame.column_of(tick)
        if column is None:
            continue
        text = _x_label(frame, tick)[: frame.width]
        first = min(max(column - len(text) // 2, 0), frame.width - len(text))
        if first >= free:
            found.append((first, text))
            free = first + len(text) + 1
    return found


def _x_label(frame: Frame, x: float, *, full: bool = False) -> str:
    span = frame.extent[1] - frame.extent[0]
    if not math.isfinite(x):
        return "?"
    if frame.view.x_mode == "step":
        return f"{x:.0f}" if full and abs(x) < 2**53 else step_label(x)
    if frame.view.x_mode == "relative":
        return duration(x)
    return clock(x, span, full=full)


def _note(plot: Picture, frame: Frame, style: Style) -> None:
    """What the picture leaves out, in words, where the top row has room for them."""
    text = ""
    if frame.view.log_y and any((curve.low <= 0).any() for curve in frame.curves):
        text = f"log: values {style.glyphs.at_most} 0 not shown"
    elif not any(np.isfinite(curve.line).any() for curve in frame.curves) and not frame.data.points:
        text = "no finite values in view" if any(curve.count for curve in frame.curves) else "no points in view"
        plot.write((plot.height - 1) // 2, (plot.width - len(text)) // 2, text, inks.WAITING)
        return
    if text and len(text) + 2 <= plot.width and not inks.is_line(plot.ink[0, 1 : len(text) + 1]).any():
        plot.write(0, 1, text, inks.LABEL)
