"""In which order alerts are told: the worst first, and of one event the cause before what follows from it."""

from __future__ import annotations

from collections.abc import Iterable

from critictui.health.alert import Alert
from critictui.run.metrics import D_ACC, D_LOSS, SCORE_DIFF, STUDENT_MEAN, TEACHER_MEAN

TOGETHER = 10
"""Alerts whose changes begin within so many steps tell of one event."""

_CAUSES = (
    "non-finite", "step-change", "generalisation-gap", "margin-collapse", "spread-collapse", "chance-accuracy",
    "inverted", "drift", "decline", "gradient-spike", "spread-explosion", "instability", "saturation", "score-scale",
    "length-bias", "length-drift", "step-regression", "stalled",
)  # fmt: skip
"""Rules, the one that explains the others first."""
_METRICS = (D_ACC, SCORE_DIFF, D_LOSS, TEACHER_MEAN, STUDENT_MEAN)
_STATES = {"firing": 0, "pending": 1, "resolved": 2}
_SEVERITIES = {"critical": 0, "warning": 1, "info": 2}


def importance(metric: str) -> tuple[int, bool, str]:
    """A key to sort metrics by: accuracy, margin, loss and means, then the critic's own, then the rest by name."""
    place = _METRICS.index(metric) if metric in _METRICS else len(_METRICS)
    return place, not metric.startswith("critic/"), metric


def ordered(alerts: Iterable[Alert]) -> list[Alert]:
    """Firing before pending before resolved, by severity, event after event; what is over has its newest first."""
    groups: dict[tuple[int, int], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((_STATES[alert.state], _SEVERITIES[alert.severity]), []).append(alert)
    found: list[Alert] = []
    for (state, _), members in sorted(groups.items()):
        events = events_of(members)
        found += [alert for event in (reversed(events) if state == _STATES["resolved"] else events) for alert in event]
    return found


def events_of(alerts: Iterable[Alert]) -> list[list[Alert]]:
    """Alerts whose changes begin together, the oldest event first; in each the cause first."""
    events: list[list[Alert]] = []
    began = 0
    for alert in sorted(alerts, key=lambda alert: (alert.session, alert.since_step)):
        last = events[-1][0] if events else None
        if last is None or last.session != alert.session or alert.since_step - began > TOGETHER:
            events.append([alert])
            began = alert.since_step
        else:
            events[-1].append(alert)
    return [sorted(event, key=_place) for event in events]


def _place(alert: Alert) -> tuple[int, tuple[int, bool, str], int, int, str]:
    cause = _CAUSES.index(alert.rule) if alert.rule in _CAUSES else len(_CAUSES)
    return cause, importance(alert.metric), alert.since_step, alert.fired_step or 0, alert.about
