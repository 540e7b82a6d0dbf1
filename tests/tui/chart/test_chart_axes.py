"""Labels of the axes: enough of them, whole rows apart, alike in form; and the cursor's own."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from critictui.tui.chart.draw import Drawing, draw, with_cursor
from critictui.tui.chart.glyphs import UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import ChartData, Line, View

MakeLine = Callable[..., Line]


def labels_of(drawing: Drawing) -> list[tuple[int, str]]:
    """(row, text) of the y labels, top down."""
    frame = drawing.frame
    assert frame is not None
    texts = [row[: frame.left].strip() for row in drawing.picture.text()[: frame.height]]
    return [(row, text) for row, text in enumerate(texts) if text]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6), st.integers(3, 40))
def test_every_chart_of_three_rows_has_two_labels_whole_rows_apart(
    line: MakeLine, low: float, span: float, height: int
) -> None:
    span = max(span, abs(low) * 1e-6)
    value = np.linspace(low, low + span, 100)
    labels = labels_of(draw(ChartData(lines=(line(value),)), View(), 60, height, Style(UNICODE)))
    assert len(labels) >= 2
    rows = [row for row, _ in labels]
    assert len(set(np.diff(rows))) == 1, "as far from one another"
    written = [text.partition("e")[0].rstrip("kMGTPE") for _, text in labels if text != "0"]
    assert len({len(text.partition(".")[2]) for text in written}) == 1, "as many decimals"


@pytest.mark.parametrize("height", [3, 4, 5, 9, 12])
@pytest.mark.parametrize("bounds", [(3e-4, 5e-4), (0.2, 900.0), (1.0, 1.5), (1e-8, 1e8)])
def test_a_log_axis_has_two_labels_too(line: MakeLine, height: int, bounds: tuple[float, float]) -> None:
    value = np.geomspace(*bounds, 100)
    assert len(labels_of(draw(ChartData(lines=(line(value),)), View(log_y=True), 60, height, Style(UNICODE)))) >= 2


def test_the_axis_of_what_is_never_negative_does_not_go_below_zero(line: MakeLine, style: Style) -> None:
    for height in range(5, 30):
        frame = draw(ChartData(lines=(line(np.linspace(0.1, 2.3, 100)),)), View(), 60, height, style).frame
        assert frame is not None
        assert frame.scale.low >= -frame.scale.high / (3 * height)
        share = ChartData(lines=(line(np.linspace(0.4, 1.0, 100)),), percent=True)
        frame = draw(share, View(), 60, height, style).frame
        assert frame is not None
        assert frame.scale.high <= 1.05


def test_the_curve_fills_most_of_the_height(line: MakeLine, style: Style) -> None:
    for span in np.geomspace(0.01, 100, 50):
        for height in (5, 6, 9, 12, 30):
            frame = draw(ChartData(lines=(line(np.linspace(0, span, 90)),)), View(), 60, height, style).frame
            assert frame is not None
            assert span / (frame.scale.high - frame.scale.low) > 0.7


@pytest.mark.parametrize("width", [24, 30, 38, 58])
def test_an_x_axis_has_two_labels(line: MakeLine, width: int) -> None:
    for n in (50, 240, 310, 318, 3100, 12_345):
        drawing = draw(ChartData(lines=(line(np.zeros(n), step=range(1, n + 1)),)), View(), width, 6, Style(UNICODE))
        assert drawing.frame is not None
        assert len(drawing.picture.text()[-1][drawing.frame.left :].split()) >= 2, n


def test_a_constant_is_named_on_its_axis(line: MakeLine, style: Style) -> None:
    for value, label in ((1e-6, "1.0e-6"), (3.0, "3"), (-1.0, "-1.0"), (0.5, "0.50"), (0.0, "0.0")):
        drawing = draw(ChartData(lines=(line(np.full(60, value)),)), View(), 60, 9, style)
        assert label in [text for _, text in labels_of(drawing)], labels_of(drawing)


@pytest.mark.parametrize("mode", ["step", "relative", "wall"])
def test_the_label_of_the_cursor_stands_alone(line: MakeLine, style: Style, mode: str) -> None:
    """It lay over half of a tick's label: `1 11`, `220225`."""
    drawing = draw(ChartData(lines=(line(np.zeros(240)),)), View(x_mode=mode), 58, 9, style)  # type: ignore[arg-type]
    assert drawing.frame is not None
    left = drawing.frame.left
    ticks = set(drawing.picture.text()[-1][left:].split())
    for step in range(0, 240, 7):
        axis = with_cursor(drawing, step, style)
        reading = axis.ink[-1] == 13
        text = "".join(axis.glyph[-1][reading]).strip()
        rest = "".join(np.where(reading, " ", axis.glyph[-1])[left:]).split()
        assert text
        assert set(rest) <= ticks, "every other label is whole"


def test_a_moment_on_the_axis_is_short(line: MakeLine, style: Style) -> None:
    for hours, form in ((1, r"\d\d:\d\d:\d\d"), (48, r"\d+ [A-Z][a-z][a-z] \d\d:\d\d")):
        wall = 1.7e9 + np.linspace(0, hours * 3600, 240)
        drawing = draw(ChartData(lines=(line(np.zeros(240), wall=wall),)), View(x_mode="wall"), 58, 9, style)
        axis = with_cursor(drawing, 120, style)
        text = "".join(axis.glyph[-1][axis.ink[-1] == 13])
        assert re.fullmatch(f" {form} ", text)
