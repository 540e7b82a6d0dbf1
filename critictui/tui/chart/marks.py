"""The marks on a plot: seams, reference lines, fixed-set scores, best points, alerts, and what lies beyond the edge."""

from __future__ import annotations

import math

import numpy as np

from critictui.tui.chart import picture as inks
from critictui.tui.chart.frame import Frame
from critictui.tui.chart.layers import Style
from critictui.tui.chart.picture import Picture, braille, braille_codes, has_dots, ink_of, line_ink, paper_ink


def seam_columns(plot: Picture, frame: Frame) -> list[tuple[int, bool, str]]:
    """(column, a restart, label) of the seams that are drawn: none where there is no room for them."""
    found = {(c, s.restart, s.label) for s in frame.data.seams if (c := frame.column_of_step(s.step)) is not None}
    return sorted(found) if len({column for column, _, _ in found}) <= max(plot.width // 4, 1) else []


def paint_seams(plot: Picture, frame: Frame, style: Style) -> None:
    """A vertical line where an epoch begins, one of longer dashes at a restart; the curves lie over it."""
    for column, restart, _ in seam_columns(plot, frame):
        free = (plot.ink[:, column] < line_ink("teacher", 0)) | (plot.ink[:, column] >= paper_ink(0))
        plot.glyph[free, column] = style.glyphs.restart if restart else style.glyphs.seam
        plot.ink[free, column] = inks.SEAM


def paint_references(plot: Picture, frame: Frame, style: Style) -> None:
    """Dashed horizontal lines, as thin and as exactly placed as the curves, which lie over them."""
    for reference in frame.data.references:
        row = frame.row_of(reference.value)
        if row is None or (frame.view.log_y and reference.value <= 0):
            continue
        ink = inks.THRESHOLD if reference.kind == "threshold" else inks.REFERENCE
        columns = np.arange(plot.width)
        if style.glyphs.braille:
            dots = np.zeros((4, 2 * plot.width), bool)
            place = min(max(round(frame.place_of(reference.value, 4)), 0), 4 * plot.height - 1)
            dots[place % 4, np.arange(2 * plot.width) % 6 < 3] = True
            codes = braille_codes(dots)[0]
            columns = columns[(codes > 0) & ~has_dots(plot.ink[row])]
            plot.glyph[row, columns] = braille(codes)[columns]
        else:
            columns = columns[(columns % 3 < 2) & ~has_dots(plot.ink[row])]
            plot.glyph[row, columns] = style.glyphs.dash
        plot.ink[row, columns] = ink


def paint_points(plot: Picture, frame: Frame, style: Style) -> None:
    """Fixed-set scores: a dot, and a bar over the 95 % interval."""
    for point in frame.data.points:
        column = frame.column_of_step(point.step)
        if column is None or not math.isfinite(point.value):
            continue
        ink = line_ink(point.role, 0)
        top, bottom = (frame.place_of(value, 2) for value in (point.high, point.low))
        if math.isfinite(top) and math.isfinite(bottom):
            beyond = 2 * plot.height + 9
            _bar(plot, column, (round(min(max(top, -9), beyond)), round(min(max(bottom, -9), beyond))), style, ink)
        row = frame.row_of(point.value)
        if row is not None:
            plot.write(row, column, style.glyphs.point, ink)


def _bar(plot: Picture, column: int, halves: tuple[int, int], style: Style, ink: int) -> None:
    top, bottom = halves
    for row in range(max(top // 2, 0), min(bottom // 2, plot.height - 1) + 1):
        upper, lower = top <= 2 * row, bottom >= 2 * row + 1
        glyph = style.glyphs.bar if upper and lower else style.glyphs.bar_low if upper else style.glyphs.bar_high
        plot.write(row, column, glyph, ink)


def paint_best(plot: Picture, frame: Frame, style: Style) -> None:
    """A star at the best visible point of each line that has a good direction."""
    for line, curve in zip(frame.data.lines, frame.curves, strict=True):
        values = curve.high if line.best == "high" else curve.low
        if line.best is None or line.run or not np.isfinite(values).any():
            continue
        column = int(np.nanargmax(values) if line.best == "high" else np.nanargmin(values))
        row = frame.row_of(float(values[column]))
        if row is not None:
            plot.write(row, column, style.glyphs.best, ink_of(line))


def paint_warnings(plot: Picture, frame: Frame, style: Style) -> None:
    """Columns that hold values beyond the edge, or values that are not finite, at the edge of the plot."""
    low, high = frame.scale.low, frame.scale.high
    for curve in frame.curves:
        with np.errstate(invalid="ignore"):
            over = np.flatnonzero(np.fmax(curve.high, curve.line[1::2]) > high)
            under = np.flatnonzero(np.fmin(curve.low, curve.line[1::2]) < low)
        if frame.view.show_band or frame.view.y_range or frame.outliers is not None:
            for row, columns, glyph in ((0, over, style.glyphs.above), (plot.height - 1, under, style.glyphs.below)):
                if not (frame.view.log_y and row):
                    plot.glyph[row, columns] = glyph
                    plot.ink[row, columns] = inks.CLIPPED
    for curve in frame.curves:
        plot.glyph[plot.height - 1, curve.bad], plot.ink[plot.height - 1, curve.bad] = style.glyphs.bad, inks.BAD


def paint_marks(plot: Picture, frame: Frame, style: Style) -> None:
    """Alerts, on the top row at the step that made them fire; the worst on top. What goes up there stands below."""
    order = {"info": 0, "warning": 1, "critical": 2}
    colours = {"info": inks.INFO, "warning": inks.WARNING, "critical": inks.CRITICAL}
    for mark in sorted(frame.data.marks, key=lambda mark: order.get(mark.severity, 0)):
        column = frame.column_of_step(mark.step)
        if column is None:
            continue
        if plot.glyph[0, column] == style.glyphs.above and plot.ink[0, column] == inks.CLIPPED:
            plot.write(1, column, style.glyphs.above, inks.CLIPPED)
        plot.write(0, column, style.glyphs.severity(mark.severity), colours.get(mark.severity, inks.INFO))
