"""Every theme is readable, also for colour-blind eyes, and a bad theme file is a notice."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from critictui.tui import themes as module
from critictui.tui.chart.palette import CHART_COLOURS, make_palette
from critictui.tui.chart.picture import line_ink
from critictui.tui.themes import DEFAULT_THEME, bundled_dir, load_themes, read_theme

BUNDLED = {theme.name: theme for theme in load_themes(Path("/nonexistent"))[0]}
MIXED = sorted(name for name, theme in BUNDLED.items() if not theme.ansi)
LINES = ("teacher", "student", "train", "fixed", "main", "second", "third", "fourth", "fifth", "sixth")
QUIET = {"chart-grid", "chart-band"}
"""Meant to be hardly seen: the grid, and the share of the band."""

# Linear RGB to what a dichromat sees: Vienot, Brettel & Mollon 1999, "Digital video colourmaps for checking the
# legibility of displays by dichromats", equations for protanopia and deuteranopia.
PROTAN = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
DEUTAN = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))
NORMAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
Triple = tuple[float, float, float]


def linear(text: str) -> Triple:
    channels = [c / 255 for c in Color.parse(text).rgb]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return r, g, b


def luminance(text: str) -> float:
    r, g, b = linear(text)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """WCAG 2.1: (L1 + 0.05) / (L2 + 0.05)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(rgb: Triple) -> Triple:
    r, g, b = rgb
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (max(v, 0.0) for v in xyz))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(text: str, eyes: tuple[Triple, Triple, Triple]) -> Triple:
    rgb = linear(text)
    r, g, b = (sum(weight * channel for weight, channel in zip(row, rgb, strict=True)) for row in eyes)
    return lab((r, g, b))


def distance(one: str, other: str, eyes: tuple[Triple, Triple, Triple]) -> float:
    """CIE 1976 colour difference; 2.3 is just noticeable."""
    return sum((a - b) ** 2 for a, b in zip(seen(one, eyes), seen(other, eyes), strict=True)) ** 0.5


def test_the_six_themes_are_there_and_say_nothing() -> None:
    themes, notices = load_themes(Path("/nonexistent"))
    assert {"critic-dark", "critic-light", "high-contrast", "ansi"} < {theme.name for theme in themes}
    assert len(themes) == 6
    assert notices == []


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_a_theme_has_every_chart_colour(name: str) -> None:
    assert set(CHART_COLOURS) <= set(BUNDLED[name].variables)


@pytest.mark.parametrize("name", MIXED)
def test_every_chart_colour_is_readable_on_its_background(name: str) -> None:
    theme = BUNDLED[name]
    assert theme.background is not None
    for key in set(CHART_COLOURS) - QUIET:
        least = 7 if name == "high-contrast" and key != "chart-seam" else 3
        assert contrast(theme.variables[key], theme.background) >= least, key


@pytest.mark.parametrize("name", MIXED)
def test_every_line_is_readable_on_its_own_band_and_the_band_is_quiet(name: str) -> None:
    theme = BUNDLED[name]
    palette = make_palette(theme.variables, Color.parse(theme.background or ""))
    for role in LINES:
        ink = line_ink(role, 0)
        paper = palette.paper_colour(1, (ink,)).hex
        assert contrast(palette.line_colour(ink).hex, paper) >= 3, role
        assert 1.03 <= contrast(paper, theme.background or "") <= 2.2, role


@pytest.mark.parametrize("eyes", [NORMAL, PROTAN, DEUTAN], ids=["normal", "protanopia", "deuteranopia"])
@pytest.mark.parametrize("name", MIXED)
def test_lines_that_share_a_chart_are_told_apart_by_any_eyes(name: str, eyes: tuple[Triple, Triple, Triple]) -> None:
    colours = BUNDLED[name].variables
    for one, other in (("teacher", "student"), ("train", "fixed"), ("main", "second"), ("main", "threshold")):
        assert distance(colours[f"chart-{one}"], colours[f"chart-{other}"], eyes) >= 20, (one, other)


@pytest.mark.parametrize("eyes", [NORMAL, PROTAN, DEUTAN], ids=["normal", "protanopia", "deuteranopia"])
def test_the_default_theme_tells_its_first_three_lines_apart(eyes: tuple[Triple, Triple, Triple]) -> None:
    colours = BUNDLED[DEFAULT_THEME].variables
    for one, other in itertools.combinations(("main", "second", "third"), 2):
        assert distance(colours[f"chart-{one}"], colours[f"chart-{other}"], eyes) >= 15, (one, other)


@pytest.mark.parametrize("name", MIXED)
def test_shades_of_runs_laid_over_each_other_stay_readable(name: str) -> None:
    theme = BUNDLED[name]
    palette = make_palette(theme.variables, Color.parse(theme.background or ""))
    for role in ("teacher", "student", "train", "main"):
        for run in range(4):
            assert contrast(palette.line_colour(line_ink(role, run)).hex, theme.background or "") >= 3, (role, run)


@pytest.mark.parametrize("name", MIXED)
def test_text_is_readable_on_every_surface(name: str) -> None:
    theme = BUNDLED[name]
    for surface in (theme.background, theme.surface, theme.panel):
        assert contrast(theme.foreground or "", surface or "") >= 7
        for key in (theme.primary, theme.warning, theme.error, theme.success):
            assert contrast(key or "", surface or "") >= 3


@pytest.mark.parametrize("name", sorted(BUNDLED))
async def test_an_app_starts_in_every_theme(name: str) -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        app.register_theme(BUNDLED[name])
        app.theme = name
        await pilot.pause()
        assert app.current_theme is BUNDLED[name]


def test_a_users_theme_is_added_and_may_replace_a_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('primary = "#ff0000"\n[variables]\nchart-teacher = "#00ff00"\n')
    (tmp_path / "other.toml").write_text('name = "fjord"\nprimary = "#123456"\n')
    themes, notices = load_themes(tmp_path)
    found = {theme.name: theme for theme in themes}
    assert notices == []
    assert found["mine"].variables["chart-teacher"] == "#00ff00"
    assert found["fjord"].primary == "#123456"
    assert len(found) == 7


@pytest.mark.parametrize(
    "text",
    [
        "", "primary = 3", 'primary = "no colour"', 'primary = "#ff0000"\nlightness = 1', "\x00", 'primary = "#fff',
        'primary = "#ff0000"\ndark = "yes"', 'primary = "#ff0000"\nvariables = 3',
        'primary = "#ff0000"\ntext_alpha = 7',
        'primary = "#ff0000"\n[variables]\nborder = "red; } Screen { display: none"',
        'primary = "#ff0000"\n[variables]\nchart-band = "wide"', 'primary = "#ff0000"\n[variables]\n"a b" = "red"',
        'name = "../evil"\nprimary = "#ff0000"', "a = " + "[" * 9999,
    ],
)  # fmt: skip
def test_a_bad_theme_file_is_a_notice_and_the_others_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    (tmp_path / "good.toml").write_text('primary = "#ff0000"')
    themes, notices = load_themes(tmp_path)
    assert "good" in {theme.name for theme in themes}
    assert "bad" not in {theme.name for theme in themes}
    assert len(notices) == 1
    assert "bad.toml: no theme (" in notices[0]
    assert "\x00" not in notices[0]


def test_a_huge_file_and_a_folder_are_no_themes(tmp_path: Path) -> None:
    (tmp_path / "huge.toml").write_text("#" * 200_000)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "text.toml").write_bytes(b"\xff\xfe")
    themes, notices = load_themes(tmp_path)
    assert len(themes) == 6
    assert len(notices) == 2


def test_without_any_theme_file_there_is_still_one_theme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled_dir", lambda: tmp_path)
    themes, notices = load_themes(tmp_path / "none")
    assert [theme.name for theme in themes] == [DEFAULT_THEME]
    assert "install critictui again" in notices[0]


def test_what_a_file_says_is_what_textual_gets() -> None:
    theme = read_theme(bundled_dir() / "critic-light.toml")
    assert isinstance(theme, Theme)
    assert (theme.dark, theme.background) == (False, "#fbfcfd")
