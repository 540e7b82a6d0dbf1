from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.run.pyramid import Pyramid


def column(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4, n)
    for odd in (np.nan, np.inf, -np.inf):
        values[rng.random(n) < 0.02] = odd
    return values


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 9999), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=4), data=st.data())
def test_an_envelope_says_of_each_range_what_numpy_says_however_the_column_grew(seed, sizes, data):
    values, pyramid = column(sum(sizes), seed), Pyramid()
    for end in np.cumsum(sizes).tolist():
        part = values[:end]
        edges = np.sort(np.array(data.draw(st.lists(st.integers(0, end), min_size=2, max_size=40)), np.int64))
        found = pyramid.envelope(part, edges)
        for c in range(len(edges) - 1):
            inside = part[edges[c] : edges[c + 1]]
            finite = inside[np.isfinite(inside)]
            assert (found.count[c], found.non_finite[c]) == (len(finite), len(inside) - len(finite))
            if len(finite):
                assert (found.min[c], found.max[c]) == (finite.min(), finite.max())
                assert found.mean[c] == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9)
            else:
                assert np.isnan([found.min[c], found.mean[c], found.max[c]]).all()
        everything = part[np.isfinite(part)]
        expected = (everything.min(), everything.max()) if len(everything) else None
        assert pyramid.bounds(part) == expected


def test_an_earlier_shorter_view_is_summarised_as_it_was():
    values, pyramid = column(10_000), Pyramid()
    edges = np.linspace(0, 5000, 50).astype(np.int64)
    before = pyramid.envelope(values[:5000], edges)
    pyramid.envelope(values, np.array([0, 10_000]))
    after = pyramid.envelope(values[:5000], edges)
    np.testing.assert_array_equal(before.max, after.max)
    np.testing.assert_array_equal(before.count, after.count)


def test_values_whose_sum_overflows_keep_a_mean_inside_the_band():
    found = Pyramid().envelope(np.full(1000, 1e308), np.array([0, 1000]))
    assert found.mean[0] == 1e308


def test_edges_outside_of_the_column_are_refused():
    for edges in ([0, 11], [-1, 5], [5, 3], [0]):
        with pytest.raises(ValueError, match="edges"):
            Pyramid().envelope(np.zeros(10), np.array(edges))


def test_a_frame_costs_about_the_same_at_ten_thousand_and_at_a_million_points():
    def cost(n: int) -> float:
        values, pyramid = np.random.default_rng(0).normal(size=n), Pyramid()
        edges = np.linspace(0, n, 161).astype(np.int64)
        pyramid.envelope(values, edges)
        took = []
        for _ in range(30):
            began = time.thread_time()
            pyramid.envelope(values, edges)
            took.append(time.thread_time() - began)
        return min(took)

    assert cost(1_000_000) < 6 * cost(10_000)
