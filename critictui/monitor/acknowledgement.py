"""An alert that the user has seen or wants quiet for a while: how the alarm log keeps it, and until when it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from critictui.health.alert import SEVERITIES, Severity

_LARGEST = 1e12
"""Seconds: no time of a clock and no snooze is longer."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One key press on one alert."""

    key: str
    """The alert's key."""
    severity: Severity | None
    """How bad the alert was then: one that has grown worse is not acknowledged. None if it was not known."""
    at: float
    """Seconds since the epoch."""
    seconds: float = math.inf
    """How long it holds; for ever unless it is a snooze."""

    def holds(self, severity: Severity | None, now: float) -> bool:
        """Whether an alert of this severity is quiet now.

        A clock that was set back by more than a snooze is long ends it: better heard twice than never.
        """
        if not self.at - self.seconds <= now < self.at + self.seconds:
            return False
        if self.severity is None or severity is None:
            return True
        return SEVERITIES.index(severity) <= SEVERITIES.index(self.severity)

    def to_line(self) -> dict[str, object]:
        """One line of the alarm log."""
        line: dict[str, object] = {"time": round(self.at, 3), "key": self.key, "severity": self.severity}
        if math.isinf(self.seconds):
            return {**line, "state": "acknowledged"}
        return {**line, "state": "snoozed", "seconds": self.seconds}


def acknowledgement_in(line: Mapping[str, object]) -> Acknowledgement | None:
    """What a line of the alarm log acknowledges; None for every other line, and for one that is not whole."""
    state, key, severity = line.get("state"), line.get("key"), line.get("severity")
    if not isinstance(state, str) or state not in {"acknowledged", "snoozed"} or not isinstance(key, str):
        return None
    at = _number(line.get("time"))
    seconds = math.inf if state == "acknowledged" else _number(line.get("seconds"))
    if at is None or seconds is None or seconds <= 0:
        return None
    known = next((one for one in SEVERITIES if one == severity), None)
    return Acknowledgement(key, known, at, seconds)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST < value < _LARGEST else None
