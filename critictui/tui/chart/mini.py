"""A small chart for the metrics grid: one line, no axes, a few rows, its name and last value in front."""

from __future__ import annotations

from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from critictui.tui.chart.model import Line, View


class MiniChart(Widget, can_focus=True):
    """One metric in the grid. The first row says name and last value, the rest is the curve; one row works too."""

    view: reactive[View] = reactive(View())
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
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Row `y`."""
        return Strip.blank(self.size.width)
