"""Nice numbers on the axes, short and never two alike."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.tui.chart.scale import Scale
from critictui.tui.chart.ticks import (
    clock,
    duration,
    nice_ticks,
    step_label,
    time_ticks,
    y_labels,
    y_ticks,
)


def test_ticks_are_multiples_of_one_two_or_five() -> None:
    assert nice_ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(-3.2, 2.9, 4) == [-2, 0, 2]
    assert nice_ticks(0.41, 0.78, 4) == pytest.approx([0.5, 0.6, 0.7])


def test_y_labels_have_as_many_decimals_as_the_step_needs() -> None:
    assert y_labels([-2.0, 0.0, 2.0], Scale(-3, 3)) == (["-2", "0", "2"], "")
    assert y_labels([0.2, 0.4], Scale(0.1, 0.5)) == (["0.2", "0.4"], "")
    assert y_labels([12000.0, 14000.0], Scale(11000, 15000)) == (["12000", "14000"], "")
    assert y_labels([1.2e6, 1.4e6], Scale(1e6, 2e6)) == (["1.2M", "1.4M"], "")


def test_labels_that_would_be_alike_are_differences_from_a_base() -> None:
    labels, base = y_labels([1e9, 1e9 + 2, 1e9 + 4], Scale(1e9 - 1, 1e9 + 5))
    assert base == "1e+09"
    assert labels == ["+0", "+2", "+4"]


def test_a_log_axis_is_labelled_at_powers_of_ten() -> None:
    scale = Scale(0.0008, 2000, log=True)
    assert y_ticks(scale, 16) == pytest.approx([0.001, 0.01, 0.1, 1, 10, 100, 1000])
    assert y_labels([0.001, 1.0, 1e7], scale)[0] == ["0.001", "1", "1e7"]


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.integers(1, 30), st.booleans())
def test_ticks_ascend_inside_the_axis_and_labels_differ(a: float, b: float, count: int, log: bool) -> None:
    low, high = min(a, b), max(a, b)
    if log:
        low, high = abs(low) + 1e-300, abs(low) + 1e-300 + abs(high)
    if not low < high:
        return
    scale = Scale(low, high, log)
    ticks = y_ticks(scale, count)
    assert ticks == sorted(ticks)
    slack = (high - low) * 1e-6 + abs(high) * 1e-9
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    labels, _ = y_labels(ticks, scale)
    assert len(labels) == len(ticks)
    assert len(ticks) > 1 or count < 3
    said = [label for label in labels if label]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5s"), (45, "45s"), (132, "2m12s"), (3900, "1h05"), (7200, "2h"), (100_000, "1d3h"), (-90, "-1m30s"),
     (math.inf, "?")],
)  # fmt: skip
def test_a_duration_has_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_steps_stay_exact_while_they_are_short() -> None:
    assert [step_label(s) for s in (310, 9999, 12500, 1_250_000, 2.0**63)] == [
        "310",
        "9999",
        "12.5k",
        "1.25M",
        "9.22337E",
    ]


def test_time_ticks_are_whole_units() -> None:
    assert time_ticks(0, 3600, 4, local=False) == [0, 900, 1800, 2700, 3600]
    assert time_ticks(0, 86400 * 10, 5, local=False)[1] == 2 * 86400


@pytest.mark.parametrize("seconds", [-1e18, 1e18, math.nan, 0.0])
def test_no_clock_value_raises(seconds: float) -> None:
    assert clock(seconds, 100)
