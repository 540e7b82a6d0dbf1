"""One chart on the full screen, with the values under the cursor and the facts of each line below it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widget import Widget

from critictui.monitor.snapshot import Snapshot
from critictui.tui import keys, words
from critictui.tui.chart.widget import Chart
from critictui.tui.panels import MAIN, Panel, spec_panel, tag_panel
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import elided, lines, plain
from critictui.tui.widgets.words import Words


class ChartScreen(RunScreen):
    """A main panel by its title, or any tag."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.CHART]
    AUTO_FOCUS = "#full"

    def __init__(self, key: str, step: int | None = None) -> None:
        """`step` puts the cursor there."""
        super().__init__()
        self.key = key
        self._step = step
        self._panel: Panel | None = None

    def compose_body(self) -> ComposeResult:
        """The chart and its figures."""
        app = self.shell
        view = app.view if self._step is None else app.view.with_cursor(self._step)
        yield Chart(view=view, ascii=app.glyphs.ascii, mono=app.no_color, id="full", classes="panel")
        yield Words(id="figures")

    def show(self, snapshot: Snapshot) -> None:
        """The same panel of the newest snapshot."""
        self._panel = panel_for(snapshot, self.key)
        if self._panel is not None:
            self.query_one("#full", Chart).set_data(self._panel.data)
            room = 6 if self.size.height >= 24 else 2 if self.size.height >= 12 else 0
            more = self.shell.glyphs.more
            self.query_one("#figures", Words).say(figures(self._panel, room, self.size.width - 2, more))

    def help_for(self, widget: Widget | None) -> str:
        """What is on the chart, then how charts are read."""
        said = super().help_for(widget)
        return f"{self._panel.help}\n\n{said}" if self._panel is not None else said

    def action_pin(self) -> None:
        """The tags of this chart onto the dashboard, or off it."""
        if self._panel is None or self.key in {spec.title for spec in MAIN}:
            self.shell.say("the main panels are on the dashboard already")
            return
        self.shell.toggle_pin(self.key)

    def action_neighbour(self, by: int) -> None:
        """The next chart: the main panels first, then every tag in order."""
        snapshot = self.shell.snapshot
        main = snapshot.main if snapshot is not None else None
        if snapshot is None or main is None:
            return
        order = [s.title for s in MAIN if any(main.run.metric(m) for m, _, _ in s.metrics)] + sorted(main.run.series)
        place = order.index(self.key) if self.key in order else 0
        self.key = order[(place + by) % len(order)]
        self.renew()


def panel_for(snapshot: Snapshot, key: str) -> Panel | None:
    """A main panel by its title, or a tag; None while the run has neither."""
    main = snapshot.main
    if main is None:
        return None
    for spec in MAIN:
        if spec.title == key:
            return spec_panel(snapshot, spec)
    return tag_panel(snapshot, key)


def figures(panel: Panel, room: int, width: int, more: str) -> Content:
    """A line for each line of the chart: newest value, best, bounds, points, and where it was read."""
    rows = []
    for line in panel.data.lines[:room]:
        series = line.series
        last = series.last()
        if last is None:
            continue
        bounds = series.pyramid.bounds(series.value)
        span = f"{words.number(bounds[0])} to {words.number(bounds[1])}" if bounds else "no finite value"
        kept = f", {series.superseded} superseded" if series.superseded else ""
        where = elided(series.source, 40, more)
        text = (
            f"{line.label}: {words.number(last[1], 4)} at step {last[0]}; {span}; "
            f"{words.count(len(series), 'point')}{kept}; {series.tag} from {where} ({series.kind})"
        )
        rows.append(plain(text).truncate(max(width, 1)))
    return lines(rows)
