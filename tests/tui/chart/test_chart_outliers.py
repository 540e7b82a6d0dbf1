"""Few far points do not set the y range, and it is said that they are there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from critictui.run.panels import Reference
from critictui.tui.chart.draw import Drawing, draw
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import AlertMark, ChartData, Line, View

MakeLine = Callable[..., Line]


def rows_of(drawing: Drawing) -> list[str]:
    assert drawing.frame is not None
    return [row[drawing.frame.left :] for row in drawing.picture.text()[: drawing.frame.height]]


def calm(n: int = 240) -> np.ndarray:
    return np.asarray(2 + np.sin(np.arange(float(n))) / 4)


def test_one_far_point_does_not_flatten_the_history(line: MakeLine, style: Style) -> None:
    value = calm()
    value[150] = 1e6
    drawing = draw(ChartData(lines=(line(value),)), View(), 80, 12, style)
    frame = drawing.frame
    assert frame is not None
    assert frame.scale.high < 4
    top = rows_of(drawing)[0]
    assert top[frame.column_of_step(150)] == style.glyphs.above
    assert "1.00M" in top, "how far it goes"


def test_one_key_shows_every_point(line: MakeLine, style: Style) -> None:
    value = calm()
    value[150] = 1e6
    data = ChartData(lines=(line(value),))
    drawing = draw(data, View().with_whole(True), 80, 12, style)
    assert drawing.frame is not None
    assert drawing.frame.scale.high >= 1e6
    assert style.glyphs.above not in "".join(rows_of(drawing))


def test_the_smoothed_line_is_not_bent_by_what_is_left_out(line: MakeLine, style: Style) -> None:
    """The average of one value of a million stays large for a hundred steps: the line would be out of the picture."""
    value = calm()
    value[20] = 1e6
    frame = draw(ChartData(lines=(line(value),)), View(), 80, 12, style).frame
    assert frame is not None
    assert np.nanmax(frame.curves[0].high) == 1e6, "the band knows it"
    late = frame.curves[0].line[60:]
    assert np.nanmax(late) < 2.5


def test_how_many_points_are_far_and_how_far_is_said_on_both_sides(line: MakeLine, style: Style) -> None:
    value = calm(400)
    value[[100, 102, 104]] = (50.0, 800.0, 70.0)
    value[[300, 301]] = -900.0
    rows = rows_of(draw(ChartData(lines=(line(value),)), View(), 100, 14, style))
    assert "3 up to 800" in rows[0]
    assert "2 down to -900" in rows[-1]
    assert style.glyphs.above in rows[0]
    assert style.glyphs.below in rows[-1]


def test_an_alert_at_the_same_step_leaves_the_arrow(line: MakeLine, style: Style) -> None:
    value = calm()
    value[150] = 1e6
    data = ChartData(lines=(line(value),), marks=(AlertMark(150, "critical"),))
    drawing = draw(data, View(), 80, 12, style)
    assert drawing.frame is not None
    column = drawing.frame.column_of_step(150) or 0
    rows = rows_of(drawing)
    assert (rows[0][column], rows[1][column]) == (style.glyphs.critical, style.glyphs.above)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no outlier at all", np.linspace(-3, 3, 300)),
        ("too many", np.where(np.arange(300) % 12 == 0, 90.0, calm(300))),
        ("not far enough", np.where(np.arange(300) == 40, 3.5, calm(300))),
        ("all others equal", np.where(np.arange(45) == 31, 1.79, 0.0)),
        ("too few points to judge by", np.where(np.arange(15) == 3, 1e6, calm(15))),
        ("the newest one", np.where(np.arange(300) >= 298, 1e6, calm(300))),
        ("a collapse that has just begun", np.where(np.arange(300) >= 295, 0.0, 2 + np.sin(np.arange(300.0)) / 40)),
    ],
)
def test_the_range_holds_everything_where_nothing_is_won(
    line: MakeLine, style: Style, name: str, value: np.ndarray
) -> None:
    drawing = draw(ChartData(lines=(line(value),)), View(), 80, 12, style)
    frame = drawing.frame
    assert frame is not None
    assert frame.outliers is None, name
    assert frame.scale.low <= value.min()
    assert value.max() <= frame.scale.high
    assert style.glyphs.above not in "".join(rows_of(drawing))


def test_a_run_that_exploded_into_nan_shows_its_good_steps(line: MakeLine, style: Style) -> None:
    value = np.concatenate((calm(123), [-12500.0, 1.03e6, 61.0, -49629.0], np.full(113, np.nan)))
    frame = draw(ChartData(lines=(line(value), line(value + 0.1, "student"))), View(), 58, 9, style).frame
    assert frame is not None
    assert frame.outliers is not None
    assert (frame.outliers.lowest, frame.outliers.highest) == (-49629.0, 1.03e6 + 0.1)
    assert -10 < frame.scale.low < frame.scale.high < 70


def test_thresholds_are_where_they_would_be_without_the_far_point(line: MakeLine, style: Style) -> None:
    value = calm()
    references = (Reference(2.2, "limit", "threshold"), Reference(40.0, "far", "threshold"))
    plain = draw(ChartData(lines=(line(value),), references=references), View(), 80, 12, style).frame
    value = value.copy()
    value[150] = 1e6
    drawing = draw(ChartData(lines=(line(value),), references=references), View(), 80, 12, style)
    assert plain is not None
    assert drawing.frame is not None
    assert drawing.frame.scale == plain.scale
    assert any("limit" in row for row in rows_of(drawing))
