"""One line of the alarm log: an alert and when it was written go in, and come out of it again."""

from __future__ import annotations

import math
from collections.abc import Mapping

from critictui.health.alert import SEVERITIES, Alert, AlertState

Change = tuple[str, str, str]
"""(key, state, severity): what is written once."""
WITHDRAWN = "withdrawn"
"""State of an alert that has lost what it rested on."""
_STATES: tuple[AlertState, ...] = ("firing", "resolved")
_OF_SCORES = frozenset({"generalisation-gap", "length-bias"})
_TEXTS = ("rule", "metric", "message", "advice")


class Changes:
    """The changes that a log holds and that still count: after `withdrawn` an alert may be written again."""

    def __init__(self) -> None:
        self._of: dict[str, set[tuple[str, str]]] = {}

    def __contains__(self, change: Change) -> bool:
        return change[1:] in self._of.get(change[0], ())

    def note(self, change: Change) -> None:
        """Take one more, the newest."""
        key, state, severity = change
        states = self._of.setdefault(key, set())
        if state == WITHDRAWN:
            states.clear()
        else:
            states.difference_update([one for one in states if one[0] == WITHDRAWN])
        states.add((state, severity))


def line_of(alert: Alert, at: float) -> dict[str, object]:
    """One line of the log: the contract's alert, its key, and when it was written (seconds since the epoch)."""
    return {"time": round(at, 3), "key": alert.key, **alert.to_json()}


def change_of(alert: Alert) -> Change:
    """What is written once: an alert's state, and its severity, which may rise while it fires."""
    return alert.key, alert.state, alert.severity


def is_silence(alert: Alert) -> bool:
    """Whether it says that nothing is written: the clock made it, and the next byte ends it."""
    return alert.rule == "stalled" and not alert.metric


def of_the_past(alert: Alert) -> bool:
    """Whether it rests on the run's own steps alone, so that who has read them all can tell that it does not hold."""
    return not is_silence(alert) and not alert.about and alert.rule not in _OF_SCORES


def alert_in(line: Mapping[str, object]) -> Alert | None:
    """The alert of a line; None for any other line, and for one that is not whole."""
    session = str(line.get("key")).partition(":")[0]
    texts = {name: line.get(name) for name in _TEXTS}
    severity = next((one for one in SEVERITIES if one == line.get("severity")), None)
    state = next((one for one in _STATES if one == line.get("state")), None)
    steps = {name: line.get(name) for name in ("since_step", "fired_step", "step")}
    over = line.get("resolved_step")
    if severity is None or state is None or not session.isdigit() or len(session) > 9:
        return None
    if not all(isinstance(text, str) for text in texts.values()) or not all(_whole(s) for s in steps.values()):
        return None
    alert = Alert(
        severity=severity, state=state, session=int(session), resolved_step=over if _whole(over) else None,  # type: ignore[arg-type]
        value=_number(line.get("value")), threshold=_number(line.get("threshold")), **texts, **steps,  # type: ignore[arg-type]
    )  # fmt: skip
    return alert if alert.key == line.get("key") else None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else math.nan
