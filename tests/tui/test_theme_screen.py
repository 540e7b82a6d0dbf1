"""Choosing a theme: ours first and by what they are for, seen before they are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from critictui.tui.app import CriticApp
from critictui.tui.screens.dashboard import Dashboard
from critictui.tui.screens.themes import PURPOSE, ThemeScreen
from critictui.tui.themes import load_themes

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]


def test_every_theme_of_ours_has_a_purpose_and_none_is_missing() -> None:
    assert set(PURPOSE) == {theme.name for theme in load_themes(Path("/nonexistent"))[0]}
    said = " ".join(PURPOSE.values())
    wanted = ("dark, colour-blind safe: the default", "light", "high contrast", "sixteen colours", "a favourite")
    assert [words for words in wanted if words not in said] == []
    assert said.count("a favourite") == 2


async def test_ours_come_first_the_users_next_and_the_one_that_is_shown_is_marked(
    showing: Showing, settle: Settle, text_of: TextOf, tmp_path: Path
) -> None:
    folder = tmp_path / "config" / "critictui" / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('primary = "#ff0000"\n')
    async with showing(size=(100, 50), theme="fjord") as pilot:
        await pilot.press("T")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ThemeScreen)
        assert screen.names[: len(PURPOSE) + 1] == [*PURPOSE, "mine"]
        assert "nord" in screen.names
        lines = text_of(pilot.app).splitlines()  # type: ignore[arg-type]
        assert [line for line in lines if "› fjord" in line and "a favourite" in line]
        assert [line for line in lines if "critic-dark" in line and "the default" in line]
        assert [line for line in lines if "mine" in line and "your own" in line]
        assert [line for line in lines if "nord" in line and "comes with Textual" in line]


async def test_moving_shows_a_theme_enter_takes_it_and_escape_does_not(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        await pilot.press("T", "down")
        await settle(pilot)
        assert (app.theme, app.state.theme) == ("critic-light", "")
        await pilot.press("escape")
        await settle(pilot)
        assert (app.theme, app.state.theme) == ("critic-dark", "")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("T", "down", "down", "enter")
        await settle(pilot)
        assert (app.theme, app.state.theme) == ("high-contrast", "high-contrast")
        assert isinstance(app.screen, Dashboard)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (1, 1)])
async def test_the_list_fits_any_terminal(size: tuple[int, int], showing: Showing, settle: Settle) -> None:
    async with showing(size=size) as pilot:
        await pilot.press("T", "end")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ThemeScreen)
        assert pilot.app.theme == screen.names[-1]
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.theme == "critic-dark"


async def test_sixteen_colours_are_offered_themes_that_mix_none(
    monkeypatch: pytest.MonkeyPatch, showing: Showing, settle: Settle
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    async with showing() as pilot:
        await pilot.press("T")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ThemeScreen)
        assert screen.names[0] == "ansi"
        assert all(pilot.app.available_themes[name].ansi for name in screen.names)
