"""What a chart looks like, as text: every mark at its place, and nothing that is not in the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from critictui.run.panels import Reference
from critictui.tui.chart.draw import Drawing, draw, with_cursor
from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import AlertMark, ChartData, Line, Point, SeamMark, View
from critictui.tui.chart.names import letters_of
from critictui.tui.chart.picture import dim_ink, is_line, line_ink

MakeLine = Callable[..., Line]
RAW = View(smoothing=0.0, show_band=False)
TINT, PLAIN = Style(UNICODE), Style(ASCII, tint=False, mono=True)


def text_of(drawing: Drawing) -> list[str]:
    return drawing.picture.text()


def plot(drawing: Drawing) -> list[str]:
    frame = drawing.frame
    assert frame is not None
    return [row[frame.left :] for row in text_of(drawing)[: frame.height]]


def test_a_straight_line_is_a_thin_diagonal(line: MakeLine) -> None:
    data = ChartData(lines=(line(np.arange(20.0), step=range(20)),))
    drawing = draw(data, View(smoothing=0.0, show_band=False, x_range=(0.0, 19.0)), 16, 5, TINT)
    dots = sum((ord(c) - 0x2800).bit_count() for row in plot(drawing) for c in row if "\u2800" < c <= "\u28ff")
    assert dots == 32, "one dot a pixel column: the line is thin"


def test_in_ascii_a_line_is_made_of_its_marker(line: MakeLine) -> None:
    drawing = draw(ChartData(lines=(line([0.0, 1.0], step=[0, 10]),)), RAW, 12, 3, PLAIN)
    rows = [row.replace(".", " ").rstrip() for row in text_of(drawing)]
    assert rows == ["        ####", "   #####", "####"]


def test_the_largest_value_is_at_the_top_and_the_smallest_at_the_bottom(line: MakeLine, style: Style) -> None:
    value = np.zeros(50)
    value[10], value[40] = 5.0, -5.0
    drawing = draw(ChartData(lines=(line(value),)), RAW, 60, 12, style)
    assert drawing.frame is not None
    rows = np.flatnonzero(is_line(drawing.picture.ink).any(axis=1))
    assert (rows[0], rows[-1]) == (drawing.frame.row_of(5.0), drawing.frame.row_of(-5.0))
    assert rows[0] <= 1
    assert rows[-1] >= drawing.frame.height - 2


def test_a_constant_series_is_one_row_in_the_middle(line: MakeLine, style: Style) -> None:
    for value in (0.0, 3.5, -1e300, 1e-300, 5e-324):
        drawing = draw(ChartData(lines=(line([value] * 30),)), RAW, 60, 12, style)
        rows = np.flatnonzero(is_line(drawing.picture.ink).any(axis=1))
        assert len(rows) == 1, value
        assert 4 <= rows[0] <= 7


def test_few_points_are_seen_beside_the_smoothed_line_that_lags_behind_them(line: MakeLine) -> None:
    value = np.concatenate((np.full(5, 0.0), np.full(40, 1.0)))
    for style in (TINT, Style(UNICODE, tint=False, mono=True)):
        drawing = draw(ChartData(lines=(line(value),)), View(smoothing=0.95), 80, 16, style)
        frame = drawing.frame
        assert frame is not None
        ink = drawing.picture.ink[frame.row_of(1.0), frame.left :]
        column = frame.column_of_step(20)
        assert ink[column] == dim_ink(line_ink("main", 0)), "the value itself, quiet"
        assert is_line(drawing.picture.ink[frame.row_of(0.9) : frame.height, frame.left + (column or 0)]).any()


def test_a_single_point_is_a_dot(line: MakeLine, style: Style) -> None:
    drawing = draw(ChartData(lines=(line([2.5], step=[7]),)), RAW, 60, 12, style)
    assert is_line(drawing.picture.ink).sum() == 1
    assert "7" in text_of(drawing)[-1]


def test_without_data_it_says_what_it_waits_for(line: MakeLine, style: Style) -> None:
    for data in (ChartData(), ChartData(lines=(line([]),))):
        rows = text_of(draw(data, View(), 40, 9, style))
        assert rows[4].strip() == "waiting for data"
        assert not "".join(rows[:4] + rows[5:]).strip()


def test_nothing_but_nan_says_so_and_marks_the_columns(line: MakeLine, style: Style) -> None:
    drawing = draw(ChartData(lines=(line([np.nan] * 10),)), View(), 60, 10, style)
    assert "no finite values in view" in "\n".join(text_of(drawing))
    assert plot(drawing)[-1].count(style.glyphs.bad) == 10
    assert not is_line(drawing.picture.ink).any()


def test_one_nan_among_many_values_marks_its_column_on_the_bottom_row(line: MakeLine, style: Style) -> None:
    value = np.linspace(0, 1, 200)
    value[100] = np.inf
    drawing = draw(ChartData(lines=(line(value),)), View(), 80, 12, style)
    frame = drawing.frame
    assert frame is not None
    bottom = plot(drawing)[-1]
    assert [i for i, c in enumerate(bottom) if c == style.glyphs.bad] == [frame.column_of_step(100)]


def test_on_a_log_axis_what_is_not_positive_is_a_gap_and_said(line: MakeLine) -> None:
    value = np.concatenate((np.full(50, 10.0), np.full(50, -1.0), np.full(50, 1000.0)))
    drawing = draw(ChartData(lines=(line(value),)), View(smoothing=0.0, log_y=True, show_band=False), 80, 12, TINT)
    frame = drawing.frame
    assert frame is not None
    assert "log: values ≤ 0 not shown" in text_of(drawing)[0]
    held = is_line(drawing.picture.ink[:11, frame.left :]).any(axis=0)
    gap = slice((frame.column_of_step(50) or 0) + 1, frame.column_of_step(99))
    assert not held[gap].any()
    assert held[: gap.start - 2].all()


def test_references_are_dashed_at_their_value_and_named(line: MakeLine, style: Style) -> None:
    data = ChartData(
        lines=(line(np.linspace(0.6, 0.9, 50)),), references=(Reference(0.5, "chance", "chance"),), percent=True
    )
    drawing = draw(data, RAW, 80, 12, style)
    assert drawing.frame is not None
    row = plot(drawing)[drawing.frame.row_of(0.5)]
    assert "chance" in row
    assert 10 < sum(c != " " for c in row.replace("chance", "")) < len(row) - 10


def test_a_far_reference_does_not_flatten_the_curve(line: MakeLine) -> None:
    data = ChartData(lines=(line([100.0, 101.0, 100.5]),), references=(Reference(0.0, "zero"),))
    frame = draw(data, RAW, 80, 12, TINT).frame
    assert frame is not None
    assert frame.scale.low > 90
    near = ChartData(lines=(line([1.0, 3.0]),), references=(Reference(0.0), Reference(9.0, "limit", "threshold")))
    frame = draw(near, RAW, 80, 12, TINT).frame
    assert frame is not None
    assert frame.scale.low < 0 < 3 < frame.scale.high < 9


def test_seams_and_alerts_stand_at_their_steps(line: MakeLine, style: Style) -> None:
    data = ChartData(
        lines=(line(np.zeros(200)),),
        seams=(SeamMark(100, "restart"), SeamMark(5000)),
        marks=(AlertMark(50, "critical"), AlertMark(50, "info"), AlertMark(120, "warning"), AlertMark(-1, "critical")),
    )
    drawing = draw(data, RAW, 80, 12, style)
    assert drawing.frame is not None
    rows, column = plot(drawing), drawing.frame.column_of_step(100)
    seams = {(r, c) for r, row in enumerate(rows) for c, glyph in enumerate(row) if glyph == style.glyphs.seam}
    assert {c for _, c in seams} == {column}
    assert len(seams) >= drawing.frame.height - 2
    assert rows[0][drawing.frame.column_of_step(50)] == style.glyphs.critical, "the worst of two is on top"
    assert rows[0][drawing.frame.column_of_step(120)] == style.glyphs.warning
    assert rows[0].count(style.glyphs.critical) == 1


def test_more_seams_than_there_is_room_for_are_not_drawn(line: MakeLine, style: Style) -> None:
    data = ChartData(lines=(line(np.zeros(1000)),), seams=tuple(SeamMark(i) for i in range(1000)))
    assert style.glyphs.seam not in "".join(plot(draw(data, RAW, 60, 10, style))).replace("·", "")


def test_a_fixed_set_score_is_a_dot_with_its_interval(line: MakeLine, style: Style) -> None:
    data = ChartData(
        lines=(line(np.linspace(0, 1, 100)),), points=(Point(20, 0.6, 0.4, 0.8), Point(60, float("nan"), 0, 1))
    )
    drawing = draw(data, RAW, 80, 20, style)
    frame = drawing.frame
    assert frame is not None
    place = frame.left + (frame.column_of_step(20) or 0)
    inked = is_line(drawing.picture.ink[: frame.height, place])
    glyphs = drawing.picture.glyph[: frame.height, place]
    column = [str(glyph) if ink else " " for glyph, ink in zip(glyphs, inked, strict=True)]
    assert column[frame.row_of(0.6)] == style.glyphs.point
    bars = {style.glyphs.bar, style.glyphs.bar_low, style.glyphs.bar_high}
    barred = [row for row, glyph in enumerate(column) if glyph in bars]
    assert min(barred) == frame.row_of(0.8)
    assert max(barred) == frame.row_of(0.4)
    assert "".join(plot(drawing)).count(style.glyphs.point) == 1, "a score that is no number is not drawn"


def test_the_y_range_holds_the_whole_interval(line: MakeLine) -> None:
    data = ChartData(lines=(line([0.7] * 10),), points=(Point(5, 0.3, 0.1, 0.5),))
    frame = draw(data, RAW, 60, 12, TINT).frame
    assert frame is not None
    assert frame.row_of(0.1) is not None


def test_the_best_point_is_marked(line: MakeLine, style: Style) -> None:
    value = np.zeros(100)
    value[30] = 2.0
    drawing = draw(ChartData(lines=(line(value, best="high"),)), View(), 60, 12, style)
    assert drawing.frame is not None
    row = plot(drawing)[drawing.frame.row_of(2.0)]
    assert row[drawing.frame.column_of_step(30)] == style.glyphs.best


def test_a_cursor_crosses_the_plot_and_names_its_step(line: MakeLine, style: Style) -> None:
    drawing = draw(ChartData(lines=(line(np.zeros(200)),)), RAW, 80, 12, style)
    assert drawing.frame is not None
    before = text_of(drawing)
    rows = with_cursor(drawing, 123, style).text()
    column = drawing.frame.left + (drawing.frame.column_of_step(123) or 0)
    assert sum(row[column] == style.glyphs.cursor for row in rows) >= drawing.frame.height - 1
    assert " 123 " in rows[-1]
    assert text_of(drawing) == before, "the picture without the cursor is kept"
    assert with_cursor(drawing, None, style) is drawing.picture
    assert with_cursor(drawing, 10**6, style).text() == before, "a step that is out of view has no cursor"


def test_lines_of_other_runs_have_other_shapes(line: MakeLine) -> None:
    def dots(run: int) -> int:
        drawing = draw(ChartData(lines=(line(np.zeros(200), run=run),)), RAW, 80, 12, TINT)
        return sum((ord(c) - 0x2800).bit_count() for row in plot(drawing) for c in row if "\u2800" < c <= "\u28ff")

    solid, dashed, dotted = dots(0), dots(1), dots(2)
    assert solid > dashed > dotted > 20


def test_without_colours_every_line_has_a_shape_and_a_letter_of_its_own(line: MakeLine) -> None:
    lines = (line(np.zeros(50), "teacher"), line(np.ones(50), "student"), line(np.ones(50) * 2, "teacher"))
    assert letters_of(lines) == ["T", "S", "t"]
    rows = plot(draw(ChartData(lines=lines), RAW, 60, 14, PLAIN))
    for marker, letter in (("#", "T"), ("o", "S"), ("+", "t")):
        assert any(marker in row and letter in row for row in rows)
    many = tuple(line([1.0], "x") for _ in range(12))
    assert len(set(letters_of(many))) == 12


def test_hostile_labels_are_shown_as_text(line: MakeLine, style: Style) -> None:
    data = ChartData(
        lines=(line(np.zeros(100), "\x1b[31m[red]x"),),
        references=(Reference(0.5, "\x1b]0;x\x07漢字\u202e[/b]", "chance"),),
        percent=True,
        waiting="\x1b[2J",
    )
    for height in (12, 1):
        for row in text_of(draw(data, View(), 80, height, style)):
            assert cell_len(row) == 80
            assert row.isprintable()


def test_new_steps_leave_the_columns_before_them_where_they_are(line: MakeLine) -> None:
    value = np.sin(np.arange(2000) / 50)
    frames = [draw(ChartData(lines=(line(value[:n]),)), View(), 100, 20, TINT).frame for n in range(1000, 1040)]
    extents = {frame.extent for frame in frames if frame is not None}
    assert len(extents) <= 2
    assert all(frame is not None and frame.extent[1] <= 1040 * 1.05 for frame in frames)


def test_a_change_at_the_right_end_repaints_the_right_end(line: MakeLine) -> None:
    value = np.sin(np.arange(2000) / 50)
    first = draw(ChartData(lines=(line(value[:1010]),)), View(), 100, 20, TINT).picture
    second = draw(ChartData(lines=(line(value[:1015]),)), View(), 100, 20, TINT).picture
    changed = second.differs(first)
    assert changed
    assert all(low > 85 for _, low, _ in changed)
    assert first.differs(first) == []


def test_clock_and_relative_axes_are_labelled(line: MakeLine, style: Style) -> None:
    data = ChartData(lines=(line(np.zeros(200), wall=1.7e9 + 60 * np.arange(200)),))
    assert "1h" in text_of(draw(data, View(x_mode="relative"), 80, 10, style))[-1]
    assert ":" in text_of(draw(data, View(x_mode="wall"), 80, 10, style))[-1]
    timeless = ChartData(lines=(line(np.zeros(20), wall=[np.nan] * 20),))
    assert "no wall times" in "\n".join(text_of(draw(timeless, View(x_mode="wall"), 80, 10, style)))


odd = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")]),
)
views = st.builds(
    View,
    x_mode=st.sampled_from(["step", "relative", "wall"]),
    x_range=st.one_of(st.none(), st.tuples(st.floats(-1e19, 0), st.floats(1, 1e19))),
    y_range=st.one_of(st.none(), st.tuples(odd, odd)),
    log_y=st.booleans(),
    whole_y=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.9, 0.999]),
    cursor_step=st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    show_band=st.booleans(),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120, deadline=None)
@given(
    values=st.lists(st.lists(odd, max_size=12), min_size=1, max_size=4),
    start=st.sampled_from([0, 1, -5, 2**53, 2**63 - 20, -(2**63)]),
    wall=st.lists(odd, min_size=12, max_size=12),
    size=st.tuples(st.integers(0, 50), st.integers(0, 14)),
    view=views,
    mark=st.tuples(st.integers(-(2**63), 2**63 - 1), odd, odd, odd),
)
def test_no_number_and_no_size_breaks_a_chart(
    line: MakeLine,
    style: Style,
    values: list[list[float]],
    start: int,
    wall: list[float],
    size: tuple[int, int],
    view: View,
    mark: tuple[int, float, float, float],
) -> None:
    lines = tuple(
        line(v, run=i, best="low", step=range(start, start + len(v)), wall=wall[: len(v)]) for i, v in enumerate(values)
    )
    data = ChartData(
        lines=lines,
        references=(Reference(mark[1], "r"), Reference(mark[2], "t", "threshold")),
        seams=(SeamMark(mark[0], "s"),),
        marks=(AlertMark(mark[0], "warning"),),
        points=(Point(mark[0], mark[1], mark[2], mark[3]),),
    )
    width, height = size
    drawing = draw(data, view, width, height, style)
    rows = with_cursor(drawing, view.cursor_step, style).text()
    assert len(rows) == height
    for row in rows:
        assert len(row) == cell_len(row) == width
        assert row.isascii() or style.glyphs.braille


@pytest.mark.parametrize("height", [1, 2, 3, 200])
@pytest.mark.parametrize("width", [1, 2, 3, 21, 22, 500])
def test_any_size_holds_a_chart(line: MakeLine, style: Style, width: int, height: int) -> None:
    data = ChartData("t", (line(np.sin(np.arange(300.0))), line(np.cos(np.arange(300.0)), "student", role="student")))
    drawing = draw(data, View(), width, height, style)
    assert drawing.picture.glyph.shape == (height, width)
    assert is_line(drawing.picture.ink).any()
