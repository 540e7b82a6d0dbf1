"""The list of alerts: all of the run, worst first, a line each; Enter opens one."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from critictui.health.alert import Alert
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.tui import words
from critictui.tui.glyphs import Glyphs
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import joined, plain, set_title
from critictui.tui.widgets.header import STYLES
from critictui.tui.widgets.health import quiet_words
from critictui.tui.widgets.rows import Rows, cells

_RULE, _SINCE = 20, 12
"""Cells of the name of a rule, and of the step since which it is so."""


class _AlertRows(Rows):
    """The list; the last line says that Enter opens."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Open", id="list.open")]


class AlertsScreen(RunScreen):
    """A line for each alert, also for those that are over."""

    HELP = (
        "Every alert of this run: those that fire first, critical before warning, of one event the cause before what "
        "follows from it; then what is pending (seen, not yet for long enough) and what is over. Enter opens one: its "
        "numbers, the evidence as a chart, what to do, acknowledge, snooze; n and p go from one to the next there."
    )
    AUTO_FOCUS = "#alerts"

    def __init__(self) -> None:
        super().__init__()
        self._alerts: tuple[Alert, ...] = ()
        self._main: WatchedRun | None = None

    def compose_body(self) -> ComposeResult:
        """One list."""
        yield _AlertRows(id="alerts", classes="titled")

    def show(self, snapshot: Snapshot) -> None:
        """The alerts as they are now; the cursor stays on its alert."""
        main = snapshot.main
        if main is None:
            return
        rows = self.query_one("#alerts", Rows)
        before = self._alerts[rows.index].key if rows.index < len(self._alerts) else None
        self._main, self._alerts = main, main.judgement.alerts
        place = next((i for i, alert in enumerate(self._alerts) if alert.key == before), None)
        set_title(rows, plain(words.count(len(self._alerts), "alert")))
        rows.show(self._line, max(len(self._alerts), 1), index=place)

    def _line(self, index: int, width: int) -> Content:
        if self._main is None or index >= len(self._alerts):
            return plain("no rule has raised an alert in this run", "$foreground-muted")
        return alert_line(self._alerts[index], self._main, width, self.shell.glyphs)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """This alert in detail."""
        message.stop()
        if message.index < len(self._alerts):
            self.shell.open_alert(self._alerts[message.index].key)


def alert_line(alert: Alert, main: WatchedRun, width: int, glyphs: Glyphs) -> Content:
    """Sign, rule, since when, and as much of the message as there is room for; first what is not plainly firing."""
    quiet = quiet_words(alert.key, main)
    loud = alert.state == "firing" and not quiet
    style = STYLES.get(alert.severity, "") if loud else "$foreground-muted"
    sign = glyphs.severity(alert.severity if alert.state == "firing" else alert.state)
    over = f" at {alert.resolved_step}" if alert.resolved_step is not None else ""
    note = quiet or ("" if alert.state == "firing" else f"{alert.state}{over}")
    said = joined((f"{note}: " if note else "", "$foreground-muted"), alert.message)
    columns = [
        (plain(sign, style), 1, "left"),
        (plain(alert.rule, style), _RULE, "left"),
        (plain(f"since {alert.since_step}", "$foreground-muted"), _SINCE, "left"),
        (said, max(width - _RULE - _SINCE - 4, 10), "left"),
    ]
    return cells(columns, gap=1)
