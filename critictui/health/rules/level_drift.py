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
"""These points stand in for a baseline as long as that is young: it may have been taken from levels that moved already.
The limit is wider then."""


def judge_level(context: Context, latches: Latches) -> None:
    """The middle of the two means against its baseline, in units of the scores' own spread (no constant matters)."""
    level = context.levels.get(CENTRE)
    column = context.column(CENTRE)
    if level is None or context.value(TEACHER_MEAN) is None or len(column) < _EARLY:
        return
    unit = _unit(context)
    found = _moved(context, level, column.values, unit)
    if found is not None:
        usual, limit = found
        moved = level.short - usual
        cusum = level.above if moved > 0 else level.below
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
    elif latches.good(context, TEACHER_MEAN, recovered=_is_back(context, level, column.values, unit)):
        level.settle()


def _moved(context: Context, level: Level, values: list[float], unit: float) -> tuple[float, float] | None:
    """(baseline, limit in units) of what the level has left; None where it has not."""
    if unit <= 0:
        return None
    if level.baseline is not None:
        limit = context.settings.number("drift", "level", TEACHER_MEAN)
        moved = level.short - level.usual
        if abs(moved) > limit * unit and (level.above if moved > 0 else level.below).sum >= level.limit:
            return level.usual, limit
    if level.baseline is None or len(values) <= Level.PATIENCE:
        limit, usual = context.settings.number("drift", "early_level", TEACHER_MEAN), median(values[_SKIP:_EARLY])
        if abs(level.short - usual) > limit * unit:
            return usual, limit
    return None


def _is_back(context: Context, level: Level, values: list[float], unit: float) -> bool:
    learnt = level.baseline is not None
    usual = level.usual if learnt else median(values[_SKIP:_EARLY])
    limit = context.settings.number("drift", "level" if learnt else "early_level", TEACHER_MEAN)
    return abs(level.short - usual) < 0.7 * limit * unit


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
