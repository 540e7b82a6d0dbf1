"""The life of an alert: a condition that holds becomes pending, then firing, and is resolved once it stays away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from critictui.health.alert import SEVERITIES, Alert, Severity


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a rule sees at one step, in full."""

    value: float
    threshold: float
    since: int
    message: str
    """`{since}` in it becomes the step of the first sighting of this onset."""
    advice: str
    evidence: tuple[tuple[str, float], ...] = ()


class Latch:
    """One rule on one metric. Holds for `hold` judgements before it fires, and `clear` good ones before it resolves."""

    __slots__ = (
        "_absent",
        "_critical_step",
        "_fired",
        "_held",
        "_last",
        "_severity",
        "clear",
        "hold",
        "metric",
        "rule",
    )

    def __init__(self, rule: str, metric: str, hold: int = 1, clear: int = 10) -> None:
        self.rule = rule
        self.metric = metric
        self.hold = hold
        self.clear = clear
        self._held = 0
        self._absent = 0
        self._fired: int | None = None
        self._critical_step: int | None = None
        self._severity: Severity = "info"
        self._last: tuple[int, Sighting] | None = None

    @property
    def firing(self) -> bool:
        """The alert has fired and is not resolved."""
        return self._fired is not None

    @property
    def quiet(self) -> bool:
        """Nothing is pending or firing."""
        return self._last is None

    def bad(self, step: int, severity: Severity, look: Callable[[], Sighting]) -> None:
        """The condition holds at this step. The severity of one onset rises, but does not fall."""
        self._held += 1
        self._absent = 0
        if self._last is None or SEVERITIES.index(severity) > SEVERITIES.index(self._severity):
            self._severity = severity
        sighting = look()
        since = sighting.since if self._last is None else min(self._last[1].since, sighting.since)
        if self._fired is None and self._held >= self.hold:
            self._fired = step
        if self._severity == "critical" and self._critical_step is None and self._fired is not None:
            self._critical_step = step
        if since != sighting.since:
            sighting = Sighting(
                sighting.value, sighting.threshold, since, sighting.message, sighting.advice, sighting.evidence
            )
        self._last = (step, sighting)

    def good(self, step: int, session: int, *, recovered: bool = True) -> Alert | None:
        """The condition does not hold. Returns the resolved alert when it has stayed away long enough.

        `recovered` is False in the band between alarm and all-clear: nothing moves then (hysteresis).
        """
        if self._last is None:
            return None
        if self._fired is None:
            self._forget()
            return None
        if not recovered:
            self._absent = 0
            return None
        self._absent += 1
        return self.end(step, session) if self._absent >= self.clear else None

    def end(self, step: int, session: int) -> Alert | None:
        """Resolve now (a session ends); None if nothing had fired."""
        alert = self.alert(session)
        self._forget()
        if alert is None or alert.fired_step is None:
            return None
        return _resolved(alert, step)

    def alert(self, session: int) -> Alert | None:
        """The alert as it stands, or None while all is quiet."""
        if self._last is None:
            return None
        step, seen = self._last
        evidence = seen.evidence
        if self._critical_step is not None:
            evidence = (*evidence, ("critical since step", float(self._critical_step)))
        return Alert(
            rule=self.rule,
            severity=self._severity,
            state="pending" if self._fired is None else "firing",
            metric=self.metric,
            since_step=seen.since,
            fired_step=self._fired,
            resolved_step=None,
            step=step,
            value=seen.value,
            threshold=seen.threshold,
            message=seen.message.replace("{since}", str(seen.since)),
            advice=seen.advice,
            session=session,
            evidence=evidence,
        )

    def _forget(self) -> None:
        self._held = self._absent = 0
        self._fired = self._critical_step = self._last = None
        self._severity = "info"


def _resolved(alert: Alert, step: int) -> Alert:
    return Alert(
        rule=alert.rule,
        severity=alert.severity,
        state="resolved",
        metric=alert.metric,
        since_step=alert.since_step,
        fired_step=alert.fired_step,
        resolved_step=step,
        step=alert.step,
        value=alert.value,
        threshold=alert.threshold,
        message=alert.message,
        advice=alert.advice,
        session=alert.session,
        evidence=alert.evidence,
    )
