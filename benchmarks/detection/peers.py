"""What other tools would have said: their usual detectors with their defaults, on the logged accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from river.drift import ADWIN, PageHinkley

Detector = Callable[[Sequence[float], Sequence[int]], list[int]]
"""Values and steps go in, the steps of all alarms come out."""

WINDOW = 30
Z = 3.0


def rolling_z(values: Sequence[float], steps: Sequence[int]) -> list[int]:
    """An alarm where a value lies 3 deviations from the mean of the 30 before it (a W&B automation's z-score)."""
    x = np.asarray(values)
    if len(x) <= WINDOW:
        return []
    past = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[:-1]
    spread = past.std(axis=1)
    beyond = (spread > 0) & (np.abs(x[WINDOW:] - past.mean(axis=1)) > Z * spread)
    return [steps[WINDOW + i] for i in np.flatnonzero(beyond).tolist()]


def adwin(values: Sequence[float], steps: Sequence[int]) -> list[int]:
    """river's ADWIN, delta 0.002, from the first step on."""
    detector = ADWIN()
    alarms = []
    for value, step in zip(values, steps, strict=True):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(step)
    return alarms


def page_hinkley(values: Sequence[float], steps: Sequence[int]) -> list[int]:
    """river's Page-Hinkley, threshold 50, delta 0.005, from the first step on."""
    detector = PageHinkley()
    alarms = []
    for value, step in zip(values, steps, strict=True):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(step)
    return alarms


def fixed_threshold(values: Sequence[float], steps: Sequence[int]) -> list[int]:
    """An alarm where accuracy is below 0.6 after step 100, as a line in a shell script would."""
    return [step for value, step in zip(values, steps, strict=True) if step > 100 and value < 0.6]


PEERS: dict[str, Detector] = {
    "rolling z-score (30, 3)": rolling_z,
    "ADWIN (river)": adwin,
    "Page-Hinkley (river)": page_hinkley,
    "d_acc < 0.6": fixed_threshold,
}
