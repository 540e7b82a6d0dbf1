"""drift, its second half: both mean scores move together, far beyond where they lay."""

from __future__ import annotations

from critictui.health.context import CENTRE, Context
from critictui.health.latches import Latches
from critictui.health.level import Level
from critictui.health.lifecycle import Sighting
from critictui.health.statistics import median
from critictui.health.words import since
from critictui.run.metrics import SCORE_DIFF, STUDENT_STD, TEACHER_MEAN, TEACHER_STD

_SKIP, _EARLY = 5, 25
"""Before there is a baseline these points stand in for it, and the limit is wider."""


def judge_level(context: Context, latches: Latches) -> None:
    """The middle of the two means against its baseline, in units of the scores' own spread (no constant matters)."""
    level = context.levels.get(CENTRE)
    column = context.column(CENTRE)
    if level is None or context.value(TEACHER_MEAN) is None or len(column) < _EARLY:
        return
    unit = _unit(context)
    learnt = level.baseline is not None
    usual = level.usual if learnt else median(column.values[_SKIP:_EARLY])
    limit = context.settings.number("drift", "level" if learnt else "early_level", TEACHER_MEAN)
    moved = level.short - usual
    cusum = level.above if moved > 0 else level.below
    if unit > 0 and abs(moved) > limit * unit and (not learnt or cusum.sum >= level.limit):
        began = since(cusum, context)

        def look() -> Sighting:
            way = "up" if moved > 0 else "down"
            return Sighting(
                level.short, usual + (limit if moved > 0 else -limit) * unit, began,
                f"Both score means drift {way} together, by {abs(moved):.2f} ({abs(moved) / unit:.1f} spreads) "
                f"since step {{since}}.",
                "The loss does not see the level, so nothing holds it: add a small penalty on the scores' square (or "
                "their sum) before they saturate; compare d_acc on the fixed set.",
                (("baseline", usual), ("spread", unit), ("cusum", cusum.sum), ("limit", level.limit)),
            )  # fmt: skip

        latches.bad(context, TEACHER_MEAN, "warning", look)
    elif latches.good(context, TEACHER_MEAN, recovered=abs(moved) < 0.7 * limit * unit):
        level.settle()


def _unit(context: Context) -> float:
    """The scores' spread: a deviation where one is logged, else the usual margin."""
    for size in (_usual, _now):
        known = [size(context.levels[name]) for name in (TEACHER_STD, STUDENT_STD) if name in context.levels]
        known = [value for value in known if value > 0]
        if known:
            return max(known)
    margin = context.levels.get(SCORE_DIFF)
    return abs(margin.usual) if margin is not None and margin.baseline is not None else 0.0


def _usual(level: Level) -> float:
    return level.usual


def _now(level: Level) -> float:
    return level.short
