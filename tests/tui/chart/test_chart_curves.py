"""What the curves of a chart show of the points: every line is seen, every point is, and nothing that is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from critictui.tui.chart.draw import Drawing, draw
from critictui.tui.chart.glyphs import UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import ChartData, Line, View
from critictui.tui.chart.picture import ink_of, meaning

MakeLine = Callable[..., Line]
TINT = Style(UNICODE)


def columns_of(drawing: Drawing, line: Line) -> int:
    """In how many columns one sees the colour of the line."""
    return int((drawing.picture.ink == ink_of(line)).any(axis=0).sum())


def dots_at(drawing: Drawing, column: int) -> list[tuple[int, int]]:
    """(dot row, ink) of the braille dots in a column of cells, top down."""
    frame = drawing.frame
    assert frame is not None
    found = []
    for row in range(frame.height):
        code = ord(str(drawing.picture.glyph[row, frame.left + column])) - 0x2800
        if 0 < code < 256:
            ink = int(drawing.picture.ink[row, frame.left + column])
            found += [(4 * row + dot, ink) for dot, bits in enumerate((0x09, 0x12, 0x24, 0xC0)) if code & bits]
    return found


@pytest.mark.parametrize("size", [(30, 5), (38, 8), (60, 12), (120, 30)])
def test_two_lines_of_equal_values_are_both_seen(line: MakeLine, size: tuple[int, int]) -> None:
    value = np.linspace(0.4, 1.2, 240)
    lines = (line(value, "teacher", role="teacher"), line(value + 1e-3, "student", role="student"))
    drawing = draw(ChartData(lines=lines), View(), *size, TINT)
    assert drawing.frame is not None
    assert min(columns_of(drawing, each) for each in lines) >= drawing.frame.width / 3


def test_six_lines_of_equal_values_are_all_seen(line: MakeLine) -> None:
    roles = ("main", "second", "third", "fourth", "fifth", "sixth")
    lines = tuple(line(np.ones(200), role=role) for role in roles)
    drawing = draw(ChartData(lines=lines), View(), 60, 8, TINT)
    assert min(columns_of(drawing, each) for each in lines) >= 6


def test_a_shared_cell_holds_no_dot_in_the_colour_of_another_line(line: MakeLine) -> None:
    """Two constants two dots apart: wherever a colour is seen, it is seen at its own height."""
    lines = (line(np.zeros(100), "teacher", role="teacher"), line(np.full(100, 1.0), "student", role="student"))
    drawing = draw(ChartData(lines=lines), View(y_range=(-5.0, 18.25), show_band=False), 60, 7, TINT)
    frame = drawing.frame
    assert frame is not None
    heights: dict[int, set[int]] = {ink_of(each): set() for each in lines}
    for column in range(frame.width - 4):
        for dot, ink in dots_at(drawing, column):
            if ink in heights:
                heights[ink].add(dot)
    places = [round(frame.place_of(value, 4)) for value in (0.0, 1.0)]
    assert places[0] // 4 == places[1] // 4, "they share their cells"
    assert [heights[ink_of(each)] for each in lines] == [{place} for place in places]


def test_a_single_spike_is_not_a_pyramid(line: MakeLine) -> None:
    """A real run logged 0 at all steps around 32 and 1.79 there; the chart showed values from step 25 to 37."""
    value = np.zeros(45)
    value[31] = 1.79
    for style in (TINT, Style(UNICODE, tint=False, mono=True)):
        drawing = draw(ChartData(lines=(line(value, step=range(1, 46)),)), View(), 120, 30, style)
        frame = drawing.frame
        assert frame is not None
        before, after = frame.column_of_step(31), frame.column_of_step(33)
        assert before is not None
        assert after is not None
        empty = frame.row_of(0.4)
        assert empty is not None
        for column in (*range(before), *range(after + 1, frame.width)):
            above = [dot for dot, _ in dots_at(drawing, column) if dot < 4 * empty]
            assert not above, f"nothing was logged above 0 in column {column}"
            assert not drawing.picture.paper[:empty, frame.left + column].any()
        assert drawing.picture.ink[frame.row_of(1.79), frame.left + (frame.column_of_step(32) or 0)] > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.integers(700, 5000), st.integers(0, 2**32 - 1))
def test_the_band_is_the_minimum_and_the_maximum_of_each_column(line: MakeLine, n: int, seed: int) -> None:
    value = np.random.default_rng(seed).normal(size=n).cumsum()
    drawing = draw(ChartData(lines=(line(value),)), View(whole_y=True), 60, 16, TINT)
    frame = drawing.frame
    assert frame is not None
    curve = frame.curves[0]
    tops, bottoms = frame.rows_of(curve.high, 1), frame.rows_of(curve.low, 1)
    for column in np.flatnonzero(np.isfinite(curve.low)).tolist():
        paper = drawing.picture.paper[: frame.height, frame.left + column] > 0
        ink = drawing.picture.ink[: frame.height, frame.left + column]
        rows = np.flatnonzero(paper | np.array([meaning(int(i))[0] == "paper" for i in ink]))
        if len(rows):
            assert rows[0] >= tops[column] - 1
            assert rows[-1] <= bottoms[column] + 1
        inside = np.arange(int(np.ceil(tops[column])) + 1, int(np.floor(bottoms[column])))
        lined = np.array([meaning(int(i))[0] == "line" for i in ink[inside]], bool)
        assert (paper[inside] | lined).all()


def test_a_point_is_seen_where_the_smoothed_line_runs_too(line: MakeLine) -> None:
    """A point beside the line in one cell: both have their dots there."""
    value = np.where(np.arange(40) % 2, 1.0, -1.0)
    drawing = draw(ChartData(lines=(line(value),)), View(smoothing=0.99, y_range=(-6.0, 6.0)), 90, 6, TINT)
    frame = drawing.frame
    assert frame is not None
    for step in range(20, 38):
        column = frame.column_of_step(step)
        assert column is not None
        assert round(frame.place_of(float(value[step]), 4)) in [dot for dot, _ in dots_at(drawing, column)]


@pytest.mark.parametrize("constant", [1e-6, 9.999999974752427e-07, 0.1, 3.0, -1 / 3, 2e-5, 1024.0])
def test_a_constant_is_a_straight_line_at_every_height(line: MakeLine, constant: float) -> None:
    for height in range(3, 40):
        for n in (45, 300, 9000):
            drawing = draw(ChartData(lines=(line(np.full(n, constant)),)), View(), 60, height, TINT)
            frame = drawing.frame
            assert frame is not None
            heights = {dot for column in range(frame.width) for dot, ink in dots_at(drawing, column) if ink >= 32}
            assert len(heights) == 1, (height, n)


def test_what_settles_does_not_flicker_between_two_rows(line: MakeLine) -> None:
    """A learning rate that warms up and stays: after the average has come there the line is straight."""
    value = np.concatenate((np.linspace(0, 1e-6, 30), np.full(2000, 1e-6)))
    for height in range(4, 30):
        drawing = draw(ChartData(lines=(line(value),)), View(), 120, height, TINT)
        frame = drawing.frame
        assert frame is not None
        rows = [dot for column in range(30, frame.width) for dot, ink in dots_at(drawing, column) if ink >= 32]
        assert len(set(rows)) == 1
