"""The health panel: what is wrong, worst first, in words; then what could not be judged yet, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content

from critictui.health.alert import NO_CRITIC, SCORE_ONE, Alert
from critictui.monitor.snapshot import WatchedRun
from critictui.tui import words
from critictui.tui.glyphs import UNICODE, Glyphs
from critictui.tui.text import EMPTY, joined, plain
from critictui.tui.widgets.header import STYLES
from critictui.tui.widgets.rows import Rows

_RANK = {"firing": 0, "pending": 1, "resolved": 2}
_MOST_RESOLVED = 20


@dataclass(frozen=True, slots=True)
class HealthLine:
    """One line of the panel; several may belong to one alert."""

    content: Content
    alert: Alert | None = None


class HealthPanel(Rows):
    """Alerts as wrapped lines; Enter opens the alert that the cursor is on."""

    HELP = (
        "What the rules say of this run. Critical comes before warning, firing before pending (seen, not yet for "
        "long enough) and resolved. Enter opens an alert: its numbers, the evidence as a chart, what to do. "
        "'Not enough data yet' is a state of its own: such a rule has not judged, it has not approved."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Details", id="health.open"),
    ]

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._watched: WatchedRun | None = None
        self._lines: list[HealthLine] = []

    def show_run(self, watched: WatchedRun) -> None:
        """Show this judgement."""
        self._watched = watched
        self._lines = health_lines(watched, self.room, self._glyphs)
        self.show(self._line, len(self._lines))

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        if self._watched is not None and event.size.width:
            self._lines = health_lines(self._watched, self.room, self._glyphs)
            self.show(self._line, len(self._lines))

    @property
    def chosen(self) -> Alert | None:
        """The alert under the cursor."""
        return self._lines[self.index].alert if self.index < len(self._lines) else None

    def _line(self, index: int, width: int) -> Content:
        del width
        return self._lines[index].content if index < len(self._lines) else EMPTY


def health_lines(watched: WatchedRun, width: int, glyphs: Glyphs) -> list[HealthLine]:
    """The panel's text, wrapped at `width` cells."""
    lines: list[HealthLine] = []
    resolved = 0
    for alert in sorted(watched.judgement.alerts, key=lambda a: _RANK[a.state]):
        resolved += alert.state == "resolved"
        if resolved <= _MOST_RESOLVED:
            lines += _alert_lines(alert, quiet_words(alert.key, watched), width, glyphs)
    if not any(a.state == "firing" for a in watched.judgement.alerts):
        lines = [HealthLine(c) for c in _wrapped(_calm(watched, glyphs), width, 2)] + lines
    if watched.run.error:
        head = f"{glyphs.severity('critical')} an error, and no step after it: "
        said = joined((head, STYLES["critical"]), watched.run.error)
        lines = [HealthLine(c) for c in _wrapped(said, width, 2)] + lines
    for text in _waiting(watched):
        lines += [HealthLine(c) for c in _wrapped(plain(f"{glyphs.pending} {text}", "$foreground-muted"), width, 2)]
    return lines


def quiet_words(key: str, watched: WatchedRun) -> str:
    """`acknowledged`, `snoozed until 14:05`, or nothing."""
    until = watched.snoozed.get(key)
    if key not in watched.acknowledged or until is None:
        return "acknowledged" if key in watched.acknowledged else ""
    return f"snoozed until {datetime.fromtimestamp(until).astimezone():%H:%M}"


def _alert_lines(alert: Alert, quiet: str, width: int, glyphs: Glyphs) -> list[HealthLine]:
    state = alert.severity if alert.state == "firing" else alert.state
    style = STYLES.get(alert.severity, "") if alert.state == "firing" and not quiet else "$foreground-muted"
    note = f" ({quiet})" if quiet else "" if alert.state == "firing" else f" ({alert.state})"
    dated = "since" in alert.message or f"step {alert.since_step}" in alert.message
    since = "" if dated else f" since step {alert.since_step}"
    sign = glyphs.severity(state)
    content = joined((f"{sign} {alert.rule}", style), (f"{since}{note}: ", "$foreground-muted"), alert.message)
    return [HealthLine(line, alert) for line in _wrapped(content, width, 2)]


def _calm(watched: WatchedRun, glyphs: Glyphs) -> Content:
    if watched.judgement.verdict == "healthy":
        n = len({item.rule for item in watched.judgement.waiting if item.rule and item.needs != SCORE_ONE})
        wait = f", {words.count(n, 'rule')} {'waits' if n == 1 else 'wait'} for data" if n else ""
        said = f"healthy{' so far' if n else ''}: no rule has anything to say{wait}"
        return plain(f"{glyphs.healthy} {said}", STYLES["healthy"])
    if watched.judgement.verdict == "unknown":
        if watched.judgement.no_critic:
            return plain(f"{glyphs.unknown} no verdict: {NO_CRITIC}", STYLES["unknown"])
        why = "not enough data" if watched.run.step is not None else "no data"
        return plain(f"{glyphs.unknown} no verdict yet: {why}", STYLES["unknown"])
    return plain(f"{glyphs.severity(watched.judgement.verdict)} {watched.judgement.verdict}", "bold")


def _waiting(watched: WatchedRun) -> list[str]:
    """What was not judged, and what would help: more steps, or something that the reader can do."""
    by_need: dict[str, list[str]] = {}
    for item in watched.judgement.waiting:
        by_need.setdefault(item.needs, []).append(item.rule)
    named = {needs: ", ".join(dict.fromkeys(rule for rule in rules if rule)) for needs, rules in by_need.items()}
    to_do = [f"{rules}: {needs} (e)" for needs, rules in named.items() if needs == SCORE_ONE]
    to_do += [needs for needs, rules in named.items() if not rules]
    steps = [f"{rules} ({needs})" for needs, rules in named.items() if rules and needs != SCORE_ONE]
    later = [f"not enough data yet: {'; '.join(steps)}"] if steps else []
    return [*(f"not judged: {text}" for text in to_do), *later]


def _wrapped(content: Content, width: int, indent: int) -> list[Content]:
    if width <= indent + 8:
        return [content]
    first, *rest = content.wrap(width) or [EMPTY]
    if not rest:
        return [first]
    tail = content[len(first.plain) :]
    while tail.plain.startswith(" "):
        tail = tail[1:]
    return [first] + [Content(" " * indent) + line for line in tail.wrap(width - indent)]
