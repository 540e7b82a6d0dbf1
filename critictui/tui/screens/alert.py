"""An alert in detail: what was seen as a chart, the numbers, the advice, and what one can do about it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from critictui.health.alert import Alert
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.panels import MAIN
from critictui.tui import keys, words
from critictui.tui.chart.widget import Chart
from critictui.tui.glyphs import Glyphs
from critictui.tui.panels import Panel, spec_panel, tag_panel, threshold_line
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import EMPTY, joined, lines, plain, set_title
from critictui.tui.widgets.header import STYLES
from critictui.tui.widgets.health import quiet_words
from critictui.tui.widgets.words import Words

_SNOOZE_SECONDS = 3600.0
_PAGE = "https://github.com/critictui/critictui/blob/main/docs/rules.md"
_COUNTS = frozenset(
    {
        "points",
        "pairs",
        "metrics",
        "spikes",
        "steps in a row",
        "steps back",
        "critical since step",
        "points still needed",
    }
)
"""Figures of the evidence that are whole numbers."""


class AlertScreen(RunScreen):
    """One alert; n and p walk through all of them."""

    HELP = (
        "One alert. The chart is the metric that the rule judged, with its threshold and the cursor at the step where "
        "the change is believed to begin. 'Fired' is the step whose data made the rule sure; between the two lies its "
        "delay. An acknowledged alert stays in the list and counts no more, after a restart either, unless it grows "
        "worse."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.ALERT]
    AUTO_FOCUS = "#evidence"

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self._alert: Alert | None = None

    def compose_body(self) -> ComposeResult:
        """Words above, evidence below."""
        with VerticalScroll(id="alert", classes="titled", can_focus=False):
            yield Words(id="alert-text")
        app = self.shell
        yield Chart(view=app.view, ascii=app.glyphs.ascii, mono=app.no_color, id="evidence", classes="panel")

    def show(self, snapshot: Snapshot) -> None:
        """The same onset in the newest judgement."""
        main = snapshot.main
        alert = next((a for a in main.judgement.alerts if a.key == self.key), None) if main is not None else None
        if main is None or alert is None:
            self.query_one("#alert-text", Words).say(plain("This alert is gone: the rules do not raise it any more."))
            return
        new = self._alert is None or self._alert.key != alert.key
        self._alert = alert
        place = [a.key for a in main.judgement.alerts].index(alert.key) + 1
        set_title(self.query_one("#alert"), plain(f"alert {place} of {len(main.judgement.alerts)}: {alert.rule}"))
        self.query_one("#alert-text", Words).say(alert_words(alert, main, self.shell.glyphs))
        chart = self.query_one("#evidence", Chart)
        panel = evidence_panel(snapshot, alert)
        chart.display = panel is not None
        if panel is not None:
            chart.set_data(panel.data)
        if new:
            chart.view = chart.view.with_cursor(alert.since_step)

    def action_acknowledge(self) -> None:
        """It was seen."""
        if self._alert is not None and self.shell.monitor is not None:
            self.shell.monitor.acknowledge(self._alert.key)
            self.shell.say(f"{self._alert.rule} is acknowledged")

    def action_snooze(self) -> None:
        """Quiet for an hour."""
        if self._alert is not None and self.shell.monitor is not None:
            self.shell.monitor.snooze(self._alert.key, _SNOOZE_SECONDS)
            self.shell.say(f"{self._alert.rule} is quiet for an hour")

    def action_jump(self) -> None:
        """The chart on the full screen, the cursor where it began."""
        from critictui.tui.screens.chart import ChartScreen

        snapshot = self.shell.snapshot
        if self._alert is not None and snapshot is not None:
            panel = evidence_panel(snapshot, self._alert)
            if panel is not None:
                self.app.push_screen(ChartScreen(panel.key, self._alert.since_step))

    def action_neighbour(self, by: int) -> None:
        """Another alert."""
        main = self.shell.snapshot.main if self.shell.snapshot is not None else None
        if main is None or not main.judgement.alerts:
            return
        known = [a.key for a in main.judgement.alerts]
        place = known.index(self.key) if self.key in known else 0
        self.key = known[(place + by) % len(known)]
        self.renew()


def evidence_panel(snapshot: Snapshot, alert: Alert) -> Panel | None:
    """The chart of the metric that the rule judged, with the rule's threshold; None where there is no such metric."""
    main = snapshot.main
    if main is None:
        return None
    for spec in MAIN:
        if any(alert.metric in {m, main.run.metrics.get(m)} for m, _, _ in spec.metrics):
            return _with_threshold(spec_panel(snapshot, spec), alert)
    tag = alert.metric if alert.metric in main.run.series else main.run.metrics.get(alert.metric, "")
    return _with_threshold(tag_panel(snapshot, tag), alert) if tag in main.run.series else None


def _with_threshold(panel: Panel, alert: Alert) -> Panel:
    line = threshold_line(alert)
    if line is None:
        return panel
    others = [r for r in panel.data.references if (r.kind, r.value) != (line.kind, line.value)]
    return replace(panel, data=replace(panel.data, references=(*others, line)))


def alert_words(alert: Alert, main: WatchedRun, glyphs: Glyphs) -> Content:
    """The whole alert in words."""
    sign = glyphs.severity(alert.severity if alert.state == "firing" else alert.state)
    quiet = quiet_words(alert.key, main)
    noted = f", {quiet}" if quiet else ""
    fired = f", fired at step {alert.fired_step}" if alert.fired_step is not None else ""
    resolved = f", resolved at step {alert.resolved_step}" if alert.resolved_step is not None else ""
    said = [
        joined((f"{sign} {alert.severity}", STYLES.get(alert.severity, "")), f" {glyphs.dot} {alert.state}{noted}"),
        plain(alert.message, "bold"),
        plain(alert.advice),
        EMPTY,
        plain(f"since step {alert.since_step}{fired}{resolved}, judged up to step {alert.step}"),
        plain(measured(alert)),
    ]
    if alert.evidence:
        figures = [f"{name} {_figure(name, value)}" for name, value in alert.evidence]
        said.append(plain(", ".join(figures), "$foreground-muted"))
    said.append(plain(f"More about this rule: {_PAGE}#{alert.rule}", "$foreground-muted"))
    return lines(said)


def measured(alert: Alert) -> str:
    """What the rule compared with what, by the names of the two: not every rule holds its metric against a limit."""
    value, other = words.number(alert.value, 4), words.number(alert.threshold, 4)
    match alert.rule:
        case "non-finite":
            return f"{alert.metric} = {value}"
        case "generalisation-gap":
            return f"d_acc on the fixed set {words.share(alert.value)}, in training {words.share(alert.threshold)}"
        case "step-change":
            return f"{alert.metric} before {other}, after {value}"
        case "length-bias":
            return f"rank correlation of score and length {value}, threshold {other}"
        case "spread-collapse" if alert.metric == "critic/score/mean":
            return f"largest less smallest score of a step {value}, threshold {other}"
        case "stalled" if not alert.metric:
            return f"seconds without a change {value}, threshold {other}"
        case "step-regression":
            return f"{alert.value:,.0f} steps back, {alert.threshold:,.0f} are usual where a run resumes"
        case _:
            return f"{alert.metric} = {value}, threshold {other}"


def _figure(name: str, value: float) -> str:
    """Counts and steps are whole numbers."""
    whole = name in _COUNTS and math.isfinite(value)
    return f"{value:,.0f}" if whole else words.number(value, 4)
