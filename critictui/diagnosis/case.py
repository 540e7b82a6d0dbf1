"""The evidence of one disagreement, gathered: what training logged, what a test measured, and all that bears on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from critictui.diagnosis.claims import Claim
from critictui.diagnosis.script import ScriptReading
from critictui.diagnosis.simulation import CLEARLY, Landing, Simulation, landings
from critictui.run import metrics
from critictui.run.facts import RunSnapshot
from critictui.run.series import Series
from critictui.scoring.statistics import wilson

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Audit
    from critictui.diagnosis.replay import Replay
    from critictui.run.training_config import TrainingConfig
    from critictui.scoring.fixed_set import FixedSet
    from critictui.scoring.result import ScoreResult

WINDOW = 10
"""Steps behind 'what training logged at this checkpoint': one step is 128 noisy pairs or fewer."""


@dataclass(frozen=True, slots=True)
class Window:
    """Mean of a logged series over some steps, with its standard error from the scatter of the steps."""

    mean: float
    error: float
    steps: int

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
    epoch_seam: int | None
    """The step at which the second epoch began, if the checkpoint is not before it."""
    margin: Window | None
    margin_run: Window | None
    margin_best: float | None
    teacher: Window | None
    student: Window | None
    teacher_std: float | None
    later_d_acc: Window | None
    """Over the newest steps, all of them after the checkpoint; None when the run did not go on."""


@dataclass(frozen=True, slots=True)
class OwnScore:
    """What the checkpoint's own head really gives on the fixed set, with its 95 % interval."""

    d_acc: float
    low: float
    high: float
    soft: float
    margin: float
    pairs: int


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Everything at hand; what is missing is None, and the causes that need it stay untested."""

    logged: Logged
    claim: Claim | None
    """The test's numbers: claimed ones, else those of the fixed-set score of this checkpoint."""
    claimed: bool
    """The numbers are somebody's own, not critictui's."""
    score: ScoreResult | None
    """critictui's own score of this checkpoint, strictly loaded."""
    audit: Audit | None = None
    fixed_set: FixedSet | None = None
    simulation: Simulation | None = None
    replay: Replay | None = None
    script: ScriptReading | None = None
    training: TrainingConfig | None = None

    def ranked(self) -> tuple[Landing, ...]:
        """The simulated ways of scoring, best first; empty without claim or simulation."""
        if self.simulation is None or self.claim is None or not self.claim:
            return ()
        return landings(self.simulation, self.claim)

    @property
    def own(self) -> OwnScore | None:
        """critictui's own measurement, from the stored score or else from the simulation's right way."""
        if self.score is not None:
            s = self.score
            return OwnScore(s.d_acc, *s.interval, s.d_acc_soft, s.score_diff, s.pairs)
        if self.simulation is None or not self.simulation.real.stats[0].pairs:
            return None
        real = self.simulation.real.stats[0]
        interval = wilson(real.d_acc * real.pairs, real.pairs)
        return OwnScore(real.d_acc, *interval, real.d_acc_soft, real.margin, real.pairs)

    @property
    def real_lands(self) -> bool | None:
        """Whether the real way of scoring explains the test's numbers, and no mistaken way does so clearly better.

        None when that was not simulated.
        """
        if not self.claimed and self.own is not None:
            return True
        ranked = self.ranked()
        real = next((x for x in ranked if x.variant.id == "real"), None)
        if real is None:
            return None
        return real.lands and all(x.log_density <= real.log_density + CLEARLY for x in ranked if x.lands)


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
        epoch_seam=epoch,
        margin=_window(margin, since, newest, WINDOW),
        margin_run=_window(margin, None, newest, None),
        margin_best=_best(margin, newest),
        teacher=_window(run.metric(metrics.TEACHER_MEAN), since, newest, WINDOW),
        student=_window(run.metric(metrics.STUDENT_MEAN), since, newest, WINDOW),
        teacher_std=spread.mean if spread is not None else None,
        later_d_acc=_window(d_acc, newest + 1, None, WINDOW) if newest is not None else None,
    )


def _newest_step(series: Series | None, step: int | None) -> int | None:
    if series is None or not len(series):
        return step
    inside = series.step if step is None else series.step[series.step <= step]
    return int(inside[-1]) if len(inside) else None


def _between(series: Series | None, first: int | None, last: int | None) -> np.ndarray:
    if series is None:
        return np.empty(0)
    start = 0 if first is None else int(np.searchsorted(series.step, first, side="left"))
    stop = len(series) if last is None else int(np.searchsorted(series.step, last, side="right"))
    values = series.value[start:stop]
    return values[np.isfinite(values)]


def _window(series: Series | None, first: int | None, last: int | None, steps: int | None) -> Window | None:
    values = _between(series, first, last)
    if steps is not None:
        values = values[-steps:]
    if not len(values):
        return None
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
    return Window(float(np.mean(values)), error, len(values))


def _best(series: Series | None, last: int | None) -> float | None:
    values = _between(series, None, last)
    if len(values) < WINDOW:
        return float(np.max(values)) if len(values) else None
    means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
    return float(np.max(means))
