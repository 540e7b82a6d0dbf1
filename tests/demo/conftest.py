"""Reading what a demo run wrote, with TensorBoard's own reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Series = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def read_events() -> Callable[[Path], Series]:
    """`read_events(file)`: tag to (steps, values) of one event file, as TensorBoard reads it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(path: Path) -> Series:
        events = accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        series = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        return {tag: (np.array([p.step for p in s]), np.array([p.value for p in s])) for tag, s in series.items()}

    return read
