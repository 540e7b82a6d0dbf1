"""decline, chance-accuracy, inverted, saturation: what accuracy says, against its own past and by itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from critictui.health.alert import GO_BACK, NotEnoughData, Severity
from critictui.health.context import RANKING_LOSS, SCORE, Context
from critictui.health.latches import Latches
from critictui.health.level import Level
from critictui.health.lifecycle import Sighting
from critictui.health.statistics import mean, wilson
from critictui.health.words import level_evidence, needs_points, needs_steps, of_last, since
from critictui.run.metrics import D_ACC, D_LOSS, SCORE_DIFF, STUDENT_MEAN, TEACHER_MEAN

_LEAST_PAIRS = 128
"""Behind a window of accuracy, where a step has few."""
_LEAST_POINTS = 8
"""Before the first windows count: by then few pairs a step are known to be few."""


def _void(context: Context) -> bool:
    """The scores of this row are no numbers: then a comparison of them is no accuracy, whatever was logged."""
    values = context.row.values
    return any(not math.isfinite(values.get(name, 0.0)) for name in (TEACHER_MEAN, STUDENT_MEAN, SCORE_DIFF))


class Decline:
    """Accuracy is lower than it was by 4 points and beyond noise; of a mean reward, by 15 %."""

    id = "decline"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        for metric in sorted({D_ACC, SCORE} | context.extra):
            level = context.level(metric)
            if level is None or level.baseline is None or (metric == D_ACC and _void(context)):
                continue
            if metric == D_ACC and context.few_pairs is not None:
                continue  # the median of ten such steps is what one pair says: chance-accuracy looks at more
            settings = context.settings
            drop = settings.number(self.id, "drop", metric)
            if metric != D_ACC and metric not in context.extra:
                drop = max(0.15 * abs(level.usual), 2 * level.baseline.sigma)
            fallen = level.usual - level.short
            if context.fell(metric) and fallen >= drop and level.usual - level.now >= drop:
                self.latches.bad(
                    context, metric, self._severity(context, metric, fallen), self._look(context, metric, drop)
                )
            elif self.latches.good(context, metric, recovered=fallen < drop / 2):
                context.forget_fall(metric)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, D_ACC if D_ACC in context.levels else SCORE, context)

    def _severity(self, context: Context, metric: str, fallen: float) -> Severity:
        if metric != D_ACC:
            return "warning"
        if context.adversarial:
            return "info"
        return "critical" if fallen >= context.settings.number(self.id, "critical_drop", metric) else "warning"

    def _look(self, context: Context, metric: str, drop: float) -> Callable[[], Sighting]:
        def look() -> Sighting:
            level = context.levels[metric]
            began = since(level.below, context)
            advice = "Compare checkpoints before and after this step on the fixed set; a real decline shows there too."
            if context.adversarial and metric == D_ACC:
                advice = "In the adversarial stage the student catches up; see that the critic does not reach 0.5."
            return Sighting(
                level.short,
                level.usual - drop,
                began,
                f"{metric.removeprefix('critic/')} declined to {level.short:.3f} ({of_last(level.points(10))}), was "
                f"{level.usual:.3f} before step {{since}}.",
                advice,
                level_evidence(context, metric),
            )

        return look


def window_interval(context: Context, metric: str, size: int) -> tuple[float, float, float, int]:
    """(mean, low, high, points) of the last points, but of none before a change that the CUSUM has found.

    The 95 % interval is Wilson's where the pairs behind a point are known (never narrower than the scatter between
    points says), else that of a mean of autocorrelated values.
    """
    column = context.column(metric)
    level = context.levels[metric]
    values = column.tail(size)
    few = context.few_pairs if metric == D_ACC else None
    if few is None and level.fell and level.below.since is not None:
        changed = sum(1 for step in column.steps[-size:] if step >= level.below.since)
        values = values[-max(3, changed) :]
    n = len(values)
    centre = mean(values)
    if level.baseline is not None:
        spread = level.baseline.inflated
    else:
        spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / max(1, n - 1))
    half = 1.96 * spread / math.sqrt(n)
    low, high = centre - half, centre + half
    pairs = context.config.pairs_per_step or few
    if pairs is not None and metric == D_ACC:
        exact = wilson(min(1.0, max(0.0, centre)), pairs * n)
        low, high = min(low, exact[0]), max(high, exact[1])
    return centre, low, high, n


class ChanceAccuracy:
    """The interval of the last window contains 0.5: the critic cannot tell teacher and student apart.

    Alarms when there was more to it before (a baseline, or one clearly better window), or after `min_steps`.
    """

    id = "chance-accuracy"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._best = 0.0
        """The best mean of a full window so far."""

    def step(self, context: Context) -> None:
        """Judge one row."""
        level = context.level(D_ACC)
        if level is None or _void(context):
            return
        settings = context.settings
        chance, learnt, better = (settings.number(self.id, key, D_ACC) for key in ("chance", "learnt", "better"))
        size, few = settings.count(self.id, "window", D_ACC), context.few_pairs
        if few is not None:
            size = max(size, math.ceil(_LEAST_PAIRS / few))
        recent = context.column(D_ACC).tail(size)
        if len(recent) == size and len(context.column(D_ACC)) >= _LEAST_POINTS:
            self._best = max(self._best, mean(recent))
        fell = level.fell and few is None
        lost = (level.baseline is not None and level.usual >= learnt and fell) or self._best >= better
        if not lost and len(context.column(D_ACC)) < settings.count(self.id, "min_steps", D_ACC):
            return
        if not self.latches.firing(D_ACC) and few is None and level.now >= learnt:
            self.latches.good(context, D_ACC, recovered=level.short >= learnt)
            return
        interval = window_interval(context, D_ACC, size)
        centre, low, high, n = interval
        if low <= chance <= high and centre < learnt and (fell or n == size):
            severity: Severity = "warning" if context.adversarial else "critical"
            self.latches.bad(context, D_ACC, severity, lambda: self._look(context, level, interval, lost))
        else:
            self.latches.good(context, D_ACC, recovered=centre >= learnt)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """A critic may take its time to learn: so many steps pass before chance is an alarm."""
        if D_ACC not in context.levels or context.levels[D_ACC].baseline is not None:
            return []
        missing = context.settings.count(self.id, "min_steps", D_ACC) - len(context.column(D_ACC))
        return needs_points(self.id, D_ACC, context, missing)

    def _look(
        self, context: Context, level: Level, interval: tuple[float, float, float, int], had_learnt: bool
    ) -> Sighting:
        centre, low, high, n = interval
        began = since(level.below, context) if level.fell else context.column(D_ACC).steps[-n]
        usual = self._best if level.baseline is None else level.usual
        was = f"was {usual:.3f} before step {{since}}" if had_learnt else "never was better"
        advice = (
            f"The critic no longer tells teacher from student. Stop, score the newest checkpoint, and {GO_BACK}."
            if had_learnt
            else "It has not learnt to tell teacher from student: check labels, learning rate, and that the two "
            "responses differ."
        )
        return Sighting(
            centre,
            0.5,
            began,
            f"d_acc is at chance: {centre:.3f} ({low:.3f}-{high:.3f}), {of_last(n, 'mean')}; {was}.",
            advice,
            (("low", low), ("high", high), ("points", float(n)), ("baseline", usual if had_learnt else 0.5)),
        )


class Inverted:
    """The critic prefers the student: accuracy clearly below one half; where it is not logged, the margin below 0.

    It is asked at every step, and a critic at chance is asked for as long as it stays there: 95 % would be passed by
    luck. So `sigma` standard errors are wanted, of the last window or of one four times as long, and a margin below 0.
    """

    id = "inverted"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        metric, middle = (D_ACC, 0.5) if D_ACC in context.levels else (SCORE_DIFF, 0.0)
        level = context.level(metric)
        settings = context.settings
        if level is None or _void(context):
            return
        if not level.fell and len(context.column(metric)) < settings.count(self.id, "min_steps", metric):
            return
        if level.now >= middle and not self.latches.firing(metric):
            self.latches.good(context, metric)
            return
        threshold = settings.number(self.id, "threshold", metric) if metric == D_ACC else 0.0
        size, sigma = settings.count(self.id, "window", metric), settings.number(self.id, "sigma", metric)
        windows = [window_interval(context, metric, size * factor) for factor in (1, 4)]
        centre = windows[0][0]
        found = [w for w in windows if w[0] < threshold and w[0] + (w[2] - w[0]) * sigma / 1.96 < middle]
        if found and _margin_is_negative(context, found[0][3]):
            self.latches.bad(
                context, metric, "critical", lambda: _prefers(context, metric, threshold, middle, found[0])
            )
        else:
            self.latches.good(context, metric, recovered=centre > middle)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """A random head may start inverted; training has some steps to turn it."""
        missing = context.settings.count(self.id, "min_steps", D_ACC) - len(context.column(D_ACC))
        return needs_points(self.id, D_ACC, context, missing)


def _margin_is_negative(context: Context, size: int) -> bool:
    """The last margins lie below 0, by their 95 % interval; true where no margin is logged to contradict."""
    return SCORE_DIFF not in context.levels or window_interval(context, SCORE_DIFF, size)[2] < 0


def _prefers(
    context: Context, metric: str, threshold: float, middle: float, window: tuple[float, float, float, int]
) -> Sighting:
    centre, low, high, n = window
    name = "d_acc" if metric == D_ACC else "margin"
    return Sighting(
        centre,
        threshold,
        _crossed(context, metric, (centre + middle) / 2, 4 * n),
        f"It prefers the student: {name} {centre:.3f} ({low:.3f}-{high:.3f}), {of_last(n, 'mean')}, since step "
        "{since}.",
        "Check which side is labelled teacher, the sign of the loss, and that responses were not swapped.",
        (("low", low), ("high", high), ("points", float(n))),
    )


def _crossed(context: Context, metric: str, level: float, size: int) -> int:
    """The step from which on the last values lie below the level: where the sum of what they lie below it is largest.

    Not where the fall began: a critic that collapsed to chance may turn round later (Page 1954, read backwards).
    """
    column = context.column(metric)
    total, largest, step = 0.0, 0.0, context.step
    for value, at in zip(reversed(column.tail(size)), reversed(column.steps[-size:]), strict=True):
        total += level - value
        if total > largest:
            largest, step = total, at
    return step


class Saturation:
    """Accuracy near 1 with a loss near 0: the critic overpowers the student and has no gradient left to give."""

    id = "saturation"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        if context.value(D_ACC) is None:
            return
        settings = context.settings
        size = settings.count(self.id, "window", D_ACC)
        accuracy = context.column(D_ACC).tail(size)
        if len(accuracy) < size or accuracy[-1] < 0.9:
            self.latches.good(context, D_ACC)
            return
        share, enough = mean(accuracy), settings.number(self.id, "d_acc", D_ACC)
        losses = (context.column(D_LOSS).values or context.column(RANKING_LOSS).values)[-size:]
        low = settings.number(self.id, "loss", D_ACC)
        loss = mean(losses) if losses else math.nan
        if share >= enough and (loss <= low or (math.isnan(loss) and share >= 0.5 + enough / 2)):
            began = context.column(D_ACC).steps[-size]
            shown = f", loss {loss:.3f}" if losses else ""
            self.latches.bad(
                context,
                D_ACC,
                "warning",
                lambda: Sighting(
                    share,
                    enough,
                    began,
                    f"The critic overpowers the student: d_acc {share:.3f}{shown} ({of_last(size, 'mean')}), since "
                    "step {since}.",
                    "A saturated critic gives the student no gradient: end the warm-up earlier, lower its rate, "
                    "or look for a giveaway (echoed prompt, EOS, length).",
                    (("loss", loss if losses else 0.0), ("points", float(size))),
                ),
            )
        else:
            self.latches.good(context, D_ACC, recovered=share < enough - 0.01)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing that is worth telling."""
        return []
