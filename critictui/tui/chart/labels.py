"""The words inside a plot: whose line ends here, what a line across stands for, how far the values beyond go.

Each is written where nothing is that says more, or not at all: the full screen has them all below the chart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from critictui.tui.chart import picture as inks
from critictui.tui.chart.frame import Frame
from critictui.tui.chart.layers import BoolArray, Style
from critictui.tui.chart.marks import seam_columns
from critictui.tui.chart.names import end_names
from critictui.tui.chart.picture import Picture, has_dots, ink_of, is_line, paper_ink
from critictui.tui.chart.safe import cells
from critictui.tui.words import number

_LABELLED_FROM = 30
"""Plot width from which seams and reference lines say what they are."""
_COLUMNS_A_SEAM = 16
"""With more epochs than one in so many columns their names would be all that one sees."""


def paint_labels(plot: Picture, frame: Frame, style: Style) -> None:
    """All of them, what matters most first; none lies over another."""
    taken = np.zeros(plot.glyph.shape, bool)
    _ends(plot, frame, style, taken)
    _beyond(plot, frame, style, taken)
    if plot.width >= _LABELLED_FROM:
        _references(plot, frame, style, taken)
        _seams(plot, frame, style, taken)


def _ends(plot: Picture, frame: Frame, style: Style, taken: BoolArray) -> None:
    """The letter of each line behind its last point, or as near as there is room."""
    lines = frame.data.lines
    for line, curve, name in zip(lines, frame.curves, end_names(frame.data, mono=style.mono), strict=True):
        held = np.flatnonzero(np.isfinite(curve.line))
        row = frame.row_of(float(curve.line[held[-1]])) if len(held) and name else None
        if row is None:
            continue
        column = min(int(held[-1]) // 2 + 1, plot.width - len(name))
        around = [(r, c) for c in (0, len(name), -len(name)) for r in (0, -1, 1, -2, 2)]
        for down, across in sorted(around, key=lambda place: abs(place[0]) + abs(place[1])):
            at, first = row + down, column + across
            here = slice(max(first, 0), first + len(name))
            if 0 <= at < plot.height and 0 <= first <= plot.width - len(name) and not taken[at, here].any():
                plot.write(at, first, name, ink_of(line))
                taken[at, here] = True
                break


def _beyond(plot: Picture, frame: Frame, style: Style, taken: BoolArray) -> None:
    """How many points lie beyond the edge, and how far they go, beside their arrows."""
    found = frame.outliers
    if found is None:
        return
    sides = (
        (0, found.above, found.highest, "up to", style.glyphs.above),
        (plot.height - 1, found.below, found.lowest, "down to", style.glyphs.below),
    )
    for row, count, furthest, words, glyph in sides:
        if not count:
            continue
        text = number(furthest) if count == 1 else f"{count} {words} {number(furthest)}"
        arrows = np.flatnonzero(plot.glyph[row] == glyph)
        beside = [int(arrows[-1]) + 2, int(arrows[0]) - 1 - len(text)] if len(arrows) else []
        if not _write(plot, taken, row, beside, (text, inks.CLIPPED), over=True):
            text = f"{glyph} {text}"
            _write(plot, taken, row, range(plot.width - len(text)), (text, inks.CLIPPED), over=True)


def _references(plot: Picture, frame: Frame, style: Style, taken: BoolArray) -> None:
    """What a reference line stands for, on it or next to it, as far to the right as may be."""
    rows = {frame.row_of(reference.value) for reference in frame.data.references}
    for reference in frame.data.references:
        row = frame.row_of(reference.value)
        text = f" {cells(reference.label, ascii_only=not style.glyphs.braille)} " if reference.label else ""
        if row is None or not text or len(text) > plot.width // 2:
            continue
        ink = inks.THRESHOLD if reference.kind == "threshold" else inks.REFERENCE
        places = range(plot.width - len(text), -1, -1)
        for near in (row, *(r for r in (row - 1, row + 1) if r not in rows and 0 <= r < plot.height)):
            if _write(plot, taken, near, places, (text, ink), over=True):
                break


def _seams(plot: Picture, frame: Frame, style: Style, taken: BoolArray) -> None:
    """What begins at a seam, beside it: on the top row, else on the bottom one, else between."""
    seams = seam_columns(plot, frame)
    crowded = len(seams) > plot.width // _COLUMNS_A_SEAM
    order = sorted(range(plot.height), key=lambda row: (min(row, plot.height - 1 - row), row))
    for column, restart, label in seams:
        text = cells(label, ascii_only=not style.glyphs.braille)
        if not text or len(text) > plot.width // 3 or (crowded and not restart):
            continue
        for row in order:
            if _write(plot, taken, row, (column + 1, column - len(text)), (text, inks.SEAM)):
                break


def _write(
    plot: Picture, taken: BoolArray, row: int, places: Sequence[int], words: tuple[str, int], *, over: bool = False
) -> bool:
    """Write text in an ink at the first of the columns where it covers no curve, mark or other text.

    `over`: where that is nowhere, over the quiet dots of bands and points.
    """
    text, ink = words
    here = plot.ink[row]
    quiet = (np.isin(here, _QUIET) | (here >= paper_ink(0))) & ~taken[row]
    for free in (quiet, quiet | (has_dots(here) & ~is_line(here) & ~taken[row])) if over else (quiet,):
        for first in places:
            if 0 <= first <= plot.width - len(text) and free[first : first + len(text)].all():
                plot.write(row, first, text, ink)
                taken[row, first : first + len(text)] = True
                return True
    return False


_QUIET = (inks.BLANK, inks.GRID, inks.REFERENCE, inks.THRESHOLD)
