"""The chart as a Textual widget: set data and a view, get strips; posts what the user did with keys and mouse."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget

from critictui.tui.chart.captions import Look, subtitle, swatch, title
from critictui.tui.chart.draw import Drawing, draw, with_cursor
from critictui.tui.chart.frame import Frame, extent
from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.chart.keys import HELP, KEYS
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import ChartData, View
from critictui.tui.chart.palette import Palette, make_palette, strips
from critictui.tui.chart.picture import Picture
from critictui.tui.chart.reading import moved, snapped
from critictui.tui.depth import depth_of
from critictui.tui.supervised import SupervisedWidget


class Chart(SupervisedWidget, Widget, can_focus=True):
    """One panel: lines with bands, axes, marks; the title and the last values are in the border.

    Give it a border in CSS. Charts never synchronise by themselves: on `ViewChanged` or `CursorMoved` the app sets
    the message's view (or step) on every chart it wants in step, `chart.view = message.view`.
    """

    HELP = HELP

    DEFAULT_CSS = """
    Chart {
        border: round $border-blurred;
        border-title-color: $foreground;
        border-title-background: transparent;
        border-subtitle-color: $foreground;
        border-subtitle-align: right;
        border-title-style: none;
        &:focus { border: round $border; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = KEYS

    view: reactive[View] = reactive(View())
    """How the data is looked at; the same object may be set on many charts."""
    ascii: reactive[bool] = reactive(False)
    """Nothing but ASCII is drawn."""
    mono: reactive[bool] = reactive(False)
    """Lines are told apart by shape and letter alone (NO_COLOR)."""

    class ViewChanged(Message):
        """The user zoomed, panned, smoothed or switched an axis on this chart; it already has the new view."""

        def __init__(self, chart: Chart, view: View) -> None:
            self.chart = chart
            self.view = view
            super().__init__()

        @property
        def control(self) -> Chart:
            """The chart it happened on."""
            return self.chart

    class CursorMoved(Message):
        """The cursor of this chart stands at another step (None: it was dropped); it already shows it."""

        def __init__(self, chart: Chart, step: int | None) -> None:
            self.chart = chart
            self.step = step
            super().__init__()

        @property
        def control(self) -> Chart:
            """The chart it happened on."""
            return self.chart

    def __init__(
        self,
        data: ChartData | None = None,
        *,
        view: View | None = None,
        ascii: bool = False,  # noqa: A002 - the name the configuration has for it
        mono: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._data = data if data is not None else ChartData()
        self._base: Drawing | None = None
        self._picture: Picture | None = None
        self._strips: list[Strip] | None = None
        self._palette: Palette | None = None
        self._restyled = False
        self._captions: tuple[Content, Content] | None = None
        self._only: tuple[Region, ...] | None = None
        self.set_reactive(Chart.view, view if view is not None else View())
        self.set_reactive(Chart.ascii, ascii)
        self.set_reactive(Chart.mono, mono)

    @property
    def data(self) -> ChartData:
        """What is shown now."""
        return self._data

    def set_data(self, data: ChartData) -> None:
        """Show this. Equal data costs nothing; of changed data only the rows that look different are repainted."""
        if data == self._data:
            return
        self._data = data
        self._base = None
        self._changed()

    def extent(self) -> tuple[float, float] | None:
        """The x bounds of all data in the unit of the view's x axis, or None while there is nothing."""
        return extent(self._data, self.view)

    def render_line(self, y: int) -> Strip:
        """Row `y` of the panel."""
        rows = self._rows()
        return rows[y] if 0 <= y < len(rows) else Strip.blank(self.size.width)

    def on_mount(self) -> None:
        """Colours come from the theme, now and whenever it changes."""
        self.app.theme_changed_signal.subscribe(self, self._on_theme)

    def on_unmount(self) -> None:
        """A signal holds whom it calls, and with it the whole screen."""
        self.app.theme_changed_signal.unsubscribe(self)

    def on_resize(self) -> None:
        """Another size is another picture."""
        self._forget()
        self._caption()
        self.refresh()  # a frame may have been painted at the new size from the old picture

    def _on_theme(self, _: Theme) -> None:
        self._restyled = True
        self._caption()
        self.refresh()

    def notify_style_update(self) -> None:
        """The background may be another one now."""
        super().notify_style_update()
        self._restyled = True

    def watch_view(self, old: View, new: View) -> None:
        """Only what depends on the changed part is drawn anew: a cursor costs no layout."""
        if replace(old, cursor_step=None) != replace(new, cursor_step=None):
            self._base = None
        self._changed()

    def watch_ascii(self) -> None:
        """Other characters are another picture."""
        self._base = None
        self._changed()

    def watch_mono(self) -> None:
        """No colours are another picture."""
        self._restyled = True
        self._base = None
        self._changed()

    def _forget(self) -> None:
        self._base = self._picture = self._strips = None

    def _colours(self) -> Palette:
        """The palette of the moment; the same object for as long as it holds the same colours."""
        if self._palette is None or self._restyled:
            app = self.app
            made = make_palette(
                app.theme_variables,
                self.background_colors[1],
                mono=self.mono,
                ansi=app.native_ansi_color,
                depth=depth_of(app.console),
            )
            if self._palette is None or not made.same(self._palette):
                if self._palette is not None and made.ansi != self._palette.ansi:
                    self._base = None
                self._palette, self._strips = made, None
            self._restyled = False
        return self._palette

    def _style(self) -> Style:
        palette = self._colours()
        return Style(ASCII if self.ascii else UNICODE, not (self.ascii or palette.mono or palette.ansi), palette.mono)

    def _look_of(self) -> Look:
        return Look(self._colours(), ASCII if self.ascii else UNICODE, self.styles.border_top[1])

    def swatches(self) -> list[Content]:
        """A piece of each line as it is drawn, in the order of the data."""
        return [swatch(self._data, index, self._look_of()) for index in range(len(self._data.lines))]

    def _rows(self) -> list[Strip]:
        palette = self._colours()
        if self._strips is None:
            self._picture = self._drawn()
            self._strips = strips(self._picture, palette)
        return self._strips

    def _drawn(self) -> Picture:
        style, view = self._style(), self.view
        if self._base is None:
            self._base = draw(self._data, view, *self.size, style)
        return with_cursor(self._base, view.cursor_step, style)

    def _changed(self) -> None:
        """Draw anew and repaint the rows that look different; nothing while there is no place on the screen."""
        if not self.is_mounted or not self.size:
            self._forget()
            return
        palette = self._colours()
        before = self._picture if self._strips is not None else None
        self._picture = picture = self._drawn()
        self._strips = strips(picture, palette)
        rows = picture.differs(before)
        self._caption()
        if rows:
            self.refresh(*(Region(first, row, last + 1 - first, 1) for row, first, last in rows))

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """As every widget's, but a border text that is set repaints its own row alone."""
        if self._only is not None and not regions:
            regions = self._only
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _caption(self) -> None:
        """Title and values in the border; set only when they say something else than before."""
        if not self.is_mounted or not self.size:
            return
        look, width = self._look_of(), self.size.width - 4
        captions = (
            title(self._data, self.view, width, look),
            subtitle(self._data, self.frame, self.view, width, look),
        )
        before, self._captions = self._captions, captions
        width, height = self.size.width, self.size.height
        try:
            if before is None or not captions[0].is_same(before[0]):
                self._only = (Region(-1, -1, width + 2, 1),)
                self.border_title = captions[0]
            if before is None or not captions[1].is_same(before[1]):
                self._only = (Region(-1, height, width + 2, 1),)
                self.border_subtitle = captions[1]
        finally:
            self._only = None

    def _look(self, view: View) -> None:
        if view == self.view:
            return
        moved_only = replace(view, cursor_step=None) == replace(self.view, cursor_step=None)
        self.view = view
        if moved_only:
            self.post_message(self.CursorMoved(self, view.cursor_step))
        else:
            self.post_message(self.ViewChanged(self, view))

    @property
    def frame(self) -> Frame | None:
        """The geometry of what is on the screen; None while there is nothing to draw."""
        self._rows()
        return self._base.frame if self._base is not None else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is ours only while there is a cursor."""
        del parameters
        return action != "drop_cursor" or self.view.cursor_step is not None

    def action_cursor(self, columns: int) -> None:
        """Move the cursor by columns, to a point at least."""
        if (frame := self.frame) is not None:
            self._look(self._visible(self.view.with_cursor(moved(frame, self.view.cursor_step, columns))))

    def action_point(self, by: int) -> None:
        """Move the cursor by points, however many share a column."""
        if (frame := self.frame) is not None:
            self._look(self._visible(self.view.with_cursor(moved(frame, self.view.cursor_step, 0, by))))

    def action_cursor_end(self, side: int) -> None:
        """The cursor on the first or the last visible point."""
        if (frame := self.frame) is not None:
            self._look(self.view.with_cursor(snapped(frame, frame.extent[0 if side < 0 else 1])))

    def action_drop_cursor(self) -> None:
        """No cursor."""
        self._look(self.view.with_cursor(None))

    def action_zoom(self, factor: float) -> None:
        """Closer around the cursor, or around the newest point."""
        frame, full = self.frame, self.extent()
        if frame is None or full is None:
            return
        step = self.view.cursor_step
        self._look(self.view.zoomed(factor, full, frame.x_of_step(step) if step is not None else frame.extent[1]))

    def action_pan(self, share: float) -> None:
        """Sideways by a share of the width."""
        if (full := self.extent()) is not None:
            self._look(self.view.panned(share, full))

    def action_fit(self) -> None:
        """All data again."""
        self._look(self.view.fitted())

    def action_smooth(self, direction: int) -> None:
        """A larger or a smaller smoothing factor."""
        self._look(self.view.smoother() if direction > 0 else self.view.rougher())

    def action_toggle_log(self) -> None:
        """Logarithmic y or not."""
        self._look(self.view.with_log(not self.view.log_y))

    def action_toggle_whole(self) -> None:
        """Every point in the y range, or all but a few far ones."""
        self._look(self.view.with_whole(not self.view.whole_y))

    def action_next_x_mode(self) -> None:
        """Step, relative time, wall clock."""
        self._look(self.view.next_x_mode())

    def action_toggle_band(self) -> None:
        """The band shown or not."""
        self._look(self.view.with_band(not self.view.show_band))

    def _visible(self, view: View) -> View:
        """A view whose range follows the cursor out of the picture."""
        full, frame = self.extent(), self.frame
        if view.x_range is None or view.cursor_step is None or full is None or frame is None:
            return view
        x, (low, high) = frame.x_of_step(view.cursor_step), view.x_range
        if low <= x <= high:
            return view
        share = (x - (high if x > high else low)) / (high - low)
        return view.panned(share, full)

    def on_click(self, event: events.Click) -> None:
        """The cursor where the mouse clicked; a double click shows all data again."""
        frame = self.frame
        if frame is None:
            return
        if event.chain == 2:
            self.action_fit()
            return
        offset = event.get_content_offset(self)
        if offset is not None and offset.x >= frame.left:
            self._look(self.view.with_cursor(snapped(frame, frame.x_at(offset.x - frame.left))))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Ctrl and the wheel: closer around the mouse. The bare wheel is left to scroll the page."""
        self._wheel(event, 1.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Ctrl and the wheel: further away."""
        self._wheel(event, 1 / 1.5)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        frame, full = self.frame, self.extent()
        if not event.ctrl or frame is None or full is None:
            return
        event.stop()
        self._look(self.view.zoomed(factor, full, frame.x_at(event.x - self.gutter.left - frame.left)))
