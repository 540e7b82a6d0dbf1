"""One chart on the full screen, with the values under the cursor and the facts of each line below it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widget import Widget

from critictui.monitor.snapshot import Snapshot
from critictui.run.panels import MAIN
from critictui.tui import keys, words
from critictui.tui.chart.model import ChartData, Line
from critictui.tui.chart.names import long_names
from critictui.tui.chart.reading import value_text
from critictui.tui.chart.widget import Chart
from critictui.tui.glyphs import Glyphs
from critictui.tui.panels import Panel, spec_panel, tag_panel
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import EMPTY, elided, lines, plain
from critictui.tui.widgets.words import Words

_MOST_SEAMS = 4
"""Of the newest, named below the chart."""


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
            chart = self.query_one("#full", Chart)
            chart.set_data(self._panel.data)
            room = 7 if self.size.height >= 24 else 2 if self.size.height >= 12 else 0
            said = figures(self._panel, chart.swatches(), self.shell.glyphs)
            width = max(self.size.width - 2, 1)
            self.query_one("#figures", Words).say(lines([line.truncate(width, ellipsis=True) for line in said[:room]]))

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


def figures(panel: Panel, swatches: list[Content], glyphs: Glyphs) -> list[Content]:
    """What the lines across stand for, then of each curve newest value, best, bounds, points, and where it was read."""
    data = panel.data
    names = long_names(data)
    said = [marks_words(data, glyphs)]
    for index, line in enumerate((*data.lines, *data.asides)):
        series = line.series
        last = series.last()
        if last is None:
            continue
        bounds = series.pyramid.bounds(series.value)
        span = " to ".join(value_text(line, bound) for bound in bounds) if bounds else "no finite value"
        best = best_words(line)
        kept = f", {series.superseded} superseded" if series.superseded else ""
        where = elided(series.source, 40, glyphs.more)
        key = swatches[index] if index < len(swatches) else plain("not drawn:", "$foreground-muted")
        name = names[index]
        if len(data.runs) > 1:
            name = f"{name[:1]} {data.runs[line.run]}{name[1:]}"
        text = (
            f" {name}: {value_text(line, last[1], 4)} at step {last[0]}; {best}{span}; "
            f"{words.count(len(series), 'point')}{kept}; {series.tag} from {where} ({series.kind})"
        )
        said.append(key + plain(text))
    return [line for line in said if line]


def best_words(line: Line) -> str:
    """The best point of a line that has a good direction."""
    value = line.series.value
    if line.best is None or not np.isfinite(value).any():
        return ""
    index = int(np.nanargmax(np.where(np.isfinite(value), value, np.nan) * (1 if line.best == "high" else -1)))
    return f"best {value_text(line, float(value[index]), 4)} at step {int(line.series.step[index])}; "


def marks_words(data: ChartData, glyphs: Glyphs) -> Content:
    """The reference lines and seams by name, and their place."""
    found = []
    for reference in data.references if data.lines else ():
        style = "$text-warning" if reference.kind == "threshold" else "$foreground-muted"
        value = value_text(data.lines[0], reference.value)
        found.append(plain(f"{reference.label or reference.kind} {value}", style))
    found += [plain(f"{seam.label} from step {seam.step}", "$foreground-muted") for seam in data.seams[-_MOST_SEAMS:]]
    return plain(f" {glyphs.dot} ", "$foreground-muted").join(found) if found else EMPTY
