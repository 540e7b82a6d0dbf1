"""Terminals of 256 and of 16 colours: bands stay seen and quiet, lines stay apart, nothing is left to rounding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from rich._palettes import EIGHT_BIT_PALETTE
from rich.color import ColorType
from rich.palette import Palette as RichPalette
from textual.color import Color
from textual.pilot import Pilot

from critictui.monitor.snapshot import Snapshot
from critictui.tui.app import CriticApp
from critictui.tui.chart.palette import Palette, make_palette
from critictui.tui.chart.picture import PAPER_CURSOR, line_ink
from critictui.tui.depth import FIXED, contrast, fixed, nearest
from critictui.tui.glyphs import ascii_only
from critictui.tui.state import load_state, state_path
from critictui.tui.themes import load_themes

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]

THEMES = {theme.name: theme for theme in load_themes(Path("/nonexistent"))[0] if not theme.ansi}
LINES = ("teacher", "student", "train", "fixed", "main", "second", "third", "fourth", "fifth", "sixth")


@pytest.fixture(params=sorted(THEMES))
def palette(request: pytest.FixtureRequest) -> Palette:
    theme = THEMES[request.param]
    return make_palette(theme.variables, Color.parse(theme.background or ""), depth="256")


def test_the_fixed_colours_are_those_of_xterm() -> None:
    assert isinstance(EIGHT_BIT_PALETTE, RichPalette)
    assert list(FIXED) == [tuple(EIGHT_BIT_PALETTE[number]) for number in range(16, 256)]


def test_a_fixed_colour_stays_itself_and_a_quiet_one_stays_quiet() -> None:
    assert [FIXED[nearest(*rgb) - 16] for rgb in FIXED] == list(FIXED)
    assert fixed(Color.parse("#182b38")).hex == "#262626"  # Rich makes it navy: #00005f
    assert fixed(Color.parse("ansi_green")) == Color.parse("ansi_green")


@pytest.mark.parametrize("role", LINES)
def test_every_line_is_seen_on_its_band_and_the_band_on_its_background(palette: Palette, role: str) -> None:
    ink = line_ink(role, 0)  # type: ignore[arg-type]
    paper = palette.paper_colour(1, (ink,))
    assert 1.12 <= contrast(paper, palette.background) <= 2.1
    assert contrast(palette.line_colour(ink), paper) >= 3


def test_bands_that_overlap_and_the_cursor_on_them_are_seen(palette: Palette) -> None:
    bands = (line_ink("teacher", 0), line_ink("student", 0), line_ink("third", 0))
    one, two, cursor = (palette.paper_colour(paper, bands) for paper in (1, 3, 1 | PAPER_CURSOR))
    assert contrast(one, two) >= 1.05
    assert contrast(one, cursor) >= 1.05


def test_all_that_a_palette_mixes_is_one_of_the_fixed_colours(palette: Palette) -> None:
    bands = (line_ink("teacher", 0), line_ink("student", 0), line_ink("third", 0))
    for ink in (*range(14), *range(32, 112), *range(112, 128)):
        for paper in (0, 1, 3, 7, 15):
            style = palette.style(ink, paper, bands)
            for colour in (style.color, style.bgcolor):
                assert colour is None or colour.triplet is None or tuple(colour.triplet) in FIXED


def test_lines_that_share_a_chart_keep_colours_of_their_own(palette: Palette) -> None:
    colours = palette.colours
    for one, other in (("teacher", "student"), ("teacher", "third"), ("train", "fixed"), ("main", "threshold")):
        assert colours[one] != colours[other], (one, other)


async def test_nothing_but_fixed_colours_is_sent_where_there_are_256(
    monkeypatch: pytest.MonkeyPatch, showing: Showing
) -> None:
    monkeypatch.delenv("COLORTERM")
    async with showing(size=(120, 36)) as pilot:
        strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
        styles = [segment.style for strip in strips for segment in strip if segment.style is not None]
        kinds = {c.type for style in styles for c in (style.color, style.bgcolor) if c is not None}
        assert kinds == {ColorType.EIGHT_BIT}


@pytest.mark.parametrize("term", ["xterm", "screen", "linux"])
async def test_sixteen_colours_get_the_theme_that_mixes_none_and_it_is_not_remembered(
    term: str, monkeypatch: pytest.MonkeyPatch, showing: Showing, settle: Settle, case_snapshot: Snapshot
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", term)
    async with showing(case_snapshot, theme="fjord") as pilot:
        assert pilot.app.theme == "ansi"
        assert isinstance(pilot.app, CriticApp)
        assert pilot.app.state.theme == ""
        pilot.app.theme = "ember"
        await settle(pilot)
        assert pilot.app.state.theme == ""
    assert load_state(state_path(Path("/runs")))[0].theme == ""


def test_a_users_own_theme_of_sixteen_colours_is_kept(
    monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., CriticApp]
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    assert make_app(theme="ansi").theme == "ansi"
    assert make_app(theme="ansi-light").theme == "ansi-light"


@pytest.mark.parametrize("term", ["linux", "vt100", "vt220", "dumb", "", "unknown", "ansi"])
def test_a_console_without_braille_gets_ascii_in_any_locale(term: str) -> None:
    assert ascii_only(wanted=False, environ={"TERM": term, "LANG": "de_DE.UTF-8"})


@pytest.mark.parametrize("term", ["xterm", "xterm-256color", "screen", "tmux-256color", "vte-256color"])
def test_other_terminals_in_a_utf_8_locale_get_signs(term: str) -> None:
    assert not ascii_only(wanted=False, environ={"TERM": term, "LANG": "de_DE.UTF-8"})
