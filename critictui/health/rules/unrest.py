"""instability, gradient-spike, length-drift: what swings, leaps or creeps around the critic."""

from __future__ import annotations

from collections.abc import Callable

from critictui.health.alert import NotEnoughData, Severity
from critictui.health.context import Context
from critictui.health.latches import Latches
from critictui.health.lifecycle import Sighting
from critictui.health.statistics import median
from critictui.health.words import needs_steps, of_last, since
from critictui.run.metrics import D_ACC, GRAD_NORM, RESPONSE_LENGTH, SCORE_DIFF

_MAD = 1.4826


class Instability:
    """Accuracy or margin swings three times as widely as it used to, and to and fro: a single step is no swing."""

    id = "instability"
    CROSSINGS = 4
    """Crossings of the window's median that make it a swing; a step change has one."""

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        settings = context.settings
        for metric in (D_ACC, SCORE_DIFF):
            level = context.level(metric)
            if level is None or level.baseline is None:
                continue
            size = settings.count(self.id, "window", metric)
            window = context.column(metric).tail(size)
            if len(window) < size:
                continue
            middle = median(window)
            spread = _MAD * median([abs(value - middle) for value in window])
            ratio = spread / level.baseline.sigma
            limit = settings.number(self.id, "ratio", metric)
            if ratio >= limit and _crossings(window, middle) >= self.CROSSINGS:
                self.latches.bad(
                    context,
                    metric,
                    "warning",
                    _swings(metric, context.column(metric).steps[-size], ratio, limit, spread),
                )
            else:
                self.latches.good(context, metric, recovered=ratio < 0.7 * limit)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, D_ACC, context)


def _crossings(window: list[float], middle: float) -> int:
    sides = [value > middle for value in window if value != middle]
    return sum(1 for i in range(1, len(sides)) if sides[i] != sides[i - 1])


def _swings(metric: str, began: int, ratio: float, limit: float, spread: float) -> Callable[[], Sighting]:
    def look() -> Sighting:
        return Sighting(
            ratio, limit, began, f"{metric} swings {ratio:.1f} times as widely as it did, since step {{since}}.",
            "Lower the learning rate or raise the batch size; a checkpoint picked here is picked by chance.",
            (("spread now", spread), ("spread before", spread / ratio)),
        )  # fmt: skip

    return look


class GradientSpike:
    """The gradient's norm is five times its usual, and eight sigmas: once is information, three times a warning."""

    id = "gradient-spike"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._spikes: list[int] = []

    def step(self, context: Context) -> None:
        """Judge one row."""
        level, value = context.level(GRAD_NORM), context.value(GRAD_NORM)
        if level is None or value is None or level.baseline is None:
            return
        settings = context.settings
        factor = value / level.usual if level.usual > 0 else 0.0
        limit = settings.number(self.id, "factor", GRAD_NORM)
        sigma = settings.number(self.id, "sigma", GRAD_NORM)
        sigmas = level.sigmas_above(value)
        steps = context.column(GRAD_NORM).steps[-settings.count(self.id, "window", GRAD_NORM) :]
        self._spikes = [step for step in self._spikes if step >= steps[0]]
        if factor < limit or sigmas < sigma:
            self.latches.good(context, GRAD_NORM)
            return
        self._spikes.append(context.step)
        count, usual = len(self._spikes), level.usual
        severity: Severity = "warning" if count >= settings.count(self.id, "repeats", GRAD_NORM) else "info"
        first = self._spikes[0]
        step = context.step
        often = f", {count} times since step {first}" if count > 1 else ""
        self.latches.bad(
            context, GRAD_NORM, severity,
            lambda: Sighting(
                value, limit * usual, first,
                f"The gradient norm was {value:.3g} at step {step}, usually {usual:.3g}{often}.",
                "One spike passes; several in a row come before divergence: clip harder or lower the learning rate.",
                (("usual", usual), ("factor", factor), ("sigmas", sigmas), ("spikes", float(count))),
            ),
        )  # fmt: skip

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, GRAD_NORM, context)


class LengthDrift:
    """Responses get longer or shorter. With a frozen actor they should not; with a learning one they may, somewhat."""

    id = "length-drift"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        level = context.level(RESPONSE_LENGTH)
        if level is None or level.baseline is None:
            return
        frozen = D_ACC in context.columns and not context.adversarial
        key = "fraction" if frozen else "free_fraction"
        limit = context.settings.number(self.id, key, RESPONSE_LENGTH)
        moved = level.short / level.usual - 1
        cusum = level.above if moved > 0 else level.below
        if abs(moved) > limit and cusum.sum >= level.limit:
            began, short, usual = since(cusum, context), level.short, level.usual
            way = "longer" if moved > 0 else "shorter"
            advice = (
                "In the warm-up the actor is frozen: has its sampling changed, or the data?"
                if frozen
                else "A critic that scores by length makes the student drift so: see the length bias on the fixed set."
            )
            self.latches.bad(
                context, RESPONSE_LENGTH, "warning",
                lambda: Sighting(
                    short, usual * (1 + (limit if moved > 0 else -limit)), began,
                    f"Responses get {way}: {short:.0f} tokens ({of_last(level.points(10))}), were {usual:.0f} before "
                    "step {since}.", advice,
                    (("baseline", usual), ("change", moved), ("cusum", cusum.sum), ("limit", level.limit)),
                ),
            )  # fmt: skip
        elif self.latches.good(context, RESPONSE_LENGTH, recovered=abs(moved) < 0.7 * limit):
            level.settle()

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Until there is a baseline."""
        return needs_steps(self.id, RESPONSE_LENGTH, context)
