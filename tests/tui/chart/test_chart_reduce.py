"""What is left of a series at a given width: held against slow, plain computations over all points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from critictui.run.dtypes import FloatArray, IntArray
from critictui.run.pyramid import Envelope, Pyramid
from critictui.run.series import Series
from critictui.tui.chart.reduce import extent_of, index_at, reduce, x_values

MakeSeries = Callable[..., Series]
WIDTH = 40


def averaged(value: FloatArray, factor: float) -> FloatArray:
    """Kingma & Ba's debiased average, one point after the other; points that are not finite pass it by."""
    result, total, weight = [], 0.0, 0.0
    for v in value:
        if np.isfinite(v):
            total, weight = factor * total + (1 - factor) * v, factor * weight + (1 - factor)
        result.append(total / weight if weight else np.nan)
    return np.array(result)


def columns_of(x: FloatArray, extent: tuple[float, float], pixels: int) -> IntArray:
    pitch = (extent[1] - extent[0]) / (pixels - 1)
    return np.floor((x - extent[0]) / pitch + 0.5).astype(np.int64)


def noise(n: int) -> FloatArray:
    return np.random.default_rng(7).normal(size=n).cumsum() / 20 + np.random.default_rng(8).normal(size=n)


@pytest.mark.parametrize("n", [100, 1000, 4000, 60_000])
def test_the_band_is_the_exact_minimum_and_maximum_of_each_column(series: MakeSeries, n: int) -> None:
    value = noise(n)
    curve = reduce(series(value), "step", (0.0, n - 1.0), WIDTH, 0.9)
    cell = columns_of(np.arange(n), (0, n - 1), 2 * WIDTH) // 2
    for column in range(WIDTH):
        inside = value[cell == column]
        assert curve.low[column] == inside.min()
        assert curve.high[column] == inside.max()


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.99, 0.999])
def test_with_few_points_the_line_is_the_exact_average_at_each_columns_last_point(
    series: MakeSeries, factor: float
) -> None:
    value = noise(3000)
    curve = reduce(series(value), "step", (0.0, 2999.0), WIDTH, factor)
    pixel = columns_of(np.arange(3000), (0, 2999), 2 * WIDTH)
    expected = averaged(value, factor)
    for column in range(2 * WIDTH):
        assert curve.line[column] == pytest.approx(expected[np.flatnonzero(pixel == column)[-1]], rel=1e-9)


@pytest.mark.parametrize("factor", [0.9, 0.99, 0.999])
def test_with_many_points_the_line_lies_among_the_exact_averages_of_its_column(
    series: MakeSeries, factor: float
) -> None:
    n = 200_000
    value = np.sin(np.linspace(0, 20, n)) + np.random.default_rng(3).normal(0, 0.05, n)
    curve = reduce(series(value), "step", (0.0, n - 1.0), WIDTH, factor)
    pixel = columns_of(np.arange(n), (0, n - 1), 2 * WIDTH)
    exact = averaged(value, factor)
    for column in range(2 * WIDTH):
        inside = exact[pixel == column]
        assert inside.min() <= curve.line[column] <= inside.max()


def test_zoomed_in_the_average_still_remembers_what_was_before(series: MakeSeries) -> None:
    value = np.concatenate((np.full(500, 10.0), np.zeros(500)))
    curve = reduce(series(value), "step", (500.0, 999.0), WIDTH, 0.99)
    assert curve.line[0] == pytest.approx(averaged(value, 0.99)[500 + 6 // 2], rel=0.02)


class Counting(Pyramid):
    """Notes how many ranges are asked for."""

    asked = 0

    def envelope(self, values: FloatArray, edges: IntArray) -> Envelope:
        self.asked += len(edges)
        return super().envelope(values, edges)


def test_a_frame_asks_for_as_much_of_a_million_points_as_of_ten_thousand(series: MakeSeries) -> None:
    asked = []
    for n in (10_000, 1_000_000):
        whole = series(np.zeros(n))
        pyramid = Counting()
        part = Series(whole.tag, "", "events", "", whole.step, whole.wall_time, whole.value, whole.session, pyramid)
        reduce(part, "step", (0.0, n - 1.0), WIDTH, 0.99)
        asked.append(pyramid.asked)
    assert asked[0] == asked[1] <= 2 * WIDTH * 4 + 100


def test_columns_with_nan_or_infinities_are_marked_and_nothing_else(series: MakeSeries) -> None:
    value = np.zeros(400)
    value[100], value[300] = np.nan, -np.inf
    curve = reduce(series(value), "step", (0.0, 399.0), WIDTH, 0.9)
    cell = columns_of(np.array([100, 300]), (0, 399), 2 * WIDTH) // 2
    assert np.flatnonzero(curve.bad).tolist() == cell.tolist()
    assert np.isfinite(curve.line).all()
    assert np.nanmax(curve.high) == 0


def test_a_stretch_of_nan_is_a_gap_and_not_a_bridge(series: MakeSeries) -> None:
    value = np.ones(400)
    value[100:200] = np.nan
    for factor in (0.0, 0.9):
        curve = reduce(series(value), "step", (0.0, 399.0), WIDTH, factor)
        pixel = columns_of(np.arange(400), (0, 399), 2 * WIDTH)
        assert np.isnan(curve.line[pixel[100] + 1 : pixel[199]]).all()
        assert np.isfinite(curve.line[: pixel[99]]).all()
        assert np.isfinite(curve.line[pixel[200] + 1 :]).all()


def test_few_points_are_joined_by_straight_lines(series: MakeSeries) -> None:
    curve = reduce(series([0.0, 10.0], step=[0, 100]), "step", (0.0, 100.0), 10, 0.0)
    assert curve.line == pytest.approx(np.linspace(0, 10, 20))


def test_a_line_comes_in_from_the_points_outside_of_the_view(series: MakeSeries) -> None:
    curve = reduce(series([0.0, 10.0], step=[0, 100]), "step", (40.0, 60.0), 10, 0.0)
    assert curve.line == pytest.approx(np.linspace(4, 6, 20))


def test_a_clock_that_jumps_back_stands_still(series: MakeSeries) -> None:
    times = x_values(series([1, 2, 3, 4], wall=[100.0, 200.0, 50.0, 300.0]), "relative")
    assert times.tolist() == [0, 100, 100, 200]


def test_points_without_a_time_take_that_of_the_point_before(series: MakeSeries) -> None:
    some = series([1, 2, 3], wall=[np.nan, 100.0, np.nan])
    assert extent_of(some, "wall") == (100.0, 100.0)
    assert extent_of(series([1, 2], wall=[np.nan, np.nan]), "relative") is None
    curve = reduce(some, "relative", (0.0, 1.0), WIDTH, 0.0)
    assert curve.count == 2


def test_the_largest_steps_have_a_column(series: MakeSeries) -> None:
    huge = series([1.0, 2.0, 3.0], step=[-(2**63), 0, 2**63 - 1])
    extent = extent_of(huge, "step")
    assert extent is not None
    curve = reduce(huge, "step", extent, WIDTH, 0.0)
    assert curve.count == 3
    assert (curve.line[0], curve.line[-1]) == (1.0, 3.0)


def test_an_index_is_exact_where_floats_are_not(series: MakeSeries) -> None:
    steps = np.array([2**53, 2**53 + 1, 2**53 + 2], np.int64)
    assert index_at(steps, np.array([2.0**53, 2.0**53 + 2, 2.0**64])).tolist() == [0, 2, 3]


odd = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf")]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    value=st.lists(odd, max_size=20),
    spread=st.sampled_from([1, 7, 2**40, 2**58]),
    start=st.integers(-(2**63), 2**62),
    width=st.integers(0, 30),
    factor=st.sampled_from([0.0, 0.5, 0.9, 0.999]),
    bounds=st.tuples(st.floats(-1e19, 1e19), st.floats(-1e19, 1e19)),
)
def test_no_curve_leaves_the_band_of_its_finite_values(
    series: MakeSeries,
    value: list[float],
    spread: int,
    start: int,
    width: int,
    factor: float,
    bounds: tuple[float, float],
) -> None:
    steps = [min(start + i * spread, 2**63 - 1 - len(value) + i) for i in range(len(value))]
    data = series(value, step=steps)
    extent = (min(bounds), max(bounds) + 1)
    curve = reduce(data, "step", extent, width, factor)
    assert curve.line.shape == (2 * width,)
    assert curve.low.shape == curve.high.shape == curve.bad.shape == (width,)
    finite = np.clip(data.value[np.isfinite(data.value)], -1e300, 1e300)
    drawn = curve.line[~np.isnan(curve.line)]
    assert np.isfinite(drawn).all()
    if len(drawn):
        slack = max(abs(finite.min()), abs(finite.max())) * 1e-9 + 1e-300
        assert finite.min() - slack <= drawn.min()
        assert drawn.max() <= finite.max() + slack
    assert set(curve.low[~np.isnan(curve.low)]) <= set(finite)
    assert set(curve.high[~np.isnan(curve.high)]) <= set(finite)
