"""The chart as a Textual widget: set data and a view, get strips; posts what the user did with keys and mouse."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from critictui.tui.chart.model import ChartData, View


class Chart(Widget, can_focus=True):
    """One panel: lines with bands, axes, marks; the title and the last values are in the border.

    Give it a border in CSS. Charts never synchronise by themselves: on `ViewChanged` or `CursorMoved` the app sets
    the message's view (or step) on every chart it wants in step, `chart.view = message.view`.
    """

    HELP = "Chart"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cursor(-1)", "Cursor", id="chart.cursor-left", show=False),
        Binding("right", "cursor(1)", "Cursor", id="chart.cursor-right", show=False),
        Binding("home", "cursor_end(-1)", "First point", id="chart.cursor-first", show=False),
        Binding("end", "cursor_end(1)", "Last point", id="chart.cursor-last", show=False),
        Binding("escape", "drop_cursor", "Drop cursor", id="chart.cursor-drop", show=False),
        Binding("shift+left", "pan(-0.25)", "Pan", id="chart.pan-left", show=False),
        Binding("shift+right", "pan(0.25)", "Pan", id="chart.pan-right", show=False),
        Binding("plus,equals_sign", "zoom(2)", "Zoom", id="chart.zoom-in", show=False),
        Binding("minus", "zoom(0.5)", "Zoom out", id="chart.zoom-out", show=False),
        Binding("0", "fit", "Fit", id="chart.fit", show=False),
        Binding("s", "smooth(1)", "Smooth", id="chart.smoother"),
        Binding("S", "smooth(-1)", "Rougher", id="chart.rougher", show=False),
        Binding("y", "toggle_log", "Log y", id="chart.log-y", show=False),
        Binding("o", "toggle_robust", "Outliers", id="chart.outliers", show=False),
        Binding("t", "next_x_mode", "Time axis", id="chart.x-axis", show=False),
        Binding("b", "toggle_band", "Band", id="chart.band", show=False),
    ]

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
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Row `y` of the panel."""
        if y == self.size.height // 2 and not self._data.lines:
            return Strip.blank(self.size.width)
        return Strip.blank(self.size.width)
