"""d_acc and the margin judged as one series: a critic that gets worse moves both, luck moves them less alike."""

from __future__ import annotations

import math

from critictui.health.level import Level
from critictui.health.statistics import Cusum


class Together:
    """A CUSUM of what is new in accuracy and margin, weighed alike.

    The two have half of their noise in common, more or less, and that share is measured. What two estimates of the
    noise get wrong averages out, and that is what an early alarm is lost by: with the autocorrelation known, either
    metric alone would find a slow decline as soon (docs/detection.md).
    """

    BOTH = 2.0
    """Either must speak for a fall by itself, with so many sigmas in its own sum."""
    _PRIOR, _WEIGHT = 0.7, 30.0
    """The correlation that is assumed before there are points to tell, and how many points that is worth."""

    __slots__ = ("_baselines", "_products", "_squares", "below", "limit", "shift")

    def __init__(self, shift: float, limit: float) -> None:
        self.shift = shift
        self.limit = limit
        self.below = Cusum()
        self._baselines = (-1, -1)
        self._products = self._PRIOR * self._WEIGHT
        self._squares = self._WEIGHT

    def add(self, accuracy: Level, margin: Level, step: int) -> None:
        """Take in the newest row, which both levels have seen."""
        one, other = accuracy.baseline, margin.baseline
        if one is None or other is None:
            return
        if (one.step, other.step) != self._baselines:
            self._baselines = (one.step, other.step)
            self.below.reset()
        phi = max(one.phi, other.phi)
        root = math.sqrt(1 - phi * phi)
        first = (accuracy.away - phi * accuracy.before) / (one.sigma * root)
        second = (margin.away - phi * margin.before) / (other.sigma * root)
        self.below.add(
            (first + second) / math.sqrt(2 + 2 * self.correlation) - (one.doubt + other.doubt) / 2,
            self.shift,
            step,
            2 * self.limit,
        )
        if self.below.sum < self.limit / 2:
            first, second = max(-3.0, min(3.0, first)), max(-3.0, min(3.0, second))
            self._products += first * second
            self._squares += (first * first + second * second) / 2

    @property
    def correlation(self) -> float:
        """Of the shocks of the two, between 0.25 and 1."""
        return min(1.0, max(0.25, self._products / self._squares))

    def fell(self, accuracy: Level, margin: Level) -> bool:
        """Together they have gone down beyond what noise does, and either has part in it."""
        return self.below.sum >= self.limit and min(accuracy.below.sum, margin.below.sum) >= self.BOTH
