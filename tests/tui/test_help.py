"""The help: the panel in words, then every key that works, once, with the id it is rebound by."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from critictui.tui import key_table
from critictui.tui.app import CriticApp
from critictui.tui.chart.glyphs import ASCII
from critictui.tui.screens.help import HelpScreen, key_groups

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]


async def help_text(pilot: Pilot[None], settle: Settle, text_of: TextOf, *way: str) -> str:
    for key in (*way, "question_mark"):
        await pilot.press(key)
        await settle(pilot)
    assert isinstance(pilot.app.screen, HelpScreen)
    return text_of(pilot.app)  # type: ignore[arg-type]


async def test_help_names_the_panel_and_every_key_that_works_there(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(120, 100)) as pilot:
        text = await help_text(pilot, settle, text_of)
        assert "Mean score that the critic gives" in text
        for words in ("A larger smoothing factor", "Every metric as a small chart", "Hold the screen still", "T  "):
            assert words in text


@pytest.mark.parametrize("way", ["", "m", "c", "l", "i", "r", "a", "2"])
async def test_each_key_is_said_once_with_its_id_and_nothing_is_the_frameworks(
    way: str, showing: Showing, settle: Settle
) -> None:
    async with showing(size=(120, 36)) as pilot:
        for key in way:
            await pilot.press(key)
            await settle(pilot)
        groups = key_groups(pilot.app.screen)  # type: ignore[arg-type]
        rows = [row for group in groups.values() for row in group]
        pressed = [key for names, _, _ in rows for key in names.split()]
        assert sorted(pressed) == sorted(set(pressed))
        known = {re.sub(r"\d+$", "N", name) for name in (*key_table.ids(), *key_table.widget_ids())}
        assert [row for row in rows if row[2] not in known and row[0] not in {"tab", "^p"}] == []
        said = " ".join(text for _, text, _ in rows)
        assert not re.search("Focus Next|command palette|Quit the app|Copy selected", said)
        assert not [text for _, text, _ in rows if re.match(r"(\w+): .*\b\1\b", text, re.IGNORECASE)]


async def test_nine_keys_for_nine_panels_are_one_line(showing: Showing) -> None:
    async with showing(size=(120, 36)) as pilot:
        rows = [row for group in key_groups(pilot.app.screen).values() for row in group]  # type: ignore[arg-type]
        assert [row[0] for row in rows if row[2] == "dashboard.panel-N"] == ["1-9"]


@pytest.mark.parametrize("width", [40, 80, 120])
async def test_the_help_is_wrapped_in_its_own_room(
    width: int, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(width, 200)) as pilot:
        text = await help_text(pilot, settle, text_of)
        words = " ".join(re.sub("[│┃▔▁▂▃▄▅▆▇█]", " ", text).split())
        assert "What the panel shows, and every key app.help" in words
        assert "Leave; the run goes on app.quit" in words


async def test_ascii_help_names_the_signs_that_the_chart_draws(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(120, 110), ascii=True) as pilot:
        text = await help_text(pilot, settle, text_of)
        assert text.isascii()
        assert f"{ASCII.point} with a bar" in text
        assert f"{ASCII.best} best point" in text
        assert f"{ASCII.critical} {ASCII.warning} on the top row" in text
        assert f"{ASCII.seam} a" in text


async def test_the_command_palette_has_no_question_marks_in_ascii(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(80, 24), ascii=True) as pilot:
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert "??" not in text_of(pilot.app)  # type: ignore[arg-type]


async def test_under_a_dialogue_no_key_is_offered_that_does_not_work(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(120, 36)) as pilot:
        assert "Metrics" in text_of(pilot.app).splitlines()[-1]  # type: ignore[arg-type]
        await help_text(pilot, settle, text_of)
        assert "m Metrics" not in text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.press("escape")
        await settle(pilot)
        assert "Metrics" in text_of(pilot.app).splitlines()[-1]  # type: ignore[arg-type]


async def test_the_palette_finds_the_keys_of_a_chart(showing: Showing, settle: Settle) -> None:
    async with showing(size=(120, 36)) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        found = {command.title: command for command in app.get_system_commands(app.screen)}
        for words in ("Smooth", "Zoom", "Band", "Outliers", "X axis", "Metrics", "Next point"):
            assert words in found, words
        before = app.view.smoothing
        found["Smooth"].callback()
        await settle(pilot)
        assert app.view.smoothing > before
