"""margin-collapse and drift: the teacher's and the student's mean scores come together, at once or slowly."""

from __future__ import annotations

from critictui.health.alert import GO_BACK, NotEnoughData, Severity
from critictui.health.context import Context
from critictui.health.latches import Latches
from critictui.health.level import Level
from critictui.health.lifecycle import Sighting
from critictui.health.rules.level_drift import judge_level
from critictui.health.statistics import kendall, mean
from critictui.health.words import level_evidence, needs_steps, of_last, since
from critictui.run.metrics import D_ACC, SCORE_DIFF

BLOCKS, BLOCK = 12, 10
"""The trend test looks at so many means of so many points: averaging takes most of the autocorrelation out."""


class MarginCollapse:
    """The margin lost half of its usual size (warning) or three quarters (critical), beyond what noise does."""

    id = "margin-collapse"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        level = context.level(SCORE_DIFF)
        if level is None or not positive(level):
            return
        settings = context.settings
        warn = settings.number(self.id, "fraction", SCORE_DIFF)
        crit = settings.number(self.id, "critical_fraction", SCORE_DIFF)
        share = (level.now if context.few_pairs is None else level.short) / level.usual
        if (
            context.fell(SCORE_DIFF)
            and (level.short < warn * level.usual or share < crit)
            and not student_learns(context)
        ):
            severity: Severity = "critical" if share < crit and not context.adversarial else "warning"
            self.latches.bad(context, SCORE_DIFF, severity, lambda: _sighting(context, level, warn * level.usual))
        elif self.latches.good(context, SCORE_DIFF, recovered=level.short > (warn + 0.15) * level.usual):
            context.forget_fall(SCORE_DIFF)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, SCORE_DIFF, context)


class Drift:
    """The margin is lower than it was, lastingly, though not yet by half: by CUSUM, or by a trend over 120 points."""

    id = "drift"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._trend = 0.0
        self._looked = 0

    def step(self, context: Context) -> None:
        """Judge one row."""
        judge_level(context, self.latches)
        level = context.level(SCORE_DIFF)
        if level is None or not positive(level):
            return
        fraction = context.settings.number(self.id, "fraction", SCORE_DIFF)
        halved = context.settings.number("margin-collapse", "fraction", SCORE_DIFF)
        falling = self._falls(context) and level.below.sum > 0
        share = level.short / level.usual
        if (
            (context.fell(SCORE_DIFF) or falling)
            and share < fraction
            and level.now / level.usual >= halved
            and not student_learns(context)
        ):
            severity: Severity = "info" if context.adversarial else "warning"
            self.latches.bad(context, SCORE_DIFF, severity, lambda: _drifted(context, level, fraction * level.usual))
        elif self.latches.good(context, SCORE_DIFF, recovered=share > fraction + 0.05):
            context.forget_fall(SCORE_DIFF)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, SCORE_DIFF, context)

    def _falls(self, context: Context) -> bool:
        values = context.column(SCORE_DIFF).values
        if len(values) >= self._looked + BLOCK and len(values) >= BLOCKS * BLOCK:
            self._looked = len(values)
            last = values[-BLOCKS * BLOCK :]
            self._trend = kendall([mean(last[i : i + BLOCK]) for i in range(0, len(last), BLOCK)])
        return self._trend <= -4.0


def positive(level: Level) -> bool:
    """There was a margin to lose: the baseline is clearly above zero."""
    base = level.baseline
    return base is not None and base.level > 0 and base.level > 4 * base.error


def student_learns(context: Context) -> bool:
    """In the adversarial stage a margin that falls while accuracy holds is the student catching up, not a collapse."""
    accuracy = context.levels.get(D_ACC)
    return context.adversarial and accuracy is not None and not accuracy.fell


def _sighting(context: Context, level: Level, threshold: float) -> Sighting:
    began = since(level.below, context)
    message = f"The margin fell to {level.now:z.2f} ({of_last(level.points(3))}), was {level.usual:z.2f} before step "
    message += "{since}."
    steps = context.step - began
    if threshold / 2 < level.now < level.usual and steps > 10:
        pace = (level.usual - level.now) / steps
        message += f" At this pace it is zero at step {context.step + round(level.now / pace)}."
    advice = f"Score the newest checkpoint on the fixed set; if d_acc fell there too, {GO_BACK}."
    return Sighting(level.now, threshold, began, message, advice, level_evidence(context, SCORE_DIFF))


def _drifted(context: Context, level: Level, threshold: float) -> Sighting:
    began = since(level.below, context)
    now = f"{level.short:z.2f} ({of_last(level.points(10))})"
    message = f"The margin drifts down: {now}, was {level.usual:z.2f} before step {{since}}."
    advice = "Teacher and student scores move towards each other: watch d_acc, lower the learning rate if it falls too."
    return Sighting(level.short, threshold, began, message, advice, level_evidence(context, SCORE_DIFF))
