"""The colours of a theme go in, what an ink on a paper looks like comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color, ColorParseError
from textual.strip import Strip

from critictui.tui.chart import picture as inks
from critictui.tui.chart.picture import BANDS, PAPER_CURSOR, ROLES, SHADES, Picture, meaning
from critictui.tui.depth import Depth, contrast, fixed, nearest_seen

CHART_COLOURS: Final[Mapping[str, str]] = MappingProxyType({
    "chart-teacher": "#56b4e9",
    "chart-student": "#e69f00",
    "chart-train": "#2fc18c",
    "chart-fixed": "#f0e442",
    "chart-main": "#56b4e9",
    "chart-second": "#e69f00",
    "chart-third": "#2fc18c",
    "chart-fourth": "#d98cb8",
    "chart-fifth": "#f0e442",
    "chart-sixth": "#f07c45",
    "chart-band": "17%",
    "chart-label": "#8b98a5",
    "chart-grid": "#2b343d",
    "chart-reference": "#8b98a5",
    "chart-threshold": "#f07c45",
    "chart-seam": "#6c7a89",
    "chart-cursor": "#e6edf3",
    "chart-bad": "#ff6e5e",
    "chart-clipped": "#8b98a5",
    "chart-info": "#7fb2d9",
    "chart-warning": "#f0c541",
    "chart-critical": "#ff6e5e",
})  # fmt: skip
"""Every chart variable of a theme, with the value that stands in where a theme has none."""

_MARKS: Final = {
    inks.BLANK: "chart-label",
    inks.LABEL: "chart-label",
    inks.GRID: "chart-grid",
    inks.REFERENCE: "chart-reference",
    inks.THRESHOLD: "chart-threshold",
    inks.SEAM: "chart-seam",
    inks.CURSOR: "chart-cursor",
    inks.BAD: "chart-bad",
    inks.CLIPPED: "chart-clipped",
    inks.WAITING: "chart-label",
    inks.INFO: "chart-info",
    inks.WARNING: "chart-warning",
    inks.CRITICAL: "chart-critical",
    inks.READING: "chart-cursor",
}
_SEEN: Final = (1.12, 0.16)
"""Contrast to the background from which a band is seen where colours are fixed, and how much more each layer needs."""
_LOUD: Final = 2.1
"""Contrast from which a band is no longer quiet."""
_READABLE: Final = 3.0
"""Contrast that a line needs on its band: WCAG 2.1, 1.4.11."""
_SHADES: Final = (0.0, 0.45, 0.27, 0.6)
"""How far the lines of runs laid over the first are blended: to the foreground, the background, the foreground."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours, and a cache of what was mixed from them. One a theme and background."""

    colours: Mapping[str, Color]
    """By variable, without `chart-`; chart-band is no colour and not among them."""
    background: Color
    band: float
    """Share of a line's colour in its band."""
    mono: bool = False
    ansi: bool = False
    """The terminal's own 16 colours, which cannot be mixed."""
    fixed: bool = False
    """A terminal of 256 colours: what is mixed becomes the nearest of them that is seen, and stays quiet."""
    _styles: dict[tuple[int, int, tuple[int, ...]], RichStyle] = field(default_factory=dict)

    def same(self, other: Palette) -> bool:
        """Whether everything looks the same in both."""
        mine = (self.background, self.band, self.mono, self.ansi, self.fixed)
        theirs = (other.background, other.band, other.mono, other.ansi, other.fixed)
        return mine == theirs and self.colours == other.colours

    def style(self, ink: int, paper: int, bands: tuple[int, ...]) -> RichStyle:
        """What an ink on a paper looks like; `bands` are the inks whose bands the paper's bits stand for."""
        key = (ink, paper, bands)
        found = self._styles.get(key)
        if found is None:
            found = self._styles[key] = self._mixed(ink, paper, bands)
        return found

    def line_colour(self, ink: int) -> Color:
        """The bright colour of a line."""
        role, shade = divmod(meaning(ink)[1], SHADES)
        colour = self.colours[ROLES[role]]
        if self.ansi or not shade:
            return colour
        other = self.background if shade == 2 else self.colours["cursor"]
        return self._kept(colour.blend(other, _SHADES[shade], alpha=1))

    def _kept(self, colour: Color) -> Color:
        return fixed(colour) if self.fixed else colour

    def paper_colour(self, paper: int, bands: tuple[int, ...]) -> Color:
        """The background, tinted by the bands that lie over each other and by the cursor."""
        covering = [ink for bit, ink in enumerate(bands[:BANDS]) if paper >> bit & 1]
        colour = self.background
        for number, ink in enumerate(covering):
            colour = colour.blend(self.line_colour(ink), self.band / (1 + 0.4 * number), alpha=1)
        if paper & PAPER_CURSOR:
            colour = colour.blend(self.colours["cursor"], 0.14, alpha=1)
        layers = len(covering) + bool(paper & PAPER_CURSOR)
        return self._quiet(colour, covering, layers) if self.fixed and layers else colour

    def _quiet(self, colour: Color, covering: list[int], layers: int) -> Color:
        """The fixed colour for so many layers on the background: seen, and a line is readable on its own band."""
        least, most = _SEEN[0] + _SEEN[1] * (layers - 1), _LOUD
        if layers == 1 and covering:
            readable = contrast(self.line_colour(covering[0]), self.background) / _READABLE
            most = min(most, max(readable, least + 0.06))
        return nearest_seen(colour, self.background, least, most)

    def _mixed(self, ink: int, paper: int, bands: tuple[int, ...]) -> RichStyle:
        kind, number = meaning(ink)
        if self.mono or self.ansi:
            return self._plain(ink, kind, paper)
        if kind == "paper":
            colour = self.paper_colour(number | (paper & PAPER_CURSOR), bands)
        elif kind == "line":
            colour = self.line_colour(ink)
        elif kind == "dim":
            colour = self._kept(self.background.blend(self.line_colour(inks.bright_ink(ink)), 0.4, alpha=1))
        else:
            colour = self.colours[_MARKS[ink].removeprefix("chart-")]
        back = self.paper_colour(paper, bands)
        if ink == inks.READING:
            return RichStyle.from_color(self.background.rich_color, colour.rich_color)
        return RichStyle(color=colour.rich_color, bgcolor=back.rich_color, bold=ink in _BOLD or None)

    def _plain(self, ink: int, kind: str, paper: int) -> RichStyle:
        """Without mixing: quiet things are dim, the cursor's column is not tinted."""
        quiet = kind == "dim" or ink in _QUIET
        loud = kind == "line" or ink in _BOLD
        colour = None
        if self.ansi and not self.mono:
            name = "grid" if kind == "dim" else _MARKS.get(ink, "chart-label").removeprefix("chart-")
            colour = (self.line_colour(ink) if kind == "line" else self.colours[name]).rich_color
        elif self.mono and not self.ansi:
            colour = self.colours["cursor"].rich_color
        del paper
        back = None if self.ansi else self.background.rich_color
        return RichStyle(color=colour, bgcolor=back, dim=quiet or None, bold=(loud and not quiet) or None,
                         reverse=ink == inks.READING or None)  # fmt: skip


_BOLD: Final = frozenset({inks.BAD, inks.WARNING, inks.CRITICAL})
_QUIET: Final = frozenset({inks.GRID, inks.LABEL, inks.REFERENCE, inks.SEAM, inks.CLIPPED, inks.WAITING})


def make_palette(
    variables: Mapping[str, str], background: Color, *, mono: bool = False, ansi: bool = False, depth: Depth = "full"
) -> Palette:
    """A palette from a theme's variables; a value that is missing or no colour gives way to `CHART_COLOURS`."""
    few = depth == "256" and not ansi
    colours = {}
    for name, standard in CHART_COLOURS.items():
        if name != "chart-band":
            colour = _colour(variables.get(name, standard), standard)
            colours[name.removeprefix("chart-")] = fixed(colour) if few else colour
    band = _share(variables.get("chart-band", ""))
    return Palette(MappingProxyType(colours), fixed(background) if few else background, band, mono, ansi, few)


def _colour(text: str, standard: str) -> Color:
    try:
        return Color.parse(text)
    except ColorParseError:
        return Color.parse(standard)


def _share(text: str) -> float:
    try:
        return min(max(float(text.strip().removesuffix("%")) / 100, 0.02), 0.6)
    except ValueError:
        return 0.17


def strips(picture: Picture, palette: Palette) -> list[Strip]:
    """One strip a row: runs of cells that look alike become one segment."""
    if not picture.width:
        return [Strip([], 0)] * picture.height
    changes = (picture.ink[:, 1:] != picture.ink[:, :-1]) | (picture.paper[:, 1:] != picture.paper[:, :-1])
    ink, paper, rows = picture.ink.tolist(), picture.paper.tolist(), picture.text()
    style, bands, width = palette.style, picture.bands, picture.width
    result = []
    for row, text in enumerate(rows):
        cuts = [0, *(changes[row].nonzero()[0] + 1).tolist(), width]
        segments = [Segment(text[a:b], style(ink[row][a], paper[row][a], bands)) for a, b in pairwise(cuts)]
        result.append(Strip(segments, width))
    return result
