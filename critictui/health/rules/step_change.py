"""step-change: a jump at an epoch boundary (memorised prompts) or at a resume (something was not restored)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from critictui.health.alert import NotEnoughData
from critictui.health.context import Context
from critictui.health.latches import Latches
from critictui.health.lifecycle import Sighting
from critictui.health.statistics import median, noise
from critictui.run.metrics import D_ACC, EPOCH, SCORE_DIFF

_METRICS = (D_ACC, SCORE_DIFF)
_MEMORISED = (
    "From here on the logged accuracy is no estimate of anything held out: judge this critic on the fixed set only, "
    "and stop the warm-up before prompts repeat."
)
_NEARLY_ONE = 0.93
_LEAP = 0.1
_RESUMED = "Was everything restored: the head, the optimiser, the data order? Score the checkpoint it resumed from."


@dataclass(frozen=True, slots=True)
class Jump:
    """Two stretches compared: their medians and how many standard errors lie between them."""

    before: float
    after: float
    sigmas: float

    @property
    def size(self) -> float:
        """After minus before."""
        return self.after - self.before


def jump_between(before: Sequence[float], after: Sequence[float], sigma: float) -> Jump:
    """`after` against what `before` leads one to expect: its median, and as much again as it was still moving."""
    half = len(before) // 2
    moving = median(before[half:]) - median(before[:half]) if half >= 3 else 0.0
    was, now = median(before), median(after)
    change = now - was
    moving = moving if moving * change > 0 else 0.0
    error = 1.25 * sigma * math.sqrt(1 / len(before) + 1 / len(after))
    left = math.copysign(max(0.0, abs(change) - abs(moving)), change)
    return Jump(was, now, left / error if error > 0 else 0.0)


class StepChange:
    """The accuracy or the margin at the seam against the steps right before it, for the first eight steps."""

    id = "step-change"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._sides: dict[str, tuple[float, float]] = {}
        """The medians before and after the jump that was reported."""

    def step(self, context: Context) -> None:
        """Judge one row."""
        for metric in _METRICS:
            if context.value(metric) is None:
                continue
            found = (
                self._at_epoch(context, metric)
                or self._at_resume(context, metric)
                or self._unannounced(context, metric)
            )
            if found is not None:
                sighting = found()
                self._sides[metric] = (sighting.threshold, sighting.value)
                self.latches.bad(context, metric, "warning", found)
            else:
                self.latches.good(context, metric, recovered=self._is_back(context, metric))

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing: a seam comes or does not."""
        return []

    def _is_back(self, context: Context, metric: str) -> bool:
        """The level lies nearer to what it was before the jump: what was memorised stays so until then."""
        before, after = self._sides.get(metric, (0.0, 0.0))
        short = context.levels[metric].short
        return abs(short - before) <= abs(short - after)

    def _at_epoch(self, context: Context, metric: str) -> Callable[[], Sighting] | None:
        if context.epoch_began is None:
            return None
        seam = context.seam_index.get(metric, 0)
        values = context.column(metric).values
        jump = self._jump(context, metric, values[:seam], values[seam:])
        if jump is None:
            return None
        return lambda: _at_seam(metric, jump, context.epoch_began or context.step, _epoch(context))

    def _at_resume(self, context: Context, metric: str) -> Callable[[], Sighting] | None:
        before = context.before.get(metric, ())
        if not before or not context.continues or context.epoch_began is not None:
            return None
        column = context.column(metric)
        jump = self._jump(context, metric, before, column.values)
        if jump is None:
            return None
        return lambda: _at_seam(metric, jump, column.steps[0], "the run was resumed")

    def _jump(self, context: Context, metric: str, before: Sequence[float], after: Sequence[float]) -> Jump | None:
        settings = context.settings
        size = settings.count(self.id, "window", metric)
        within = settings.count(self.id, "within", metric)
        if not 3 <= len(after) <= within or len(before) < 8:
            return None
        sigma = max(noise(before[-40:])[0], 0.005 if metric == D_ACC else 0.0)
        level = context.levels.get(metric)
        base = level.baseline if level is not None and level.baseline is not None else context.known.get(metric)
        if base is not None:
            sigma = max(sigma, base.inflated)
        jump = jump_between(before[-size:], after, sigma)
        least = settings.number(self.id, "jump", metric)
        large = abs(jump.size) >= least if metric == D_ACC else abs(jump.size) >= 4 * least * abs(jump.before)
        enough = abs(jump.sigmas) >= settings.number(self.id, "sigma", metric) or _leaps_to_one(jump, metric)
        return jump if large and enough else None

    def _unannounced(self, context: Context, metric: str) -> Callable[[], Sighting] | None:
        """Accuracy that leaps to nearly 1 where the run says nothing of epochs: memorised all the same."""
        level = context.levels[metric]
        if metric != D_ACC or level.baseline is None or not level.rose or level.above.since is None:
            return None
        column = context.column(metric)
        fresh = sum(1 for step in column.steps[-self._within(context) :] if step >= level.above.since)
        if not 3 <= fresh < self._within(context) or len(column) < fresh + 20:
            return None
        before, after = column.values[-fresh - 20 : -fresh], column.values[-fresh:]
        if median(after) < _NEARLY_ONE or median(after) - median(before) < _LEAP:
            return None
        jump = jump_between(before, after, level.baseline.inflated)
        since = level.above.since
        epoch = context.epoch_began is not None and abs(context.epoch_began - since) <= 3
        what = _epoch(context) if epoch else "an epoch may begin, though the run does not say so"
        return lambda: _at_seam(metric, jump, since, what)

    def _within(self, context: Context) -> int:
        return context.settings.count(self.id, "within", D_ACC) + 1


def _leaps_to_one(jump: Jump, metric: str) -> bool:
    """Nearly every pair is right from one step to the next: no noise does that at a seam, however slow its swings.

    Without it one memorised run in eight under AR 0.8 was missed, because the standard error is made for slow swings.
    """
    return metric == D_ACC and jump.after >= _NEARLY_ONE and jump.size >= _LEAP


def _epoch(context: Context) -> str:
    """Which epoch begins, where the run logs it: by its number (verl) or by the share that is done (Hugging Face)."""
    value = context.value(EPOCH)
    if value is None:
        return "an epoch begins"
    number = math.floor(value) + 1 if value == math.floor(value) else math.ceil(value)
    return f"epoch {number} begins"


def _at_seam(metric: str, jump: Jump, step: int, what: str) -> Sighting:
    """The decisive word stands first: a narrow screen shows no more than that."""
    memorised = jump.size > 0 and (metric != D_ACC or jump.after > 0.8) and "resumed" not in what
    name, digits = (metric.removeprefix("critic/"), 3) if metric == D_ACC else ("the margin", 2)
    first = "memorised: " if memorised else ""
    text = f"{first}{name} jumped from {jump.before:.{digits}f} to {jump.after:.{digits}f} where {what} (step {step})."
    return Sighting(
        jump.after, jump.before, step, text[0].upper() + text[1:] if not memorised and metric != D_ACC else text,
        _RESUMED if "resumed" in what else _MEMORISED,
        (("before", jump.before), ("after", jump.after), ("sigmas", jump.sigmas)),
    )  # fmt: skip
