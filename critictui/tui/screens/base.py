"""What every screen of a run has: the header, the keys, and the newest snapshot whenever it is on top."""

from __future__ import annotations

import time
from textwrap import dedent
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from critictui.tui import keys, words
from critictui.tui.chart.model import View
from critictui.tui.chart.widget import Chart
from critictui.tui.supervised import Supervised
from critictui.tui.text import EMPTY, plain
from critictui.tui.widgets.header import Header, header_line
from critictui.tui.widgets.job_line import JobLine
from critictui.tui.widgets.keybar import KeyBar
from critictui.tui.widgets.words import Words

if TYPE_CHECKING:
    from critictui.monitor.snapshot import Snapshot
    from critictui.tui.shell import Shell


class RunScreen(Supervised, Screen[None]):
    """A screen that shows snapshots. Only the one on top is told of new ones; the others catch up when they return."""

    CSS_PATH: ClassVar[str | None] = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.VIEWS, keys.BACK]
    FIRST_KEYS: ClassVar[tuple[str, ...]] = ()
    """Ids of keys that stand before this screen's own in the last line; the first of them whatever the room."""
    _age_timer: Timer | None = None
    note: str = ""
    """What the header says of this screen, where there is room."""

    @property
    def shell(self) -> Shell:
        """The app, with what all screens share."""
        return cast("Shell", self.app)

    def compose(self) -> ComposeResult:
        """Header, body, keys."""
        yield Header(id="header")
        yield Words(id="trouble")
        try:
            yield from self.compose_body()
        except Exception as error:
            if not self.is_running or len(self.app.screen_stack) < 2:
                raise  # without a dashboard there is no app
            self._in_trouble(error)
        yield JobLine(id="job")
        yield KeyBar(id="keys")

    def compose_body(self) -> ComposeResult:
        """What is between header and keys."""
        yield from ()

    composed: bool = False
    """Whether the body is there; a snapshot may come before it."""

    def on_mount(self) -> None:
        """After the screens' own: Textual calls the handlers of derived classes first."""
        self.composed = True
        self.renew()

    def on_screen_resume(self) -> None:
        """On top again: catch up."""
        self.renew()
        for bar in self.query("#keys").results(KeyBar):
            bar.show()

    def on_screen_suspend(self) -> None:
        """A dialogue lies over it, with keys of its own."""
        for bar in self.query("#keys").results(KeyBar):
            bar.hide()

    def on_resize(self, event: events.Resize) -> None:
        """The header says what fits."""
        del event
        self.set_class(self.shell.glyphs.ascii, "-ascii")
        self.show_header()

    def renew(self) -> None:
        """Show the newest snapshot, all of it."""
        if not self.composed:
            return
        self.show_header()
        snapshot = self.shell.snapshot
        if snapshot is None:
            return
        try:
            self.show(snapshot)
        except Exception as error:  # noqa: BLE001 - the boundary of a screen: the next snapshot may show well
            self._in_trouble(error)
        else:
            self._say_trouble(EMPTY)

    def _in_trouble(self, error: Exception) -> None:
        """Said for as long as what is shown may be old, or not all there is."""
        self.shell.report(error, type(self).__name__)
        sign = self.shell.glyphs.critical
        self._say_trouble(
            plain(f"{sign} not up to date: {type(error).__name__}: {error}; details: crash.log", "$text-error")
        )

    def _say_trouble(self, said: Content) -> None:
        for line in self.query("#trouble").results(Words):
            line.say(said)
            line.display = bool(said.plain)

    def show(self, snapshot: Snapshot) -> None:
        """Show this snapshot in the body; overridden by each screen."""

    def show_header(self) -> None:
        """The first line, and a timer for the moment when its age reads differently."""
        snapshot = self.shell.snapshot
        width = self.size.width
        now = self.shell.now()
        app = self.shell
        line = header_line(snapshot, width, app.glyphs, gpus=app.gpus, paused=app.paused, note=self.note, now=now)
        for header in self.query("#header").results(Header):
            header.say(line)
        if self._age_timer is not None:
            self._age_timer.stop()
            self._age_timer = None
        main = snapshot.main if snapshot is not None else None
        if main is None or main.run.last_change is None or self.shell.frozen_clock:
            return
        wait = words.next_age_change(max(time.time() - main.run.last_change, 0.0))
        if wait is not None:
            self._age_timer = self.set_timer(wait + 0.5, self.show_header, name="age")

    def set_view(self, view: View) -> None:
        """The same view on every chart of this screen."""
        for chart in self.query(Chart):
            chart.view = view

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        """Zoom, smoothing and axes are one for all charts."""
        message.stop()
        self.shell.keep_view(message.view)
        self.set_view(message.view)

    def on_chart_cursor_moved(self, message: Chart.CursorMoved) -> None:
        """The cursor reads all charts at the same step."""
        message.stop()
        self.shell.view = self.shell.view.with_cursor(message.step)
        for chart in self.query(Chart):
            chart.view = chart.view.with_cursor(message.step)

    def help_for(self, widget: Widget | None) -> str:
        """What `?` says about the panel in focus."""
        nodes = widget.ancestors_with_self if widget is not None else [self]
        return next((dedent(node.HELP) for node in nodes if isinstance(node, Widget) and node.HELP), "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """From the dashboard there is no way back."""
        if action == "back":
            return len(self.app.screen_stack) > 1
        return super().check_action(action, parameters)

    def action_back(self) -> None:
        """One step back; the dashboard is where steps end."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
