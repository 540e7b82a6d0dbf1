"""Whether a run goes on, hangs or is over."""

from __future__ import annotations

import pytest

from critictui.run.judging import state_of

DAY = 86400.0


@pytest.mark.parametrize(
    ("total", "silence", "pace", "state"),
    [
        (None, 1.0, 60.0, "running"),
        (None, DAY / 2, 60.0, "stalled"),
        (None, 30 * DAY, 60.0, "finished"),
        (None, 30 * DAY, None, "finished"),
        (None, 2 * DAY, 3600.0, "stalled"),  # a step takes an hour: two days are not long
        (240, 30 * DAY, 60.0, "stalled"),  # it stands before the end that it announced
        (200, 30 * DAY, 60.0, "finished"),
    ],
)
def test_a_run_of_unknown_length_is_over_after_a_day_of_silence(
    total: int | None, silence: float, pace: float | None, state: str
) -> None:
    assert state_of(200, (), total, silence, pace) == state
