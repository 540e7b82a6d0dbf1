"""The latches of one rule, one for each metric that it judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from critictui.health.alert import Alert, Severity
from critictui.health.context import Context
from critictui.health.lifecycle import Latch, Sighting


class Latches:
    """Made as they are needed, so that a rule need not know beforehand which metrics a run has."""

    __slots__ = ("_latches", "rule")

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self._latches: dict[str, Latch] = {}

    def bad(self, context: Context, metric: str, severity: Severity, look: Callable[[], Sighting]) -> None:
        """The rule's condition holds for the metric in the current row."""
        latch = self._latches.get(metric)
        if latch is None:
            settings = context.settings
            if not settings.enabled(self.rule, metric):
                return
            hold, clear = (settings.count(self.rule, key, metric) for key in ("for", "clear"))
            latch = self._latches[metric] = Latch(self.rule, metric, hold, clear)
        latch.bad(context.step, severity, look)

    def good(self, context: Context, metric: str, *, recovered: bool = True) -> bool:
        """The condition does not hold in the current row. True if this resolved an alert that had fired."""
        latch = self._latches.get(metric)
        if latch is None or latch.quiet:
            return False
        ended = latch.good(context.step, context.row.session, recovered=recovered)
        if ended is not None:
            context.closed.append(ended)
        return ended is not None

    def firing(self, metric: str) -> bool:
        """An alert on this metric has fired and is not resolved."""
        latch = self._latches.get(metric)
        return latch is not None and latch.firing

    def active(self) -> list[str]:
        """Metrics with something pending or firing."""
        return [metric for metric, latch in self._latches.items() if not latch.quiet]

    def open(self, session: int) -> Iterator[Alert]:
        """The alerts that are pending or firing."""
        for latch in self._latches.values():
            alert = latch.alert(session)
            if alert is not None:
                yield alert

    def end(self, step: int, session: int) -> Iterator[Alert]:
        """The session is over: every alert that had fired, resolved."""
        for latch in self._latches.values():
            alert = latch.end(step, session)
            if alert is not None:
                yield alert
