"""The metrics screen: what its lines say, and the mouse."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from critictui.monitor.snapshot import Snapshot
from critictui.tui.app import CriticApp
from critictui.tui.chart.mini import MiniChart
from critictui.tui.screens.chart import ChartScreen
from critictui.tui.screens.metrics import MetricsScreen

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]


def metrics_of(pilot: Pilot[None]) -> MetricsScreen:
    assert isinstance(pilot.app.screen, MetricsScreen)
    return pilot.app.screen


def wheel(pilot: Pilot[None], kind: type[events.MouseEvent]) -> None:
    """A notch of the wheel over the first chart."""
    chart = pilot.app.screen.query(MiniChart).first()
    chart.post_message(kind(chart, 1, 1, 0, 0, 0, shift=False, meta=False, ctrl=False))


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 50)])
async def test_the_last_line_names_the_source_as_well_as_it_can(
    size: tuple[int, int], showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=size) as pilot:
        await pilot.press("m")
        await settle(pilot)
        said = text_of(pilot.app).splitlines()[-2]  # type: ignore[arg-type]
        assert "1 of 41: critic/" in said
        assert said.endswith(("tfevents.1", "ents.1"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("std", "taken as a part of a name: critic 2"),
        ("critic/*", "taken as a glob over the whole name: critic"),
        ("(std|diff)$", "taken as a regular expression: critic 3"),
        ("score_[ts]", "no metric has 'score_[ts]' as a part of a name"),
        ("([a", "no regular expression: missing ]: [a"),
    ],
)
async def test_a_filter_says_what_it_is_taken_as(
    typed: str, said: str, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing() as pilot:
        await pilot.press("slash")
        await settle(pilot)
        pilot.app.screen.query_one("#filter", Input).value = typed
        await settle(pilot)
        assert said in text_of(pilot.app)  # type: ignore[arg-type]


@pytest.mark.parametrize("remembered", ["nothing-like-that", "([a"])
async def test_a_remembered_filter_that_fits_nothing_is_dropped_by_m_and_kept_by_slash(
    remembered: str, showing: Showing, settle: Settle, make_app: Callable[..., CriticApp]
) -> None:
    app = make_app()
    app.state = dataclasses.replace(app.state, filter=remembered)
    async with showing(app=app) as pilot:
        await pilot.press("m")
        await settle(pilot)
        assert pilot.app.screen.query_one("#filter", Input).value == ""
        assert [chart for chart in pilot.app.screen.query(MiniChart) if chart.display]
        await pilot.press("escape", "slash")
        await settle(pilot)
        assert pilot.app.screen.query_one("#filter", Input).value == remembered


async def test_the_wheel_turns_rows_of_charts_and_stops_at_both_ends(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("m")
        await settle(pilot)
        first = pilot.app.screen.query(MiniChart).first()
        shown = [first.line]
        for kind, notches in ((events.MouseScrollDown, 1), (events.MouseScrollDown, 40), (events.MouseScrollUp, 60)):
            for _ in range(notches):
                wheel(pilot, kind)
            await settle(pilot)
            shown.append(first.line)
        assert shown[1] != shown[0] != shown[2] != shown[1]
        assert shown[3] == shown[0]
        columns, rows = metrics_of(pilot)._shape
        assert metrics_of(pilot)._start + columns * rows <= 41 + columns


async def test_a_second_click_on_a_chart_opens_it(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("m")
        await settle(pilot)
        await pilot.click("#mini-2")
        await settle(pilot)
        assert metrics_of(pilot).cursor == 2
        await pilot.click("#mini-4")
        await settle(pilot)
        assert metrics_of(pilot).cursor == 4
        await pilot.click("#mini-4")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChartScreen)


async def test_pages_are_reached_by_mouse_through_the_last_line(
    showing: Showing, settle: Settle, text_of: TextOf, case_snapshot: Snapshot
) -> None:
    async with showing(case_snapshot, (120, 24)) as pilot:
        await pilot.press("m")
        await settle(pilot)
        column = text_of(pilot.app).splitlines()[-1].index("Next page")  # type: ignore[arg-type]
        await pilot.click("#keys", offset=(column, 0))
        await settle(pilot)
        assert metrics_of(pilot)._start > 0
