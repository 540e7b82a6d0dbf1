"""What training logged up to a checkpoint: means of its last steps beside the last step itself, seams, the best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from critictui.run import metrics
from critictui.run.facts import RunSnapshot
from critictui.run.series import Series

WINDOW = 10
"""Steps behind 'what training logged at this checkpoint': one step is 128 noisy pairs or fewer."""
_MOST_PAIRS = 4096
"""Pairs of a training step: the largest that is looked for."""
_CHANCE = 1e-3
"""That numbers which are no shares look as if they were."""


@dataclass(frozen=True, slots=True)
class Window:
    """Mean of a logged series over some steps, with its standard error from the scatter of the steps."""

    mean: float
    error: float
    steps: int
    step: int
    """The newest of them."""
    last: float
    """What was logged there."""

    def __format__(self, spec: str) -> str:
        """`0.797, the mean of 10 steps (step 240 itself: 0.750)`; `spec` is that of a number."""
        if self.steps == 1:
            return f"{self.last:{spec}} at step {self.step}"
        return (
            f"{self.mean:{spec}}, the mean of the last {self.steps} steps (step {self.step} itself: {self.last:{spec}})"
        )

    def differs(self, other: float, other_error: float = 0.0) -> float:
        """Distance to another number in standard deviations; 0 when nothing is known."""
        sigma = math.hypot(self.error, other_error)
        if not math.isfinite(self.mean) or not math.isfinite(other):
            return 0.0
        return abs(self.mean - other) / sigma if sigma > 0 else (0.0 if self.mean == other else math.inf)


@dataclass(frozen=True, slots=True)
class Logged:
    """What training logged, as far as it bears on a checkpoint. None where the run does not have the series."""

    step: int | None
    """The newest logged step at or before the checkpoint."""
    d_acc: Window | None
    """Over the last steps up to the checkpoint, of the same session and epoch."""
    d_acc_run: Window | None
    """Over every step up to the checkpoint."""
    d_acc_before_epoch: Window | None
    """Over the last steps of the first epoch, the only ones on pairs not seen before; None within the first epoch."""
    d_acc_best: float | None
    """Highest mean over a window of steps."""
    d_acc_noise: float
    """Standard deviation of one step, from its difference to the one before; infinite where that is unknown."""
    epoch_seam: int | None
    """The step at which the second epoch began, if the checkpoint is not before it."""
    epochs_known: bool
    """The run says where its epochs begin: without a seam every step is within the first."""
    d_acc_rise: float
    """The largest step up from one window of steps to the next; 0 where there are not two."""
    margin: Window | None
    margin_run: Window | None
    margin_best: float | None
    teacher: Window | None
    student: Window | None
    teacher_std: float | None
    later_d_acc: Window | None
    """Over the newest steps, all of them after the checkpoint; None when the run did not go on."""
    d_acc_share_of: int | None
    """N where every logged d_acc is a multiple of 1/N, as shares of N pairs are; None where that may be chance."""


def logged_curve(run: RunSnapshot, step: int | None) -> Logged:
    """What `run` logged up to checkpoint `step` (None: up to its end)."""
    d_acc = run.metric(metrics.D_ACC)
    margin = run.metric(metrics.SCORE_DIFF)
    newest = _newest_step(d_acc or margin, step)
    epochs = [s.step for s in run.seams if s.kind == "epoch" and (newest is None or s.step <= newest)]
    restarts = [s.step for s in run.seams if s.kind == "restart" and (newest is None or s.step <= newest)]
    epoch = min(epochs, default=None)
    since = max([*epochs, *restarts], default=None)
    spread = _window(run.metric(metrics.TEACHER_STD), since, newest, WINDOW)
    return Logged(
        step=newest,
        d_acc=_window(d_acc, since, newest, WINDOW),
        d_acc_run=_window(d_acc, None, newest, None),
        d_acc_before_epoch=_window(d_acc, None, epoch - 1, WINDOW) if epoch is not None else None,
        d_acc_best=_best(d_acc, newest),
        d_acc_noise=_noise(_between(d_acc, None, newest)[1]),
        epoch_seam=epoch,
        epochs_known=run.epoch_steps is not None or run.metric(metrics.EPOCH) is not None,
        d_acc_rise=_rise(_between(d_acc, None, newest)[1]),
        margin=_window(margin, since, newest, WINDOW),
        margin_run=_window(margin, None, newest, None),
        margin_best=_best(margin, newest),
        teacher=_window(run.metric(metrics.TEACHER_MEAN), since, newest, WINDOW),
        student=_window(run.metric(metrics.STUDENT_MEAN), since, newest, WINDOW),
        teacher_std=spread.mean if spread is not None else None,
        later_d_acc=_window(d_acc, newest + 1, None, WINDOW) if newest is not None else None,
        d_acc_share_of=share_of(_between(d_acc, None, newest)[1]),
    )


def _newest_step(series: Series | None, step: int | None) -> int | None:
    if series is None or not len(series):
        return step
    inside = series.step if step is None else series.step[series.step <= step]
    return int(inside[-1]) if len(inside) else None


def _between(series: Series | None, first: int | None, last: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values that are finite, from the first step to the last one."""
    if series is None:
        return np.empty(0, np.int64), np.empty(0)
    start = 0 if first is None else int(np.searchsorted(series.step, first, side="left"))
    stop = len(series) if last is None else int(np.searchsorted(series.step, last, side="right"))
    steps, values = series.step[start:stop], series.value[start:stop]
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _window(series: Series | None, first: int | None, last: int | None, steps: int | None) -> Window | None:
    at, values = _between(series, first, last)
    if steps is not None:
        at, values = at[-steps:], values[-steps:]
    if not len(values):
        return None
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
    return Window(float(np.mean(values)), error, len(values), int(at[-1]), float(values[-1]))


def _best(series: Series | None, last: int | None) -> float | None:
    _, values = _between(series, None, last)
    if len(values) < WINDOW:
        return float(np.max(values)) if len(values) else None
    means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
    return float(np.max(means))


def _rise(values: np.ndarray) -> float:
    if len(values) < 2 * WINDOW:
        return 0.0
    means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
    return float(np.max(means[WINDOW:] - means[:-WINDOW]))


def _noise(values: np.ndarray) -> float:
    return float(np.std(np.diff(values)) / math.sqrt(2)) if len(values) > 2 else math.inf


def share_of(values: np.ndarray) -> int | None:
    """The least N of which every value is a multiple of 1/N, as it was written; None where numbers at random might be.

    A hard accuracy is a share of a step's pairs, a soft one is a mean of sigmoids, which is no share of anything.
    """
    distinct = np.unique(values)
    digits = next((n for n in range(1, 6) if np.allclose(distinct, np.round(distinct, n), rtol=0, atol=1e-7)), 6)
    width = max(10.0**-digits / 2, 1e-6) + 2e-7
    inside = distinct[(distinct > 0) & (distinct < 1)]
    inside = inside[:: len(inside) // 256 + 1]
    for n in range(2, min(_MOST_PAIRS, int(1 / (4 * width))) + 1):  # half of what can be written is no share of n
        if np.all(np.abs(inside * n - np.round(inside * n)) <= width * n):
            return n if n * (2 * width * n) ** len(inside) < _CHANCE else None
    return None
