"""Columns keep what was put into them through every move, and views that were taken before it."""

from __future__ import annotations

import numpy as np
import pytest

from critictui.run import columns
from critictui.run.columns import Columns


def numbers(first: int, count: int) -> tuple[np.ndarray, ...]:
    step = np.arange(first, first + count)
    return step, step * 0.5, -step.astype(np.float64), step * 7


@pytest.mark.parametrize("full", [False, True], ids=["pages", "no page left"])
def test_rows_stay_through_every_move(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if full:

        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(columns.mmap, "mmap", refuse)
    rows = Columns()
    views = []
    for first in range(0, 30_000, 250):
        rows.append(*numbers(first, 249))
        rows.append_one(first + 249, (first + 249) * 0.5, -(first + 249.0), (first + 249) * 7)
        views.append((rows.step, rows.wall, rows.value, rows.position))
    for number, view in enumerate(views, 1):
        for got, wanted in zip(view, numbers(0, 250 * number), strict=True):
            np.testing.assert_array_equal(got, wanted)
            with pytest.raises(ValueError, match="read-only"):
                got[0] = 1
