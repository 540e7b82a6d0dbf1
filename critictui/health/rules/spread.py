"""spread-collapse, spread-explosion, score-scale: how far the scores lie apart, and how large they are."""

from __future__ import annotations

from collections.abc import Callable

from critictui.health.alert import GO_BACK, NotEnoughData, Severity
from critictui.health.context import SCORE, SCORE_MAX, SCORE_MIN, Context
from critictui.health.latches import Latches
from critictui.health.level import Level
from critictui.health.lifecycle import Sighting
from critictui.health.statistics import Cusum, median, middle_of_three
from critictui.health.words import needs_steps, of_last, since
from critictui.run.metrics import (
    D_ACC,
    SCORE_DIFF,
    STUDENT_MEAN,
    STUDENT_STD,
    TEACHER_MEAN,
    TEACHER_STD,
    VALUE_MAX,
    VALUE_MIN,
)

STDS = (TEACHER_STD, STUDENT_STD)
_NEARLY_ALL = 0.95
_ORDERED = 0.6


class SpreadCollapse:
    """Every response gets the same score: a deviation below 0.1 (the report's limit), or a fifth of what it was.

    Where a trainer logs no deviations but the largest and the smallest score (verl's PPO and GRPO), their distance is
    judged: it is zero when a policy is stuck at one reward, and then no advantage and no gradient is left. Critical
    where entropy has halved (the policy narrowed down to it); else the reward may only be rare.
    """

    id = "spread-collapse"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._apart = 0
        """Rows whose scores did differ."""

    def step(self, context: Context) -> None:
        """Judge one row."""
        for metric in STDS:
            self._deviation(context, metric)
        high, low = context.value(SCORE_MAX), context.value(SCORE_MIN)
        if high is not None and low is not None and len(context.column(SCORE_MAX)) >= 3:
            self._range(context, high - low)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, TEACHER_STD, context)

    def _deviation(self, context: Context, metric: str) -> None:
        level = context.level(metric)
        if level is None:
            return
        settings = context.settings
        floor = settings.number(self.id, "threshold", metric)
        low = len(context.column(metric)) >= settings.count(self.id, "min_steps", metric) and level.now < floor
        share = level.now / level.usual if level.baseline is not None and level.usual > 0 else 1.0
        warn, crit = (settings.number(self.id, key, metric) for key in ("fraction", "critical_fraction"))
        if low or (level.fell and share < warn and not _tells_apart(context)):
            severity: Severity = "critical" if low or share < crit else "warning"
            threshold = floor if low else warn * level.usual
            if low and not level.fell and share >= warn and _orders(context):
                severity = "warning"  # small from the start, and yet it tells them apart
            self.latches.bad(context, metric, severity, lambda: self._look(context, level, metric, threshold))
        elif self.latches.good(context, metric, recovered=share > warn + 0.1 and level.now > 1.2 * floor):
            level.below.reset()

    def _look(self, context: Context, level: Level, metric: str, threshold: float) -> Sighting:
        began = since(level.below, context)
        name = metric.removeprefix("critic/")
        did = f"fell to {level.now:.3f} ({of_last(level.points(3))}), was {level.usual:.3f}"
        if level.baseline is None or level.now > 0.8 * level.usual:
            did = f"is {level.now:.3f} ({of_last(level.points(3))}), below {threshold:g}"
        return Sighting(
            level.now,
            threshold,
            began,
            f"{name} {did}, since step {{since}}.",
            f"The scores no longer tell responses apart: look at the loss and the learning rate; {GO_BACK}.",
            _evidence(level, level.below),
        )

    def _range(self, context: Context, distance: float) -> None:
        floor = context.settings.number(self.id, "threshold", SCORE)
        if distance >= floor:
            self._apart += 1
            self.latches.good(context, SCORE)
            return
        entropy = context.column("actor/entropy").values
        fell = bool(entropy) and median(entropy[-3:]) < 0.5 * entropy[0]
        severity: Severity = "critical" if fell or (not entropy and self._apart >= 3) else "warning"
        self.latches.bad(context, SCORE, severity, lambda: _stuck(context, distance, floor, entropy))


def _tells_apart(context: Context) -> bool:
    """Scores that close ranks while teacher and student move apart are told apart better, not worse: `saturation`."""
    margin, accuracy = context.level(SCORE_DIFF), context.level(D_ACC)
    grew = margin is not None and margin.baseline is not None and margin.now > 1.2 * margin.usual > 0
    return grew or (accuracy is not None and accuracy.now >= _NEARLY_ALL)


def _orders(context: Context) -> bool:
    """Teacher and student are told apart, however near their scores lie."""
    accuracy = context.level(D_ACC)
    return accuracy is not None and accuracy.now >= _ORDERED


def _stuck(context: Context, distance: float, floor: float, entropy: list[float]) -> Sighting:
    more = (("entropy", entropy[-1]), ("entropy at the start", entropy[0])) if entropy else ()
    told = f"; entropy went from {entropy[0]:.2f} to {entropy[-1]:.2f}" if entropy else ""
    mean = context.value(SCORE)
    at = "" if mean is None else f" ({mean:.3g})"
    return Sighting(
        distance, floor, context.step, f"Every response gets the same score{at}, since step {{since}}{told}.",
        "Nothing tells responses apart, so there is nothing to learn from: the policy is stuck. Go back, raise the "
        "temperature or the entropy bonus, or reshape the reward.",
        more,
    )  # fmt: skip


class SpreadExplosion:
    """The scores fly apart: a deviation above 5 (the report's limit), or 2.5 times what it was."""

    id = "spread-explosion"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        settings = context.settings
        for metric in STDS:
            level = context.level(metric)
            if level is None or len(context.column(metric)) < 3:
                continue
            ceiling = settings.number(self.id, "threshold", metric)
            warn, crit = (settings.number(self.id, key, metric) for key in ("factor", "critical_factor"))
            factor = level.now / level.usual if level.baseline is not None and level.usual > 0 else 1.0
            grown = level.rose and factor > warn
            if level.now > ceiling or grown:
                severity: Severity = "critical" if level.rose and factor > crit else "warning"
                threshold = warn * level.usual if grown else ceiling
                self.latches.bad(context, metric, severity, _exploded(context, level, metric, threshold))
            elif self.latches.good(context, metric, recovered=level.now < 0.9 * ceiling and factor < 0.9 * warn):
                level.above.reset()

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, TEACHER_STD, context)


def _exploded(context: Context, level: Level, metric: str, threshold: float) -> Callable[[], Sighting]:
    def look() -> Sighting:
        began = since(level.above, context)
        name = metric.removeprefix("critic/")
        did = f"grew to {level.now:.2f} ({of_last(level.points(3))}), was {level.usual:.2f}"
        if level.baseline is None or level.now < 1.2 * level.usual:
            did = f"is {level.now:.2f} ({of_last(level.points(3))}), above {threshold:g}"
        return Sighting(
            level.now,
            threshold,
            began,
            f"{name} {did}, since step {{since}}.",
            "A few scores dominate the loss: look for outliers, clip the gradient, lower the learning rate.",
            _evidence(level, level.above),
        )

    return look


class ScoreScale:
    """Scores beyond 5 in the mean or 10 in one value. The loss does not see a shift; saturation and overflow do."""

    id = "score-scale"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        for metric, key in (
            (TEACHER_MEAN, "threshold"), (STUDENT_MEAN, "threshold"),
            (VALUE_MAX, "value_threshold"), (VALUE_MIN, "value_threshold"),
        ):  # fmt: skip
            column = context.column(metric)
            if context.value(metric) is None or len(column) < context.settings.count(self.id, "min_steps", metric):
                continue
            limit = context.settings.number(self.id, key, metric)
            recent = column.tail(3)
            value = middle_of_three(*recent) if len(recent) == 3 else median(recent)
            if abs(value) > limit:
                self.latches.bad(context, metric, "warning", _large(context, metric, value, limit))
            else:
                self.latches.good(context, metric, recovered=abs(value) < 0.9 * limit)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing that is worth telling."""
        return []


def _large(context: Context, metric: str, value: float, limit: float) -> Callable[[], Sighting]:
    return lambda: Sighting(
        value,
        limit,
        context.step,
        f"{metric.removeprefix('critic/')} is {value:z.2f} ({of_last(3)}), beyond {limit:g}.",
        "The level itself means nothing to a pairwise loss; large scores saturate it and overflow in half precision. "
        "Regularise the scores (a small penalty on their square) if it goes on.",
        (("limit", limit), ("at the start", median(context.column(metric).values[:3]))),
    )


def _evidence(level: Level, cusum: Cusum) -> tuple[tuple[str, float], ...]:
    base = level.baseline
    if base is None:
        return (("points still needed", float(level.needs())),)
    return (
        ("baseline", level.usual), ("sigma (log)", base.sigma), ("autocorrelation", base.phi), ("cusum", cusum.sum),
        ("limit", level.limit),
    )  # fmt: skip
