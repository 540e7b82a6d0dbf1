"""The rules, each a small state that takes rows and keeps its latches."""

from __future__ import annotations

from typing import Protocol

from critictui.health.alert import NotEnoughData
from critictui.health.context import Context
from critictui.health.latches import Latches


class Rule(Protocol):
    """Judges one row after the other. Its whole state can be pickled: that is how the judge goes back in time."""

    id: str
    latches: Latches

    def step(self, context: Context) -> None:
        """Judge the context's current row."""
        ...

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """What it cannot judge yet."""
        ...


def all_rules() -> list[Rule]:
    """A fresh set for a session, in the order in which they are applied."""
    from critictui.health.rules.accuracy import ChanceAccuracy, Decline, Inverted, Saturation
    from critictui.health.rules.margin import Drift, MarginCollapse
    from critictui.health.rules.non_finite import NonFinite
    from critictui.health.rules.pace import SlowSteps
    from critictui.health.rules.spread import ScoreScale, SpreadCollapse, SpreadExplosion
    from critictui.health.rules.step_change import StepChange
    from critictui.health.rules.unrest import GradientSpike, Instability, LengthDrift

    return [
        NonFinite(),
        MarginCollapse(),
        Drift(),
        Decline(),
        ChanceAccuracy(),
        Inverted(),
        Saturation(),
        SpreadCollapse(),
        SpreadExplosion(),
        ScoreScale(),
        StepChange(),
        Instability(),
        GradientSpike(),
        LengthDrift(),
        SlowSteps(),
    ]
