"""Words that several rules share: what is missing before one can judge, and since when a change is believed to last."""

from __future__ import annotations

from itertools import pairwise

from critictui.health.alert import NotEnoughData
from critictui.health.context import Context
from critictui.health.statistics import Cusum, median


def since(cusum: Cusum, context: Context) -> int:
    """The change point by the CUSUM's last zero; the current step where it has none."""
    return context.step if cusum.since is None else cusum.since


def of_last(n: int, what: str = "median") -> str:
    """What a number in a message is, `median of last 10` points: a screen shows the last point beside it."""
    return f"{what} of last {n}"


def level_evidence(context: Context, metric: str) -> tuple[tuple[str, float], ...]:
    """The figures behind a level that fell: its baseline and noise, and how far the sums have come."""
    level = context.levels[metric]
    base = level.baseline
    if base is None:
        return (("points still needed", float(level.needs())),)
    return (
        ("baseline", level.usual),
        ("sigma", base.sigma),
        ("autocorrelation", base.phi),
        ("cusum", level.below.sum),
        ("limit", level.limit),
        *context.joint_evidence(metric),
    )


def needs_steps(rule: str, metric: str, context: Context) -> list[NotEnoughData]:
    """What the metric's level still needs, in steps of the run; nothing for a metric that this run does not log."""
    level = context.levels.get(metric)
    missing = level.needs() if level is not None else 0
    return needs_points(rule, metric, context, missing)


def needs_points(rule: str, metric: str, context: Context, missing: int) -> list[NotEnoughData]:
    """`missing` more points of the metric, told in steps."""
    if missing <= 0 or len(context.column(metric)) == 0 or not context.settings.enabled(rule, metric):
        return []
    steps = context.column(metric).steps[-20:]
    spacing = median([float(b - a) for a, b in pairwise(steps)]) if len(steps) > 1 else 1.0
    count = max(1, round(missing * max(1.0, spacing)))
    return [NotEnoughData(rule, metric, f"needs {count} more step{'' if count == 1 else 's'}")]
