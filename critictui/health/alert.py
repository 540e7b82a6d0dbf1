"""What the rules say: an alert with its life cycle, and the verdict over all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "critical"]
AlertState = Literal["pending", "firing", "resolved"]
Verdict = Literal["healthy", "warning", "critical", "unknown"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Alert:
    """One onset of one rule on one metric."""

    rule: str
    """A rule id of the contract, `margin-collapse` for instance."""
    severity: Severity
    state: AlertState
    metric: str
    """Canonical name or tag that the rule judged."""
    since_step: int
    """Where the change is believed to begin."""
    fired_step: int | None
    """The step whose data made it fire; None while pending."""
    resolved_step: int | None
    step: int
    """The newest step that it was judged at."""
    value: float
    threshold: float
    message: str
    """One sentence with the number and since when."""
    advice: str
    session: int = 0
    evidence: tuple[tuple[str, float], ...] = ()
    """Named figures for the detail screen: baseline, spread, sigma, n and the like."""
    about: str = ""
    """The series of fixed-set scores that it is about; its message names the set where there are several."""

    @property
    def key(self) -> str:
        """Identity of this onset: the same in an incremental run and in a batch replay."""
        return f"{self.session}:{self.rule}:{self.metric}:{self.fired_step}" + (f":{self.about}" if self.about else "")

    def to_json(self) -> dict[str, object]:
        """The contract's fields; a number that JSON has no sign for becomes 'nan', 'inf' or '-inf'."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "state": self.state,
            "metric": self.metric,
            "since_step": self.since_step,
            "fired_step": self.fired_step,
            "resolved_step": self.resolved_step,
            "step": self.step,
            "value": plain_number(self.value),
            "threshold": plain_number(self.threshold),
            "message": self.message,
            "advice": self.advice,
        }


def plain_number(value: float) -> float | str:
    """A number that JSON can hold; `nan`, `inf` and `-inf` as text, as everywhere in this project."""
    return value if math.isfinite(value) else str(value)


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """A rule that cannot judge yet, and what it waits for; a state that is shown, not an error."""

    rule: str
    metric: str
    needs: str
    """'needs 40 more steps', 'score a checkpoint'."""


GO_BACK = "go back to the last checkpoint before it"
"""What a rule advises; who knows the run's checkpoints names the one (`monitor.way_back`)."""

SCORE_ONE = "score a checkpoint"
"""What a rule on fixed-set scores needs: that somebody makes one, by the run's own recipe. Steps bring it none."""
NO_CRITIC = "no metric of a critic is logged"


@dataclass(frozen=True, slots=True)
class FixedScore:
    """A fixed-set score as the rules see it."""

    step: int
    d_acc: float
    low: float
    high: float
    """The 95 % interval of d_acc."""
    d_acc_soft: float
    margin: float
    pairs: int
    length_bias: float
    """Spearman correlation of score with response length."""
    series: str
    """Fixed set and recipe; scores of different series are never joined."""
    name: str = ""
    """What the series is called, where a run has several."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a run at one moment."""

    verdict: Verdict
    alerts: tuple[Alert, ...] = ()
    """Worst first; firing before pending before resolved."""
    waiting: tuple[NotEnoughData, ...] = ()

    @property
    def no_critic(self) -> bool:
        """The run logs nothing that a critic does: there is nothing to wait for."""
        return any(one.needs.startswith(NO_CRITIC) for one in self.waiting)


_OF_ANOTHER_UNIT = frozenset({"non-finite", "instability", "stalled", "step-regression", "length-bias"})
"""Rules whose threshold is a count, a ratio or a time: on the axis of their metric it has no place."""
_NOT_OF_THE_METRIC = ("spread-collapse", "critic/score/mean")
"""How far apart the largest and the smallest score lie has no axis of its own."""


def threshold_of(alert: Alert) -> float | None:
    """Where the rule's threshold lies on the chart of its metric; None where it has no place there."""
    if alert.rule in _OF_ANOTHER_UNIT or (alert.rule, alert.metric) == _NOT_OF_THE_METRIC:
        return None
    return alert.threshold if math.isfinite(alert.threshold) else None
