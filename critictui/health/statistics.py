"""The statistics the rules stand on: robust noise that knows of autocorrelation, a CUSUM, intervals, a trend test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_MAD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

FEW = 40
"""Points from which an estimate is believed by two standard errors instead of one."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is normal for a metric."""

    level: float
    sigma: float
    """Standard deviation of one value, trend removed; outliers do not widen it much."""
    phi: float
    """Lag-1 autocorrelation, corrected for its small-sample bias."""
    step: int
    """The step at which it was taken."""
    n: int
    """Points in its window."""

    width: int
    """Points that the level is the median of."""
    inflated: float = field(init=False)
    """The sigma with which sums grow: sigma * sqrt((1 + phi) / (1 - phi)), the long-run deviation of an AR(1), and a
    little more where few independent points stand behind it."""
    error: float = field(init=False)
    """Standard error of the level."""
    shock: float = field(init=False)
    """Standard deviation of what is new in a value, sigma * sqrt(1 - phi^2), with the same addition."""
    doubt: float = field(init=False)
    """What the error of the level adds to each shock, at one standard error, or two where it stands on `FEW` points."""

    def __post_init__(self) -> None:
        ratio = (1 + self.phi) / (1 - self.phi)
        more = 1 + ratio / self.n
        root = math.sqrt(self.width)
        put = object.__setattr__
        put(self, "inflated", self.sigma * math.sqrt(ratio) * more)
        put(self, "error", self.inflated / root)
        put(self, "shock", self.sigma * math.sqrt(1 - self.phi * self.phi) * more)
        put(self, "doubt", (1 + FEW / self.width) / root)

    def __reduce__(self) -> tuple[type[Baseline], tuple[float, float, float, int, int, int]]:
        """The fields alone: the judge pickles its state at every step, and the way of dataclasses is slow."""
        return Baseline, (self.level, self.sigma, self.phi, self.step, self.n, self.width)


def noise(window: Sequence[float], floor: float = 1e-12) -> tuple[float, float]:
    """(sigma, phi) of the values around their own straight line.

    sigma joins the MAD with a winsorised deviation, so that heavy tails count, but not without limit. phi is the
    lag-1 autocorrelation of winsorised residuals plus (1 + 4 phi) / n: the small-sample bias of an AR(1) estimate is
    -(1 + 3 phi) / n (Kendall 1954; Marriott and Pope 1954), and a removed slope takes about phi / n more. To that comes
    one standard error, sqrt((1 - phi^2) / n), two at `FEW` points: taken for too small, autocorrelation is what makes
    false alarms.
    """
    x = np.asarray(window, dtype=np.float64)
    n = len(x)
    rest = _residuals(x)
    mad = _MAD * _middle(np.abs(rest))
    if mad <= floor:
        mad = float(rest.std())
    if mad <= floor:
        return floor, 0.0
    rest = np.clip(rest, -3.5 * mad, 3.5 * mad)
    sigma = max(mad, math.sqrt(float(np.dot(rest, rest)) / max(1, n - 2)), floor)
    square = float(np.dot(rest, rest))
    raw = float(np.dot(rest[:-1], rest[1:])) / square if square > 0 else 0.0
    phi = raw + (1 + 4 * raw) / n
    doubt = math.sqrt(max(0.0, 1 - phi * phi) / n)
    return sigma, min(0.95, max(0.0, phi + (1 + FEW / n) * doubt))


def tame_mean(window: Sequence[float]) -> float:
    """The mean of the values, those beyond two deviations (by MAD) of the median counted as that far.

    Of autocorrelated or normal values it is surer than the median, by a quarter in the white case, and outliers move
    it as little.
    """
    x = np.asarray(window, dtype=np.float64)
    middle = _middle(x)
    far = 2 * _MAD * _middle(np.abs(x - middle))
    return float(np.clip(x, middle - far, middle + far).mean())


def _residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(x)
    t = np.arange(n) - (n - 1) / 2
    middle = _middle(x)
    spread = _MAD * _middle(np.abs(x - middle))
    tame = np.clip(x, middle - 4 * spread, middle + 4 * spread) if spread > 0 else x
    slope = float(np.dot(t, tame)) / float(np.dot(t, t)) if n > 1 else 0.0
    line = slope * t
    rest = x - line
    return np.asarray(rest - _middle(rest), dtype=np.float64)


def _middle(x: NDArray[np.float64]) -> float:
    """The median; numpy's own spends most of its time on shapes and NaN."""
    ordered = np.sort(x)
    n = len(ordered)
    return float(ordered[n // 2]) if n % 2 else 0.5 * float(ordered[n // 2 - 1] + ordered[n // 2])


def rise(window: Sequence[float], sigma: float, phi: float) -> float:
    """How many standard errors the second half of the window lies above the first; AR(1) taken into account."""
    half = len(window) // 2
    x = np.asarray(window, dtype=np.float64)
    middle = _middle(x)
    x = np.clip(x, middle - 4 * sigma, middle + 4 * sigma)
    error = sigma * math.sqrt((1 + phi) / (1 - phi)) * math.sqrt(2 / half)
    return float(x[-half:].mean() - x[:half].mean()) / error


def median(values: Sequence[float]) -> float:
    """The median of a few values; for these sizes a sort in Python is faster than numpy."""
    ordered = sorted(values)
    n = len(ordered)
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])


def middle_of_three(a: float, b: float, c: float) -> float:
    """The median of three values."""
    low, high = (a, b) if a < b else (b, a)
    return low if c < low else min(high, c)


def mean(values: Sequence[float]) -> float:
    """The mean of a few values."""
    return math.fsum(values) / len(values)


class Cusum:
    """One-sided standardised CUSUM (Page 1954): a sum of excesses that is zero in peace and climbs after a change."""

    __slots__ = ("since", "sum")

    CLAMP = 6.0
    """No single value counts for more sigmas than this: one outlier cannot alarm."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.since: int | None = None
        """The first step after the sum was last zero: the estimate of when the change began."""

    def add(self, z: float, shift: float, step: int, ceiling: float) -> None:
        """Take in one deviation in sigmas, the bad direction positive."""
        grown = self.sum + min(z, self.CLAMP) - shift
        if grown <= 0:
            self.sum, self.since = 0.0, None
            return
        if self.since is None:
            self.since = step
        self.sum = min(grown, ceiling)

    def __getstate__(self) -> tuple[float, int | None]:
        return self.sum, self.since

    def __setstate__(self, state: tuple[float, int | None]) -> None:
        self.sum, self.since = state

    def reset(self) -> None:
        """Forget: after a recovery, or with a new baseline."""
        self.sum, self.since = 0.0, None


def wilson(share: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share out of n (Wilson 1927); n may be fractional, an effective number."""
    if n <= 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, share * (1 - share) / n + z * z / (4 * n * n)))
    return centre - half, centre + half


def kendall(blocks: Sequence[float]) -> float:
    """Mann-Kendall's S over its standard deviation: positive when the blocks rise (Mann 1945)."""
    n = len(blocks)
    score = 0
    for i in range(n - 1):
        for j in range(i + 1, n):
            score += (blocks[j] > blocks[i]) - (blocks[j] < blocks[i])
    return score / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
