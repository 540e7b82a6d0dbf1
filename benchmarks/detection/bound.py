"""How soon a fall under AR(1) noise can be found at all: by one who knows the noise, the level and the fall's shape.

The shocks of an AR(1) with known phi and sigma are white: e[t] = (x[t] - phi x[t-1]) / sqrt(1 - phi^2). A fall f[t]
after the onset moves them by g[t] = (f[t] - phi f[t-1]) / sqrt(1 - phi^2). The largest log-likelihood ratio over all
onsets, the sum of g e - g^2 / 2, is the CUSUM for a known change: in the limit no detector with as few false alarms
finds it sooner (Page 1954; Lorden 1971). It alarms where one healthy run of 800 steps in a hundred would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.generator import STEPS

Array = NDArray[np.float64]
PHI = 0.8
FALSE_ALARMS = 0.01
_BEFORE, _AFTER = 200, 200


@dataclass(frozen=True, slots=True)
class Bound:
    """What the best possible observer needs."""

    fault: str
    sees: str
    median: float
    ninety: float


def bounds(runs: int = 1500, seed: int = 3) -> list[Bound]:
    """For a margin that goes to 0 over 150 steps and for 8 points of accuracy, by what the observer sees."""
    rng = np.random.default_rng(seed)
    found = []
    for fault in ("linear", "mild"):
        margin, accuracy = _sizes(fault, runs, rng)
        both = np.sqrt((margin**2 + accuracy**2 - margin * accuracy) / 0.75)  # half of the noise in common
        for sees, size in (("the margin", margin), ("d_acc", accuracy), ("both", both)):
            delays = _delays(fault, size, rng)
            found.append(Bound(fault, sees, float(np.median(delays)), float(np.quantile(delays, 0.9))))
    return found


def _sizes(fault: str, runs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(margin, accuracy): how far each falls in all, or in a step, in standard deviations of one value.

    Drawn as the generator draws its runs; of accuracy the slope at the beginning.
    """
    normal = NormalDist()
    pairs, ratio = rng.choice([128, 192, 256], runs), rng.uniform(0.55, 0.80, runs)
    p = np.array([normal.cdf(z) for z in ratio])
    deviation = np.sqrt(p * (1 - p) / pairs)
    if fault == "linear":
        slope = np.array([normal.pdf(z) for z in ratio]) * ratio
        return ratio * np.sqrt(pairs) / 150, slope / deviation / 150
    lower = np.array([normal.inv_cdf(q - 0.08) for q in p])
    return (ratio - lower) * np.sqrt(pairs), 0.08 / deviation


def _delays(fault: str, size: Array, rng: np.random.Generator) -> Array:
    steps = np.arange(1, _AFTER + 1)
    fall = size[:, None] * (np.minimum(steps, 150) if fault == "linear" else np.ones(_AFTER))
    moved = fall.copy()
    moved[:, 1:] -= PHI * fall[:, :-1]
    moved /= math.sqrt(1 - PHI**2)
    runs = len(size)
    highest = _ratios(rng.standard_normal((runs, STEPS)), moved).max(axis=1)
    limit = np.quantile(highest, 1 - FALSE_ALARMS)
    shocks = rng.standard_normal((runs, _BEFORE + _AFTER))
    shocks[:, _BEFORE:] += moved
    beyond = _ratios(shocks, moved)[:, _BEFORE:] > limit
    return np.where(beyond.any(axis=1), beyond.argmax(axis=1), _AFTER).astype(np.float64)


def _ratios(shocks: Array, moved: Array) -> Array:
    """(runs, steps): the largest log-likelihood ratio over the onsets of the last steps."""
    runs, steps = shocks.shape
    ratio, out = np.zeros((runs, moved.shape[1])), np.empty((runs, steps))
    for t in range(steps):
        ratio[:, 1:] = ratio[:, :-1]
        ratio[:, 0] = 0
        ratio += moved * shocks[:, t, None] - moved * moved / 2
        out[:, t] = ratio.max(axis=1)
    return out
