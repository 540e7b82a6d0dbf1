"""What a terminal of some size has room for, and what the last line offers there."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual import events
from textual.binding import Binding
from textual.pilot import Pilot

from critictui.monitor.snapshot import Snapshot
from critictui.tui.app import CriticApp
from critictui.tui.chart.widget import Chart
from critictui.tui.screens.dashboard import Dashboard, room_for
from critictui.tui.widgets.health import HealthPanel
from critictui.tui.widgets.keybar import fitting

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]


def panels(width: int, height: int) -> int:
    room = room_for(width, height)
    return 0 if room.tiny else room.panels


def test_more_room_never_shows_fewer_panels() -> None:
    sizes = [(width, height) for width in range(1, 260) for height in range(1, 110)]
    assert [s for s in sizes if panels(*s) > min(panels(s[0] + 1, s[1]), panels(s[0], s[1] + 1))] == []


def test_all_four_main_panels_are_there_from_80x24_on() -> None:
    assert [(w, h) for w in range(80, 260) for h in range(24, 110) if panels(w, h) < 4] == []
    assert panels(49, 24) == 2
    assert panels(40, 12) == 1
    assert (panels(40, 10), panels(39, 50)) == (0, 0)


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (120, 33), (150, 30)])
async def test_the_four_main_panels_are_on_the_first_page(size: tuple[int, int], showing: Showing) -> None:
    async with showing(size=size) as pilot:
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        assert [p.key for p in dashboard.panels][:4] == ["score mean", "d_acc", "score std", "margin"]
        assert [chart.size.height >= 5 for chart in dashboard.query(Chart) if chart.display][:4] == [True] * 4


async def test_further_pages_are_said_in_the_header_and_turned_by_key_wheel_and_click(
    showing: Showing, settle: Settle, text_of: TextOf, make_app: Callable[..., CriticApp]
) -> None:
    app = make_app()
    app.state = dataclasses.replace(app.state, pins=("actor/metric_00", "perf/metric_02"))
    async with showing(app=app, size=(120, 30)) as pilot:
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        lines = text_of(app).splitlines()
        assert "panels 1-4 of 6" in lines[0]
        assert not [line for line in lines if "health" in line and "panels" in line]
        await pilot.click("#keys", offset=(lines[-1].index("More"), 0))
        await settle(pilot)
        assert "panels 5-6 of 6" in text_of(app).splitlines()[0]
        chart = dashboard.query(Chart).first()
        chart.post_message(events.MouseScrollUp(chart, 1, 1, 0, 0, 0, shift=False, meta=False, ctrl=False))
        await settle(pilot)
        assert dashboard.page == 0


async def test_where_there_is_one_page_no_other_is_offered(showing: Showing, text_of: TextOf) -> None:
    async with showing(size=(120, 30)) as pilot:
        assert "panels" not in text_of(pilot.app)  # type: ignore[arg-type]
        assert "pgdn" not in text_of(pilot.app)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(60, 14), (60, 20), (120, 30), (80, 24), (50, 24)])
async def test_no_letter_of_the_health_panel_is_behind_its_scrollbar(
    size: tuple[int, int], showing: Showing, text_of: TextOf
) -> None:
    async with showing(size=size) as pilot:
        panel = pilot.app.screen.query_one("#health", HealthPanel)
        assert max(line.content.cell_length for line in panel._lines) <= panel.scrollable_content_region.width
        shown = text_of(pilot.app).splitlines()  # type: ignore[arg-type]
        top = panel.region.y + 1
        for row, line in zip(shown[top : top + panel.size.height], panel._lines, strict=False):
            assert line.content.plain.strip() in row


@pytest.mark.parametrize("width", [80, 100, 120, 200])
async def test_the_last_line_leads_to_every_screen_from_80_columns_on(
    width: int, showing: Showing, text_of: TextOf
) -> None:
    async with showing(size=(width, 24)) as pilot:
        last = text_of(pilot.app).splitlines()[-1]  # type: ignore[arg-type]
        wanted = (
            "e Evaluate",
            "m Metrics",
            "a Alerts",
            "c Checkpoints",
            "l Log",
            "i Facts",
            "r Runs",
            "? Help",
            "q Quit",
        )
        assert [key for key in wanted if key not in last] == []
        assert last.startswith(" e Evaluate")


@pytest.mark.parametrize(("key", "first"), [("l", "/ Search"), ("a", "enter Open"), ("c", "enter Open")])
async def test_a_screens_own_keys_come_first_then_the_ways_to_others(
    key: str, first: str, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(200, 30)) as pilot:
        await pilot.press(key)
        await settle(pilot)
        last = text_of(pilot.app).splitlines()[-1]  # type: ignore[arg-type]
        assert last.strip().startswith(first)
        assert last.index("m Metrics") < (last.find("d Diagnose") if key == "l" else 10**6)
        assert last.rstrip().endswith("q Quit")


def test_a_key_that_does_not_fit_leaves_its_place_to_one_that_does() -> None:
    def key(name: str, words: str) -> tuple[Binding, bool]:
        return Binding("x", name, words, id=name), True

    offered = [key("run.a", "A very long description"), key("run.b", "Short"), key("app.quit", "Quit")]
    chosen, _ = fitting(offered, 20)
    assert [binding.id for binding, _ in chosen] == ["run.b", "app.quit"]


async def test_a_snapshot_without_a_run_turns_no_pages(showing: Showing, case_snapshot: Snapshot) -> None:
    async with showing(dataclasses.replace(case_snapshot, watched=()), (120, 30)) as pilot:
        await pilot.press("pagedown")
        assert isinstance(pilot.app.screen, Dashboard)
