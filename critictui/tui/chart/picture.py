"""Cells before they have colours: one character, one ink and one paper each, as arrays that are written by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from critictui.run.dtypes import FloatArray
from critictui.run.panels import Role
from critictui.tui.chart.model import Line

Glyph = NDArray[np.str_]
Bytes = NDArray[np.uint8]

ROLES: Final[tuple[Role, ...]] = (
    "teacher", "student", "train", "fixed", "main", "second", "third", "fourth", "fifth", "sixth",
)  # fmt: skip
SHADES: Final = 4
"""Shades of a colour: the run on the dashboard and three laid over it have their own, later ones share the last."""

BLANK, LABEL, GRID, REFERENCE, THRESHOLD, SEAM, CURSOR, BAD, CLIPPED, WAITING, INFO, WARNING, CRITICAL, READING = range(
    14
)
_LINES: Final = 32
_DIMS: Final = 72
_PAPERS: Final = 112

BANDS: Final = 3
"""Bands that mix their colours where they overlap; one bit of a paper each."""
PAPER_CURSOR: Final = 1 << BANDS


def line_ink(role: Role, shade: int) -> int:
    """The bright ink of a role, and of a shade of it."""
    return _LINES + ROLES.index(role) * SHADES + min(shade, SHADES - 1)


def ink_of(line: Line) -> int:
    """The bright ink of a line."""
    return line_ink(line.role, line.shade)


def dim_ink(ink: int) -> int:
    """The quiet ink of the line whose bright ink this is."""
    return ink + _DIMS - _LINES


def bright_ink(ink: int) -> int:
    """The bright ink of the line whose quiet ink this is."""
    return ink - _DIMS + _LINES


def is_line(ink: Bytes) -> NDArray[np.bool_]:
    """Where an ink is the bright one of a line."""
    return (ink >= _LINES) & (ink < _DIMS)


def has_dots(ink: Bytes) -> NDArray[np.bool_]:
    """Where an ink is a line's, bright or quiet."""
    return (ink >= _LINES) & (ink < _PAPERS)


def paper_ink(paper: int) -> int:
    """The ink that looks like a paper: for the part of a cell that a band covers."""
    return _PAPERS + paper


def meaning(ink: int) -> tuple[str, int]:
    """What an ink stands for: ('line', role and shade), ('dim', role and shade), ('paper', paper) or ('mark', ink)."""
    if ink >= _PAPERS:
        return "paper", ink - _PAPERS
    if ink >= _DIMS:
        return "dim", ink - _DIMS
    return ("line", ink - _LINES) if ink >= _LINES else ("mark", ink)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn panel without colours; the arrays have shape (height, width)."""

    glyph: Glyph
    ink: Bytes
    paper: Bytes
    bands: tuple[int, ...] = ()
    """The inks whose bands the bits of a paper stand for, lowest bit first."""

    @property
    def width(self) -> int:
        """Cells."""
        return int(self.glyph.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.glyph.shape[0])

    def text(self) -> list[str]:
        """The rows as plain text."""
        return ["".join(row) for row in self.glyph.tolist()]

    def copy(self) -> Picture:
        """One whose arrays may be written without changing this one."""
        return Picture(self.glyph.copy(), self.ink.copy(), self.paper.copy(), self.bands)

    def write(self, row: int, column: int, text: str, ink: int) -> None:
        """Text of single-cell characters at a place; what does not fit is cut off."""
        if not 0 <= row < self.height:
            return
        first = max(column, 0)
        part = text[first - column : max(self.width - column, 0)]
        if part:
            self.glyph[row, first : first + len(part)] = list(part)
            self.ink[row, first : first + len(part)] = ink

    def differs(self, other: Picture | None) -> list[tuple[int, int, int]]:
        """(row, first column, last column) of what does not look the same; all where the shape or the bands changed."""
        if other is None or other.glyph.shape != self.glyph.shape or other.bands != self.bands:
            return [(row, 0, self.width - 1) for row in range(self.height if self.width else 0)]
        changed = (self.glyph != other.glyph) | (self.ink != other.ink) | (self.paper != other.paper)
        found = []
        for row in np.flatnonzero(changed.any(axis=1)).tolist():
            columns = np.flatnonzero(changed[row])
            found.append((row, int(columns[0]), int(columns[-1])))
        return found


def blank(width: int, height: int, bands: tuple[int, ...] = ()) -> Picture:
    """An empty picture."""
    shape = (max(height, 0), max(width, 0))
    return Picture(np.full(shape, " ", "<U1"), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), bands)


_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Bit of each dot of a braille character, by row and column (Unicode chapter 21.1)."""
_BRAILLE = np.array([chr(0x2800 + code) for code in range(256)], "<U1")


def braille_codes(dots: NDArray[np.bool_]) -> Bytes:
    """Dots of shape (4 * height, 2 * width) to braille cells, shape (height, width); 0 where a cell is empty."""
    height, width = dots.shape[0] // 4, dots.shape[1] // 2
    cells = dots.reshape(height, 4, width, 2)
    return np.asarray(np.einsum("hrwc,rc->hw", cells.astype(np.uint8), _DOTS), np.uint8)


def braille(codes: Bytes) -> Glyph:
    """The characters of braille cells."""
    return _BRAILLE[codes]


def stroke(places: FloatArray, height: int, pattern: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    """A thin line through one place a column: places (pixels from the top, NaN for a gap) to dots (height, columns).

    Neighbours are joined by vertical runs that meet half way. `pattern` is lengths of on, off, on, off ... along
    the line, in dots; () is a solid line. What lies outside the height is cut off.
    """
    columns = len(places)
    dots = np.zeros((height, columns), bool)
    held = np.isfinite(places)
    if not height or not held.any():
        return dots
    at = np.zeros(columns, np.int64)
    at[held] = np.clip(np.round(places[held]), -1, height).astype(np.int64)
    joined = held[1:] & held[:-1]
    half = (at[1:] + at[:-1]) // 2
    step = np.sign(at[1:] - at[:-1])
    low, high = at.copy(), at.copy()
    left = np.where(joined, np.where(step < 0, half + 1, half), at[:-1])
    right = np.where(joined, np.where(step > 0, half + 1, half), at[1:])
    left = np.where(step == 0, at[:-1], left)
    right = np.where(step == 0, at[1:], right)
    low[:-1], high[:-1] = np.minimum(low[:-1], left), np.maximum(high[:-1], left)
    low[1:], high[1:] = np.minimum(low[1:], right), np.maximum(high[1:], right)
    low, high = low[held], high[held]
    lengths = high - low + 1
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
    rows = np.repeat(low, lengths) + within
    cols = np.repeat(np.flatnonzero(held), lengths)
    seen = (rows >= 0) & (rows < height)
    if pattern:
        seen &= np.repeat(np.array([i % 2 == 0 for i in range(len(pattern))]), pattern)[
            np.arange(len(rows)) % sum(pattern)
        ]
    dots[rows[seen], cols[seen]] = True
    return dots
