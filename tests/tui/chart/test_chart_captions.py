"""The texts in the border: values with names, which run is which, and what goes first where there is no room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rich.cells import cell_len
from textual.color import Color

from critictui.run import metrics as names
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.tui.chart.captions import Look, legend, subtitle, swatch, title
from critictui.tui.chart.draw import draw
from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import ChartData, Line, Point, View
from critictui.tui.chart.palette import make_palette

MakeLine = Callable[..., Line]
BLACK = Color.parse("black")
LOOK = Look(make_palette({}, BLACK), UNICODE, BLACK)
MONO = Look(make_palette({}, BLACK, mono=True), ASCII, BLACK)


@pytest.fixture
def pair(line: MakeLine) -> tuple[Line, Line]:
    """A teacher and a student."""
    return line([0.911], "teacher", role="teacher"), line([1.16], "student", role="student")


def d_acc(*value: float) -> Line:
    """A line of the one metric that is a share."""
    n = np.arange(len(value))
    series = Series(names.D_ACC, names.D_ACC, "events", "f", n, n * 60.0, np.array(value), n * 0, Pyramid())
    return Line("train", series, "train")


def said(data: ChartData, width: int, look: Look = LOOK) -> str:
    text = title(data, View(), width, look).plain
    assert cell_len(text) <= width
    return text


def test_names_become_letters_before_anything_is_left_out(pair: tuple[Line, Line]) -> None:
    data = ChartData("score std", pair)
    assert said(data, 54).endswith(" teacher 0.911 · student 1.16")
    assert said(data, 36) == "score std ───────── T 0.911 · S 1.16"


def test_a_long_tag_is_cut_in_its_middle_and_the_value_stays(line: MakeLine) -> None:
    tag = "timing_s/agent_loop/slowest/generate_sequences"
    text = said(ChartData(tag, (line([20.95]),)), 36)
    assert text.startswith("timing_s/agen")
    assert "…" in text
    assert "sequences ─" in text
    assert text.endswith("─ 20.9")


@pytest.mark.parametrize("look", [LOOK, MONO], ids=["colour", "mono"])
def test_the_newest_value_is_the_last_thing_to_go(line: MakeLine, look: Look) -> None:
    data = ChartData("actor/entropy_loss", (line([2.77], "loss"),))
    for width in range(4, 60):
        assert "2.77" in said(data, width, look), width
    for width in range(4):
        said(data, width, look)


def test_a_value_of_another_scale_is_said_without_a_curve(line: MakeLine, pair: tuple[Line, Line]) -> None:
    data = ChartData("score std", pair, asides=(line([7.79], "range"),))
    assert said(data, 60).endswith("teacher 0.911 · student 1.16 · range 7.79")
    assert said(data, 48).endswith("T 0.911 · S 1.16 · R 7.79")
    assert said(data, 34).endswith("T 0.911 · S 1.16")
    frame = draw(data, View(), 60, 9, Style(UNICODE)).frame
    assert frame is not None
    assert frame.scale.high < 2
    assert subtitle(data, frame, View(cursor_step=0), 60, LOOK).plain.endswith(
        "teacher 0.9110 · student 1.160 · range 7.790"
    )


def test_d_acc_has_three_decimals_in_every_place() -> None:
    line = d_acc(0.5, 0.75, 1.0)
    data = ChartData("d_acc", (line,), points=(Point(1, 0.45812, 0.41, 0.506),))
    assert said(data, 60).endswith("train 1.000 · ● fixed 0.458 ±0.048")
    assert said(data, 32).endswith("1.000 · ● 0.458 ±0.048")
    assert said(data, 25).endswith("1.000 · ● 0.458")
    frame = draw(data, View(), 60, 9, Style(UNICODE)).frame
    for step, value in enumerate(("0.500", "0.750", "1.000")):
        assert subtitle(data, frame, View(cursor_step=step), 60, LOOK).plain.endswith(value)


def test_the_cursor_reads_four_digits_and_a_name_for_each_value(line: MakeLine) -> None:
    lines = tuple(line([1 / 3 * k], label) for k, label in ((1, "teacher"), (2, "student"), (4, "third")))
    data = ChartData("t", lines)
    frame = draw(data, View(), 60, 9, Style(UNICODE)).frame
    view = View(cursor_step=0)
    wide = subtitle(data, frame, view, 80, LOOK).plain
    assert wide == "step 0  14 Nov 22:13  teacher 0.3333 · student 0.6667 · third 1.333"
    assert subtitle(data, frame, view, 50, LOOK).plain == "step 0  T 0.3333 · S 0.6667 · t 1.333"
    for width in range(22, 80):
        text = subtitle(data, frame, view, width, LOOK).plain
        assert cell_len(text) <= width
        assert text.count("0.") == 0 or "T 0.333" in text or "teacher 0.3333" in text


@pytest.fixture
def runs(line: MakeLine) -> ChartData:
    """A metric of three runs."""
    roles = ("main", "second", "third")
    lines = tuple(line([0.75 + run / 4] * 50, "d_acc", role=role, run=run) for run, role in enumerate(roles))
    return ChartData("d_acc", lines, runs=("warmup-v10", "warmup-v9", "baseline"))


def test_each_value_of_several_runs_has_the_letter_of_its_run(runs: ChartData) -> None:
    content = title(runs, View(), 60, LOOK)
    assert content.plain.endswith("A 0.750 · B 1.00 · C 1.25")
    colours = {str(span.style.foreground) for span in content.spans if "A 0" in content.plain[span.start : span.end]}  # type: ignore[union-attr]
    assert len(colours) == 1
    assert said(runs, 32).endswith("A 0.750 B 1.00 C 1.25")
    assert said(runs, 20).endswith("A 0.750 · …")


def test_two_values_of_a_run_share_its_letter(line: MakeLine) -> None:
    lines = tuple(
        line([value + run], label, role=label, run=run, shade=run)
        for run in (0, 1)
        for label, value in (("teacher", 3.0), ("student", -3.0))
    )
    data = ChartData("score mean", lines, runs=("new", "old"))
    assert said(data, 90).endswith("A teacher 3.00 · A student -3.00 · B teacher 4.00 · B student -2.00")
    assert said(data, 60).endswith("AT 3.00 · AS -3.00 · BT 4.00 · BS -2.00")
    assert said(data, 40).endswith("A 3.00/-3.00 B 4.00/-2.00")
    assert said(data, 30).endswith("A 3.00/-3.00 · …")


def test_the_lower_border_says_which_run_is_which(runs: ChartData) -> None:
    wide = legend(runs, 80, LOOK).plain
    for run, name in enumerate(runs.runs):
        assert f"{'ABC'[run]} {swatch(runs, run, LOOK).plain} {name}" in wide
    assert len({swatch(runs, run, LOOK).plain for run in range(3)}) == 3, "each has a shape of its own"
    assert legend(runs, 44, LOOK).plain == "A warmup-v10 · B warmup-v9 · C baseline"
    narrow = legend(runs, 30, LOOK).plain
    assert [letter in narrow for letter in "ABC"] == [True] * 3
    assert cell_len(narrow) <= 30
    assert legend(ChartData("t", runs.lines[:1]), 80, LOOK).plain == ""


def test_the_legend_has_the_colours_of_the_lines(runs: ChartData) -> None:
    content = legend(runs, 80, LOOK)
    for run, line in enumerate(runs.lines):
        wanted = LOOK.palette.colours[line.role]
        letter = content.plain.index(f"{'ABC'[run]} ")
        assert any(s.start <= letter < s.end and s.style.foreground == wanted for s in content.spans)  # type: ignore[union-attr]


def test_in_ascii_the_legend_is_ascii_and_has_the_markers(runs: ChartData) -> None:
    text = legend(runs, 80, MONO).plain
    assert text.isascii()
    assert text == "A # warmup-v10 | B o warmup-v9 | C + baseline"


def test_a_smoothing_that_someone_chose_is_said_before_the_interval_of_a_score() -> None:
    data = ChartData("d_acc", (d_acc(0.75),), points=(Point(240, 0.799, 0.739, 0.859),))
    view = View(smoothing=0.999)
    assert title(data, view, 36, LOOK).plain == "d_acc ema 0.999 ──── 0.750 · ● 0.799"
    assert "ema" not in said(data, 36)
    assert "ema 0.9 " in said(data, 120), "on a wide chart whatever it is"


def test_the_cursor_names_its_step_before_values_that_have_no_curve(line: MakeLine) -> None:
    lines = (line([1.234] * 300, "teacher", role="teacher"), line([2.345] * 300, "student", role="student"))
    asides = tuple(line([3.456] * 300, f"other {k}") for k in range(3))
    data, view = ChartData("score std", lines, asides=asides), View(cursor_step=224)
    frame = draw(data, view, 36, 8, Style(UNICODE)).frame
    text = subtitle(data, frame, view, 36, LOOK).plain
    assert text.startswith("step 224"), text
