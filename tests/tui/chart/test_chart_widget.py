"""The chart in an app: repaints what changed, says what the user did, survives themes, sizes and hostile text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from critictui.tui.chart.mini import MiniChart
from critictui.tui.chart.model import ChartData, Line, View
from critictui.tui.chart.safe import elided
from critictui.tui.chart.widget import Chart
from critictui.tui.themes import load_themes

MakeLine = Callable[..., Line]


class Charts(App[None]):
    """Charts below each other, kept in step as the dashboard does it."""

    CSS = "Chart { height: 12; } MiniChart { height: 3; }"

    def __init__(self, *charts: Chart | MiniChart) -> None:
        super().__init__()
        self.charts = charts
        self.seen: list[Chart.ViewChanged | Chart.CursorMoved] = []

    def compose(self) -> ComposeResult:
        yield from self.charts

    def on_mount(self) -> None:
        for theme in load_themes()[0]:
            self.register_theme(theme)
        self.theme = "critic-dark"

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        self.seen.append(message)
        for chart in self.query(Chart):
            chart.view = message.view

    def on_chart_cursor_moved(self, message: Chart.CursorMoved) -> None:
        self.seen.append(message)
        for chart in self.query(Chart):
            chart.view = chart.view.with_cursor(message.step)


class Watched(Chart):
    """Notes which regions are to be repainted."""

    regions: list[tuple[Region, ...]]

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Chart:
        if not hasattr(self, "regions"):
            self.regions = []
        self.regions.append(regions if self._only is None else self._only)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


def rows(chart: Chart | MiniChart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def wave(line: MakeLine, n: int = 300, label: str = "teacher") -> ChartData:
    return ChartData("score mean", (line(np.sin(np.arange(n) / 30), label),))


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause()
    await pilot.pause()


async def test_the_title_has_the_last_value_and_the_rows_have_the_curve(line: MakeLine) -> None:
    data = ChartData("score mean", (line([1.0, 2.77], "teacher"), line([0.0, -3.08], "student", role="student")))
    async with Charts(Chart(data)).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Chart)
        await settle(pilot)
        title = chart._border_title.plain
        assert title.startswith("score mean ─")
        assert title.endswith("teacher 2.77 · student -3.08")
        assert any("\u2800" < c <= "\u28ff" for row in rows(chart) for c in row)


async def test_equal_data_repaints_nothing(line: MakeLine) -> None:
    data = wave(line)
    async with Charts(Watched(data)).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Watched)
        await settle(pilot)
        chart.regions.clear()
        chart.set_data(replace(data))
        chart.view = View()
        assert chart.regions == []


async def test_a_new_point_repaints_only_what_looks_different(line: MakeLine) -> None:
    value = np.sin(np.arange(400) / 30)
    async with Charts(Watched(ChartData("t", (line(value[:310]),)))).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Watched)
        await settle(pilot)
        chart.regions.clear()
        chart.set_data(ChartData("t", (line(value[:311]),)))
        cells = sum(region.area for regions in chart.regions for region in regions)
        assert 0 < cells < 200, "the title's row and the right end of some rows"
        assert all(regions for regions in chart.regions), "never the whole widget"


async def test_the_picture_is_what_a_fresh_one_would_be_after_many_updates(line: MakeLine) -> None:
    value = np.random.default_rng(1).normal(size=400)
    async with Charts(Chart(), Chart()).run_test(size=(80, 30)) as pilot:
        first, second = pilot.app.query(Chart)
        for n in (0, 1, 2, 50, 51, 300, 400):
            first.set_data(ChartData("t", (line(value[:n]),)))
        second.set_data(ChartData("t", (line(value),)))
        await settle(pilot)
        assert rows(first) == rows(second)


async def test_keys_move_zoom_and_smooth_and_every_chart_follows(line: MakeLine) -> None:
    async with Charts(Chart(wave(line)), Chart(wave(line, label="student"))).run_test(size=(80, 30)) as pilot:
        app = pilot.app
        assert isinstance(app, Charts)
        first, second = app.query(Chart)
        first.focus()
        await pilot.press("left")
        await settle(pilot)
        assert first.view.cursor_step == second.view.cursor_step == 299
        assert isinstance(app.seen[-1], Chart.CursorMoved)
        assert app.seen[-1].control is first
        await pilot.press("left", "left")
        await settle(pilot)
        assert second.view.cursor_step is not None
        assert second.view.cursor_step < 299
        assert second._border_subtitle.plain.startswith(f"step {second.view.cursor_step}")
        await pilot.press("plus", "s", "y", "o", "b")
        await settle(pilot)
        assert second.view == first.view
        view = first.view
        assert view.x_range is not None
        assert (view.smoothing, view.log_y, view.whole_y, view.show_band) == (0.95, True, True, False)
        await pilot.press("0", "S", "t")
        await settle(pilot)
        assert (second.view.x_range, second.view.smoothing, second.view.x_mode) == (None, 0.9, "relative")


async def test_the_cursor_reads_the_exact_sample_of_every_line(line: MakeLine) -> None:
    data = ChartData(
        "t", (line([1.25, 2.5, 3.75], "teacher", step=[10, 20, 30]), line([7.0, 8.5], "student", step=[12, 29]))
    )
    async with Charts(Chart(data)).run_test(size=(100, 20)) as pilot:
        chart = pilot.app.query_one(Chart)
        chart.view = View(cursor_step=20)
        await settle(pilot)
        said = chart._border_subtitle.plain
        assert "step 20" in said
        assert "teacher 2.500" in said
        assert "student 7.000 (step 12)" in said, "the nearest sample, and from where it is"


async def test_the_cursor_pans_a_zoomed_view_along(line: MakeLine) -> None:
    async with Charts(Chart(wave(line), view=View(x_range=(100.0, 120.0), cursor_step=100))).run_test() as pilot:
        chart = pilot.app.query_one(Chart)
        chart.focus()
        await pilot.press("left", "left", "left")
        await settle(pilot)
        assert chart.view.cursor_step == 97
        assert chart.view.x_range == pytest.approx((97.0, 117.0))


async def test_escape_is_left_to_the_screen_while_there_is_no_cursor(line: MakeLine) -> None:
    class Leaving(Charts):
        BINDINGS = [("escape", "leave", "")]  # noqa: RUF012
        left = False

        def action_leave(self) -> None:
            self.left = True

    app = Leaving(Chart(wave(line)))
    async with app.run_test() as pilot:
        app.query_one(Chart).focus()
        await pilot.press("left", "escape")
        await settle(pilot)
        assert app.query_one(Chart).view.cursor_step is None
        assert not app.left
        await pilot.press("escape")
        assert app.left


async def test_a_click_sets_the_cursor_and_a_double_click_shows_all(line: MakeLine) -> None:
    async with Charts(Chart(wave(line), view=View(x_range=(0.0, 100.0)))).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Chart)
        await pilot.click(Chart, offset=(40, 5))
        await settle(pilot)
        assert 30 < (chart.view.cursor_step or 0) < 60
        await pilot.click(Chart, offset=(40, 5), times=2)
        await settle(pilot)
        assert chart.view.x_range is None


async def test_hostile_titles_and_labels_are_text_and_not_markup(line: MakeLine) -> None:
    evil = "[@click=app.quit]x[/] \x1b[31m\x1b]0;t\x07\u202e"
    async with Charts(Chart(ChartData(evil, (line([1.0, 2.0], evil), line([2.0, 3.0], "[red]b"))))).run_test(
        size=(120, 20)
    ) as pilot:
        chart = pilot.app.query_one(Chart)
        chart.view = View(cursor_step=1)
        await settle(pilot)
        for content in (chart._border_title, chart._border_subtitle):
            assert "\x1b" not in content.plain
            assert "\u202e" not in content.plain
            assert not any("click" in str(getattr(span.style, "meta", "")) for span in content.spans)
        assert "[@click=app.quit]x[/]" in chart._border_title.plain


async def test_another_theme_changes_the_colours_and_not_the_text(line: MakeLine) -> None:
    async with Charts(Chart(wave(line))).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Chart)
        await settle(pilot)
        text = rows(chart)
        styles = set()
        for name in ("critic-dark", "critic-light", "high-contrast", "ember", "fjord"):
            pilot.app.theme = name
            await settle(pilot)
            await settle(pilot)
            assert rows(chart) == text
            styles.add(tuple(str(segment.style) for segment in chart.render_line(4)))
        assert len(styles) == 5


async def test_a_theme_of_sixteen_colours_sends_none_but_those(line: MakeLine) -> None:
    async with Charts(Chart(wave(line))).run_test(size=(80, 24)) as pilot:
        pilot.app.theme = "ansi"
        chart = pilot.app.query_one(Chart)
        await settle(pilot)
        await settle(pilot)
        for y in range(chart.size.height):
            for segment in chart.render_line(y):
                assert segment.style is not None
                for colour in (segment.style.color, segment.style.bgcolor):
                    assert colour is None or colour.is_default or (colour.number is not None and colour.number < 16)


async def test_ascii_and_mono_charts_hold_nothing_else(line: MakeLine) -> None:
    data = ChartData("漢字 d_acc", (line([0.1, 0.9, np.nan, 0.5], "teacher"), line([0.3, 0.2, 0.1, 0.0], "student")))
    async with Charts(Chart(data, ascii=True, mono=True)).run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(Chart)
        chart.view = View(cursor_step=1)
        await settle(pilot)
        assert all(row.isascii() for row in rows(chart))
        assert chart._border_title.plain.isascii()
        assert chart._border_subtitle.plain.isascii()
        colours = {s.style.color for y in range(chart.size.height) for s in chart.render_line(y) if s.style is not None}
        assert len(colours) <= 2, "the text's colour, and the reading's own reversed"


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (10, 3), (200, 60)])
async def test_no_size_crashes(line: MakeLine, size: tuple[int, int]) -> None:
    async with Charts(Chart(wave(line)), MiniChart(line([1.0, 2.0]))).run_test(size=size) as pilot:
        chart = pilot.app.query_one(Chart)
        chart.focus()
        await pilot.press("left", "plus", "shift+left", "s", "t", "y", "home", "end", "minus", "0", "escape")
        await pilot.resize_terminal(40, 10)
        await settle(pilot)
        assert len(rows(chart)) == chart.size.height


async def test_an_empty_chart_takes_every_key(line: MakeLine) -> None:
    async with Charts(Chart()).run_test() as pilot:
        chart = pilot.app.query_one(Chart)
        chart.focus()
        await pilot.press("left", "right", "plus", "minus", "shift+right", "home", "end", "t", "y", "0")
        await settle(pilot)
        assert "waiting for data" in "".join(rows(chart))


async def test_a_small_chart_says_name_and_last_value(line: MakeLine) -> None:
    async with Charts(MiniChart(line([1.0, 2.0, 2.5], "critic/score_diff"))).run_test(size=(40, 10)) as pilot:
        mini = pilot.app.query_one(MiniChart)
        head, *curve = rows(mini)
        assert head.startswith("critic/score_diff")
        assert head.endswith(" 2.50")
        assert any("\u2800" < c <= "\u28ff" for row in curve for c in row)
        mini.set_line(line([7.0], "other"))
        assert rows(mini)[0].endswith(" 7.00")
        mini.styles.height = 1
        await settle(pilot)
        assert rows(mini)[0].split() == ["other", *rows(mini)[0].split()[1:-1], "7.00"]
        mini.set_line(None)
        assert len(rows(mini)) == 1


async def test_small_charts_out_of_sight_cost_nothing(line: MakeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    import critictui.tui.chart.mini as module

    drawn = []
    real = module.mini_strips
    monkeypatch.setattr(module, "mini_strips", lambda line, *rest: drawn.append(line.label) or real(line, *rest))
    charts = [MiniChart(line([1.0, 2.0], f"m{i}")) for i in range(60)]
    async with Charts(*charts).run_test(size=(40, 12)) as pilot:
        await settle(pilot)
        assert 1 <= len(set(drawn)) <= 6


def test_a_long_name_keeps_both_its_ends() -> None:
    assert elided("critic/teacher_score_mean", 15, "…") == "critic/…re_mean"
    assert elided("short", 15, "…") == "short"
    assert elided("critic/teacher_score_mean", 1, "…") == "…"
    assert elided("critic/teacher_score_mean", 0, "…") == ""
    assert elided("漢" * 20, 7, "…") == "漢…漢漢"
    assert elided("critic/teacher_score_mean", 9, "..") == "cri..mean"


async def test_full_stop_and_comma_move_the_cursor_by_one_point(line: MakeLine) -> None:
    chart = Chart(ChartData("t", (line([float(n) for n in range(3000)]),)))
    app = Charts(chart)
    async with app.run_test(size=(60, 20)) as pilot:
        chart.focus()
        await pilot.press("left")
        assert chart.view.cursor_step == 2999
        await pilot.press("left")
        far = chart.view.cursor_step
        assert far is not None
        assert far < 2990
        await pilot.press("full_stop", "full_stop", "comma")
        assert chart.view.cursor_step == far + 1
