"""Theme files go in, Textual themes and a notice for every bad file come out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from critictui.places import config_dir
from critictui.run.text import sanitise_line

DEFAULT_THEME = "critic-dark"
SIXTEEN_COLOURS = "ansi"
"""The theme of terminals that have no others: a mixed colour would become any of the sixteen."""

_COLOURS = frozenset({
    "primary", "secondary", "warning", "error", "success", "accent", "foreground", "background", "surface", "panel",
    "boost",
})  # fmt: skip
_NUMBERS = frozenset({"luminosity_spread", "text_alpha"})
_SWITCHES = frozenset({"dark", "ansi"})
_TEXT_STYLES = frozenset({
    "none", "bold", "b", "dim", "d", "italic", "i", "underline", "u", "reverse", "r", "strike", "s", "not", "initial",
})  # fmt: skip
_VARIABLE = re.compile(r"[a-z][a-z0-9-]{0,60}")
_SHARE = re.compile(r"\d{1,3}(\.\d+)?%")
_LARGEST_FILE = 1 << 16


def load_themes(extra_dir: Path | None = None) -> tuple[list[Theme], list[str]]:
    """The bundled themes, then those of `extra_dir` (default: `~/.config/critictui/themes`); a later name replaces.

    The second value has one sentence for every file that is no theme and why; the others load all the same.
    """
    themes: dict[str, Theme] = {}
    notices: list[str] = []
    bundled, own = _files(bundled_dir(), notices), _files(extra_dir or user_themes_dir(), notices)
    for read, path in (*((_parsed, path) for path in bundled), *((read_theme, path) for path in own)):
        try:
            theme = read(path)
        except (OSError, UnicodeDecodeError, RecursionError, ValueError, TypeError, ColorParseError) as error:
            reason = sanitise_line(str(error), 200)
            notices.append(f"{sanitise_line(str(path))}: no theme ({reason}); see {DEFAULT_THEME}.toml for a pattern")
        else:
            themes[theme.name] = theme
    if DEFAULT_THEME not in themes:
        notices.append(f"{DEFAULT_THEME}.toml was not found in {bundled_dir()}; install critictui again")
        themes[DEFAULT_THEME] = Theme(name=DEFAULT_THEME, primary="#56b4e9")
    return list(themes.values()), notices


def bundled_dir() -> Path:
    """Where the themes that come with critictui are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "themes"
    return installed if installed.is_dir() else package.parent / "themes"


def user_themes_dir() -> Path:
    """`~/.config/critictui/themes`, or where the platform keeps such files."""
    return config_dir() / "themes"


def _files(folder: Path, notices: list[str]) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.glob("*.toml") if path.is_file())
    except OSError as error:
        notices.append(f"{sanitise_line(str(folder))}: not read ({error.strerror}); the bundled themes are there")


def read_theme(path: Path) -> Theme:
    """One theme file: the fields of Textual's `Theme`, and its variables under `[variables]`.

    Raises ValueError or TypeError with the key that is wrong, OSError, UnicodeDecodeError (tomllib's error is a
    ValueError too).
    """
    theme = _parsed(path)
    theme.to_color_system().generate()  # what Textual makes of it; tests try those that come with us
    return theme


def _parsed(path: Path) -> Theme:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError("larger than 64 KiB")
    values = tomllib.loads(path.read_bytes().decode("utf-8"))
    known = {field.name for field in fields(Theme)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown key {unknown[0]!r}")
    variables = values.pop("variables", {})
    if not isinstance(variables, dict):
        raise TypeError("variables must be a table")
    name = values.pop("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,40}", name):
        raise ValueError("name must be a word of at most 40 characters")
    if "primary" not in values:
        raise ValueError("primary is missing")
    checked: dict[str, Any] = {key: _field(key, value) for key, value in values.items()}
    checked["variables"] = {key: _variable(key, value) for key, value in variables.items()}
    return Theme(name=name, **checked)


def _field(key: str, value: object) -> object:
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise TypeError(f"{key} must be true or false")
        return value
    if key in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"{key} must be a number from 0 to 1")
        return float(value)
    assert key in _COLOURS, key
    if not isinstance(value, str) or not _is_colour(value):
        raise ValueError(f"{key} = {value!r:.40} is no colour")
    return value


def _variable(key: str, value: object) -> str:
    """A variable ends up in style sheets: only colours, shares and text styles are let through."""
    if not _VARIABLE.fullmatch(key):
        raise ValueError(f"variables.{key!r:.40} is no variable name")
    if not isinstance(value, str):
        raise TypeError(f"variables.{key} must be text")
    words = value.split()
    is_style = bool(words) and set(words) <= _TEXT_STYLES
    if key.startswith("chart-"):
        good = bool(_SHARE.fullmatch(value)) if key == "chart-band" else _is_colour(value)
    else:
        colour = [word for word in words if not _SHARE.fullmatch(word)]
        good = is_style or (len(colour) == 1 and (_is_colour(colour[0]) or colour[0] in {"auto", "transparent"}))
    if not good:
        raise ValueError(f"variables.{key} = {value!r:.40} is no colour")
    return value


def _is_colour(text: str) -> bool:
    try:
        Color.parse(text)
    except ColorParseError:
        return False
    return True
