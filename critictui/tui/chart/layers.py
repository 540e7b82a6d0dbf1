"""What is painted into the plot, layer by layer: bands, grid, seams, references, lines, marks."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critictui.run.series import FloatArray
from critictui.tui.chart import picture as inks
from critictui.tui.chart.frame import Frame
from critictui.tui.chart.glyphs import DASHES, Glyphs
from critictui.tui.chart.model import Line
from critictui.tui.chart.picture import (
    BANDS,
    Picture,
    braille,
    braille_codes,
    dim_ink,
    is_line,
    line_ink,
    paper_ink,
    stroke,
)
from critictui.tui.chart.safe import cells

BoolArray = NDArray[np.bool_]

_EIGHTHS = np.array(list(" ▁▂▃▄▅▆▇█"), "<U1")
_LETTERS_FROM = 40
"""Characters of a label that its letter is taken from."""
_LABELLED_FROM = 30
"""Plot width from which reference lines say what they are."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a picture is drawn, colours aside."""

    glyphs: Glyphs
    tint: bool = True
    """Bands are the paper behind the lines; else they are sparse dots (16 colours, no colour, ASCII)."""
    mono: bool = False
    """No colours: every line has a dash pattern and a letter of its own."""


def banded(frame: Frame) -> list[int]:
    """Indices of the lines that have a band: the first few of the run on the dashboard."""
    if not frame.view.show_band:
        return []
    return [i for i, line in enumerate(frame.data.lines) if line.run == 0][:BANDS]


def plot_of(picture: Picture, frame: Frame) -> Picture:
    """The part of a picture inside the axes; writing to it writes to the picture."""
    rows, columns = slice(0, frame.height), slice(frame.left, frame.left + frame.width)
    return Picture(
        picture.glyph[rows, columns], picture.ink[rows, columns], picture.paper[rows, columns], picture.bands
    )


def paint_bands(plot: Picture, frame: Frame, style: Style) -> None:
    """The stretch between minimum and maximum of each column, quiet, behind everything else."""
    for bit, index in enumerate(banded(frame)):
        if not style.tint and style.glyphs.braille and frame.curves[index].raw is not None:
            continue  # dots among the points themselves would not be told from them
        low, high = _calm(frame, index)
        fineness = 8 if style.tint else 4 if style.glyphs.braille else 1
        bottom, top = frame.rows_of(low, fineness), frame.rows_of(high, fineness)
        held = np.isfinite(bottom) & np.isfinite(top)
        if not held.any():
            continue
        ends = np.clip(np.where(held, top, 0), -1e6, 1e6), np.clip(np.where(held, bottom, -1), -1e6, 1e6)
        if style.tint:
            _tint(plot, held, np.floor(ends[0] + 0.5), np.floor(ends[1] + 1.5), bit)
        else:
            line = frame.data.lines[index]
            _sprinkle(plot, (held, *ends), style, bit, dim_ink(line_ink(line.role, line.run)))


def _calm(frame: Frame, index: int) -> tuple[FloatArray, FloatArray]:
    """The band of a line with a calm contour, which is never inside of the columns' own minimum and maximum."""
    curve = frame.curves[index]
    low, high = curve.low, curve.high
    gaps = ~np.isfinite(low)
    if gaps.any() and not gaps.all():
        known = np.flatnonzero(~gaps)
        inner = np.flatnonzero(gaps & ~curve.bad)
        inner = inner[(inner > known[0]) & (inner < known[-1])]
        low, high = low.copy(), high.copy()
        low[inner], high[inner] = np.interp(inner, known, low[known]), np.interp(inner, known, high[known])
    reach = 1 if curve.count >= 2 * frame.width else 2
    if frame.view.log_y:
        low = np.where(low > 0, low, np.where(high > 0, frame.scale.low, np.nan))
    holes = np.isnan(low)
    low, high = _contour(low, np.fmin, reach), _contour(high, np.fmax, reach)
    return np.where(holes, np.nan, low), np.where(holes, np.nan, high)


def _contour(values: FloatArray, join: np.ufunc, reach: int) -> FloatArray:
    """The extremes of a window of 2 * reach + 1 columns, averaged over as many.

    Each of these windows includes the middle column, so that the average never is inside of it.
    """
    padded = np.pad(values, 2 * reach, constant_values=np.nan)
    parts = range(2 * reach + 1)
    around = join.reduce([padded[i : i + len(values) + 2 * reach] for i in parts])
    around[:reach], around[len(around) - reach :] = around[reach], around[-reach - 1]
    held = np.isfinite(around)
    total = np.where(held, around, 0.0)
    weight: FloatArray = held.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(
            sum(total[i : i + len(values)] for i in parts) / sum(weight[i : i + len(values)] for i in parts)
        )


def _tint(plot: Picture, held: BoolArray, top: FloatArray, bottom: FloatArray, bit: int) -> None:
    """Paper where a band covers a cell, eighths of a block at its edges. Rows are in eighths from the top."""
    rows = np.arange(plot.height)[:, None] * 8
    covered = np.where(held, np.clip(np.minimum(bottom, rows + 8) - np.maximum(top, rows), 0, 8), 0)
    flag = np.uint8(1 << bit)
    full = covered >= 8
    upper_edge = (covered > 0) & ~full & (bottom >= rows + 8)
    lower_edge = (covered > 0) & ~full & ~upper_edge & (top <= rows)
    inside = (covered >= 4) & ~upper_edge & ~lower_edge
    free = plot.glyph == " "
    eighths = np.clip(covered, 0, 8).astype(np.int64)
    rising, falling = upper_edge & free, lower_edge & free
    plot.ink[rising] = paper_ink(0) + (plot.paper[rising] | flag)
    plot.glyph[rising] = _EIGHTHS[eighths[rising]]
    plot.ink[falling] = paper_ink(0) + plot.paper[falling]
    plot.glyph[falling] = _EIGHTHS[8 - eighths[falling]]
    plot.paper[full | inside | falling | ((upper_edge | lower_edge) & ~free & (covered >= 4))] |= flag


def _sprinkle(plot: Picture, band: tuple[BoolArray, FloatArray, FloatArray], style: Style, bit: int, ink: int) -> None:
    """Sparse dots over a band, for terminals whose colours do not allow a quiet paper."""
    held, top, bottom = band
    if not style.glyphs.braille:
        rows = np.arange(plot.height)[:, None]
        inside = held & (rows >= np.round(top)) & (rows <= np.round(bottom))
        free, crossed = inside & (plot.glyph == " "), inside & np.isin(plot.glyph, style.glyphs.band)
        plot.glyph[free], plot.ink[free] = style.glyphs.band[bit % 2], ink
        plot.glyph[crossed] = style.glyphs.band[2]
        return
    rows = np.arange(plot.height * 4)[:, None]
    wide = np.repeat(np.arange(plot.width), 2)
    inside = held[wide] & (rows >= np.round(top)[wide]) & (rows <= np.round(bottom)[wide])
    columns = np.arange(plot.width * 2)
    codes = braille_codes(inside & ((columns + 2 * rows + bit) % 4 == 0))
    free = (codes > 0) & (plot.glyph == " ")
    plot.glyph[free] = braille(codes)[free]
    plot.ink[free] = ink


def paint_grid(plot: Picture, frame: Frame, style: Style) -> None:
    """Faint dots at the height of each y label, where nothing else is."""
    for tick in frame.ticks:
        row = frame.row_of(tick)
        if row is None:
            continue
        columns = np.arange(2, plot.width, 4)
        columns = columns[(plot.glyph[row, columns] == " ") & (plot.paper[row, columns] == 0)]
        plot.glyph[row, columns] = style.glyphs.grid
        plot.ink[row, columns] = inks.GRID


def paint_seams(plot: Picture, frame: Frame, style: Style) -> None:
    """A dotted vertical line where a restart or an epoch begins, its name at the top where there is room."""
    columns = sorted({(c, s.label) for s in frame.data.seams if (c := frame.column_of_step(s.step)) is not None})
    if len({c for c, _ in columns}) > max(plot.width // 4, 1):
        return
    for column, _ in columns:
        free = plot.ink[:, column] < line_ink("teacher", 0)
        plot.glyph[free, column] = style.glyphs.seam
        plot.ink[free, column] = inks.SEAM


def paint_references(plot: Picture, frame: Frame, style: Style) -> None:
    """Dashed horizontal lines, as thin and as exactly placed as the curves."""
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
            columns = columns[(codes > 0) & ~is_line(plot.ink[row])]
            plot.glyph[row, columns] = braille(codes)[columns]
        else:
            columns = columns[(columns % 3 < 2) & ~is_line(plot.ink[row])]
            plot.glyph[row, columns] = style.glyphs.dash
        plot.ink[row, columns] = ink


def pattern_of(line: Line, index: int, style: Style) -> tuple[int, ...]:
    """The dashes of a line: by run, and without colours by line as well."""
    return DASHES[(line.run if not style.mono else max(line.run, index)) % len(DASHES)]


def paint_lines(plot: Picture, frame: Frame, style: Style) -> None:
    """The smoothed lines, the first of the data on top."""
    codes = np.zeros((plot.height, plot.width), np.uint8)
    for index in reversed(range(len(frame.data.lines))):
        line, curve = frame.data.lines[index], frame.curves[index]
        ink = line_ink(line.role, line.run)
        if style.glyphs.braille:
            dots = stroke(frame.rows_of(curve.line, 4), 4 * plot.height, pattern_of(line, index, style))
            own = braille_codes(dots)
            codes |= own
            touched = own > 0
            plot.glyph[touched] = braille(codes)[touched]
        else:
            rows = np.floor(np.round(frame.rows_of(curve.line, 4)) / 4)
            touched = np.logical_or.reduce(stroke(rows, plot.height).reshape(plot.height, plot.width, 2), axis=2)
            plot.glyph[touched] = style.glyphs.markers[index % len(style.glyphs.markers)]
        plot.ink[touched] = ink


def paint_raw(plot: Picture, frame: Frame, style: Style) -> None:
    """Where there are few points: the points themselves as a quiet line, so that smoothing does not hide them."""
    if not style.glyphs.braille:
        return
    for index in banded(frame):
        line, raw = frame.data.lines[index], frame.curves[index].raw
        if raw is None:
            continue
        codes = braille_codes(stroke(frame.rows_of(raw, 4), 4 * plot.height))
        free = (codes > 0) & (plot.glyph == " ")
        plot.glyph[free] = braille(codes)[free]
        plot.ink[free] = dim_ink(line_ink(line.role, line.run))


def letters_of(lines: tuple[Line, ...]) -> list[str]:
    """One ASCII letter or digit for each line, no two alike while there are enough of them."""
    taken: list[str] = []
    for line in lines:
        own = [c for c in line.letter + line.label[:_LETTERS_FROM] if c.isascii() and c.isalnum()]
        first = own[0] if own else "A"
        wanted = (first.upper(), first.lower(), *"23456789", *(c.upper() for c in own), *string.ascii_letters)
        taken.append(next((c for c in wanted if c not in taken), "?"))
    return taken


def paint_letters(plot: Picture, frame: Frame, style: Style) -> None:
    """Without colours: the letter of each line at its last point."""
    lines = frame.data.lines
    if not style.mono or len(lines) < 2:
        return
    for line, curve, letter in zip(lines, frame.curves, letters_of(lines), strict=True):
        held = np.flatnonzero(np.isfinite(curve.line))
        if not len(held):
            continue
        row = frame.row_of(float(curve.line[held[-1]]))
        if row is not None:
            plot.write(row, min(int(held[-1]) // 2, plot.width - 1), letter, line_ink(line.role, line.run))


_QUIET_INKS = (inks.BLANK, inks.GRID, inks.REFERENCE, inks.THRESHOLD)


def paint_reference_labels(plot: Picture, frame: Frame, style: Style) -> None:
    """What a reference line stands for, at one of its ends, where no curve is."""
    if plot.width < _LABELLED_FROM:
        return
    for reference in frame.data.references:
        row = frame.row_of(reference.value)
        text = f" {cells(reference.label, ascii_only=not style.glyphs.braille)} " if reference.label else ""
        if row is None or not text or len(text) > plot.width // 3:
            continue
        last = plot.width - len(text)
        for first in (*range(last, max(last - plot.width // 4, 0), -1), 1):
            here = slice(first, first + len(text))
            if np.isin(plot.ink[row, here], _QUIET_INKS).all():
                plot.write(row, first, text, inks.REFERENCE if reference.kind != "threshold" else inks.THRESHOLD)
                break


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
            plot.write(row, column, style.glyphs.best, line_ink(line.role, 0))


def paint_warnings(plot: Picture, frame: Frame, style: Style) -> None:
    """Columns whose values are cut off or not finite, at the edge of the plot."""
    low, high = frame.scale.low, frame.scale.high
    for curve in frame.curves:
        with np.errstate(invalid="ignore"):
            over = np.flatnonzero(np.fmax(curve.high, curve.line[1::2]) > high)
            under = np.flatnonzero(np.fmin(curve.low, curve.line[1::2]) < low)
        if frame.view.show_band or frame.view.y_range or frame.view.robust_y:
            for row, columns, glyph in ((0, over, style.glyphs.above), (plot.height - 1, under, style.glyphs.below)):
                if not (frame.view.log_y and row):
                    plot.glyph[row, columns] = glyph
                    plot.ink[row, columns] = inks.CLIPPED
    for curve in frame.curves:
        plot.glyph[plot.height - 1, curve.bad], plot.ink[plot.height - 1, curve.bad] = style.glyphs.bad, inks.BAD


def paint_marks(plot: Picture, frame: Frame, style: Style) -> None:
    """Alerts, on the top row at the step that made them fire; the worst on top."""
    order = {"info": 0, "warning": 1, "critical": 2}
    colours = {"info": inks.INFO, "warning": inks.WARNING, "critical": inks.CRITICAL}
    for mark in sorted(frame.data.marks, key=lambda mark: order.get(mark.severity, 0)):
        column = frame.column_of_step(mark.step)
        if column is not None:
            plot.write(0, column, style.glyphs.severity(mark.severity), colours.get(mark.severity, inks.INFO))
