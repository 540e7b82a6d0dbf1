"""A small chart for the metrics grid: one line, no axes, a few rows, its name and last value in front."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.reactive import reactive
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget

from critictui.tui.chart import picture as inks
from critictui.tui.chart.frame import lay_out
from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.chart.layers import Style, banded, paint_bands, paint_lines, paint_raw
from critictui.tui.chart.marks import paint_warnings
from critictui.tui.chart.model import ChartData, Line, View
from critictui.tui.chart.palette import Palette, make_palette, strips
from critictui.tui.chart.picture import Picture, blank, ink_of
from critictui.tui.chart.reading import value_text
from critictui.tui.chart.safe import elided, shown
from critictui.tui.depth import depth_of
from critictui.tui.supervised import SupervisedWidget

_VALUE = 8
"""Cells for the last value."""


def mini_picture(line: Line | None, view: View, width: int, height: int, style: Style) -> Picture:
    """The curve alone, `width` x `height` cells: band and smoothed line, and marks for values that are not finite."""
    data = ChartData(lines=() if line is None else (line,))
    if height < 2:
        view = view.with_band(False)  # four dots of height: the line needs them all
    frame = lay_out(data, view, width, height, bare=True)
    if frame is None or line is None:
        return blank(width, height)
    picture = blank(width, height, tuple(ink_of(line) for _ in banded(frame)))
    paint_lines(picture, frame, style)
    paint_raw(picture, frame, style)
    paint_bands(picture, frame, style)
    paint_warnings(picture, frame, style)
    return picture


def mini_strips(line: Line | None, view: View, size: tuple[int, int], palette: Palette, style: Style) -> list[Strip]:
    """All rows of a small chart of `size` (width, height) in cells.

    From two rows on the first says name and last value; a single row is name, curve and value side by side.
    """
    width, height = size
    if height < 1 or width < 1:
        return []
    last = line.series.last() if line is not None else None
    value = value_text(line, last[1]) if line is not None and last is not None else "-"
    name = shown(line.label, ascii_only=not style.glyphs.braille) if line is not None else ""
    quiet = palette.style(inks.LABEL, 0, ())
    bright = palette.style(ink_of(line), 0, ()) if line is not None else quiet
    if height > 1:
        room = max(width - cell_len(value) - 1, 0)
        head = Strip(
            [*_padded(elided(name, room, style.glyphs.more), room, quiet), *_padded(f" {value}", width - room, bright)]
        )
        return [head.adjust_cell_length(width), *strips(mini_picture(line, view, width, height - 1, style), palette)]
    named = min(max(width * 2 // 5, 0), 40)
    curve = max(width - named - _VALUE - 2, 0)
    row = [*_padded(elided(name, named, style.glyphs.more), named + 1, quiet)]
    for strip in strips(mini_picture(line, view, curve, 1, style), palette):
        row.extend(strip)
    row += _padded(value.rjust(_VALUE + 1), _VALUE + 1, bright)
    return [Strip(row).adjust_cell_length(width)]


def _padded(text: str, width: int, style: RichStyle) -> list[Segment]:
    return [Segment(text + " " * max(width - cell_len(text), 0), style)]


class MiniChart(SupervisedWidget, Widget, can_focus=True):
    """One metric in the grid. The first row says name and last value, the rest is the curve; one row works too.

    Nothing is computed for one that is not on the screen.
    """

    view: reactive[View] = reactive(View(smoothing=0.9))
    ascii: reactive[bool] = reactive(False)
    mono: reactive[bool] = reactive(False)

    def __init__(
        self,
        line: Line | None = None,
        *,
        view: View | None = None,
        ascii: bool = False,  # noqa: A002 - the name the configuration has for it
        mono: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._line = line
        self._strips: list[Strip] | None = None
        self._palette: Palette | None = None
        self.set_reactive(MiniChart.view, view if view is not None else View())
        self.set_reactive(MiniChart.ascii, ascii)
        self.set_reactive(MiniChart.mono, mono)

    @property
    def line(self) -> Line | None:
        """What is shown now."""
        return self._line

    def set_line(self, line: Line | None) -> None:
        """Show this; an equal line costs nothing."""
        if line != self._line:
            self._line = line
            self._changed()

    def render_line(self, y: int) -> Strip:
        """Row `y`."""
        if self._strips is None:
            if self._palette is None:
                self._palette = make_palette(
                    self.app.theme_variables,
                    self.background_colors[1],
                    mono=self.mono,
                    ansi=self.app.native_ansi_color,
                    depth=depth_of(self.app.console),
                )
            tint = not (self.ascii or self.mono or self._palette.ansi)
            style = Style(ASCII if self.ascii else UNICODE, tint, self.mono)
            self._strips = mini_strips(self._line, self.view, self.size, self._palette, style)
        return self._strips[y] if 0 <= y < len(self._strips) else Strip.blank(self.size.width)

    def on_mount(self) -> None:
        """Colours come from the theme, now and whenever it changes."""
        self.app.theme_changed_signal.subscribe(self, self._on_theme)

    def on_unmount(self) -> None:
        """A signal holds whom it calls, and with it the whole screen."""
        self.app.theme_changed_signal.unsubscribe(self)

    def on_resize(self) -> None:
        """Another size is another picture."""
        self._strips = None

    def _on_theme(self, _: Theme) -> None:
        self._palette = None
        self._changed()

    def notify_style_update(self) -> None:
        """The background may be another one now."""
        super().notify_style_update()
        self._palette = None
        self._strips = None

    def _changed(self) -> None:
        self._strips = None
        self.refresh()

    def watch_view(self) -> None:
        """Another view is another picture."""
        self._changed()

    def watch_ascii(self) -> None:
        """Other characters are another picture."""
        self._changed()

    def watch_mono(self) -> None:
        """No colours are another picture."""
        self._palette = None
        self._changed()
