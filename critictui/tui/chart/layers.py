"""The curves of a frame, painted into the plot layer by layer: lines, points, bands, grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critictui.run.dtypes import FloatArray, IntArray
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
    ink_of,
    paper_ink,
    stroke,
)
from critictui.tui.chart.reduce import Curve, RawLine

BoolArray = NDArray[np.bool_]

_EIGHTHS = np.array(list(" ▁▂▃▄▅▆▇█"), "<U1")
_TURN = 2
"""Columns after which lines that share cells take turns."""


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
    """The stretch between minimum and maximum of each column, quiet, behind everything else.

    Where the points themselves are drawn there is none: it would be as thin as they are.
    """
    for bit, index in enumerate(banded(frame)):
        curve = frame.curves[index]
        if style.glyphs.braille and curve.raw is not None:
            continue
        low, high = _bridged(frame, curve)
        fineness = 8 if style.tint else 4 if style.glyphs.braille else 1
        bottom, top = frame.rows_of(low, fineness), frame.rows_of(high, fineness)
        held = np.isfinite(bottom) & np.isfinite(top)
        if not held.any():
            continue
        ends = np.clip(np.where(held, top, 0), -1e6, 1e6), np.clip(np.where(held, bottom, -1), -1e6, 1e6)
        if style.tint:
            _tint(plot, held, np.floor(ends[0] + 0.5), np.floor(ends[1] + 1.5), bit)
        else:
            _sprinkle(plot, (held, *ends), style, bit, dim_ink(ink_of(frame.data.lines[index])))


def _bridged(frame: Frame, curve: Curve) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum of each column; of a column without a point, what lies between its neighbours'."""
    low, high = curve.low, curve.high
    gaps = ~np.isfinite(low)
    if gaps.any() and not gaps.all():
        known = np.flatnonzero(~gaps)
        inner = np.flatnonzero(gaps & ~curve.bad)
        inner = inner[(inner > known[0]) & (inner < known[-1])]
        low, high = low.copy(), high.copy()
        low[inner], high[inner] = np.interp(inner, known, low[known]), np.interp(inner, known, high[known])
    if frame.view.log_y:
        low = np.where(low > 0, low, np.where(high > 0, frame.scale.low, np.nan))
    return low, high


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


def pattern_of(line: Line, index: int, style: Style) -> tuple[int, ...]:
    """The dashes of a line: by run, and without colours by line as well."""
    return DASHES[(line.run if not style.mono else max(line.run, index)) % len(DASHES)]


def paint_lines(plot: Picture, frame: Frame, style: Style) -> None:
    """The smoothed lines. In a cell that several run through one is drawn, in its own dots and colour, by turns."""
    lines = frame.data.lines
    if not lines:
        return
    touched, owner = (_dotted if style.glyphs.braille else _marked)(plot, frame, style)
    plot.ink[touched] = np.array([ink_of(line) for line in lines], np.uint8)[owner[touched]]


def _dotted(plot: Picture, frame: Frame, style: Style) -> tuple[BoolArray, IntArray]:
    """Lines of braille dots, with the points of their owner in each of their cells; (where any is, whose it is)."""
    codes = np.stack([
        braille_codes(stroke(frame.rows_of(curve.line, 4), 4 * plot.height, pattern_of(line, index, style)))
        for index, (line, curve) in enumerate(zip(frame.data.lines, frame.curves, strict=True))
    ])  # fmt: skip
    touched, owner = _by_turns(codes > 0)
    shown = np.take_along_axis(codes, owner[None], 0)[0]
    if style.mono:  # without colours nothing is won by leaving dots out
        shown = np.bitwise_or.reduce(codes, axis=0)
    for index in banded(frame):
        raw = frame.curves[index].raw
        if raw is not None:
            own = touched & (owner == index)
            shown[own] |= braille_codes(_points(frame, raw))[own]
    plot.glyph[touched] = braille(shown)[touched]
    return touched, owner


def _marked(plot: Picture, frame: Frame, style: Style) -> tuple[BoolArray, IntArray]:
    """Lines of one character each; (where any is, whose it is)."""
    shape = (plot.height, plot.width, 2)
    places = [np.floor(np.round(frame.rows_of(curve.line, 4)) / 4) for curve in frame.curves]
    touched, owner = _by_turns(np.stack([stroke(rows, plot.height).reshape(shape).any(axis=2) for rows in places]))
    markers = style.glyphs.markers
    plot.glyph[touched] = np.array([markers[i % len(markers)] for i in range(len(places))], "<U1")[owner[touched]]
    return touched, owner


def _by_turns(here: BoolArray) -> tuple[BoolArray, IntArray]:
    """(where any line is, whose the cell is), from where each line is: shape (lines, height, width).

    Lines that share cells have them by turns along the row, some columns each, so that each is seen wherever it runs.
    """
    touched: BoolArray = np.logical_or.reduce(here, axis=0)
    owner: IntArray = np.argmax(here, axis=0)
    if len(here) > 1:
        rows, columns = np.nonzero(here.sum(axis=0, dtype=np.uint8) > 1)
        shared = here[:, rows, columns]
        rank = shared.cumsum(axis=0, dtype=np.int64)
        turn = columns // (_TURN if here.shape[2] > 4 * _TURN else 1) % np.maximum(rank[-1], 1) + 1
        owner[rows, columns] = (shared & (rank == turn)).argmax(axis=0)
    return touched, owner


def _points(frame: Frame, raw: RawLine) -> BoolArray:
    """The lowest and the highest point of each pixel column, and what lies between; shape (4 * height, columns)."""
    rows = np.arange(4 * frame.height)[:, None]
    top, bottom = (np.round(frame.rows_of(values, 4)) for values in (raw.high, raw.low))
    with np.errstate(invalid="ignore"):
        return np.asarray((rows >= top) & (rows <= bottom))


def paint_raw(plot: Picture, frame: Frame, style: Style) -> None:
    """Where there are few points: the points themselves as a quiet line, so that smoothing does not hide them.

    Call it after `paint_lines`, which draws their dots in the cells that a smoothed line runs through.
    """
    drawn = [index for index in banded(frame) if frame.curves[index].raw is not None]
    if not style.glyphs.braille or not drawn:
        return
    raws = [raw for index in drawn if (raw := frame.curves[index].raw) is not None]
    codes = np.stack([
        braille_codes(stroke(frame.rows_of(raw.last, 4), 4 * plot.height) | _points(frame, raw)) for raw in raws
    ])  # fmt: skip
    touched, owner = _by_turns((codes > 0) & (plot.glyph == " "))
    plot.glyph[touched] = braille(np.take_along_axis(codes, owner[None], 0)[0])[touched]
    inks_of = np.array([dim_ink(ink_of(frame.data.lines[index])) for index in drawn], np.uint8)
    plot.ink[touched] = inks_of[owner[touched]]
