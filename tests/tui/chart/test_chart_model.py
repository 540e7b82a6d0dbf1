"""Queries on a view: new views come out, and the old ones stay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.tui.chart.model import SMOOTHING, View

EXTENT = (0.0, 100.0)


def test_zoom_keeps_the_place_it_zooms_around() -> None:
    view = View().zoomed(2, EXTENT, around=75.0)
    assert view.x_range == (37.5, 87.5)
    assert View() == View(), "the old view is as it was"


def test_zooming_out_as_far_as_in_follows_all_data_again() -> None:
    view = View().zoomed(4, EXTENT, around=100.0)
    assert view.x_range == (75.0, 100.0)
    assert view.zoomed(0.25, EXTENT).x_range is None


def test_pan_stops_at_the_data() -> None:
    view = View(x_range=(40.0, 60.0))
    assert view.panned(0.5, EXTENT).x_range == (50.0, 70.0)
    assert view.panned(99, EXTENT).x_range == (80.0, 100.0)
    assert view.panned(-99, EXTENT).x_range == (0.0, 20.0)
    assert View().panned(0.5, EXTENT) == View(), "what follows all data has nowhere to go"


def test_zoom_ends_before_the_floats_do() -> None:
    view = View()
    for _ in range(200):
        view = view.zoomed(10, (0.0, 2.0**63), around=2.0**62)
    assert view.x_range is not None
    low, high = view.x_range
    assert low < high


def test_another_x_axis_drops_the_range_and_keeps_the_cursor() -> None:
    view = View(x_range=(1.0, 2.0), cursor_step=7).next_x_mode()
    assert (view.x_mode, view.x_range, view.cursor_step) == ("relative", None, 7)
    assert view.next_x_mode().next_x_mode().x_mode == "step"


def test_smoothing_walks_through_its_factors_and_stops_at_the_ends() -> None:
    view = View(smoothing=0.0)
    seen = [view.smoothing]
    for _ in range(20):
        view = view.smoother()
        seen.append(view.smoothing)
    assert tuple(dict.fromkeys(seen)) == SMOOTHING
    for _ in range(20):
        view = view.rougher()
    assert view.smoothing == 0.0


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (2.0, 1.0), (1.0, 1.0), (-math.inf, 3.0)])
def test_an_impossible_range_shows_all_data(bad: tuple[float, float]) -> None:
    assert View(x_range=(1.0, 2.0)).with_x_range(bad).x_range is None


@given(
    st.floats(0.01, 100),
    st.floats(-1, 1),
    st.floats(0, 100),
    st.integers(0, 6),
    st.floats(-1e12, 1e12),
    st.floats(1e-3, 1e12),
)
def test_whatever_is_zoomed_and_panned_stays_inside_the_data(
    factor: float, share: float, around: float, times: int, low: float, span: float
) -> None:
    extent = (low, low + span)
    view = View()
    for _ in range(times):
        view = view.zoomed(factor, extent, low + around).panned(share, extent)
    if view.x_range is not None:
        slack = max(abs(low), span) * 1e-6
        assert view.x_range[0] < view.x_range[1]
        assert view.x_range[0] >= extent[0] - slack
        assert view.x_range[1] <= extent[1] + slack
