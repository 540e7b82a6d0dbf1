"""The words inside a plot: letters at the ends of lines, names of thresholds, seams and epochs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from critictui.run.panels import Reference
from critictui.tui.chart.draw import Drawing, draw
from critictui.tui.chart.glyphs import UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import ChartData, Line, SeamMark, View
from critictui.tui.chart.picture import ink_of, is_line

MakeLine = Callable[..., Line]
TINT = Style(UNICODE)


def rows_of(drawing: Drawing) -> list[str]:
    assert drawing.frame is not None
    return [row[drawing.frame.left :] for row in drawing.picture.text()[: drawing.frame.height]]


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("apart", [0.0, 0.01, 1.0])
def test_every_run_has_its_letter_at_the_end_of_its_line(line: MakeLine, count: int, apart: float) -> None:
    roles = ("main", "second", "third", "fourth", "fifth", "sixth")
    lines = tuple(line(np.full(100, 1 + run * apart), "x", role=roles[run], run=run) for run in range(count))
    data = ChartData(lines=lines, runs=tuple(f"run {run}" for run in range(count)))
    drawing = draw(data, View(), 50, 10, TINT)
    picture = drawing.picture
    for run, each in enumerate(lines):
        places = np.argwhere((picture.glyph == "ABCDEF"[run]) & (picture.ink == ink_of(each)))
        assert len(places) == 1, "once, in the colour of the line"
        assert drawing.frame is not None
        assert abs(int(places[0][0]) - (drawing.frame.row_of(1 + run * apart) or 0)) <= 3
        assert places[0][1] >= 44


def test_a_shorter_run_has_its_letter_where_it_ends(line: MakeLine) -> None:
    lines = (line(np.zeros(200), run=0), line(np.ones(100), run=1, role="second"))
    drawing = draw(ChartData(lines=lines, runs=("new", "old")), View(), 60, 10, TINT)
    assert drawing.frame is not None
    row, column = np.argwhere(drawing.picture.glyph == "B")[0].tolist()
    assert abs(column - drawing.frame.left - (drawing.frame.column_of_step(99) or 0)) <= 2
    assert row == drawing.frame.row_of(1.0)


def test_one_run_has_no_letters_in_colour(line: MakeLine) -> None:
    lines = (line(np.zeros(200), "teacher"), line(np.ones(200), "student", role="student"))
    assert not any(c.isalpha() for row in rows_of(draw(ChartData(lines=lines), View(), 60, 10, TINT)) for c in row)


def test_without_colours_the_letters_tell_run_and_line(line: MakeLine) -> None:
    lines = tuple(
        line(np.full(100, run * 2.0 + 5 * (label == "teacher")), label, run=run)
        for run in (0, 1)
        for label in ("teacher", "student")
    )
    data = ChartData(lines=lines, runs=("new", "old"))
    text = "\n".join(rows_of(draw(data, View(), 60, 16, Style(UNICODE, tint=False, mono=True))))
    assert all(name in text for name in ("AT", "AS", "BT", "BS"))


def test_a_threshold_says_what_it_is_where_no_curve_is(line: MakeLine, style: Style) -> None:
    """The memorised run: one threshold runs along the curve at its right end, another one beside it."""
    value = np.concatenate((np.linspace(0.5, 0.75, 120), np.full(120, 0.99)))
    references = (
        Reference(0.98, "saturation", "threshold"), Reference(0.76, "step-change", "threshold"),
        Reference(0.5, "chance", "chance"),
    )  # fmt: skip
    data = ChartData(lines=(line(value),), references=references, percent=True)
    for width, height in ((38, 6), (58, 9), (118, 28)):
        drawing = draw(data, View(), width, height, style)
        text = "\n".join(rows_of(drawing))
        assert all(word in text for word in ("step-change", "chance")), (width, height)
        if width > 40:
            assert "saturation" in text


def test_no_label_lies_over_another(line: MakeLine, style: Style) -> None:
    references = tuple(Reference(0.6 + k / 1000, f"rule-{k}", "threshold") for k in range(4))
    drawing = draw(ChartData(lines=(line(np.linspace(0, 1, 99)),), references=references), View(), 60, 9, style)
    text = "\n".join(rows_of(drawing))
    for word in text.replace("\n", " ").split():
        if "rule" in word:
            assert word.strip("-") in {f"rule-{k}" for k in range(4)}


def test_epochs_and_restarts_are_named_and_look_unlike(line: MakeLine, style: Style) -> None:
    seams = (SeamMark(60, "epoch 2"), SeamMark(140, "restart 1", restart=True))
    drawing = draw(ChartData(lines=(line(np.sin(np.arange(200) / 30)),), seams=seams), View(), 100, 14, style)
    assert drawing.frame is not None
    rows = rows_of(drawing)
    text = "\n".join(rows)
    assert "epoch 2" in text
    assert "restart 1" in text
    for seam, glyph in zip(seams, (style.glyphs.seam, style.glyphs.restart), strict=True):
        column = drawing.frame.column_of_step(seam.step)
        assert column is not None
        assert sum(row[column] == glyph for row in rows) >= 3
        beside = next(row for row in rows if seam.label in row)
        assert abs(beside.index(seam.label) - column) <= len(seam.label)


def test_many_epochs_are_not_named_one_by_one(line: MakeLine) -> None:
    seams = tuple(SeamMark(step, f"epoch {step // 10 + 1}") for step in range(10, 200, 10))
    text = "\n".join(rows_of(draw(ChartData(lines=(line(np.zeros(200)),), seams=seams), View(), 100, 14, TINT)))
    assert "epoch" not in text


def test_no_label_hides_a_curve(line: MakeLine, style: Style) -> None:
    value = np.sin(np.arange(300) / 9)
    bare = ChartData(lines=(line(value),))
    marked = ChartData(
        lines=bare.lines,
        references=(Reference(0.0, "zero"), Reference(0.5, "limit", "threshold")),
        seams=(SeamMark(100, "epoch 2"), SeamMark(200, "restart 1", restart=True)),
    )
    before, after = (draw(data, View(), 80, 12, style) for data in (bare, marked))
    curve = is_line(before.picture.ink)
    assert (after.picture.glyph[curve] == before.picture.glyph[curve]).all()
