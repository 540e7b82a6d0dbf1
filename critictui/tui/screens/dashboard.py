"""The dashboard: the panels that matter, what is wrong in words, the checkpoints; laid out by the room there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run import metrics as names
from critictui.tui import keys, words
from critictui.tui.chart.widget import Chart
from critictui.tui.glyphs import Glyphs
from critictui.tui.nothing import nothing_to_draw
from critictui.tui.panels import Panel, dashboard_panels
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import joined, lines, plain, set_title
from critictui.tui.widgets.checkpoints import CheckpointPanel
from critictui.tui.widgets.header import STYLES, step_words, verdict_words, worst
from critictui.tui.widgets.health import HealthPanel
from critictui.tui.widgets.rows import Rows
from critictui.tui.widgets.words import Passage, Words


@dataclass(frozen=True, slots=True)
class Room:
    """What a terminal of some size has room for."""

    columns: int
    rows: int
    health: int
    """Lines of the health panel, its title included; 0 leaves it out."""
    checkpoints: int
    side_by_side: bool
    tiny: bool

    @property
    def panels(self) -> int:
        """Charts on one page."""
        return self.columns * self.rows


def room_for(width: int, height: int) -> Room:
    """From 80x24 on all four main panels, health and checkpoints; below 40x12 there is a status line.

    More room never shows fewer panels: what is below the charts grows only once they have theirs.
    """
    if width < 40 or height < 12:
        return Room(1, 1, 0, 0, side_by_side=False, tiny=True)
    columns = 3 if width >= 150 else 2 if width >= 64 else 1
    side_by_side = columns == 3
    larger, largest = (30, 44) if columns > 1 else (42, 47)
    if height < 18:
        health, checkpoints = 3, 0
    elif height < larger:
        health, checkpoints = 4, 3
    elif height < largest:
        health, checkpoints = 7, 5
    else:
        health, checkpoints = 10, 10 if side_by_side else 7
    lower = max(health, checkpoints) if side_by_side else health + checkpoints
    charts = height - 2 - lower
    rows = charts // _LEAST if columns == 1 else max(charts // _GOOD, min(charts // _LEAST, 2))
    return Room(columns, min(max(rows, 1), 4), health, checkpoints, side_by_side, tiny=False)


_LEAST, _GOOD = 7, 10
"""Lines of a chart that can be read, and of one that is well read; more than two rows of charts are for the latter."""


class Dashboard(RunScreen):
    """The first screen, and the one that Escape ends at."""

    CSS_PATH = None
    BINDINGS: ClassVar[list[BindingType]] = [*keys.VIEWS, *keys.DASHBOARD]
    FIRST_KEYS = ("run.evaluate", "run.diagnose", "run.explain", "run.scores")
    AUTO_FOCUS = "#chart-1"

    def __init__(self) -> None:
        super().__init__()
        self.room = room_for(80, 24)
        self.page = 0
        self.pages = 1
        self.panels: tuple[Panel, ...] = ()
        """The panels on this page, in the order of the charts."""
        self._bare = self._held = False
        """Nothing to draw yet; nothing but checkpoints."""

    def compose_body(self) -> ComposeResult:
        """Charts, health, checkpoints; and the status that stands for all of them on a tiny terminal."""
        yield Words(id="status")
        yield Passage(id="nothing")
        with Container(id="grid"):
            for number in range(1, 5):
                yield self._new_chart(number)
        with Container(id="lower"):
            yield HealthPanel(self.shell.glyphs, id="health")
            yield CheckpointPanel(self.shell.glyphs, id="checkpoints")

    def on_mount(self) -> None:
        """Titles that never change; and the room there is, so that the first frame need not be laid out anew."""
        set_title(self.query_one("#health"), plain("health"))
        set_title(self.query_one("#checkpoints"), plain("checkpoints"))
        self.room = room_for(*self.app.size)
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """Another size has room for other things."""
        self.room = room_for(event.size.width, event.size.height)
        if self.composed:
            self._arrange()

    def _arrange(self) -> None:
        room = self.room
        self.set_class(room.tiny, "-tiny")
        self.set_class(room.side_by_side, "-beside")
        self.set_class(self._bare, "-bare")
        self.set_class(self._held, "-held")
        grid = self.query_one("#grid")
        grid.styles.grid_size_columns = room.columns
        grid.styles.grid_size_rows = room.rows
        health, checkpoints = self.query_one("#health"), self.query_one("#checkpoints")
        both = max if room.side_by_side else int.__add__
        self.query_one("#lower").styles.height = "1fr" if self._held else both(room.health, room.checkpoints)
        health.display, checkpoints.display = room.health > 0, room.checkpoints > 0 or self._held
        health.styles.height = "1fr" if self._held and room.side_by_side else max(room.health, 1)
        checkpoints.styles.height = "1fr" if self._held else max(room.checkpoints, 1)
        for number in range(len(self.query(Chart)) + 1, room.panels + 1):
            grid.mount(self._new_chart(number))
        if self.focused is None and not room.tiny and not self._bare:
            self.query_one("#chart-1").focus()
        self.renew()

    def show(self, snapshot: Snapshot) -> None:
        """Only what differs from what is shown is painted."""
        main = snapshot.main
        if main is None:
            self.panels = ()
            return
        if self.room.tiny:
            self.query_one("#status", Words).say(status_words(main, self.shell.glyphs))
            return
        self._say_what_is_missing(snapshot)
        everything = dashboard_panels(snapshot, self.shell.state.pins, self.room.panels)
        pages = max(-(-len(everything) // self.room.panels), 1)
        self.page = min(self.page, pages - 1)
        if pages != self.pages:
            self.pages = pages
            self.refresh_bindings()
        start = self.page * self.room.panels
        self.panels = everything[start : start + self.room.panels]
        for index, chart in enumerate(self.query(Chart)):
            chart.display = index < max(min(len(self.panels), self.room.panels), 1)
            if index < len(self.panels):
                chart.set_data(self.panels[index].data)
        self.query_one("#health", HealthPanel).show_run(main)
        self.query_one("#checkpoints", CheckpointPanel).show_run(main)
        where = f"panels {start + 1}-{start + len(self.panels)} of {len(everything)}" if pages > 1 else ""
        if where != self.note:
            self.note = where
            self.show_header()
        n = len(main.checkpoints)
        set_title(self.query_one("#checkpoints"), plain(f"checkpoints ({n})" if n else "checkpoints"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to turn on the only page."""
        return self.pages > 1 if action == "page" else super().check_action(action, parameters)

    def _say_what_is_missing(self, snapshot: Snapshot) -> None:
        """Words instead of charts while there is none; the checkpoints, if any, get the room."""
        said = nothing_to_draw(snapshot)
        self.query_one("#nothing", Passage).say(plain(said))
        held = bool(said) and snapshot.main is not None and bool(snapshot.main.checkpoints)
        if (bool(said), held) != (self._bare, self._held):
            self._bare, self._held = bool(said), held
            self._arrange()
            self.query_one("#checkpoints" if held else "#health" if said else "#chart-1").focus()

    def _new_chart(self, number: int) -> Chart:
        app = self.shell
        return Chart(view=app.view, ascii=app.glyphs.ascii, mono=app.no_color, id=f"chart-{number}", classes="panel")

    def help_for(self, widget: Widget | None) -> str:
        """What the chart in focus is about, then how charts are read."""
        panel = self.panel_of(widget) if isinstance(widget, Chart) else None
        said = super().help_for(widget)
        return f"{panel.help}\n\n{said}" if panel is not None else said

    def panel_of(self, chart: Chart) -> Panel | None:
        """The panel that a chart shows."""
        index = list(self.query(Chart)).index(chart)
        return self.panels[index] if index < len(self.panels) else None

    def action_enlarge(self, number: int | None = None) -> None:
        """The focused chart, or the one with this number, on the full screen."""
        if number is not None:
            panel = self.panels[number - 1] if number <= len(self.panels) else None
        else:
            panel = self.panel_of(self.focused) if isinstance(self.focused, Chart) else None
        if panel is not None:
            self.shell.open_chart(panel.key)

    def action_unpin(self) -> None:
        """Take the focused panel off, if it is a pinned one."""
        panel = self.panel_of(self.focused) if isinstance(self.focused, Chart) else None
        if panel is not None and panel.pinned:
            self.shell.toggle_pin(panel.key)
            self.renew()

    def action_page(self, by: int) -> None:
        """More panels than fit are on further pages."""
        self.page = max(self.page + by, 0)
        self.renew()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel over a chart turns pages; over a list the list has it."""
        event.stop()
        self._turn(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """A page back."""
        event.stop()
        self._turn(-1)

    def _turn(self, by: int) -> None:
        if self.pages > 1:
            self.action_page(by)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Enter in the lower panels opens their screens."""
        message.stop()
        if isinstance(message.rows, HealthPanel):
            alert = message.rows.chosen
            self.shell.open_alert(alert.key if alert is not None else None)
        else:
            self.shell.open("checkpoints")


def status_words(main: WatchedRun, glyphs: Glyphs) -> Content:
    """The run in five short lines: for terminals with no room for a chart."""
    said = [
        joined((main.run.name, "bold")),
        plain(f"{step_words(main.run)} {glyphs.dot} {main.run.state}"),
        verdict_words(main, glyphs),
    ]
    for name, label in ((names.D_ACC, "d_acc"), (names.SCORE_DIFF, "margin")):
        series = main.run.metric(name)
        last = series.last() if series is not None else None
        if last is not None:
            said.append(plain(f"{label} {words.share(last[1]) if name == names.D_ACC else words.number(last[1])}"))
    alert = worst(main)
    if alert is not None:
        said.append(plain(f"{alert.rule}: {alert.message}", STYLES[alert.severity]))
    return lines(said)
